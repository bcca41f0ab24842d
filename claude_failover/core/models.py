"""Which Bedrock model stands behind a Claude model's name, and what it takes.

The table (``data/models.yaml``) is handed in parsed; what the owner configured wins over it, what was
discovered in the account refines it, and an unlisted model of a known naming rule needs no release of ours.
A model that none of these knows is :class:`Unmapped` and says why: the family is never silently changed.

Source of the mapping rules: wire/bedrock.md 5.3, wire/claude.md 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from claude_failover.core import bedrock_ids
from claude_failover.core.capabilities import Capabilities, capabilities
from claude_failover.core.settings import Backend
from claude_failover.core.types import BackendName, Surface

_SUFFIX = re.compile(r"\[[^\]]*\]$")
_DATE = re.compile(r"-(?:\d{8}|latest)$")
_RULE = re.compile(r"^claude-([a-z]+)-(\d{1,2})(?:-(\d{1,2}))?$")

RULE_SINCE: Final = (4, 7)
"""From this generation on, Bedrock's id is ``anthropic.`` and the Claude id, nothing else (wire/claude.md 5)."""

_DEFAULT_SURFACES = (Surface.MESSAGES, Surface.INVOKE)


@dataclass(frozen=True, slots=True)
class Target:
    """A model as one Bedrock backend can serve it."""

    claude_model: str
    """The canonical Claude id; for an ARN that nobody explained, the ARN."""
    bedrock_id: str
    """What goes out, unless a refused form was learned (:attr:`forms`)."""
    family: str | None
    """``opus sonnet haiku fable mythos``, or a new one; ``None``: unknown."""
    generation: tuple[int, int] | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)
    surfaces: tuple[Surface, ...] = _DEFAULT_SURFACES
    """In the order to try."""
    source: str = "table"
    """Who says so: ``table rule config discovered id``."""
    forms: tuple[str, ...] = ()
    """Every id under which the model may be called, best first; *bedrock_id* is the first."""


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Why a model has no id on Bedrock."""

    why: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ``models`` command."""

    claude_model: str
    target: Target | Unmapped


@dataclass(frozen=True, slots=True)
class _Row:
    """One model of the table, or one made up by the naming rule."""

    claude_model: str
    fm_id: str
    family: str | None
    capabilities: Capabilities
    surfaces: tuple[Surface, ...] = _DEFAULT_SURFACES
    prefixes: tuple[str, ...] = ()
    mantle: str | None = None
    source: str = "table"


RESOLVED_MAX: Final = 256
"""Answers remembered: asked for every request, and a client may send any name."""

NAME_MAX: Final = 200
"""Characters of a name that is remembered."""


class Catalog:
    """The table, the configuration and the discovered ids, as one answer."""

    def __init__(
        self,
        *,
        rows: Mapping[str, _Row],
        aliases: Mapping[str, str],
        retired: Iterable[str],
        newest: Capabilities,
        unknown: Capabilities,
        overrides: Mapping[str, str],
        discovered: Iterable[str],
        as_of: str,
    ) -> None:
        self._rows = dict(rows)
        self._aliases = dict(aliases)
        self._retired = tuple(retired)
        self._newest = newest
        self._unknown = unknown
        self.as_of = as_of
        self._discovered: dict[str, set[str]] = {}
        self._by_fm_id = {row.fm_id: model for model, row in self._rows.items()}
        self._by_fm_id |= {row.mantle: model for model, row in self._rows.items() if row.mantle}
        for model in discovered:
            if fm_id := bedrock_ids.foundation_id(model):
                self._discovered.setdefault(fm_id, set()).add(bedrock_ids.scope_of(model))
        self._overrides = {self._spelling(model): value for model, value in overrides.items()}
        self._resolved: dict[tuple[str, BackendName], tuple[Backend, Target | Unmapped]] = {}
        self._normal: dict[str, str] = {}
        self._declared = {value: model for model, value in self._overrides.items()}

    @classmethod
    def build(cls, table: Mapping[str, Any], overrides: Mapping[str, str], discovered: Iterable[str] = ()) -> Catalog:
        """Build from the parsed ``data/models.yaml``, the owner's ``models:`` and ids that the account listed."""
        sets: Mapping[str, Mapping[str, Any]] = table["capabilities"]
        rows = {}
        for model, row in table["models"].items():
            rows[model] = _Row(
                claude_model=model,
                fm_id=row["bedrock"],
                family=row["family"],
                capabilities=capabilities(sets[row["capabilities"]], row.get("but", {})),
                surfaces=tuple(Surface(name) for name in row.get("surfaces", _DEFAULT_SURFACES)),
                prefixes=tuple(row["prefixes"]),
                mantle=row.get("mantle"),
            )
        # Of a model that nobody has measured we do not presume that it refuses what a client sends.
        lenient = {"sampling": True, "forced_tool_choice": True}
        return cls(
            rows=rows,
            aliases=table["aliases"],
            retired=table["retired"],
            newest=capabilities(sets[table["newest"]], lenient),
            unknown=capabilities(sets["unknown"]),
            overrides=overrides,
            discovered=discovered,
            as_of=table["as_of"],
        )

    def normalise(self, model: str) -> str:
        """The canonical Claude id of any spelling: alias, dated, undated, ``[1m]``, Bedrock's own.

        An id that nothing is known about comes back without its ``[…]`` suffix.
        """
        found = self._normal.get(model)
        if found is None:
            found = self._spelling(self._declared.get(_SUFFIX.sub("", model.strip()), model))
            if len(self._normal) >= RESOLVED_MAX:
                self._normal.clear()
            if len(model) <= NAME_MAX:
                self._normal[model] = found
        return found

    def _spelling(self, model: str) -> str:
        bare = _SUFFIX.sub("", model.strip())
        if bedrock_ids.is_bedrock_id(bare):
            fm_id = bedrock_ids.foundation_id(bare)
            if fm_id is None:
                return bare
            if fm_id in self._by_fm_id:
                return self._by_fm_id[fm_id]
            bare = bedrock_ids.claude_spelling(fm_id)
        if bare in self._rows:
            return bare
        if bare in self._aliases:
            return self._aliases[bare]
        undated = _DATE.sub("", bare)
        if undated in self._rows or (undated != bare and self._by_rule(undated)):
            return undated
        return self._aliases.get(undated, bare)

    def resolve(self, model: str, backend: Backend) -> Target | Unmapped:
        """Find what to call on *backend* for the Claude model *model*."""
        # The backend is compared by identity: its dozen fields would be hashed for every request.
        found = self._resolved.get((model, backend.name))
        if found is not None and found[0] is backend:
            return found[1]
        if len(self._resolved) >= RESOLVED_MAX:
            self._resolved.clear()
        target = self._look_up(model, backend)
        self._resolved[model, backend.name] = (backend, target)
        return target

    def _look_up(self, model: str, backend: Backend) -> Target | Unmapped:
        bare = _SUFFIX.sub("", model.strip())
        if not bare:
            return Unmapped("the request names no model")
        canonical = self.normalise(bare)
        override = self._overrides.get(canonical)
        if override is not None:
            return self._configured(canonical, override, backend)
        if bedrock_ids.is_bedrock_id(bare):
            return self._fixed(canonical, bare, backend, "id")
        row = self._row(canonical)
        if row is None:
            return Unmapped(self._why_not(canonical))
        return self._target(row, canonical, backend, row.source)

    def entries(self, backend: Backend) -> list[Entry]:
        """Everything that the table, the configuration and discovery know, for the ``models`` command."""
        found = {bedrock_ids.claude_spelling(fm_id) for fm_id in self._discovered if fm_id not in self._by_fm_id}
        models = dict.fromkeys([*self._rows, *self._overrides, *sorted(found)])
        return [Entry(model, self.resolve(model, backend)) for model in models]

    def _row(self, canonical: str) -> _Row | None:
        if canonical in self._rows:
            return self._rows[canonical]
        for fm_id in self._discovered:
            if bedrock_ids.claude_spelling(fm_id) == canonical and self._gone(canonical) is None:
                return self._made_up(canonical, fm_id, "discovered")
        return self._made_up(canonical, f"anthropic.{canonical}", "rule") if self._by_rule(canonical) else None

    def _made_up(self, canonical: str, fm_id: str, source: str) -> _Row:
        match = _RULE.match(_DATE.sub("", canonical))
        newest = generation(canonical) is not None and self._by_rule(_DATE.sub("", canonical))
        return _Row(
            claude_model=canonical,
            fm_id=fm_id,
            family=match[1] if match else None,
            capabilities=self._newest if newest else self._unknown,
            surfaces=_DEFAULT_SURFACES if newest else (Surface.INVOKE,),
            source=source,
        )

    @staticmethod
    def _by_rule(model: str) -> bool:
        return _RULE.match(model) is not None and (generation(model) or (0, 0)) >= RULE_SINCE

    def _configured(self, canonical: str, value: str, backend: Backend) -> Target | Unmapped:
        if bedrock_ids.is_bedrock_id(value):
            return self._fixed(canonical, value, backend, "config")
        row = self._row(self._spelling(value))
        if row is None:
            return Unmapped(f'models: {canonical} is set to "{value}", which is no Bedrock id, ARN or known model')
        return self._target(row, canonical, backend, "config")

    def _fixed(self, canonical: str, bedrock_id: str, backend: Backend, source: str) -> Target:
        """A Bedrock id that the client or the owner wrote: it goes out as it is, on any scope."""
        fm_id = bedrock_ids.foundation_id(bedrock_id)
        base = self._row(self._spelling(bedrock_id) if fm_id else canonical)
        mantle = backend.surface == Surface.MANTLE and fm_id is not None
        surfaces = _surfaces(base.surfaces if base else (Surface.INVOKE,), backend)
        if backend.surface == "auto" and bedrock_id.startswith("arn:"):
            # Whether the Messages surface takes an ARN is not established; InvokeModel does.
            surfaces = (Surface.INVOKE,)
        outgoing = (base.mantle if base and base.mantle else fm_id) if mantle and fm_id else bedrock_id
        return Target(
            claude_model=canonical,
            bedrock_id=outgoing,
            family=base.family if base else None,
            generation=generation(base.claude_model) if base else None,
            capabilities=base.capabilities if base else self._unknown,
            surfaces=surfaces,
            source=source,
            forms=(outgoing,),
        )

    def _target(self, row: _Row, canonical: str, backend: Backend, source: str) -> Target:
        if backend.surface == Surface.MANTLE:
            ids: tuple[str, ...] = (row.mantle or row.fm_id,)
        else:
            known = self._discovered.get(row.fm_id) or row.prefixes
            ids = bedrock_ids.forms(row.fm_id, backend.scope, backend.region, known)
        return Target(
            claude_model=canonical,
            bedrock_id=ids[0],
            family=row.family,
            generation=generation(row.claude_model),
            capabilities=row.capabilities,
            surfaces=_surfaces(row.surfaces, backend),
            source=source,
            forms=ids,
        )

    def _gone(self, canonical: str) -> str | None:
        for retired in self._retired:
            if canonical == retired or (retired.endswith("-") and canonical.startswith(retired)):
                return f"{canonical} is retired on Bedrock"
        return None

    def _why_not(self, canonical: str) -> str:
        return self._gone(canonical) or (
            f'{canonical} is in no table and fits no naming rule; name its Bedrock id under "models:" in config.yaml'
        )


def generation(model: str) -> tuple[int, int] | None:
    """The generation in a Claude id: ``(5, 5)`` of ``claude-opus-5-5``, ``(5, 0)`` of ``claude-opus-5``."""
    match = _RULE.match(_DATE.sub("", model))
    return (int(match[2]), int(match[3] or 0)) if match else None


def _surfaces(preferred: tuple[Surface, ...], backend: Backend) -> tuple[Surface, ...]:
    return preferred if backend.surface == "auto" else (Surface(backend.surface),)
