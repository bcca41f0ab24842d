"""Exchange: one client request, first byte to last; events in, commands out.

What it may still do depends on what the client has seen: see :mod:`~claude_failover.core.phase`.

The commit is the first event that proves an answer (:data:`~claude_failover.core.reading.PROOFS`); before it
everything is held. A non-streaming answer commits when its body is complete. At most one attempt is open at a time.
Whatever happens, every opened attempt is recorded once and the exchange concludes once.

An answer's bytes are :mod:`~claude_failover.core.reading`'s; how long to wait, :mod:`~claude_failover.core.patience`'s;
what to tell when nobody answers, :mod:`~claude_failover.core.reply`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

from claude_failover.core import facts, patience, reading, reply
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
    Finish,
    HeadReceived,
    Record,
    SendBody,
    SendHead,
    Start,
    Wakeup,
)
from claude_failover.core.counsel import Counsel
from claude_failover.core.mending import mend
from claude_failover.core.opening import open_attempt
from claude_failover.core.phase import PHASES, Phase
from claude_failover.core.policy import Go, Hold, Permit, Stop
from claude_failover.core.request import Peek
from claude_failover.core.types import (
    BackendName,
    Headers,
    Instant,
    Monotonic,
    Outcome,
    Transition,
    Verdict,
)


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
        self.request: ClientRequest | None = request
        """Freed at the commit: from then on nobody sends it again."""
        self._telling = reply.telling_for(peek.said.get("user-agent", ""))
        self._peek = peek
        self._counsel = counsel
        self._paid = paid
        self._facts = facts.gather(request, peek, counsel, paid)
        self._account = Account(request.id, peek, self._facts.model)
        self._attempt: Attempt | None = None
        self._permit: Permit | None = None
        self._out: list[Command] = []
        self._wait_until: Monotonic | None = None
        self._open_at = Monotonic(0.0)
        self._ping_at = Monotonic(0.0)

    # --- the outside -----------------------------------------------------------------------------

    @property
    def committed(self) -> bool:
        """Whether a backend's bytes have gone to the client."""
        return self.phase is Phase.COMMITTED

    @property
    def whole(self) -> bool:
        """Whether a stream has been given out to its last event: its end brings ``Finish`` and nothing before it."""
        return self._attempt is not None and self._attempt.stopped

    @property
    def deadline(self) -> Monotonic | None:
        """When to feed ``Wakeup`` if nothing else has happened; ``None`` = never."""
        if self.phase is Phase.DONE:
            return None
        first = self._wait_until
        if self._attempt is not None:
            due = patience.until(self._attempt, self._counsel.settings.timeouts, streaming=self._peek.stream)
            first = due if first is None or due < first else first
        if self._peek.stream:
            due = self._open_at if self.phase is Phase.WAITING else self._ping_at
            first = due if first is None or due < first else first
        return first

    def listen(self, now: Instant) -> None:
        """Writing to the client took long: silence is counted from now on, for until now we did not listen."""
        if self._attempt is not None:
            self._attempt.listen(now)

    def handle(self, event: Event, now: Instant) -> list[Command]:
        """Take one event; return what to do, in order. Events of attempts that are over are ignored."""
        self._out = []
        attempt = self._attempt
        # By exact types, as wherever it is asked of every request: a miss of isinstance() costs ten times as much.
        if type(event) is BodyReceived:
            if attempt is not None and attempt.index == event.attempt and attempt.status is not None:
                self._body(attempt, event.data, now)
        elif type(event) is HeadReceived:
            if attempt is not None and attempt.index == event.attempt and attempt.status is None:
                reading.begin(attempt, event, now, streaming=self._peek.stream)
                self._account.step(now, "answered", attempt.backend.name, str(event.status))
        elif type(event) is AttemptEnded:
            if attempt is not None and attempt.index == event.attempt:
                opened = self.phase is Phase.OPENED
                self._proceed(attempt, reading.end(attempt, event, now, self._peek.stream, opened=opened), now)
        elif type(event) is Start:
            self._start(now)
        elif type(event) is Wakeup:
            self._wake(now)
        elif type(event) is ClientGone:
            self._leave("client_gone", Verdict(Outcome.CLIENT_GONE), now)
        else:
            assert_never(event)
        return self._out

    def bypass(self, now: Instant) -> list[Command]:
        """Our own code has failed: close the books on what is open; what the client gets is the shell's affair.

        Before the commit :attr:`request` stays: the shell sends it to the primary as it came.
        """
        self._out = []
        permit, original, self._permit = self._permit, self.request, None
        if self.phase is Phase.DONE:
            return self._out
        verdict = Verdict(Outcome.LOCAL, "an error of our own")
        if self._attempt is not None:
            self._close_books(self._attempt, verdict, now)
        elif permit is not None:
            self._give_back(permit, verdict, now)
        self._conclude("aborted" if self.committed else "bypassed", now, self._counsel.settings.primary.name)
        self.request = original
        return self._out

    def cut(self, now: Instant) -> list[Command]:
        """The daemon stops while this is under way: close the books."""
        self._out = []
        self._leave("aborted", Verdict(Outcome.LOCAL, "the daemon was stopped"), now)
        return self._out

    # --- choosing --------------------------------------------------------------------------------

    def _start(self, now: Instant) -> None:
        if self.phase is Phase.WAITING and self._attempt is None and self._wait_until is None:
            self._account.started = now
            self._open_at = Monotonic(now.monotonic + self._counsel.settings.stream.hold_max)
            self._next(now)

    def _next(self, now: Instant) -> None:
        """Ask the policy until it has named a backend that can take this request, a wait, or the end."""
        while True:
            may_tell = self.phase is Phase.WAITING and self._peek.stream
            most = patience.for_waits(self._counsel, self._facts, self._account.tries, now, may_tell=may_tell)
            asked = facts.at(self._facts, self._account.started, now, most)
            decision = self._counsel.policy.choose(asked, self._account.tries, now)
            if decision.transitions:
                self._announce(decision.transitions)
            if type(decision) is Go:
                self._permit = decision.permit
                if self._open(decision, now):
                    return
            elif type(decision) is Hold:
                self._wait_until = decision.until
                self._account.wait(now, decision.why)
                return
            else:
                self._give_up(decision, now)
                return

    def _open(self, go: Go, now: Instant) -> bool:
        """Open an attempt; false if this backend turns out not to be able to take the request."""
        assert self.request is not None, "no attempt is opened after the commit"
        account = self._account
        attempt = open_attempt(
            go,
            self.request,
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
            self._give_back(go.permit, Verdict(Outcome.LOCAL, attempt), now)
            return False
        assert attempt.command is not None, "a new attempt has its command"
        if told := account.opened(attempt, go, now):
            self._announce(told)
        self._attempt = attempt
        self._out.append(attempt.command)
        return True

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
            self._proceed(attempt, reading.take(attempt, data, now, self._peek.stream, opened=opened), now)

    def _proceed(self, attempt: Attempt, progress: reading.Progress, now: Instant) -> None:
        if progress is None:
            return
        if type(progress) is reading.Begun:
            self._commit(attempt, 200, progress.data, now)
            if progress.broken is not None:
                self._break(attempt, progress.broken, now)
        elif type(progress) is reading.Completed:
            self._succeed(attempt, now)
        elif type(progress) is reading.Whole:
            attempt.commit(now)
            self._commit(attempt, attempt.status or 200, progress.body, now)
            self._succeed(attempt, now)
        elif type(progress) is reading.Failed:
            self._fail(attempt, progress.verdict, now, close=progress.close)
        else:
            self._break(attempt, progress, now)

    def _commit(self, attempt: Attempt, status: int, data: bytes, now: Instant) -> None:
        """From here on the answer is this backend's, whatever happens."""
        if self.phase is Phase.WAITING:
            head = reply.answer_head(attempt.backend.kind, attempt.headers, streaming=attempt.streams)
            stamp = reply.stamp(attempt.backend.name, attempt.index + 1, attempt.reason, self.id)
            self._send_head(status, (*head, *stamp))
        self._move(Phase.COMMITTED)
        self.request = None
        facts.free(self._facts)
        self._account.committed(attempt, now)
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
        verdict, learned = mend(attempt, verdict, self._account.tries, self._counsel.denials, now)
        self._announce(learned)
        self._account.keep_error(attempt, verdict, self._counsel)
        self._account.failed(attempt, verdict, now)
        self._close_books(attempt, verdict, now)
        self._next(now)

    def _break(self, attempt: Attempt, broken: reading.Broken, now: Instant) -> None:
        """A committed stream broke: never made to look complete, never continued by another backend."""
        if broken.close:
            self._out.append(CloseAttempt(attempt.index))
        verdict = broken.verdict
        self._account.failed(attempt, verdict, now, "broken")
        self._close_books(attempt, verdict, now)
        if self._telling is reply.Telling.ERROR_EVENT and attempt.at_boundary:
            self._send(reply.broken_off(attempt.backend, verdict, broken.told), now)
            self._out.append(Finish())
        else:
            self._out.append(Abort())
        self._conclude("aborted", now)

    def _leave(self, outcome: str, verdict: Verdict, now: Instant) -> None:
        if self.phase is Phase.DONE:
            return
        if (attempt := self._attempt) is not None:
            self._out.append(CloseAttempt(attempt.index))
            if attempt.stopped:
                # Behind message_stop nothing is missing: the client has its answer and need not wait for the end.
                outcome, verdict = "served", Verdict(Outcome.SUCCESS)
            self._close_books(attempt, verdict, now)
        self._conclude(outcome, now)

    def _give_up(self, stop: Stop, now: Instant) -> None:
        """Nobody can serve this: tell the client the most useful truth."""
        chosen = reply.choose(stop, self._account.errors, self._account.tries, self._counsel, self._facts, now)
        self._account.step(now, "gave up", chosen.backend or "", stop.why)
        if self.phase is Phase.WAITING:
            stamp = reply.stamp(chosen.backend, len(self._account.records), chosen.reason, self.id)
            self._send_head(chosen.status, (*chosen.headers, *stamp))
            self._send(chosen.body, now)
        else:
            self._send(chosen.event(), now)
        self._out.append(Finish())
        self._conclude(chosen.outcome, now, chosen.backend)

    def _close_books(self, attempt: Attempt, verdict: Verdict, now: Instant) -> None:
        self._attempt = None
        record = self._account.close(attempt, verdict, self._counsel, now)
        self._out.append(Record(record))
        self._give_back(attempt.permit, verdict, now, record.cost_nusd if attempt.paid else 0)

    def _give_back(self, permit: Permit, verdict: Verdict, now: Instant, cost_nusd: int = 0) -> None:
        """Return a permit: what its attempt proved, and what it cost."""
        self._permit = None
        policy = self._counsel.policy
        if told := policy.observe(permit, verdict, now) + policy.settle(permit, cost_nusd, now):
            self._announce(told)

    def _conclude(self, outcome: str, now: Instant, answered: BackendName | None = None) -> None:
        self._move(Phase.DONE)
        if self.request is not None:  # after the commit that is done
            self.request = None
            facts.free(self._facts)
        primary = self._counsel.settings.primary.name
        self._out.append(Conclude(self._account.conclude(outcome, primary, answered, now)))

    # --- time ------------------------------------------------------------------------------------

    def _wake(self, now: Instant) -> None:
        """Do what is due; waking too early does nothing."""
        attempt, timeouts, streaming = self._attempt, self._counsel.settings.timeouts, self._peek.stream
        if self._wait_until is not None and now.monotonic >= self._wait_until:
            self._wait_until = None
            self._account.resume(now)
            self._next(now)
        elif attempt is not None and now.monotonic >= patience.until(attempt, timeouts, streaming=streaming):
            self._out.append(CloseAttempt(attempt.index))
            opened = self.phase is Phase.OPENED
            self._proceed(attempt, patience.exhausted(attempt, now, streaming=streaming, opened=opened), now)
        if self.phase is Phase.DONE or not streaming:
            return
        if self.phase is Phase.WAITING and now.monotonic >= self._open_at:
            self._open_response(now)
        elif self.phase is not Phase.WAITING and now.monotonic >= self._ping_at:
            self._ping(now)

    def _open_response(self, now: Instant) -> None:
        """Say 200 and go on pinging; no backend's bytes yet, so it may still be anybody's answer."""
        self._send_head(200, (*reply.SSE_HEAD, *reply.stamp(None, len(self._account.records) + 1, None, self.id)))
        self._move(Phase.OPENED)
        self._account.step(now, "opened the response", detail=f"{self._counsel.settings.stream.hold_max:g} s undecided")
        self._send(reply.PING, now)

    def _ping(self, now: Instant) -> None:
        """Fill a silence; inside a backend's event there is no place for one of ours."""
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
        if data:
            self._out.append(SendBody(data))

    def _announce(self, transitions: Iterable[Transition]) -> None:
        for transition in transitions:
            self._out.append(Announce(transition))
