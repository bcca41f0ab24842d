"""Mending: whether the backend that has just refused may do better at once.

Two refusals are about what we did and not about the request: Bedrock names a field or a beta that it does not
take, which is left out from now on; the Claude API refuses a token of ours, whose sources are looked at again.
Everything else is left as it was judged.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from claude_failover.core.attempt import Attempt
from claude_failover.core.decision import REFUSED_ONLY_THERE
from claude_failover.core.policy import Try
from claude_failover.core.repair import Denials
from claude_failover.core.types import Instant, Kind, Outcome, Transition, Verdict


def mend(
    attempt: Attempt, verdict: Verdict, tries: Sequence[Try], denials: Denials, now: Instant
) -> tuple[Verdict, list[Transition]]:
    """Judge a failed attempt anew, knowing what we sent.

    Args:
        attempt: What has failed, before the commit.
        verdict: From the answer alone.
        tries: Those of this request before it.
        denials: What Bedrock refuses; learns.
        now: Both clocks.

    Returns:
        The verdict that counts, and what was learned.
    """
    if attempt.backend.kind is Kind.ANTHROPIC:
        return (_refused_token(attempt, verdict, tries) if attempt.stored and attempt.status == 401 else verdict), []
    if verdict.outcome is not Outcome.REPAIRABLE:
        return verdict, []
    return _refused_field(attempt, verdict, denials, now)


def _refused_token(attempt: Attempt, verdict: Verdict, tries: Sequence[Try]) -> Verdict:
    """Once, the token's sources are looked at again; twice, the refusal stands as it came."""
    name = attempt.backend.name
    again = any(one.backend == name and one.verdict.outcome is Outcome.CREDENTIALS for one in tries)
    return verdict if again else structs.replace(verdict, outcome=Outcome.CREDENTIALS)


def _refused_field(
    attempt: Attempt, verdict: Verdict, denials: Denials, now: Instant
) -> tuple[Verdict, list[Transition]]:
    """Learn what is named; if nothing is, this backend cannot serve the request, and nobody is to blame."""
    assert attempt.translated is not None, "what goes to Bedrock was translated"
    assert attempt.target is not None, "... for a model"
    assert attempt.surface is not None, "... and a surface"
    status = attempt.status or 400
    repair = denials.propose(status, attempt.whole(), verdict, attempt.translated, attempt.target, attempt.surface, now)
    if repair is None:
        return structs.replace(verdict, outcome=Outcome.CLIENT_ERROR, error_type=REFUSED_ONLY_THERE), []
    return verdict, denials.learn(repair, now)
