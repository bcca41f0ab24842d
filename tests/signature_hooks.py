"""Hooks by which every signed request of a test is signed once more by others; a ``conftest.py`` imports them.

Our simulated AWS says whether a signature is right, with code of our own. So that it cannot be wrong in the same way as
what signs, ``@smithy/signature-v4`` says it too, for every request that any simulated AWS of this run was sent.

In CI it must be there. Elsewhere ``make test`` needs no Node.js: without it, or before ``make real`` has fetched the
packages, the run says that nobody was asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from claude_failover.drill import bedrock_access, sigv4
from claude_failover.drill.script import Refusal, Seen
from claude_failover.drill.sigv4 import Credential, verify
from tests import aws_account
from tests.smithy import Signer, is_installed, question

_SIGNED = re.compile(r"Credential=([^/]+)/((\d{8})/\S+/\S+/aws4_request),\s*SignedHeaders=(\S+),\s*Signature=(\w+)")


@dataclass(frozen=True, slots=True)
class Judged:
    """A signed request, and what the simulated AWS thought of its signature."""

    request: Seen
    secret: str
    scope: str
    signed: str
    given: str
    accepted: bool


@dataclass
class Register:
    """What the test at hand has sent."""

    judged: list[Judged] = field(default_factory=list)
    signer: Signer | None = None
    """Started with the first signed request."""

    def note(self, request: Seen, credentials: Mapping[str, Credential], *, accepted: bool) -> None:
        """Keep a request that is signed with a known key and not for another day than it says."""
        match = _SIGNED.search(request.header("authorization") or "")
        credential = credentials.get(match[1]) if match else None
        if match and credential is not None and match[3] == (request.header("x-amz-date") or "")[:8]:
            self.judged.append(Judged(request, credential.secret, match[2], match[4], match[5], accepted))

    def disagreements(self) -> list[str]:
        """Every request about which the second signer is of another opinion; afterwards the register is empty."""
        judged, self.judged = self.judged, []
        if not judged or not is_asked():
            return []
        if self.signer is None:
            self.signer = Signer()
        theirs = self.signer.sign([question(one.request, one.secret, one.scope, one.signed) for one in judged])
        found = []
        for one, smithy in zip(judged, theirs, strict=True):
            what = f"{one.request.method} {one.request.target}"
            if smithy != sigv4.signature(one.request, one.secret, one.scope, one.signed):
                found.append(f"{what}: our verifier and smithy compute different signatures")
            elif one.accepted and smithy != one.given:
                found.append(f"{what}: accepted, but smithy signs it differently")
        return found


current = Register()


def is_asked() -> bool:
    """Whether there is a second signer, or must be one."""
    return bool(os.environ.get("CI")) or is_installed()


def pytest_report_header() -> str:
    """Say whether signatures get a second opinion."""
    if is_asked():
        return "signatures: each is computed once more by @smithy/signature-v4"
    return "signatures: nobody is asked for a second opinion (no Node.js, or `make real` has not run yet)"


@pytest.fixture(scope="session", autouse=True)
def signatures_are_noted() -> Iterator[None]:
    """Hear of every request whose signature is checked, while tests run."""

    def noting(
        request: Seen, credentials: Mapping[str, Credential], region: str, service: str, now: float
    ) -> Refusal | None:
        problem = verify(request, credentials, region, service, now)
        current.note(request, credentials, accepted=problem is None)
        return problem

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bedrock_access, "verify", noting)
        patch.setattr(aws_account, "verify", noting)
        yield
    if current.signer is not None:
        current.signer.close()
        current.signer = None


@pytest.fixture(autouse=True)
def signatures_are_verified(signatures_are_noted: None) -> Iterator[None]:
    """When a test is over and cleaned up, fail it for what others would have signed differently."""
    yield
    assert current.disagreements() == []
