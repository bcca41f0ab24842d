"""Settings back to text: the commented default file, what is in force, the reference.

Rule: all three are written by the same hand from :mod:`claude_failover.config_schema`, so that
none can say what another does not. What is written here, :mod:`~claude_failover.config_load`
reads back to the same settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from claude_failover import config_schema as schema
from claude_failover.config_load import Loaded
from claude_failover.config_schema import BACKEND_KEYS, SECTIONS, Key, Section
from claude_failover.config_yaml import plain
from claude_failover.core.settings import Backend, Settings

SCHEMA_VERSION: Final = 1
"""Of ``config show --json``."""

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*\Z|[0-9]+(\.[0-9]+){2,}\Z")
_LOOKS_LIKE_SWITCH: Final = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null"})
_COMMENT_COLUMN: Final = 38

_HEAD: Final = """\
# Settings of claude-failover. Every value shown is the default; as long as it is a comment,
# it stays the default. Take the # away where you want another. All durations are seconds, all money US dollars.
#
#   claude-failover config check     says what is wrong in here, by line
#   claude-failover config show      what is in force, and where each value comes from
#   claude-failover reload           takes it over without dropping a stream
"""


def scalar(value: object) -> str:
    """Write one value as YAML."""
    match value:
        case None | bool():
            return json.dumps(value)
        case int() | float():
            return repr(int(value) if value == int(value) else value)
        case tuple():
            return f"[{', '.join(scalar(item) for item in value)}]"
        case _:
            text = str(value)
            if _PLAIN.match(text) and isinstance(plain(text), str) and text.lower() not in _LOOKS_LIKE_SWITCH:
                return text
            return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Style:
    """How settings are written down."""

    comment: Callable[[str, Key], str]
    """Dotted key, key -> what stands behind its value."""
    active: Callable[[str], bool] = lambda _: True
    """Dotted key -> whether its value counts; otherwise it is written as a comment."""
    complete: bool = True
    """Whether to write what is not active at all."""
    heads: bool = False
    """Whether to say above each part what it is for."""


class _Writer:
    """Settings to lines, part by part."""

    def __init__(self, settings: Settings, style: Style) -> None:
        self.settings = settings
        self.style = style
        self.lines: list[str] = []

    def text(self) -> str:
        """Write all parts in the order of the file."""
        for word in schema.TOP_KEYS:
            match word:
                case "backends":
                    self._backends()
                case "models":
                    entries = {model: scalar(name) for model, name in self.settings.models.items()}
                    self._table(word, entries, ("claude-opus-5-5: us.anthropic.claude-opus-5-5",))
                case "fallbacks":
                    chains = {f"- {{{scalar(m)}": f"{scalar(c)}}}" for m, c in self.settings.fallbacks.items()}
                    self._table(word, chains, ("- {claude-opus-5-5: [bedrock]}", "- {claude-haiku-5-5: []}"))
                case _:
                    self._sections([section for section in SECTIONS if section.path[0] == word])
        return "\n".join(line.rstrip() for line in self.lines).lstrip("\n") + "\n"

    def _head(self, words: str) -> None:
        if self.style.heads:
            self.lines += ["", f"# {words}"]

    def _noted(self, entry: str, words: str) -> None:
        self.lines.append(f"{entry:<{_COMMENT_COLUMN}} # {words}" if words else entry)

    def _put(self, lead: str, dotted: str, key: Key, value: object) -> None:
        live = self.style.active(dotted)
        if live or self.style.complete:
            mark = "" if live else "#"
            self._noted(f"{lead}{mark}{key.name}: {scalar(value)}", self.style.comment(dotted, key))

    def _sections(self, sections: list[Section]) -> None:
        wanted = [section for section in sections if self.style.complete or self._any_active(section)]
        if not wanted:
            return
        nested = len(wanted[0].path) > 1
        self._head(schema.RETRY_SAYS if nested else wanted[0].says)
        self.lines.append(f"{wanted[0].path[0]}:")
        for section in wanted:
            if nested:
                self._noted(f"  {section.path[-1]}:", section.says if self.style.heads else "")
            for key in section.keys:
                lead = " " * 2 * len(section.path)
                self._put(lead, f"{section.name}.{key.name}", key, value_of(self.settings, section, key))

    def _any_active(self, section: Section) -> bool:
        return any(self.style.active(f"{section.name}.{key.name}") for key in section.keys)

    def _backends(self) -> None:
        names = [f"backends.{backend.name}.name" for backend in self.settings.backends]
        if not self.style.complete and not any(map(self.style.active, names)):
            return
        self._head(schema.LISTS["backends"])
        self.lines.append("backends:")
        for backend in self.settings.backends:
            for key in BACKEND_KEYS:
                if key.only in {None, backend.kind}:
                    lead = "  - " if key.name == "name" else "    "
                    self._put(lead, f"backends.{backend.name}.{key.name}", key, getattr(backend, key.name))

    def _table(self, word: str, entries: Mapping[str, str], examples: tuple[str, ...]) -> None:
        if not entries and not self.style.complete:
            return
        self._head(schema.LISTS[word])
        if entries or self.style.heads:
            self.lines.append(f"{word}:")
            self.lines += [f"  {key}: {value}" for key, value in entries.items()]
            self.lines += [f"  # {example}" for example in examples if not entries]
        else:
            self.lines.append(f"{word}: {'[]' if word == 'fallbacks' else '{}'}")


def document(settings: Settings, style: Style) -> str:
    """Write settings as a file."""
    return _Writer(settings, style).text()


def value_of(settings: Settings, section: Section, key: Key) -> object:
    """Look up the value of a section's key."""
    owner: object = settings
    for attribute in section.target:
        owner = getattr(owner, attribute)
    return getattr(owner, key.name)


def default_text() -> str:
    """Write the file that ``config init`` makes: every key with its default, as a comment."""
    named = {f"backends.{backend.name}.{key}" for backend in schema.DEFAULTS.backends for key in ("name", "kind")}
    style = Style(comment=lambda _, key: key.says, active=lambda dotted: dotted in named, heads=True)
    return f"{_HEAD}\n{document(schema.DEFAULTS, style)}"


def masked(settings: Settings) -> Settings:
    """Hide what may be a secret: the path of a webhook often is one."""
    hook = settings.alerts.webhook
    if hook is None:
        return settings
    url = urlsplit(hook)
    hidden = f"{url.scheme}://{url.hostname}/..." if url.path.strip("/") or url.query else hook
    return replace(settings, alerts=replace(settings.alerts, webhook=hidden))


def effective_text(loaded: Loaded) -> str:
    """Write what is in force, each value with its origin."""
    style = Style(comment=lambda dotted, _: loaded.origins.get(dotted, ""))
    return document(masked(loaded.settings), style)


def effective_json(loaded: Loaded) -> dict[str, Any]:
    """Give what is in force and each value's origin, for ``config show --json``."""
    settings = masked(loaded.settings)
    tree: dict[str, Any] = {}
    for section in SECTIONS:
        table = tree
        for part in section.path:
            table = table.setdefault(part, {})
        table.update({key.name: value_of(settings, section, key) for key in section.keys})
    tree["backends"] = [_backend_json(backend) for backend in settings.backends]
    tree["models"] = dict(settings.models)
    tree["fallbacks"] = [{model: list(chain)} for model, chain in settings.fallbacks.items()]
    return {
        "schema_version": SCHEMA_VERSION,
        "path": str(loaded.path) if loaded.path else None,
        "settings": {word: tree[word] for word in schema.TOP_KEYS},
        "origins": dict(loaded.origins),
        "warnings": list(loaded.warnings),
    }


def _backend_json(backend: Backend) -> dict[str, object]:
    return {key.name: getattr(backend, key.name) for key in BACKEND_KEYS if key.only in {None, backend.kind}}
