"""Exchange: one client request, first byte to last; events in, commands out.

Rule: every transition of an exchange's phase is in :data:`PHASES`, and :meth:`Exchange._move`
is its only setter. What a phase allows:

========== ============================================ ==========================================
phase      the client has                               another backend may still take over
========== ============================================ ==========================================
waiting    nothing                                      yes, and the status is still ours to choose
opened     200, SSE headers and our own pings           yes, but errors are in-band now
committed  a backend's bytes                            never
done       everything it will get                       -
========== ============================================ ==========================================

The commit is the first event that proves an answer
(:data:`~claude_failover.core.reading.PROOFS`); before it everything is held. A non-streaming answer commits when its body is complete. At most one attempt is open at
a time. Whatever happens, every opened attempt is recorded once and the exchange concludes once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from claude_failover.core import facts, reading, reply
from claude_failover.core.account import Account
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import (
    Abort,
    Announce,
    AttemptEnded,
    BodyReceived,
    ClientGone,
    ClientRequest,
    CloseAttempt,
    Command,
    Conclude,
    Event,
    Failure,
    Finish,
    HeadReceived,
    Record,
    SendBody,
    SendHead,
    Start,
    Wakeup,
)
from claude_failover.core.counsel import Counsel
from claude_failover.core.opening import open_attempt, patience_for_head
from claude_failover.core.policy import Go, Hold, Stop
from claude_failover.core.request import Peek
from claude_failover.core.types import (
    BackendName,
    Headers,
    Instant,
    Monotonic,
    Outcome,
    Seconds,
    Transition,
    TransitionKind,
    Verdict,
)

ERROR_BODY_WAIT: Final = Seconds(10.0)
"""How long the body of an error may take; its status alone is enough to decide after that."""


class Phase(StrEnum):
    """What the client has seen."""

    WAITING = "waiting"
    OPENED = "opened"
    COMMITTED = "committed"
    DONE = "done"


PHASES: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.WAITING: frozenset({Phase.OPENED, Phase.COMMITTED, Phase.DONE}),
    Phase.OPENED: frozenset({Phase.COMMITTED, Phase.DONE}),
    Phase.COMMITTED: frozenset({Phase.DONE}),
    Phase.DONE: frozenset(),
}


class Exchange:
    """One client request, all its attempts, and the one response.

    Feed it with :meth:`handle`, starting with ``Start``; do the commands it returns, in order;
    wake it at :attr:`deadline`. It reads nothing but its arguments.

    Args:
        request: As it came from the client.
        peek: What we need of its body.
        counsel: Settings, policy, models, prices; kept for the whole exchange.
        paid: Per backend, whether an attempt there costs real money.
    """

    def __init__(self, request: ClientRequest, peek: Peek, counsel: Counsel, paid: Mapping[BackendName, bool]) -> None:
        self.id = request.id
        self.phase = Phase.WAITING
        self._request: ClientRequest | None = request
        self._telling = reply.telling_for(request)
        self._peek = peek
        self._counsel = counsel
        self._paid = paid
        self._facts = facts.gather(request, peek, counsel, paid)
        self._account = Account(request.id, peek, self._facts.model)
        self._attempt: Attempt | None = None
        self._out: list[Command] = []
        self._wait_until: Monotonic | None = None
        self._ping_at = Monotonic(0.0)

    # --- the outside -----------------------------------------------------------------------------

    @property
    def committed(self) -> bool:
        """Whether a backend's bytes have gone to the client."""
        return self.phase is Phase.COMMITTED

    @property
    def deadline(self) -> Monotonic | None:
        """When to feed ``Wakeup`` if nothing else has happened; ``None`` = never."""
        if self.phase is Phase.DONE:
            return None
        soonest = self._attempt_deadline()
        if self._wait_until is not None:
            soonest = min(soonest, self._wait_until)
        if self.phase is not Phase.WAITING:
            if self._peek.stream:
                soonest = min(soonest, self._ping_at)
        elif self._peek.stream:
            soonest = min(soonest, self._account.started.monotonic + self._counsel.settings.stream.hold_max)
        return None if soonest == float("inf") else Monotonic(soonest)

    def handle(self, event: Event, now: Instant) -> list[Command]:
        """Take one event; return what to do, in order. Events of attempts that are over are ignored."""
        self._out = []
        if self.phase is Phase.DONE:
            return self._out
        match event:
            case BodyReceived(attempt=index, data=data):
                if self._attempt is not None and self._attempt.index == index:
                    self._body(self._attempt, data, now)
            case Start():
                self._account.started = now
                self._next(now)
            case HeadReceived(attempt=index):
                if self._attempt is not None and self._attempt.index == index:
                    reading.begin(self._attempt, event, now, streaming=self._peek.stream)
                    self._account.step(now, "answered", self._attempt.backend.name, str(event.status))
            case AttemptEnded(attempt=index):
                if self._attempt is not None and self._attempt.index == index:
                    opened = self.phase is Phase.OPENED
                    ended = reading.end(self._attempt, event, now, streaming=self._peek.stream, opened=opened)
                    self._proceed(self._attempt, ended, now)
            case Wakeup():
                self._wake(now)
            case ClientGone():
                self._client_gone(now)
        return self._out

    # --- choosing --------------------------------------------------------------------------------

    def _next(self, now: Instant) -> None:
        """Ask the policy until it has named a backend that can take this request, a wait, or the end."""
        while True:
            asked = facts.at(self._facts, self._account.started, now)
            decision = self._counsel.policy.choose(asked, self._account.tries, now)
            self._announce(decision.transitions)
            match decision:
                case Hold(until=until, why=why):
                    self._wait_until = until
                    self._account.wait(now, why)
                    return
                case Stop() as stop:
                    self._give_up(stop, now)
                    return
                case Go() as go:
                    if self._open(go, now):
                        return

    def _open(self, go: Go, now: Instant) -> bool:
        """Open an attempt; false if translation finds that this backend cannot take the request."""
        assert self._request is not None, "no attempt is opened after the commit"
        account = self._account
        attempt = open_attempt(
            go,
            self._request,
            self._peek,
            self._facts,
            self._counsel,
            paid=self._paid,
            tries=account.tries,
            index=len(account.records),
            now=now,
        )
        if isinstance(attempt, str):
            self._facts = facts.cannot_serve(self._facts, go.backend, attempt)
            account.step(now, "left out", go.backend, attempt)
            self._announce(self._counsel.policy.observe(go.permit, Verdict(Outcome.LOCAL, attempt), now))
            self._announce(self._counsel.policy.settle(go.permit, 0, now))
            return False
        self._note_switch(go, now)
        account.step(now, "opened", go.backend, go.detail or go.reason.value)
        assert attempt.command is not None, "a new attempt has its command"
        self._attempt = attempt
        self._out.append(attempt.command)
        return True

    def _note_switch(self, go: Go, now: Instant) -> None:
        """Tell the world when this request moves to another backend; the reason is what went wrong before."""
        tries = self._account.tries
        if not tries or tries[-1].backend == go.backend:
            return
        last = tries[-1]
        self._account.step(now, "failed over", go.backend, f"{last.backend}: {last.verdict.outcome.value}")
        switch = Transition(
            TransitionKind.FAILED_OVER,
            backend=go.backend,
            model=self._facts.model,
            detail=last.verdict.detail,
            fields={"from": last.backend, "reason": last.verdict.outcome.value, "exchange": self.id},
        )
        self._announce([switch])

    # --- what comes back -------------------------------------------------------------------------

    def _body(self, attempt: Attempt, data: bytes, now: Instant) -> None:
        attempt.heard = now.monotonic
        if attempt.committed:
            out, broken = reading.relay(attempt, data, now)
            if out:
                self._send(out, now)
            if broken is not None:
                self._break(attempt, broken, now)
        else:
            opened = self.phase is Phase.OPENED
            self._proceed(attempt, reading.take(attempt, data, now, streaming=self._peek.stream, opened=opened), now)

    def _proceed(self, attempt: Attempt, progress: reading.Progress, now: Instant) -> None:
        match progress:
            case None:
                return
            case reading.Failed(verdict=verdict, close=close):
                self._fail(attempt, verdict, now, close=close)
            case reading.Broken():
                self._break(attempt, progress, now)
            case reading.Completed():
                self._succeed(attempt, now)
            case reading.Begun(data=data, broken=broken):
                self._commit(attempt, 200, data, now)
                if broken is not None:
                    self._break(attempt, broken, now)
            case reading.Whole(body=body):
                attempt.usage.body(body)
                attempt.commit(now)
                self._commit(attempt, attempt.status or 200, body, now)
                self._succeed(attempt, now)

    def _commit(self, attempt: Attempt, status: int, data: bytes, now: Instant) -> None:
        """From here on the answer is this backend's, whatever happens."""
        if self.phase is Phase.WAITING:
            head = reply.answer_head(attempt.backend.kind, attempt.headers, streaming=attempt.streams)
            stamp = reply.stamp(attempt.backend.name, attempt.index + 1, attempt.reason, self.id)
            self._send_head(status, (*head, *stamp))
        self._move(Phase.COMMITTED)
        self._request = None
        self._account.answered_by = attempt
        self._account.step(now, "committed", attempt.backend.name)
        self._send(data, now)
        self._announce(self._counsel.policy.committed(attempt.permit, now))

    # --- the ends --------------------------------------------------------------------------------

    def _succeed(self, attempt: Attempt, now: Instant) -> None:
        self._close_books(attempt, Verdict(Outcome.SUCCESS), now)
        self._out.append(Finish())
        self._conclude("served", now)

    def _fail(self, attempt: Attempt, verdict: Verdict, now: Instant, *, close: bool = False) -> None:
        """An attempt failed before the commit: mend, try again, move on, or answer with the best error."""
        if close:
            self._out.append(CloseAttempt(attempt.index))
        verdict = self._mend(attempt, verdict, now)
        self._account.keep_error(attempt, verdict, self._counsel)
        self._account.step(
            now, "failed", attempt.backend.name, f"{verdict.outcome.value}: {verdict.detail}".rstrip(": ")
        )
        self._close_books(attempt, verdict, now)
        self._next(now)

    def _mend(self, attempt: Attempt, verdict: Verdict, now: Instant) -> Verdict:
        """Learn from a refusal that names what it refused; without a remedy it is no longer repairable."""
        if verdict.outcome is not Outcome.REPAIRABLE:
            return verdict
        denials = self._counsel.denials
        if attempt.translated is not None and attempt.target is not None and attempt.surface is not None:
            status = attempt.status or 400
            repair = denials.propose(
                status, attempt.whole(), verdict, attempt.translated, attempt.target, attempt.surface, now
            )
            if repair is not None:
                self._announce(denials.learn(repair, now))
                return verdict
        return facts.unrepairable(verdict)

    def _break(self, attempt: Attempt, broken: reading.Broken, now: Instant) -> None:
        """A committed stream broke: never made to look complete, never continued by another backend."""
        self._out.append(CloseAttempt(attempt.index))
        verdict = broken.verdict
        self._close_books(attempt, verdict, now)
        if self._telling is reply.Telling.ERROR_EVENT and attempt.at_boundary:
            self._send(reply.broken_off(attempt.backend, verdict, broken.told), now)
            self._out.append(Finish())
        else:
            self._out.append(Abort())
        self._account.step(
            now, "broken", attempt.backend.name, f"{verdict.outcome.value}: {verdict.detail}".rstrip(": ")
        )
        self._conclude("aborted", now)

    def _client_gone(self, now: Instant) -> None:
        if self._attempt is not None:
            attempt = self._attempt
            self._out.append(CloseAttempt(attempt.index))
            outcome = Outcome.SUCCESS if attempt.stopped else Outcome.CLIENT_GONE
            self._close_books(attempt, Verdict(outcome), now)
        self._conclude("client_gone", now)

    def _give_up(self, stop: Stop, now: Instant) -> None:
        """Nobody can serve this: tell the client the most useful truth."""
        chosen = reply.choose(stop, self._account.errors, self._counsel, self._facts, now, self.id)
        self._account.step(now, "gave up", chosen.backend or "", stop.why)
        stamp = reply.stamp(chosen.backend, len(self._account.records), chosen.reason, self.id)
        if self.phase is Phase.WAITING:
            self._send_head(chosen.status, (*chosen.headers, *stamp))
            self._send(chosen.body, now)
        else:
            self._account.status = 200
            self._send(chosen.event(), now)
        self._out.append(Finish())
        self._conclude(chosen.outcome, now, chosen.backend)

    def _close_books(self, attempt: Attempt, verdict: Verdict, now: Instant) -> None:
        self._attempt = None
        record = self._account.close(attempt, verdict, self._counsel, now)
        self._out.append(Record(record))
        policy = self._counsel.policy
        self._announce(policy.observe(attempt.permit, verdict, now))
        self._announce(policy.settle(attempt.permit, record.cost_nusd if attempt.paid else 0, now))

    def _conclude(self, outcome: str, now: Instant, answered: BackendName | None = None) -> None:
        self._move(Phase.DONE)
        primary = self._counsel.settings.primary.name
        self._out.append(Conclude(self._account.conclude(outcome, primary, answered, now)))

    # --- time ------------------------------------------------------------------------------------

    def _attempt_deadline(self) -> float:
        attempt, limits = self._attempt, self._counsel.settings.timeouts
        if attempt is None:
            return float("inf")
        if attempt.committed:
            return attempt.heard + limits.stream_idle
        if attempt.status is None:
            return attempt.opened.monotonic + patience_for_head(limits.first_byte, streaming=self._peek.stream)
        if reading.is_error(attempt):
            return attempt.heard + ERROR_BODY_WAIT
        if attempt.streams:
            return attempt.opened.monotonic + limits.first_content
        return attempt.heard + limits.stream_idle

    def _wake(self, now: Instant) -> None:
        if self._wait_until is not None and now.monotonic >= self._wait_until:
            self._wait_until = None
            self._account.resume(now)
            self._next(now)
        elif self._attempt is not None and now.monotonic >= self._attempt_deadline():
            self._timed_out(self._attempt, now)
        if self.phase is Phase.DONE or not self._peek.stream:
            return
        if self.phase is Phase.WAITING:
            if now.monotonic >= self._account.started.monotonic + self._counsel.settings.stream.hold_max:
                self._open_response(now)
        elif now.monotonic >= self._ping_at:
            self._ping(now)

    def _timed_out(self, attempt: Attempt, now: Instant) -> None:
        if attempt.committed:
            if attempt.stopped:
                self._out.append(CloseAttempt(attempt.index))
                self._succeed(attempt, now)
            else:
                self._break(attempt, reading.Broken(Verdict(Outcome.STALLED, "silent in mid-stream")), now)
            return
        self._out.append(CloseAttempt(attempt.index))
        if reading.is_error(attempt):
            ended = reading.judge(attempt, Failure.CUT, now, streaming=self._peek.stream, opened=False)
            self._proceed(attempt, ended, now)
        else:
            what = "no response headers" if attempt.status is None else "no content"
            waited = round(now.monotonic - attempt.opened.monotonic)
            self._fail(attempt, Verdict(Outcome.SILENT, f"{what} within {waited} s"), now)

    def _open_response(self, now: Instant) -> None:
        """Say 200 and go on pinging; no backend's bytes yet, so it may still be anybody's answer."""
        self._send_head(200, (*reply.SSE_HEAD, *reply.stamp(None, len(self._account.records) + 1, None, self.id)))
        self._move(Phase.OPENED)
        self._account.step(now, "opened the response", detail=f"{self._counsel.settings.stream.hold_max:g} s undecided")
        self._send(reply.PING, now)

    def _ping(self, now: Instant) -> None:
        if self._attempt is None or not self._attempt.committed or self._attempt.at_boundary:
            self._send(reply.PING, now)
        else:
            self._ping_at = Monotonic(now.monotonic + self._counsel.settings.stream.ping_interval)

    # --- small ones ------------------------------------------------------------------------------

    def _move(self, phase: Phase) -> None:
        assert phase in PHASES[self.phase], f"{self.phase} -> {phase}"
        self.phase = phase

    def _send_head(self, status: int, lines: Headers) -> None:
        self._account.status = status
        self._out.append(SendHead(status, lines))

    def _send(self, data: bytes, now: Instant) -> None:
        self._ping_at = Monotonic(now.monotonic + self._counsel.settings.stream.ping_interval)
        self._out.append(SendBody(data))

    def _announce(self, transitions: Iterable[Transition]) -> None:
        self._out.extend(Announce(transition) for transition in transitions)
