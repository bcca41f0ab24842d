"""Settings in the making: what has been read so far, where from, and what is wrong with it.

Rule: every value enters through here with its origin, so that a later complaint about it (a
threshold above its limit) can point to the line or the variable that set it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from claude_failover import config_schema as schema
from claude_failover.config_schema import BACKEND_KEYS, SECTIONS
from claude_failover.config_yaml import Problem
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    words: str = DEFAULT
    """``default``, ``config.yaml:12``, ``env NAME``, ``flag``."""
    line: int = 0
    """In the file, where it is from there."""
    where: str = ""
    """How a complaint begins where it is not from the file."""


def _default_kinds() -> dict[str, Kind]:
    return {backend.name: backend.kind for backend in schema.DEFAULTS.backends}


@dataclass(slots=True)
class Draft:
    """Settings in the making."""

    file: str
    """Its name, as messages show it."""
    problems: list[Problem]
    values: dict[str, object] = field(default_factory=dict)
    """Dotted key -> value; backends by name: ``backends.bedrock.region``."""
    origins: dict[str, Origin] = field(default_factory=dict)
    """Of everything that is not a default."""
    backends: dict[str, Kind] = field(default_factory=_default_kinds)
    """In their order."""
    models: dict[str, str] = field(default_factory=dict)
    fallbacks: dict[str, tuple[BackendName, ...]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def complain(self, line: int, text: str) -> None:
        """Note what is wrong in the file."""
        self.problems.append(Problem(line, text))

    def blame(self, text: str, *keys: str) -> None:
        """Note what is wrong with a combination; the last of *keys* that was set by anybody is where."""
        origin = next((self.origins[key] for key in reversed(keys) if key in self.origins), Origin())
        self.problems.append(Problem(origin.line, text, origin.where))

    def warn(self, text: str, key: str) -> None:
        """Note what is allowed but perhaps not meant."""
        self.warnings.append(f"{self.origin(key)}: {text}" if key in self.origins else text)

    def origin(self, key: str) -> str:
        """Say where a key's value is from."""
        return self.origins[key].words if key in self.origins else DEFAULT

    def from_file(self, key: str, line: int) -> None:
        """Note that a line of the file set *key*."""
        self.origins[key] = Origin(f"{Path(self.file).name}:{line}", line)

    def build(self) -> Settings:
        """Put the values into the core's dataclasses; only meaningful without problems."""
        settings = schema.DEFAULTS
        for section in SECTIONS:
            mine: dict[str, Any] = {
                key.name: self.values[f"{section.name}.{key.name}"]
                for key in section.keys
                if f"{section.name}.{key.name}" in self.values
            }
            if mine:
                settings = _put(settings, section.target, mine)
        return replace(
            settings,
            backends=tuple(self._backend(name, kind) for name, kind in (self.backends or _default_kinds()).items()),
            models=dict(self.models),
            fallbacks=dict(self.fallbacks),
        )

    def _backend(self, name: str, kind: Kind) -> Backend:
        given: dict[str, Any] = {
            key.name: self.values[f"backends.{name}.{key.name}"]
            for key in BACKEND_KEYS
            if f"backends.{name}.{key.name}" in self.values and key.name not in {"name", "kind"}
        }
        return Backend(BackendName(name), kind, **given)

    def all_origins(self) -> dict[str, str]:
        """Say of every key that has a value where it is from."""
        keys = [f"{section.name}.{key.name}" for section in SECTIONS for key in section.keys]
        keys += [
            f"backends.{name}.{key.name}"
            for name, kind in self.backends.items()
            for key in BACKEND_KEYS
            if key.only in {None, kind}
        ]
        keys += [f"models.{model}" for model in self.models]
        keys += [f"fallbacks.{model}" for model in self.fallbacks]
        return {key: self.origin(key) for key in keys}


def _put(owner: Any, target: tuple[str, ...], values: dict[str, Any]) -> Any:
    """Replace fields of a dataclass that is *target* deep inside another."""
    if not target:
        return replace(owner, **values)
    inner = getattr(owner, target[0])
    return replace(owner, **{target[0]: _put(inner, target[1:], values)})


def unknown(word: str, allowed: Iterable[str], what: str) -> str:
    """Say that *word* is none of *allowed*, and which was probably meant."""
    allowed = list(allowed)
    near = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    guess = f'; did you mean "{near[0]}"?' if near else ""
    return f'unknown {what} "{word[:80]}"{guess} (allowed: {", ".join(allowed)})'
