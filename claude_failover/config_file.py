"""The file's tree into a draft: every key known, every value fit, or a complaint with its line."""

from __future__ import annotations

from typing import Any

from claude_failover import config_rules as rules
from claude_failover import config_schema as schema
from claude_failover.config_draft import Draft, unknown
from claude_failover.config_rules import Rule, Unfit, shown
from claude_failover.config_schema import BACKEND_KEYS, SECTIONS, Key
from claude_failover.config_yaml import Items, Scalar, Table, Tree
from claude_failover.core.types import BackendName, Kind


def take_file(draft: Draft, tree: Tree | None) -> None:
    """Read a whole file; ``None`` where there is nothing in it."""
    match tree:
        case None | Scalar(value=None):
            return
        case Table():
            pass
        case _:
            draft.complain(tree.line, f"expected keys such as listen: or backends:, not {shown(tree)}")
            return
    for word, value in tree.entries.items():
        match word:
            case "backends":
                _take_backends(draft, value)
            case "models":
                _take_models(draft, value)
            case "fallbacks":
                _take_fallbacks(draft, value)
            case _ if word in schema.TOP_KEYS:
                _take_section(draft, (word,), value)
            case _:
                draft.complain(tree.lines[word], unknown(word, schema.TOP_KEYS, "key") + _elsewhere(word))


def _elsewhere(word: str) -> str:
    """Say where a key would be right, if it is one of ours in the wrong place."""
    homes = [section.name for section in SECTIONS if section.key(word)]
    return f'; "{word}" belongs under {homes[0]}' if len(homes) == 1 else ""


def _take_section(draft: Draft, path: tuple[str, ...], tree: Tree) -> None:
    """Read a table of keys, or (``retry_policy``) of such tables."""
    name = ".".join(path)
    table = _table(draft, tree, name)
    if table is None:
        return
    keys: dict[str, Key] = {}
    inner = {section.path[-1]: section for section in SECTIONS if section.path[:-1] == path}
    for section in SECTIONS:
        if section.path == path:
            keys = {key.name: key for key in section.keys}
    for word, value in table.entries.items():
        if word in keys:
            _take_value(draft, f"{name}.{word}", keys[word].rule, value, table.lines[word])
        elif word in inner:
            _take_section(draft, inner[word].path, value)
        else:
            draft.complain(table.lines[word], f"{name}: {unknown(word, keys or inner, 'key')}{_elsewhere(word)}")


def _table(draft: Draft, tree: Tree, name: str) -> Table | None:
    """Take *tree* as a table; an empty value (all commented out) is as good as absent."""
    match tree:
        case Table():
            return tree
        case Scalar(value=None):
            return None
        case _:
            draft.complain(tree.line, f"{name}: expected a table of keys, not {shown(tree)}")
            return None


def _take_value(draft: Draft, name: str, rule: Rule, tree: Tree, line: int) -> bool:
    """Read one value; says whether it was good."""
    try:
        draft.values[name] = rule.read(tree)
    except Unfit as unfit:
        for at, text in unfit.wrong:
            draft.complain(at, f"{name}: {text}")
        return False
    draft.from_file(name, line)
    return True


def _take_backends(draft: Draft, tree: Tree) -> None:
    match tree:
        case Scalar(value=None):
            return
        case Items(items=()):
            draft.complain(tree.line, "backends: at least one is needed")
        case Items():
            draft.backends = {}
            for item in tree.items:
                _take_backend(draft, item)
        case _:
            draft.complain(tree.line, f"backends: expected a list (- name: ...), not {shown(tree)}")


def _take_backend(draft: Draft, tree: Tree) -> None:
    if not isinstance(tree, Table):
        draft.complain(tree.line, f"backends: expected - name: ... and its keys, not {shown(tree)}")
        return
    name = _word(draft, tree, "name", rules.BACKEND_NAME)
    kind = _word(draft, tree, "kind", schema.KIND)
    if name in draft.backends:
        draft.complain(tree.lines["name"], f'backends: duplicate name "{name}"')
        return
    twins = [other for other in draft.backends if schema.variable(other) == schema.variable(name)]
    if twins:
        draft.complain(tree.lines["name"], f'backends: "{twins[0]}" and "{name}" would share their variables')
    if name and kind:
        draft.backends[name] = Kind(kind)
    label = f"backends.{name}" if name else "backends"
    allowed = [key.name for key in BACKEND_KEYS if not kind or key.only in {None, Kind(kind)}]
    for word, value in tree.entries.items():
        line = tree.lines[word]
        key = next((key for key in BACKEND_KEYS if key.name == word), None)
        if key is None:
            draft.complain(line, f"{label}: {unknown(word, allowed, 'key')}")
        elif word not in allowed:
            draft.complain(
                line,
                f'{label}: "{word}" is a key of kind {key.only}, and this is of kind {kind}'
                f" (allowed: {', '.join(allowed)})",
            )
        elif word in {"name", "kind"}:
            draft.from_file(f"{label}.{word}", line)
        else:
            _take_value(draft, f"{label}.{word}", key.rule, value, line)


def _word(draft: Draft, table: Table, name: str, rule: Rule) -> str:
    """Read one of the two keys that every backend must have; empty if it is not there or wrong."""
    if name not in table.entries:
        draft.complain(table.line, f"backends: {name} is missing; expected {rule.allowed}")
        return ""
    try:
        return str(rule.read(table.entries[name]))
    except Unfit as unfit:
        draft.complain(table.lines[name], f"backends: {name}: {unfit.wrong[0][1]}")
        return ""


def _is_model(draft: Draft, key: str, word: str, line: int) -> bool:
    if rules.MODEL_CHECK(word) is None:
        return True
    draft.complain(line, f'{key}: expected {rules.MODEL.allowed}, not "{word[:80]}"')
    return False


def _take_models(draft: Draft, tree: Tree) -> None:
    table = _table(draft, tree, "models")
    if table is None:
        return
    for word, value in table.entries.items():
        line, name = table.lines[word], f"models.{word}"
        if _is_model(draft, "models", word, line) and _take_value(draft, name, schema.BEDROCK_ID, value, line):
            draft.models[word] = str(draft.values.pop(name))


def _take_fallbacks(draft: Draft, tree: Tree) -> None:
    shape = "expected a list of maps such as - {claude-opus-5-5: [bedrock]}"
    match tree:
        case Scalar(value=None):
            return
        case Items():
            pass
        case _:
            draft.complain(tree.line, f"fallbacks: {shape}, not {shown(tree)}")
            return
    rule = rules.listing(rules.BACKEND_NAME, "backend names; [] = never leaves the primary")
    for item in tree.items:
        if not isinstance(item, Table) or not item.entries:
            draft.complain(item.line, f"fallbacks: {shape}, not {shown(item)}")
            continue
        for model, chain in item.entries.items():
            line, name = item.lines[model], f"fallbacks.{model}"
            if model in draft.fallbacks:
                draft.complain(line, f'fallbacks: "{model}" stands in the list twice')
            elif _is_model(draft, "fallbacks", model, line):
                draft.fallbacks[model] = ()
                if _take_value(draft, name, rule, chain, line):
                    names: Any = draft.values.pop(name)
                    draft.fallbacks[model] = tuple(BackendName(backend) for backend in names)
