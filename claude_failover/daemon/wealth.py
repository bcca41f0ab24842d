"""What is known about a backend's credential, without the credential."""

from __future__ import annotations

from dataclasses import dataclass

from claude_failover.core.types import Epoch


@dataclass(frozen=True, slots=True)
class Credential:
    """For ``status``, ``doctor`` and the words of ``start``."""

    usable: bool
    text: str
    """Source, kind, what is wrong: one line, never the value."""
    where: str = ""
    """Base URL, or region and scope."""
    expires: Epoch | None = None
    hint: str = ""
    """What to type if it is not usable."""
