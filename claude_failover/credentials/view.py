"""What may be shown of a credential: where it is from, what it is, until when it lasts. Never the value."""

from __future__ import annotations

from dataclasses import dataclass

from claude_failover.core.types import Epoch
from claude_failover.errors import CredentialError


@dataclass(frozen=True, slots=True)
class CredentialView:
    """One credential, or the lack of one, for ``status``, ``token status`` and ``doctor``."""

    source: str
    """A variable's name, a file, ``keyring``, or a provider of the AWS chain."""
    kind: str = ""
    """``login token``, ``api key``, ``bearer token``, ``temporary keys``, ``long-term keys``; empty: there is none."""
    expires: Epoch | None = None
    tail: str = ""
    """The last four characters of the value, or of an AWS access key's id."""
    problem: str = ""
    """Why it cannot be used, in one sentence; empty if it can, as far as can be known without asking anybody."""
    hint: str = ""
    """What to type."""
    warning: str = ""
    """It can be used, and still: a file that others can read, a refresh that failed."""
    region: str = ""
    """AWS only."""

    @property
    def usable(self) -> bool:
        """Whether requests can get it."""
        return not self.problem

    @property
    def text(self) -> str:
        """One line for people."""
        if self.problem:
            return self.problem
        shown = f" …{self.tail}" if self.tail else ""
        return f"{self.kind}{shown} from {self.source}" + (f" ({self.warning})" if self.warning else "")


def of_error(source: str, error: CredentialError) -> CredentialView:
    """The view of a credential that could not be got."""
    return CredentialView(source, problem=str(error), hint=error.hint or "")
