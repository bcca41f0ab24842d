"""What may be shown of a credential: where it is from, what it is, until when it lasts. Never the value."""

from __future__ import annotations

from dataclasses import dataclass

from claude_failover.core.types import Epoch


@dataclass(frozen=True, slots=True)
class CredentialView:
    """One credential, or the lack of one, for ``status``, ``token status`` and ``doctor``."""

    source: str
    """A variable's name, a file, ``keyring``, or a provider of the AWS chain."""
    kind: str = ""
    """``login``, ``api key``, ``bearer token``, ``temporary keys``, ``long-term keys``; empty if there is none."""
    expires: Epoch | None = None
    tail: str = ""
    """The last four characters of the value, or of an AWS access key's id."""
    in_use: bool = False
    """This is the one that requests get."""
    problem: str | None = None
    """Why it cannot be used, in one sentence."""
    hint: str | None = None
    """What to type."""
