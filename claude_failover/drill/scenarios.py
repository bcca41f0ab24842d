"""The drill's scenarios: what breaks, and what must become of it.

Each runs alone, with a daemon and two simulators of its own. Attempts are exact where the policy
leaves no choice; together with who answers they say more than a time, which depends on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from claude_failover.drill import bedrock_faults, claude_faults
from claude_failover.drill.client import MODEL, Turn
from claude_failover.drill.script import Answer, Drop, Garbage, Step, cut, in_band, silent, stalled, tool_call

IMPATIENT: Final[Mapping[str, Any]] = {
    "timeouts": {"connect": 1, "first_byte": 1, "first_content": 1, "stream_idle": 1}
}
"""Silence is judged after a second here, after minutes in earnest."""

HASTY: Final[Mapping[str, Any]] = {"retry_policy": {"RateLimitError": {"max_wait": 0}}}
"""Waits for nobody; in earnest up to a minute, if that is when the first backend may serve again."""

PENNILESS: Final[Mapping[str, Any]] = {"cost_tracking": {"daily_limit": 0.01, "alert_threshold": 0.01}}

WHOLE: Final = Turn(stream=False)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that goes wrong."""

    name: str
    title: str
    """For people: what breaks."""
    claude: tuple[Step, ...] = ()
    """What the simulated Claude API does, request by request; good answers afterwards."""
    bedrock: tuple[Step, ...] = ()
    claude_always: Step | None = None
    """Instead of good answers afterwards."""
    bedrock_always: Step | None = None
    by: str = "bedrock"
    """Who must answer the last turn; empty: nobody can, and the client must get an honest error."""
    attempts: tuple[int, int] = (1, 1)
    """How many requests must reach Claude and Bedrock over the whole scenario."""
    turns: tuple[Turn, ...] = (Turn(),)
    """Sent one after the other. A turn without text goes on with the tool call that the last one brought."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    surface: str = "auto"
    """Of Bedrock."""
    outage: bool = False
    """The Claude API refuses every connection."""
    broken: bool = False
    """The first answer must break off in front of the client, who then repeats the turn."""
    status: int = 429
    """Of the honest error, where *by* is empty."""
    should_retry: str | None = None
    """What ``x-should-retry`` of the honest error must say; ``None``: anything."""


def _limits() -> tuple[Scenario, ...]:
    limited = claude_faults.plan_limit()
    return (
        Scenario("plan-limit", "the 5-hour limit of the subscription is reached", (limited,)),
        Scenario("throttle", "429 with retry-after: 7", (claude_faults.throttle(7),)),
        Scenario(
            "bare-429", "429 that says neither why nor until when, twice", (claude_faults.bare_limit(),) * 2,
            attempts=(2, 1),
        ),
        Scenario("family-limit", "the week of the model's family is used up", (claude_faults.family_limit(),)),
        Scenario("billing", "the account's credits or its spend cap are used up", (claude_faults.billing(),)),
        Scenario(
            "login", "401: the login has expired; the client renews it itself", (claude_faults.client_error(401),),
            by="", status=401, attempts=(1, 0),
        ),
        Scenario(
            "cooldown", "the limit holds: the next turns do not ask the Claude API again", (limited,),
            turns=(Turn(), Turn("And now?"), Turn("And then?")), attempts=(1, 3),
        ),
        Scenario("non-streaming", "the 5-hour limit, request without streaming", (limited,), turns=(WHOLE,)),
        Scenario(
            "tool-loop", "the limit strikes between a tool call and its result",
            (tool_call("Bash", {"command": "ls"}, said="Looking."), limited),
            turns=(Turn(), Turn("")), attempts=(2, 1),
        ),
    )  # fmt: skip


def _overloads() -> tuple[Scenario, ...]:
    overloaded, failing = claude_faults.overloaded(), claude_faults.server_error(500)
    return (
        Scenario("overloaded", "529, and again after the retry", (overloaded,) * 2, attempts=(2, 1)),
        Scenario("blip", "529 once: the retry is answered", (overloaded,), by="claude", attempts=(2, 0)),
        Scenario("in-band", "an overload inside a 200, before any content", (in_band("start"),) * 2, attempts=(2, 1)),
        Scenario("server-error", "500, and again after the retry", (failing,) * 2, attempts=(2, 1)),
    )


def _network() -> tuple[Scenario, ...]:
    return (
        Scenario("outage", "the Claude API refuses connections", attempts=(0, 1), outage=True),
        Scenario("reset", "connections are reset before any answer", (Drop(),) * 2, attempts=(2, 1)),
        Scenario("garbage", "what comes back is not HTTP", (Garbage(),) * 2, attempts=(2, 1)),
        Scenario("silence", "no response headers", (silent(),), settings=IMPATIENT),
        Scenario("stall", "headers and a beginning, then no content", (stalled("start"),), settings=IMPATIENT),
        Scenario("cut-early", "the stream is cut before its first content", (cut("start"),) * 2, attempts=(2, 1)),
        Scenario(
            "cut-late", "the stream is cut after content: the client repeats", (cut("content"),), broken=True
        ),
        Scenario(
            "stall-late", "the stream falls silent after content", (stalled("content"),), broken=True,
            settings=IMPATIENT,
        ),
    )  # fmt: skip


def _bedrock() -> tuple[Scenario, ...]:
    limited = claude_faults.plan_limit()
    refusing = bedrock_faults.extra_input("metadata")
    return (
        Scenario("invoke", "Bedrock over InvokeModel, event stream", (limited,), surface="invoke"),
        Scenario(
            "invoke-whole", "Bedrock over InvokeModel, without streaming", (limited,), surface="invoke", turns=(WHOLE,)
        ),
        Scenario("repair", "Bedrock refuses a field of the request", (limited,), (refusing,), attempts=(1, 2)),
        Scenario(
            "expired-token", "the AWS session token has expired", (limited,), (bedrock_faults.expired_token(),),
            attempts=(1, 2),
        ),
        Scenario(
            "bedrock-unavailable", "503 of Bedrock, once", (limited,), (bedrock_faults.unavailable(),), attempts=(1, 2)
        ),
        Scenario(
            "both-limited", "Bedrock is throttled too: the Claude API's own error", claude_always=limited,
            bedrock_always=bedrock_faults.throttled(), by="", attempts=(1, 1), settings=HASTY,
        ),
        Scenario(
            "spend-limit", "the daily spend limit is reached: refused, not retried", (limited,), by="",
            attempts=(1, 0), settings=PENNILESS, should_retry="false",
        ),
    )  # fmt: skip


ALL: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario for scenario in (*_limits(), *_overloads(), *_network(), *_bedrock())
}
"""By name, in the order of the table."""

SLOW: Final = frozenset({
    "bare-429", "overloaded", "blip", "in-band", "server-error", "garbage", "silence", "stall", "cut-early", "cut-late",
    "stall-late", "bedrock-unavailable",
})  # fmt: skip
"""These take seconds by their nature: retries wait, silence is waited out. They wait together."""

HEALTHY: Final = Answer()

__all__ = ["ALL", "HEALTHY", "MODEL", "SLOW", "Scenario"]
