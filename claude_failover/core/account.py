"""The account of one exchange: its timeline, its attempts, the errors it met.

It decides nothing. Two parts of it are read for decisions: the tries, by the policy, and the errors, by
:mod:`~claude_failover.core.reply`.
"""

from __future__ import annotations

from typing import Final

from claude_failover.core import reply
from claude_failover.core.attempt import Attempt
from claude_failover.core.counsel import Counsel, ErrorAnswer
from claude_failover.core.policy import Go, Try
from claude_failover.core.request import Peek
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Epoch,
    ExchangeRecord,
    Instant,
    Monotonic,
    Reason,
    Seconds,
    Step,
    Transition,
    TransitionKind,
    Verdict,
)

STEPS_MAX: Final = 200
"""Lines of a timeline; an exchange of four attempts has about thirty."""

REWRITES_MAX: Final = 12
"""How much of what translation changed is named in one line."""

_CHOSEN_FREELY: Final = frozenset({Reason.FORCED, Reason.PREFERRED})
"""Reasons to be at another backend than the primary that are nobody's failure."""


class Account:
    """What is written down while an exchange goes on.

    Args:
        exchange: Its id.
        peek: What we know of the request.
        model: The canonical Claude id.
    """

    def __init__(self, exchange: str, peek: Peek, model: str) -> None:
        self.exchange = exchange
        self.started = Instant(Epoch(0.0), Monotonic(0.0))
        self.tries: list[Try] = []
        self.errors: list[ErrorAnswer] = []
        self.records: list[AttemptRecord] = []
        self.steps: list[Step] = []
        self.status: int | None = None
        self.answered_by: Attempt | None = None
        self._peek = peek
        self._model = model
        self._waited = 0.0
        self._wait_began: Monotonic | None = None

    def step(self, now: Instant, what: str, backend: str = "", detail: str = "") -> None:
        """Add a line to the timeline."""
        if len(self.steps) < STEPS_MAX:
            self.steps.append(Step(Seconds(now.monotonic - self.started.monotonic), what, backend, detail))

    def wait(self, now: Instant, why: str) -> None:
        """A wait begins."""
        self._wait_began = now.monotonic
        self.step(now, "waited", detail=why)

    def resume(self, now: Instant) -> None:
        """The wait is over."""
        if self._wait_began is not None:
            self._waited += now.monotonic - self._wait_began
            self._wait_began = None

    def opened(self, attempt: Attempt, go: Go, now: Instant) -> list[Transition]:
        """An attempt begins; tells the world if the request has moved for it, or has betas that nobody knows."""
        news = self._switch(go, now) if self.tries else []
        self.step(now, "opened", go.backend, go.detail or go.reason.value)
        rewrites = attempt.translated.rewrites if attempt.translated is not None else ()
        if rewrites:
            told = [f"{one.action} {one.path}" for one in rewrites[:REWRITES_MAX]]
            more = [f"{len(rewrites) - REWRITES_MAX} more"] if len(rewrites) > REWRITES_MAX else []
            self.step(now, "translated", go.backend, "; ".join(told + more))
        if attempt.news:
            news += [self._unknown(beta, go.backend) for beta in attempt.news]
        return news

    def _unknown(self, beta: str, backend: BackendName) -> Transition:
        why = "not on any list of ours, so Bedrock is not sent it; a newer client's?"
        return Transition(TransitionKind.BETA_DROPPED, backend, self._model, why, fields={"beta": beta})

    def _switch(self, go: Go, now: Instant) -> list[Transition]:
        last = self.tries[-1]
        if last.backend == go.backend:
            return []
        self.step(now, "failed over", go.backend, f"{last.backend}: {last.verdict.outcome.value}")
        switch = Transition(
            TransitionKind.FAILED_OVER,
            backend=go.backend,
            model=self._model,
            detail=last.verdict.detail,
            fields={"from": last.backend, "reason": last.verdict.outcome.value, "exchange": self.exchange},
        )
        return [switch]

    def committed(self, attempt: Attempt, now: Instant) -> None:
        """An attempt's answer goes to the client; nobody will be told any more what the others said."""
        self.answered_by = attempt
        self.errors = []
        self.step(now, "committed", attempt.backend.name)

    def failed(self, attempt: Attempt, verdict: Verdict, now: Instant, what: str = "failed") -> None:
        """An attempt ended badly."""
        self.step(now, what, attempt.backend.name, f"{verdict.outcome.value}: {verdict.detail}".rstrip(": "))

    def close(self, attempt: Attempt, verdict: Verdict, counsel: Counsel, now: Instant) -> AttemptRecord:
        """Write down how an attempt ended."""
        record = attempt.record(verdict, self.exchange, self._peek, counsel.prices, now)
        self.records.append(record)
        self.tries.append(Try(attempt.backend.name, attempt.reason, verdict, now.monotonic))
        return record

    def keep_error(self, attempt: Attempt, verdict: Verdict, counsel: Counsel) -> None:
        """Keep what an upstream said when it failed; a limit of it also for later requests."""
        status, lines, body = attempt.status, attempt.headers, attempt.whole()
        if status is None:
            return
        if status < 400:
            if verdict.error_type is None:
                return
            status, lines, body = reply.in_band(verdict)
        error = ErrorAnswer(attempt.backend.name, status, lines, body, verdict)
        self.errors.append(error)
        if verdict.outcome.is_limit:
            counsel.memory.keep(self._model, error)

    def conclude(
        self, outcome: str, primary: BackendName, answered: BackendName | None, now: Instant
    ) -> ExchangeRecord:
        """Write the whole exchange down.

        Args:
            outcome: As in :class:`~claude_failover.core.types.ExchangeRecord`.
            primary: The first of the configured backends.
            answered: Whose error was passed on, if no backend's answer was.
            now: Both clocks.
        """
        self.resume(now)
        winner = self.answered_by
        duration = now.monotonic - self.started.monotonic
        waited_for = sum([record.duration for record in self.records]) + self._waited
        ttft = None
        if winner is not None and winner.ttft is not None:
            ttft = Seconds(winner.opened.monotonic - self.started.monotonic + winner.ttft)
        # In the order of its fields: by their names it takes 0.5 us longer (measured).
        return ExchangeRecord(
            self.exchange,
            self.started.wall,
            self._model,
            self._peek.stream,
            outcome,
            self.status,
            winner.backend.name if winner is not None else answered,
            winner.reason if winner is not None else None,
            tuple(self.records),
            tuple(self.steps),
            Seconds(duration),
            Seconds(max(0.0, duration - waited_for)),
            ttft,
            self._peek.session,
            self._peek.agent,
            self._peek.request_class,
            winner is not None and winner.backend.name != primary and not self._chose(winner),
        )

    def _chose(self, winner: Attempt) -> bool:
        """Whether somebody wanted that backend, rather than what failed before it."""
        first = next(record for record in self.records if record.backend == winner.backend.name)
        return first.reason in _CHOSEN_FREELY
