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

The commit is the first event that proves an answer (:data:`PROOFS`); before it everything is
held. A non-streaming answer commits when its body is complete. At most one attempt is open at
a time. Whatever happens, every opened attempt is recorded once and the exchange concludes once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from claude_failover.core import answer, facts, failures, headers, reply, translate
from claude_failover.core.answer import AnswerEvent
from claude_failover.core.attempt import ERROR_BODY_MAX, WHOLE_BODY_MAX, Attempt
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
    OpenAttempt,
    Record,
    SendBody,
    SendHead,
    Start,
    Untranslatable,
    UpstreamRequest,
    Wakeup,
)
from claude_failover.core.counsel import Counsel, ErrorAnswer
from claude_failover.core.models import Target, Unmapped
from claude_failover.core.policy import Go, Hold, Stop, Try
from claude_failover.core.request import Peek
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    ExchangeRecord,
    Headers,
    Instant,
    Kind,
    Monotonic,
    Outcome,
    Reason,
    Seconds,
    Step,
    Surface,
    Transition,
    TransitionKind,
    Verdict,
)

PROOFS: Final = frozenset({"content_block_delta", "content_block_stop", "message_delta", "message_stop"})
"""Events that prove an answer. ``message_start``, ``ping`` and ``content_block_start`` prove nothing:
overloads arrive after them inside a 200 (claude.md 4). The other three end answers that have no delta."""

BREAKS: Final = frozenset({"error", "exception", "malformed"})
"""Events that end an attempt."""

ERROR_BODY_WAIT: Final = Seconds(10.0)
"""How long the body of an error may take; its status alone is enough to decide after that."""

NON_STREAMING_FIRST_BYTE: Final = Seconds(600.0)
"""A non-streaming answer sends no head before it is complete; the client's own limit is 600 s (API_TIMEOUT_MS)."""

STEPS_MAX: Final = 200
"""Lines of a timeline; an exchange of four attempts has about thirty."""


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
        self._attempt: Attempt | None = None
        self._tries: list[Try] = []
        self._errors: list[ErrorAnswer] = []
        self._records: list[AttemptRecord] = []
        self._steps: list[Step] = []
        self._out: list[Command] = []
        self._started = Instant(facts.NEVER, Monotonic(0.0))
        self._wait_until: Monotonic | None = None
        self._ping_at = Monotonic(0.0)
        self._waited = 0.0
        self._wait_began = Monotonic(0.0)
        self._status: int | None = None
        self._answered_by: Attempt | None = None

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
            soonest = min(soonest, self._started.monotonic + self._counsel.settings.stream.hold_max)
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
                self._started = now
                self._next(now)
            case HeadReceived(attempt=index):
                if self._attempt is not None and self._attempt.index == index:
                    self._head(self._attempt, event, now)
            case AttemptEnded(attempt=index):
                if self._attempt is not None and self._attempt.index == index:
                    self._ended(self._attempt, event, now)
            case Wakeup():
                self._wake(now)
            case ClientGone():
                self._client_gone(now)
        return self._out

    # --- choosing --------------------------------------------------------------------------------

    def _next(self, now: Instant) -> None:
        """Ask the policy until it has named a backend that can take this request, a wait, or the end."""
        while True:
            asked = facts.at(self._facts, self._started, now)
            match self._counsel.policy.choose(asked, self._tries, now):
                case Hold(until=until, why=why):
                    self._wait_until = until
                    self._wait_began = now.monotonic
                    self._step(now, "waited", detail=why)
                    return
                case Stop() as stop:
                    self._give_up(stop, now)
                    return
                case Go() as go:
                    if self._open(go, now):
                        return

    def _open(self, go: Go, now: Instant) -> bool:
        """Open an attempt; false if translation finds that this backend cannot take the request."""
        backend = facts.backend_named(self._counsel.settings, go.backend)
        assert self._request is not None, "no attempt is opened after the commit"
        surface: Surface | None = None
        target: Target | None = None
        translated = None
        upstream_model = self._facts.model
        if backend.kind is Kind.ANTHROPIC:
            request = UpstreamRequest(
                "POST",
                self._request.target,
                headers.to_primary(self._request.headers),
                self._request.body,
                streaming=self._peek.stream,
            )
            upstream_model = self._peek.model
        else:
            made = self._translate(go, now)
            if isinstance(made, str):
                self._facts = facts.cannot_serve(self._facts, backend.name, made)
                self._step(now, "left out", backend.name, made)
                self._announce(self._counsel.policy.observe(go.permit, Verdict(Outcome.LOCAL, made), now))
                self._announce(self._counsel.policy.settle(go.permit, 0, now))
                return False
            target, surface, translated = made
            request = translated.request
            upstream_model = translated.upstream_model
        self._note_switch(go, now)
        index = len(self._records)
        command = OpenAttempt(
            attempt=index,
            backend=backend.name,
            kind=backend.kind,
            request=request,
            surface=surface,
            fresh=go.fresh,
            refresh_credentials=go.refresh_credentials,
            clock_skew=self._skew_of(backend.name),
        )
        self._attempt = Attempt(
            index=index,
            backend=backend,
            model=self._facts.model,
            upstream_model=upstream_model,
            reason=go.reason,
            permit=go.permit,
            opened=now,
            command=command,
            paid=self._paid.get(backend.name, False),
            surface=surface,
            translated=translated,
            target=target,
            heard=now.monotonic,
        )
        self._step(now, "opened", backend.name, go.detail or go.reason.value)
        self._out.append(command)
        return True

    def _translate(self, go: Go, now: Instant) -> tuple[Target, Surface, translate.Translated] | str:
        backend = facts.backend_named(self._counsel.settings, go.backend)
        target = self._counsel.catalog.resolve(self._facts.model, backend)
        if isinstance(target, Unmapped):
            return target.why
        surface = self._counsel.denials.surface(target, now)
        assert self._request is not None, "no attempt is opened after the commit"
        made = translate.to_bedrock(self._request, self._peek, target, surface, backend, self._counsel.denials)
        return made.why if isinstance(made, Untranslatable) else (target, surface, made)

    def _skew_of(self, backend: BackendName) -> Seconds | None:
        skews = [t.verdict.clock_skew for t in self._tries if t.backend == backend]
        return skews[-1] if skews else None

    def _note_switch(self, go: Go, now: Instant) -> None:
        """Tell the world when this request moves to another backend; the reason is what went wrong before."""
        if self._tries and self._tries[-1].backend != go.backend:
            last = self._tries[-1]
            self._step(now, "failed over", go.backend, f"{last.backend}: {last.verdict.outcome.value}")
            fields = {"from": last.backend, "reason": last.verdict.outcome.value, "exchange": self.id}
            self._announce(
                [
                    Transition(
                        TransitionKind.FAILED_OVER,
                        backend=go.backend,
                        model=self._facts.model,
                        detail=last.verdict.detail,
                        fields=fields,
                    )
                ]
            )

    # --- what comes back -------------------------------------------------------------------------

    def _head(self, attempt: Attempt, event: HeadReceived, now: Instant) -> None:
        attempt.receive_head(event, now)
        self._step(now, "answered", attempt.backend.name, str(event.status))
        if 200 <= event.status < 300 and self._peek.stream:
            content_type = headers.get(event.headers, "content-type") or ""
            attempt.reader = answer.reader(attempt.backend.kind, attempt.surface, content_type)

    def _body(self, attempt: Attempt, data: bytes, now: Instant) -> None:
        attempt.heard = now.monotonic
        if attempt.committed:
            self._relay(attempt, data, now)
        elif attempt.reader is not None:
            for index, event in enumerate(events := attempt.reader.feed(data)):
                if event.type in PROOFS:
                    self._commit(attempt, events[index:], now)
                    return
                if not self._held(attempt, event, now):
                    return
        elif not attempt.keep(data, ERROR_BODY_MAX if self._is_error(attempt) else WHOLE_BODY_MAX):
            self._out.append(CloseAttempt(attempt.index))
            self._judge_whole(attempt, Failure.PROTOCOL, now)

    def _held(self, attempt: Attempt, event: AnswerEvent, now: Instant) -> bool:
        """Hold one event that proves nothing; false if the attempt is over with it."""
        if event.type in BREAKS - {"malformed"}:
            verdict = failures.classify_event(attempt.backend.kind, event.type, event.name, event.data, now)
            self._fail(attempt, verdict, now, close=True)
            return False
        if event.type == "malformed" or not attempt.hold(event.raw):
            detail = event.name or "too much before the first content"
            self._fail(attempt, Verdict(Outcome.MALFORMED, detail), now, close=True)
            return False
        if event.type == "message_start":
            attempt.usage.event(event.type, event.data)
            self._step(now, "held", attempt.backend.name, "message_start")
        return True

    def _commit(self, attempt: Attempt, events: list[AnswerEvent], now: Instant) -> None:
        """From here on the answer is this backend's, whatever happens."""
        assert attempt.reader is not None, "only a stream commits by an event"
        if self.phase is Phase.WAITING:
            head = reply.answer_head(attempt.backend.kind, attempt.headers, streaming=True)
            self._send_head(200, (*head, *self._stamp(attempt)))
        self._move(Phase.COMMITTED)
        self._answered_by = attempt
        self._request = None
        self._step(now, "committed", attempt.backend.name)
        data = [attempt.commit(now)]
        broken: AnswerEvent | None = None
        for event in events:
            if event.type in BREAKS and not (event.type == "malformed" and event.raw):
                broken = event
                break
            attempt.usage.event(event.type, event.data)
            attempt.stopped |= event.type == "message_stop"
            data.append(event.raw)
        tail = attempt.reader.commit()
        if broken is None:
            data.append(tail)
        self._send(attempt.passed(b"".join(data)), now)
        self._announce(self._counsel.policy.committed(attempt.permit, now))
        if broken is not None:
            self._break(attempt, self._verdict_of(attempt, broken, now), now, told=broken.raw)

    def _relay(self, attempt: Attempt, data: bytes, now: Instant) -> None:
        """The hot path: bytes of a committed stream go out as they came."""
        assert attempt.reader is not None, "only a stream is relayed"
        out, notable = attempt.reader.relay(data)
        if out:
            self._ping_at = Monotonic(now.monotonic + self._counsel.settings.stream.ping_interval)
            self._out.append(SendBody(attempt.passed(out)))
            attempt.usage.relayed(out)
        for event in notable:
            if event.type in BREAKS:
                # A malformed event that has gone out as it came is the client's to judge.
                if not attempt.stopped and not (event.type == "malformed" and event.raw):
                    self._break(attempt, self._verdict_of(attempt, event, now), now, told=event.raw)
                    return
            else:
                attempt.usage.event(event.type, event.data)
                attempt.stopped |= event.type == "message_stop"

    def _verdict_of(self, attempt: Attempt, event: AnswerEvent, now: Instant) -> Verdict:
        if event.type == "malformed":
            return Verdict(Outcome.MALFORMED, event.name)
        return failures.classify_event(attempt.backend.kind, event.type, event.name, event.data, now)

    def _ended(self, attempt: Attempt, event: AttemptEnded, now: Instant) -> None:
        if attempt.committed:
            self._committed_end(attempt, event, now)
        elif attempt.reader is not None:
            left = attempt.reader.end()
            detail = event.detail or left or "ended before any content"
            self._fail(attempt, failures.classify_failure(event.failure or Failure.CUT, detail, answered=True), now)
        elif attempt.status is None:
            failure = event.failure or Failure.RESET_BEFORE_HEAD
            self._fail(attempt, failures.classify_failure(failure, event.detail, answered=False), now)
        else:
            self._judge_whole(attempt, event.failure, now)

    def _committed_end(self, attempt: Attempt, event: AttemptEnded, now: Instant) -> None:
        if attempt.stopped:
            self._succeed(attempt, now)
            return
        assert attempt.reader is not None, "only a stream is committed before its end"
        detail = event.detail or attempt.reader.end() or "ended without message_stop"
        self._break(attempt, failures.classify_failure(event.failure or Failure.CUT, detail, answered=True), now)

    def _judge_whole(self, attempt: Attempt, failure: Failure | None, now: Instant) -> None:
        """Decide over an answer that is judged whole: every error, and a non-streaming success."""
        assert attempt.status is not None, "a body comes after its head"
        body = attempt.whole()
        verdict = failures.classify(
            attempt.backend.kind, attempt.surface, attempt.status, attempt.headers, body, now
        )
        if verdict.outcome is not Outcome.SUCCESS:
            self._fail(attempt, verdict, now)
        elif failure is not None:
            self._fail(attempt, failures.classify_failure(failure, "the body was cut", answered=True), now)
        elif self._peek.stream and (attempt.backend.kind is Kind.BEDROCK or self.phase is Phase.OPENED):
            # A 200 that is no stream: something on the way rewrote it. Relaying it as an answer would
            # make the client repeat the turn without streaming, billed twice (bedrock.md 3).
            self._fail(attempt, Verdict(Outcome.MALFORMED, "the answer is not a stream"), now)
        elif not answer.is_complete_message(body):
            self._fail(attempt, Verdict(Outcome.CUT, "the body is not a complete JSON message"), now)
        else:
            self._commit_whole(attempt, body, now)

    def _commit_whole(self, attempt: Attempt, body: bytes, now: Instant) -> None:
        attempt.usage.body(body)
        head = reply.answer_head(attempt.backend.kind, attempt.headers, streaming=False)
        self._send_head(attempt.status or 200, (*head, *self._stamp(attempt)))
        self._move(Phase.COMMITTED)
        self._answered_by = attempt
        self._request = None
        attempt.commit(now)
        self._step(now, "committed", attempt.backend.name)
        self._send(body, now)
        self._announce(self._counsel.policy.committed(attempt.permit, now))
        self._succeed(attempt, now)

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
        self._keep_error(attempt, verdict)
        self._step(now, "failed", attempt.backend.name, f"{verdict.outcome.value}: {verdict.detail}".rstrip(": "))
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

    def _keep_error(self, attempt: Attempt, verdict: Verdict) -> None:
        status, lines, body = attempt.status, attempt.headers, attempt.whole()
        if status is None:
            return
        if status < 400:
            if verdict.error_type is None:
                return
            status, lines, body = reply.in_band(verdict)
        error = ErrorAnswer(attempt.backend.name, status, lines, body, verdict)
        self._errors.append(error)
        if verdict.outcome.is_limit:
            self._counsel.memory.keep(self._facts.model, error)

    def _break(self, attempt: Attempt, verdict: Verdict, now: Instant, told: bytes = b"") -> None:
        """A committed stream broke: never made to look complete, never continued by another backend."""
        assert attempt.reader is not None, "only a stream breaks after its commit"
        self._out.append(CloseAttempt(attempt.index))
        self._close_books(attempt, verdict, now)
        if self._telling is reply.Telling.ERROR_EVENT and attempt.at_boundary:
            error_type = verdict.error_type or "api_error"
            message = f"claude-failover: {attempt.backend.name} broke off: {verdict.detail or verdict.outcome.value}"
            is_own = attempt.backend.kind is Kind.ANTHROPIC and told
            self._send(told if is_own else failures.error_event(error_type, message), now)
            self._out.append(Finish())
        else:
            self._out.append(Abort())
        self._step(now, "broken", attempt.backend.name, f"{verdict.outcome.value}: {verdict.detail}".rstrip(": "))
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
        chosen = reply.choose(stop, self._errors, self._counsel, self._facts, now, self.id)
        self._step(now, "gave up", chosen.backend or "", stop.why)
        stamp = reply.stamp(chosen.backend, len(self._records), chosen.reason, self.id)
        if self.phase is Phase.WAITING:
            self._send_head(chosen.status, (*chosen.headers, *stamp))
            self._send(chosen.body, now)
        else:
            self._status = 200
            self._send(chosen.event(), now)
        self._out.append(Finish())
        self._conclude(chosen.outcome, now, backend=chosen.backend)

    def _close_books(self, attempt: Attempt, verdict: Verdict, now: Instant) -> None:
        self._attempt = None
        record = attempt.record(verdict, self.id, self._peek, self._counsel.prices, now)
        self._records.append(record)
        self._tries.append(Try(attempt.backend.name, attempt.reason, verdict, now.monotonic))
        self._out.append(Record(record))
        policy = self._counsel.policy
        self._announce(policy.observe(attempt.permit, verdict, now))
        self._announce(policy.settle(attempt.permit, record.cost_nusd if attempt.paid else 0, now))

    def _conclude(self, outcome: str, now: Instant, backend: BackendName | None = None) -> None:
        self._move(Phase.DONE)
        winner = self._answered_by
        duration = Seconds(now.monotonic - self._started.monotonic)
        waited_for = sum(record.duration for record in self._records) + self._waited
        answered = winner.backend.name if winner else backend
        self._out.append(
            Conclude(
                ExchangeRecord(
                    exchange=self.id,
                    started=self._started.wall,
                    model=self._facts.model,
                    streaming=self._peek.stream,
                    outcome=outcome,
                    status=self._status,
                    backend=answered,
                    reason=winner.reason if winner else None,
                    attempts=tuple(self._records),
                    steps=tuple(self._steps),
                    duration=duration,
                    overhead=Seconds(max(0.0, duration - waited_for)),
                    ttft=self._ttft(winner),
                    session=self._peek.session,
                    agent=self._peek.agent,
                    request_class=self._peek.request_class,
                    failed_over=winner is not None and winner.backend.name != self._counsel.settings.primary.name,
                )
            )
        )

    # --- time ------------------------------------------------------------------------------------

    def _attempt_deadline(self) -> float:
        attempt, limits = self._attempt, self._counsel.settings.timeouts
        if attempt is None:
            return float("inf")
        if attempt.committed:
            return attempt.heard + limits.stream_idle
        if attempt.status is None:
            patience = limits.first_byte if self._peek.stream else max(limits.first_byte, NON_STREAMING_FIRST_BYTE)
            return attempt.opened.monotonic + patience
        if self._is_error(attempt):
            return attempt.heard + ERROR_BODY_WAIT
        if attempt.streams:
            return attempt.opened.monotonic + limits.first_content
        return attempt.heard + limits.stream_idle

    def _wake(self, now: Instant) -> None:
        if self._wait_until is not None and now.monotonic >= self._wait_until:
            self._wait_until = None
            self._waited += now.monotonic - self._wait_began
            self._next(now)
        elif self._attempt is not None and now.monotonic >= self._attempt_deadline():
            self._timed_out(self._attempt, now)
        if self.phase is Phase.DONE or not self._peek.stream:
            return
        if self.phase is Phase.WAITING:
            if now.monotonic >= self._started.monotonic + self._counsel.settings.stream.hold_max:
                self._open_response(now)
        elif now.monotonic >= self._ping_at:
            self._ping(now)

    def _timed_out(self, attempt: Attempt, now: Instant) -> None:
        if attempt.committed:
            if attempt.stopped:
                self._out.append(CloseAttempt(attempt.index))
                self._succeed(attempt, now)
            else:
                self._break(attempt, Verdict(Outcome.STALLED, "silent in mid-stream"), now)
            return
        self._out.append(CloseAttempt(attempt.index))
        if attempt.status is not None and self._is_error(attempt):
            self._judge_whole(attempt, Failure.CUT, now)
        else:
            what = "no response headers" if attempt.status is None else "no content"
            waited = round(now.monotonic - attempt.opened.monotonic)
            self._fail(attempt, Verdict(Outcome.SILENT, f"{what} within {waited} s"), now)

    def _open_response(self, now: Instant) -> None:
        """Say 200 and go on pinging; no backend's bytes yet, so it may still be anybody's answer."""
        self._send_head(200, (*reply.SSE_HEAD, *reply.stamp(None, len(self._records) + 1, None, self.id)))
        self._move(Phase.OPENED)
        self._step(now, "opened the response", detail=f"{self._counsel.settings.stream.hold_max:g} s undecided")
        self._send(reply.PING, now)

    def _ping(self, now: Instant) -> None:
        if self._attempt is None or self._attempt.reader is None or not self._attempt.committed:
            self._send(reply.PING, now)
        elif self._attempt.at_boundary:
            self._send(reply.PING, now)
        else:
            self._ping_at = Monotonic(now.monotonic + self._counsel.settings.stream.ping_interval)

    # --- small ones ------------------------------------------------------------------------------

    def _move(self, phase: Phase) -> None:
        assert phase in PHASES[self.phase], f"{self.phase} -> {phase}"
        self.phase = phase

    def _is_error(self, attempt: Attempt) -> bool:
        return attempt.status is not None and not 200 <= attempt.status < 300

    def _stamp(self, attempt: Attempt) -> Headers:
        return reply.stamp(attempt.backend.name, attempt.index + 1, attempt.reason, self.id)

    def _send_head(self, status: int, lines: Headers) -> None:
        self._status = status
        self._out.append(SendHead(status, lines))

    def _send(self, data: bytes, now: Instant) -> None:
        self._ping_at = Monotonic(now.monotonic + self._counsel.settings.stream.ping_interval)
        self._out.append(SendBody(data))

    def _announce(self, transitions: list[Transition]) -> None:
        self._out.extend(Announce(transition) for transition in transitions)

    def _step(self, now: Instant, what: str, backend: str = "", detail: str = "") -> None:
        if len(self._steps) < STEPS_MAX:
            self._steps.append(Step(Seconds(now.monotonic - self._started.monotonic), what, backend, detail))

    def _ttft(self, winner: Attempt | None) -> Seconds | None:
        if winner is None or winner.ttft is None:
            return None
        return Seconds(winner.opened.monotonic - self._started.monotonic + winner.ttft)
