"""The parts of hand-written pages that the code writes: state diagrams, tables of outcomes, events, metrics, alerts.

A page says where with ``<!-- NAME: generated -->`` and ``<!-- NAME: end -->``. The words beside a name are here, and a
name without words is an error: nothing can be added to the code that the pages do not mention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from claude_failover.core import breaker
from claude_failover.core.alert_rules import RULES
from claude_failover.core.gauges import BackendGauges, Gauges
from claude_failover.core.phase import PHASES, Phase
from claude_failover.core.types import BackendName, Epoch, Outcome, Reason
from claude_failover.drill.scenarios import ALL
from claude_failover.events.names import AUDITED, NAMES, EventName, level_of
from claude_failover.metrics import Metrics
from claude_failover.metrics.tally import PREFIX

ROOT: Final = Path(__file__).parents[1]

OUTCOMES: Final[Mapping[Outcome, str]] = {
    Outcome.SUCCESS: "a complete answer",
    Outcome.PLAN_LIMIT: "429: a subscription's 5-hour or weekly window is used up; every model of that login",
    Outcome.FAMILY_LIMIT: "429: the window of one model family is used up",
    Outcome.THROTTLED: "429: a rate limit of an API key, or of Bedrock; that model",
    Outcome.TRANSIENT_LIMIT: "429 that names neither a window nor an end; five in 60 s count as an overload",
    Outcome.ENTITLEMENT: "429: the account may not use this feature (1M context, fast mode); passed through",
    Outcome.BILLING: "credits, spend cap, payment; one real request every 15 minutes",
    Outcome.OVERLOADED: "529, or `overloaded_error` inside a 200",
    Outcome.SERVER_ERROR: "500, 502, 503, 504, 520 to 524",
    Outcome.UNREACHABLE: "DNS, connect, or reset before any header; blamed only if another backend can be reached",
    Outcome.TLS_FAILED: "the certificate does not verify; the backend is blocked for 5 minutes",
    Outcome.PIN_FAILED: "none of the pinned keys; blocked until the pins change",
    Outcome.SILENT: "no headers by `timeouts.first_byte`, or no content by `timeouts.first_content`; counts double",
    Outcome.CUT: "the body ended or broke without its proper end",
    Outcome.STALLED: "`timeouts.stream_idle` of silence after the commit",
    Outcome.MALFORMED: "bytes that are not what the protocol says, or a web page",
    Outcome.CLIENT_ERROR: "400, 401, 403, 404, 409, 413, 422: the client's to mend; returned byte for byte",
    Outcome.REPAIRABLE: "Bedrock named a beta, field or thinking block: asked again without it, and remembered",
    Outcome.TOO_LONG: "the prompt does not fit; the client is told so that it compacts",
    Outcome.CREDENTIALS: "the backend's own credential is expired or refused: refreshed and tried once more",
    Outcome.DENIED: "the account may not use this model there; that model, until reload",
    Outcome.CLIENT_GONE: "the client left; what was seen is still counted",
    Outcome.LOCAL: "our own machine: descriptors, memory, the end of the daemon; evidence against nobody",
}

REASONS: Final[Mapping[Reason, str]] = {
    Reason.PRIMARY: "the first backend, and it is available",
    Reason.FORCED: "`force-backend`, `run --backend` or the request's header",
    Reason.PREFERRED: "cheaper, or preferred over paid extra usage",
    Reason.STICKY: "the conversation's prompt cache is there, and it is in the middle of a tool loop",
    Reason.PROBE: "the one real request that is let through to a recovering backend",
    Reason.RETRY: "once more on the same backend",
    Reason.REPAIR: "once more, without what Bedrock refused",
    Reason.COOLDOWN: "the backend before it said until when it will refuse",
    Reason.BREAKER: "the backend before it is failing and rests",
    Reason.PLAN_LIMIT: "the backend before it answered so",
    Reason.FAMILY_LIMIT: "the backend before it answered so",
    Reason.THROTTLED: "the backend before it answered so",
    Reason.TRANSIENT_LIMIT: "the backend before it answered so",
    Reason.BILLING: "the backend before it answered so",
    Reason.OVERLOADED: "the backend before it answered so",
    Reason.SERVER_ERROR: "the backend before it answered so",
    Reason.UNREACHABLE: "the backend before it cannot be reached",
    Reason.TLS_FAILED: "the certificate or the pinned key of the backend before it is wrong",
    Reason.SILENT: "the backend before it said nothing in time",
    Reason.CUT: "the backend before it broke off, this request or the conversation's last one",
    Reason.MALFORMED: "the backend before it sent nonsense",
    Reason.DENIED: "the account may not use the model at the backend before it",
    Reason.CREDENTIALS: "the credential was refreshed, or the backend before it has none that works",
    Reason.LAST_RESORT: "every backend refuses: the one that recovers soonest is tried early",
    Reason.SPEND_LIMIT: "the daily limit or a session's budget stands in the way",
    Reason.OFFLINE: "no backend can be reached",
    Reason.BYPASS: "our own code failed; the request went to the primary untouched",
}

EVENTS: Final[Mapping[EventName, str]] = {
    "attempt.ended": "An attempt is over: backend, outcome, times, cost. Only at `logging.level: debug`.",
    "exchange.ended": "A request is over: the one line that says what happened to it. A warning unless it was served.",
    "bypass.happened": "Our own code failed; before the first byte the request went straight to the primary.",
    "client.refused": "The gate or the parser refused a client; `why` says for what.",
    "cooldown.started": "A backend said until when it will refuse: `until`, `scope`, `outcome`.",
    "cooldown.ended": "It serves again.",
    "breaker.changed": "A circuit breaker changed state: `from`, `to`. `info` when it closes.",
    "failover.happened": "A request went on at another backend: `from`, `backend`, `reason`.",
    "failback.happened": "New requests go to a backend again that they had left.",
    "override.ended": "An order of `force-backend` is over: by hand, by its time, or its backend is gone.",
    "offline.began": "No backend can be reached; none is blamed.",
    "offline.ended": "One answers again.",
    "denial.learned": "A backend refused a field, beta or id; it is not sent there again for a while.",
    "beta.dropped": "The client sent a beta that we do not know; Bedrock is not sent it. Said once for each.",
    "backend.blocked": "A certificate or a pinned key is wrong; nothing is sent there.",
    "spend.alerted": "Today's spend passed `cost_tracking.alert_threshold`; once a day.",
    "spend.reached": "The daily limit, or a session's budget, refused a request; once a day.",
    "daemon.started": "It serves: version, pid, address.",
    "daemon.drained": "It is about to stop; `left` is how many requests were cut off.",
    "daemon.stopped": "The last line of a daemon that ended in order.",
    "config.reloaded": "A changed configuration is in force; `changed` names what.",
    "config.refused": "A changed configuration was refused; the old one stays.",
    "override.set": "Somebody ordered a backend, or `auto`: who (`uid`, `pid`), until when.",
    "limit.changed": "What a plan's windows say has changed: allowed, warned, rejected, extra usage.",
    "machine.slept": "The wall clock went on while the machine slept.",
    "loop.lagged": "Something held the daemon up for more than half a second.",
    "control.commanded": "`stop` or `reload` came over the control channel: by whom.",
    "credential.loaded": "A credential was found: source, kind, end. Never the value.",
    "credential.refreshed": "A credential was renewed.",
    "credential.failed": "A credential is missing, expired or cannot be renewed: why, and what to type.",
    "credential.moved": "A credential comes from another source than before: `was`, `source`. Did you do that?",
    "token.changed": "`token set` or `token clear`: which, where, by whom. Never the value.",
    "ledger.failed": "The ledger, `state.json` or the models file cannot be written or was set aside.",
    "ledger.recovered": "What waited in memory is written.",
    "price.missed": "A model is not in the price table; the dearest known price was taken.",
    "alert.raised": "An alert began, or is said again (`change`).",
    "alert.resolved": "It is over.",
    "alert.failed": "A channel did not take an alert, for good.",
    "code.crashed": "An exception of our own code: where, and its trace without values.",
    "library.logged": "A warning of a library that we use.",
    "log.dropped": "Lines of the log were lost: the disk is full, or they came faster than it takes them.",
}


def diagram(start: str, arrows: Iterable[tuple[str, str, str]], ends: Iterable[str] = ()) -> str:
    """Draw a machine: its first state, (from, to, why) of each transition, its last states."""
    lines = ["stateDiagram-v2", f"    [*] --> {start}"]
    lines += [f"    {before} --> {after}" + (f": {why}" if why else "") for before, after, why in arrows]
    lines += [f"    {end} --> [*]" for end in ends]
    return "\n".join(["```mermaid", *lines, "```"])


def phases() -> str:
    """What the client of a request has seen, from ``core/phase.py``."""
    arrows = [(one.value, after.value, "") for one in Phase for after in Phase if after in PHASES[one]]
    return diagram(Phase.WAITING.value, arrows, [one.value for one in Phase if not PHASES[one]])


def breakers() -> str:
    """The circuit breaker, from ``core/breaker.py``."""
    arrows = [
        (state.value, after.value, event.value.replace("_", " "))
        for state, row in breaker.TRANSITIONS.items()
        for event, after in row.items()
    ]
    return diagram(breaker.State.CLOSED.value, arrows)


def table(rows: Iterable[tuple[str, ...]], *head: str) -> str:
    """Lay out a Markdown table."""
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)])


def outcomes() -> str:
    """Every way in which an attempt ends, and which of the two clocks it moves."""
    rows = (
        (f"`{one}`", OUTCOMES[one], "cooldown" if one.is_limit else "breaker" if one.blames_backend else "-")
        for one in Outcome
    )
    return table(rows, "outcome", "what it is", "moves")


def reasons() -> str:
    """Every reason why a backend was chosen or left."""
    return table(((f"`{one}`", REASONS[one]) for one in Reason), "reason", "why this backend")


def events() -> str:
    """Every event."""
    rows = (
        (f"`{name}`", level_of(name).label, "yes" if name in AUDITED else "", EVENTS[name]) for name in sorted(NAMES)
    )
    return table(rows, "event", "level", "audit", "what happened")


def families() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and help of every metric of ours."""
    metrics = Metrics(BackendName("claude"), [], lambda: Gauges(Epoch(1.0), (BackendGauges(BackendName("claude")),)))
    for family in metrics._registry.collect():
        if family.name.startswith(PREFIX):
            name = family.name + ("_total" if family.type == "counter" else "")
            yield name, family.type, tuple(getattr(family, "_labelnames", ())), family.documentation


def metric_table() -> str:
    """Every metric."""
    rows = (
        (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), text)
        for name, kind, labels, text in families()
    )
    return table(rows, "metric", "type", "labels", "what it is")


def alerts() -> str:
    """Every rule of the daemon's own alerts, with its name in Prometheus and its place in the runbook."""

    def prometheus(code: str) -> str:
        name = "ClaudeFailover" + "".join(part.capitalize() for part in code.split("_"))
        return f"[{name}](runbook.md#{name.lower()})"

    rows = ((f"`{rule.code}`", rule.severity.value, rule.title, prometheus(rule.code)) for rule in RULES)
    return table(rows, "alert", "severity", "what it says", "in Prometheus, and what to do")


def drills() -> str:
    """Every scenario of the fire drill."""
    return table(((f"`{name}`", one.title) for name, one in ALL.items()), "scenario", "what breaks")


BLOCKS: Final[Mapping[str, Callable[[], str]]] = {
    "phases": phases,
    "breaker": breakers,
    "outcomes": outcomes,
    "reasons": reasons,
    "events": events,
    "metrics": metric_table,
    "alerts": alerts,
    "drills": drills,
}

PAGES: Final = ("how-it-decides.md", "events.md", "monitoring.md", "http.md", "failover.md")
"""Pages of ``docs/`` with such parts."""


def filled(page: str) -> str:
    """The page with every part written anew.

    Raises:
        ValueError: A part has a beginning and no end.
    """
    for name, block in BLOCKS.items():
        begin, end = f"<!-- {name}: generated -->\n", f"<!-- {name}: end -->"
        before, found, rest = page.partition(begin)
        if found:
            after = rest[rest.index(end) :]
            page = f"{before}{begin}{block()}\n{after}"
    return page


def files() -> dict[Path, str]:
    """The pages, as they should be."""
    paths = [ROOT / "docs" / name for name in PAGES]
    return {path: filled(path.read_text("utf-8")) for path in paths}
