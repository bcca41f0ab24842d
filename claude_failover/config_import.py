"""A LiteLLM ``config.yaml`` of the plan's shape, carried over into ours.

Rule: what has a counterpart is carried over, what has none is named with its line and the reason,
and nothing is lost in silence. Secrets are never copied: a key in that file stays there, and the
note says how to hand it to us. The result is checked by our own loader before anybody sees it.

Source: LiteLLM's documentation of ``model_list``, ``router_settings``, ``litellm_settings`` and
``general_settings`` (proxy configuration, as of November 2026).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from claude_failover import config_rules as rules
from claude_failover import config_schema as schema
from claude_failover.config_draft import Draft
from claude_failover.config_load import parse
from claude_failover.config_rules import Unfit, shown
from claude_failover.config_schema import BACKEND_KEYS, SECTIONS
from claude_failover.config_text import Style, document
from claude_failover.config_yaml import Items, Problem, Scalar, Table, Tree, read
from claude_failover.core.settings import Backend
from claude_failover.core.types import BackendName, Kind
from claude_failover.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Imported:
    """Our file's text, and what could not be put into it."""

    text: str
    notes: tuple[str, ...]
    """Each begins with ``FILE:LINE``."""


_SAME_NAME: Final = ("rate_limit_fallback", "retry_policy", "cost_tracking")
"""The plan's tables, which are ours too."""

_ELSEWHERE: Final = {
    "router_settings.cooldown_time": "rate_limit_fallback.cooldown_time",
    "router_settings.allowed_fails": "circuit_breaker.failure_threshold",
    "router_settings.stream_timeout": "timeouts.first_byte",
    "litellm_settings.stream_timeout": "timeouts.first_byte",
    "litellm_settings.max_budget": "cost_tracking.daily_limit",
    "general_settings.port": "listen.port",
}
"""Settings that have another name with us."""

_NOT_NEEDED: Final = {
    "litellm_settings.callbacks": "not needed: the client's credential is passed through by itself",
    "litellm_settings.drop_params": "not needed: requests are translated field by field",
    "litellm_settings.success_callback": "not needed: metrics are served on /metrics, the ledger is always kept",
    "litellm_settings.failure_callback": "not needed: metrics are served on /metrics, the ledger is always kept",
    "litellm_settings.set_verbose": "not needed: logging.level: debug",
    "router_settings.routing_strategy": "not needed: the order of backends is the strategy",
    "router_settings.num_retries": "no counterpart: retries are set per class of failure in retry_policy",
    "litellm_settings.num_retries": "no counterpart: retries are set per class of failure in retry_policy",
    "router_settings.timeout": "no counterpart: timeouts: has one limit for each stage of a request",
    "litellm_settings.request_timeout": "no counterpart: timeouts: has one limit for each stage of a request",
    "general_settings.master_key": "not copied: we make a key of our own at the first start",
    "general_settings.database_url": "not needed: the ledger is a file of ours",
}

_TOKEN_VARIABLES: Final = ("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY")
"""Read by us without being told."""

_ROUTES: Final = re.compile(r"(bedrock|anthropic)/(?:(?:converse|invoke|converse_like|messages)/)?(.+)\Z")
"""LiteLLM's ``provider/[route/]model``."""


_SCOPED: Final = re.compile(rf"({'|'.join(schema.SCOPES[:-1])})\.(anthropic\..+)\Z")
"""A Bedrock id with the prefix of its inference profile."""


@dataclass(slots=True)
class _Import:
    """The state of one import."""

    name: str
    notes: list[Problem] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    backends: list[Backend] = field(default_factory=list)
    deployments: dict[str, list[tuple[str, Backend]]] = field(default_factory=dict)
    """LiteLLM's ``model_name`` -> the models and backends behind it."""
    ids: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Claude id -> the Bedrock ids that its fallbacks name, with their lines."""
    fallbacks: dict[str, tuple[BackendName, ...]] = field(default_factory=dict)

    def note(self, line: int, text: str) -> None:
        """Say what was left behind, and why."""
        self.notes.append(Problem(line, text))


def import_litellm(data: bytes, name: str = "config.yaml") -> Imported:
    """Turn a LiteLLM configuration into ours.

    Args:
        data: The file's bytes.
        name: What notes call it.

    Raises:
        ConfigError: It is not YAML that can be read, or not a LiteLLM configuration.
    """
    source = read(data)
    if source.problems:
        raise ConfigError("\n".join(f"{name}:{problem.line}: {problem.text}" for problem in sorted(source.problems)))
    known = {"model_list", "router_settings", "litellm_settings", "general_settings", "environment_variables"}
    if not isinstance(source.tree, Table) or not known & source.tree.entries.keys():
        raise ConfigError(
            f"{name}: not a LiteLLM configuration: none of {', '.join(sorted(known))} is in it",
            hint="claude-failover config check, if it is a file of ours",
        )
    work = _Import(name)
    if (models := source.tree.entries.get("model_list")) is not None:
        _model_list(work, models)
    for word, tree in source.tree.entries.items():
        if word in {"router_settings", "litellm_settings", "general_settings"} and isinstance(tree, Table):
            _settings(work, word, tree)
        elif word != "model_list":
            work.note(source.tree.lines[word], f"{word}: no counterpart; not carried over")
    return _finish(work)


# --- models -------------------------------------------------------------------------------------


def _model_list(work: _Import, tree: Tree) -> None:
    if not isinstance(tree, Items):
        work.note(tree.line, f"model_list: expected a list, not {shown(tree)}")
        return
    for item in tree.items:
        name = _text(item, "model_name")
        params = item.entries.get("litellm_params") if isinstance(item, Table) else None
        model = _text(params, "model") if params is not None else ""
        if not name or not model or not isinstance(params, Table):
            work.note(item.line, "model_list: an entry without model_name and litellm_params.model; not carried over")
            continue
        match = _ROUTES.match(model) or re.match(r"()(claude-.+)\Z", model)
        if match is None:
            work.note(params.lines["model"], f'model_list: "{model}" is neither the Claude API nor Bedrock; left out')
            continue
        kind = Kind(match[1] or "anthropic")
        backend = _deployment(work, kind, params, match[2])
        work.deployments.setdefault(name, []).append((match[2], backend))


def _text(tree: Tree | None, key: str) -> str:
    match tree:
        case Table(entries=entries) if isinstance(found := entries.get(key), Scalar) and isinstance(found.value, str):
            return found.value
        case _:
            return ""


def _deployment(work: _Import, kind: Kind, params: Table, model: str) -> Backend:
    """Find or add the backend that an entry of ``model_list`` calls."""
    if kind is Kind.ANTHROPIC:
        names = {"api_base": "base_url"}
    else:
        names = {
            "aws_region_name": "region",
            "aws_profile_name": "profile",
            "aws_bedrock_runtime_endpoint": "endpoint_url",
        }
    given: dict[str, Any] = {}
    for word, value in params.entries.items():
        line = params.lines[word]
        if word == "model":
            continue
        if word in names:
            key = next(key for key in BACKEND_KEYS if key.name == names[word])
            if (good := _fit(work, key.rule, value, line, f"model_list: {word}")) is not None:
                given[names[word]] = str(good)
        elif word == "api_key" and _text(params, word).removeprefix("os.environ/") in _TOKEN_VARIABLES:
            given["credential"] = "auto"  # found by itself
        elif re.search(r"key|token|secret|password", word):
            store = "anthropic" if kind is Kind.ANTHROPIC else "bedrock"
            work.note(line, f"model_list: {word} is a secret and not copied; claude-failover token set {store}")
        else:
            work.note(line, f"model_list: {word} has no counterpart; not carried over")
    if kind is Kind.BEDROCK and (prefix := _SCOPED.match(model)):
        given["scope"] = prefix[1]
    wanted = Backend(BackendName(""), kind, **given)
    for backend in work.backends:
        if _same(backend, wanted):
            return backend
    base = "claude" if kind is Kind.ANTHROPIC else "bedrock"
    count = sum(backend.kind is kind for backend in work.backends)
    backend = Backend(BackendName(base if not count else f"{base}-{count + 1}"), kind, **given)
    work.backends.append(backend)
    return backend


def _same(one: Backend, other: Backend) -> bool:
    return all(getattr(one, key.name) == getattr(other, key.name) for key in BACKEND_KEYS if key.name != "name")


def _fit(work: _Import, rule: rules.Rule, tree: Tree, line: int, label: str) -> object:
    """Read a value by our rule, or note why it stays behind."""
    if isinstance(tree, Scalar) and tree.text.startswith("os.environ/"):
        work.note(line, f"{label}: {tree.text} is a variable; set it in our file or by a CLAUDE_FAILOVER_ variable")
        return None
    try:
        return rule.read(tree)
    except Unfit as unfit:
        work.note(line, f"{label}: {unfit}; not carried over")
        return None


# --- settings -----------------------------------------------------------------------------------


def _settings(work: _Import, part: str, table: Table) -> None:
    for word, tree in table.entries.items():
        line, name = table.lines[word], f"{part}.{word}"
        if word in _SAME_NAME and isinstance(tree, Table):
            _same_table(work, (word,), tree)
        elif word == "fallbacks":
            _fallbacks(work, tree)
        elif name in _ELSEWHERE:
            _set(work, _ELSEWHERE[name], tree, line, name)
        elif word == "budget_duration" and _text(table, word) in {"1d", "24h"}:
            continue  # what daily_limit means
        elif word == "custom_auth_token_env" and _text(table, word) in _TOKEN_VARIABLES:
            continue  # read without being told
        else:
            work.note(line, f"{name}: {_NOT_NEEDED.get(name, 'no counterpart; not carried over')}")
    if part == "litellm_settings" and "max_budget" in table.entries:
        _check_budget(work, table)


def _check_budget(work: _Import, table: Table) -> None:
    """A budget for another time than a day is no daily limit."""
    if _text(table, "budget_duration") not in {"1d", "24h"}:
        work.values.pop("cost_tracking.daily_limit", None)
        work.note(
            table.lines["max_budget"], "litellm_settings.max_budget: not for a day; set cost_tracking.daily_limit"
        )


def _same_table(work: _Import, path: tuple[str, ...], table: Table) -> None:
    """Copy a table of the plan key by key."""
    for word, tree in table.entries.items():
        line = table.lines[word]
        inner = next((section for section in SECTIONS if section.path == (*path, word)), None)
        if inner is not None and isinstance(tree, Table):
            _same_table(work, inner.path, tree)
        elif path == ("retry_policy",) and word == "RateLimitErrorRetries":  # LiteLLM's own shape of the same
            _set(work, "retry_policy.RateLimitError.retries", tree, line, word)
        else:
            _set(work, ".".join((*path, word)), tree, line, ".".join((*path, word)))


def _set(work: _Import, dotted: str, tree: Tree, line: int, label: str) -> None:
    for section in SECTIONS:
        for key in section.keys:
            if f"{section.name}.{key.name}" == dotted:
                if (value := _fit(work, key.rule, tree, line, label)) is not None:
                    work.values[dotted] = value
                return
    work.note(line, f"{label}: no counterpart; not carried over")


def _pairs(tree: Tree) -> Iterator[tuple[int, str, Tree]]:
    """Each model of ``fallbacks`` with its chain."""
    for item in tree.items if isinstance(tree, Items) else ():
        if isinstance(item, Table):
            for model, chain in item.entries.items():
                yield item.lines[model], model, chain


def _fallbacks(work: _Import, tree: Tree) -> None:
    """Turn "this name, then that name" into "this model, then those backends", and names into the model map."""
    for line, name, chain in _pairs(tree):
        first = work.deployments.get(name, [])
        model = first[0][0] if first else name
        backends: list[BackendName] = []
        for item in chain.items if isinstance(chain, Items) else ():
            target = item.text if isinstance(item, Scalar) else ""
            if target not in work.deployments:
                work.note(item.line, f'fallbacks: "{target}" is not in model_list; not carried over')
            for upstream, backend in work.deployments.get(target, ()):
                if backend in [each for _, each in first]:
                    work.note(item.line, f'fallbacks: "{target}" is another model of the same backend; left out')
                    continue
                if backend.name not in backends:
                    backends.append(backend.name)
                if backend.kind is Kind.BEDROCK:
                    work.ids.setdefault(model, []).append((item.line, upstream))
        if model in work.fallbacks:
            work.note(line, f'fallbacks: "{model}" stands in the list twice; the first counts')
        else:
            work.fallbacks[model] = tuple(backends)


# --- the result ---------------------------------------------------------------------------------


def _models(work: _Import) -> dict[str, str]:
    """One Bedrock id for each model; where only the prefixes differ, the backends' scopes say it already."""
    models: dict[str, str] = {}
    for model, ids in work.ids.items():
        bare = {match[2] if (match := _SCOPED.match(each)) else each for _, each in ids}
        if len({each for _, each in ids}) == 1 or len(bare) > 1:
            models[model] = ids[0][1]
        for line, each in ids if len(bare) > 1 else ():
            if each != ids[0][1]:
                work.note(line, f'models: "{model}" can have one Bedrock id; {each} is left out')
    return models


def _finish(work: _Import) -> Imported:
    # Stable: primaries first, whatever the order of model_list was.
    backends = sorted(work.backends, key=lambda backend: backend.kind is Kind.BEDROCK)
    if all(backend.kind is not Kind.ANTHROPIC for backend in backends):
        backends.insert(0, schema.DEFAULTS.primary)
    draft = Draft(work.name, [], values=work.values, models=_models(work), fallbacks=work.fallbacks)
    draft.backends = {backend.name: backend.kind for backend in backends}
    for backend in backends:
        plain = Backend(backend.name, backend.kind)
        for key in BACKEND_KEYS:
            if key.name in {"name", "kind"} or getattr(backend, key.name) != getattr(plain, key.name):
                draft.values[f"backends.{backend.name}.{key.name}"] = getattr(backend, key.name)
    style = Style(comment=lambda *_: "", active=draft.values.__contains__, complete=False)
    settings = draft.build()
    text = f"# Imported from {work.name}.\n{document(settings, style)}"
    parse(text.encode(), name="the imported file")
    notes = (f"{work.name}:{problem.line}: {problem.text}" for problem in sorted(dict.fromkeys(work.notes)))
    return Imported(text, tuple(notes))
