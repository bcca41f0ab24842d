"""Policy: the one place that chooses a backend.

The rule: :meth:`Policy.choose` answers one question, "what now?", for a request and the tries it has behind it:

* :class:`Go` - send one attempt there. Its permit comes back through :meth:`Policy.committed` (first content),
  :meth:`Policy.observe` (its end, exactly once) and :meth:`Policy.settle` (its cost, exactly once).
* :class:`Hold` - ask again then, with the same tries.
* :class:`Stop` - nothing helps; answer with the best original error.

It asks, in this order: may anything follow at all; once more on the same backend; the next backend that is available
(or recovering, for one request at a time); one that was left a short while ago; one that it has waited for; the only
one there is, whatever its state; wait for the soonest, or try it once before its time; else stop.

Every answer carries ``transitions``: what deciding changed in the world, to be announced with what ``committed``,
``observe``, ``settle``, ``force`` and ``reload`` return. Nothing is logged here, no clock read, no dice rolled but
those handed in. ``FAILED_OVER`` is the exchange's to announce; ``RETURNED`` is announced here.

Where things are: routes (who may serve at all) in :mod:`~claude_failover.core.route`, health in
:mod:`~claude_failover.core.gates`, same-backend retries in :mod:`~claude_failover.core.retries`, what came back in
:mod:`~claude_failover.core.feedback`, what is remembered in :mod:`~claude_failover.core.desk`, what ``status`` shows
in :mod:`~claude_failover.core.views`. Source of every rule: failover-policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from claude_failover.core import feedback, retries, route, views
from claude_failover.core.decision import Decision, Go, Hold, Permit, RequestFacts, Stop, Try
from claude_failover.core.desk import Desk, Flight, Spend
from claude_failover.core.gates import Gate, Look, Spot
from claude_failover.core.question import PASSING_BY, Question, only_there
from claude_failover.core.retries import Again
from claude_failover.core.settings import Settings
from claude_failover.core.spend import Refusal
from claude_failover.core.types import (
    BackendName,
    Epoch,
    Instant,
    Monotonic,
    Outcome,
    Reason,
    Seconds,
    Transition,
    TransitionKind,
    Verdict,
)
from claude_failover.core.views import PolicyView

if TYPE_CHECKING:
    import random

__all__ = ["Decision", "Go", "Hold", "Permit", "Policy", "PolicyView", "RequestFacts", "Stop", "Try"]

GATE_SLACK: Final = Seconds(1.0)
"""A cooldown that outlasts an agreed wait by less is waited for, too."""

FULL_POLL: Final = Seconds(0.5)
"""How soon to look again whether one of the requests in flight has finished."""

MONEY_POLL: Final = Seconds(1.0)
MONEY_WAIT: Final = Seconds(30.0)
"""While only the holds of other requests stand in the way, one of them may settle for less."""

_FINAL: Final = {
    Outcome.SUCCESS: "served",
    Outcome.CLIENT_ERROR: "the request's own fault",
    Outcome.ENTITLEMENT: "the account may not use this feature",
    Outcome.TOO_LONG: "the prompt does not fit",
    Outcome.CLIENT_GONE: "the client went away",
}
"""After these nothing follows: the same answer anywhere, or the client's to mend."""

_NETWORK_SILENT: Final = frozenset({Outcome.UNREACHABLE, Outcome.LOCAL, Outcome.CREDENTIALS})


class Policy:
    """Chooses backends; see the module.

    Args:
        settings: The configuration; :meth:`reload` takes a new one.
        rng: For jitter.
        spend: The budget for paid backends; ``None`` = money is not counted.
    """

    def __init__(self, settings: Settings, rng: random.Random, spend: Spend | None = None) -> None:
        self._desk = Desk(settings, rng, spend)

    # --- the question ------------------------------------------------------------------------------

    def choose(self, facts: RequestFacts, tries: Sequence[Try], now: Instant) -> Decision:
        """Say what is to be done now for a request with these tries behind it."""
        said = self._desk.overrides.expire(now)
        decision = self._decide(facts, tries, now, said)
        if type(decision) is Stop:
            self._desk.plans.pop(facts.exchange)
        return structs.replace(decision, transitions=tuple(said)) if said else decision

    def _decide(self, facts: RequestFacts, tries: Sequence[Try], now: Instant, said: list[Transition]) -> Decision:
        final = self._final(tries) if tries else None
        if final is not None:
            return Stop(final)
        found = route.find(self._desk, facts, now)
        if type(found) is Stop:
            return found
        question = Question(self._desk, facts, tries, now, found, said)
        most = self._desk.settings.timeouts.total_attempts
        if len(tries) >= most:
            return self._stop(question, f"{most} attempts are the most for one request")
        return (
            (self._again(question) if tries else None)
            or self._next(question)
            or self._waited_for(question)
            or self._alone(question)
            or self._valve(question)
            or self._stop(question, question.summary())
        )

    def _final(self, tries: Sequence[Try]) -> str | None:
        last = tries[-1].verdict
        if only_there(last):
            return None
        limited = last.outcome.is_limit or last.outcome is Outcome.TRANSIENT_LIMIT
        if limited and not self._desk.settings.rate_limit_fallback.enabled:
            return "rate_limit_fallback is off: limits are passed on"
        return _FINAL.get(last.outcome)

    # --- the steps ---------------------------------------------------------------------------------

    def _again(self, q: Question) -> Decision | None:
        """Once more on the same backend."""
        again = self._planned(q)
        if again is None:
            return None
        last = q.tries[-1]
        look = q.look(last.backend)
        due = Monotonic(last.ended + again.wait)
        if not look.passes and not (q.route.forced and look.gate is not Gate.BLOCKED):
            if not (again.for_gate and look.gate is Gate.COOLING and look.wait <= again.wait + GATE_SLACK):
                q.plan.again = None
                return None
            due = Monotonic(max(due, q.now.monotonic + look.wait))
        if due > q.now.monotonic:
            why = f"{again.reason.value} at {last.backend}: {last.verdict.outcome.value}"
            return Hold(due, why) if due - q.now.monotonic <= q.facts.patience else None
        detail = last.verdict.detail
        go = self._send(q, last.backend, again.reason, detail, anyway=not look.passes, ramped=False)
        if not isinstance(go, Go):
            return go
        if again.costs:
            self._desk.budget(last.backend).take()
        return structs.replace(go, fresh=again.fresh, refresh_credentials=again.refresh_credentials)

    def _planned(self, q: Question) -> Again | None:
        """What the last try's end calls for on the same backend; worked out once, for it rolls dice."""
        if q.tries[-1].backend not in q.route.order:
            return None
        plan = q.plan
        if plan.tries != len(q.tries):
            rules = self._desk.settings.retry_policy
            plan.tries = len(q.tries)
            plan.again = retries.again(q.tries, rules, self._desk.rng, offline=self._desk.network.offline)
        again = plan.again
        if again is None or (again.for_gate and q.facts.stays is not None):
            return None
        return again if not again.costs or self._desk.budget(q.tries[-1].backend).allows else None

    def _next(self, q: Question) -> Decision | None:
        """The most preferred backend that was not tried: first of those not left a short while ago."""
        full: list[BackendName] = []
        for patient in (True, False):
            for backend in q.route.order:
                look = q.look(backend)
                # An order goes over everything but a failed certificate.
                passes = look.passes or (q.route.forced and look.gate is not Gate.BLOCKED)
                if not passes or not q.untried(backend):
                    continue
                if patient and backend != q.route.home and q.dwelling(backend):
                    continue
                if q.full(backend):
                    full.append(backend)
                    continue
                decision = self._set_out(q, backend, look)
                if decision is not None:
                    return decision
        return self._into_full(q, full[0]) if full else None

    def _set_out(self, q: Question, backend: BackendName, look: Look) -> Go | Hold | None:
        """Send a request to a backend that is new to it."""
        settled = q.route.forced or q.facts.stays is not None or backend == q.route.home
        reason, detail = q.reason_for(backend)
        ramped = look.gate is Gate.AVAILABLE and not settled
        return self._send(q, backend, reason, detail, anyway=not look.passes, ramped=ramped)

    def _into_full(self, q: Question, backend: BackendName) -> Decision | None:
        """Everything that could serve is full: wait for one to finish, but not for ever."""
        rules = self._desk.settings.retry_policy.rate_limit
        held = q.hold(FULL_POLL, Seconds(rules.max_wait), f"{backend} takes no more at once")
        return held if held is not None else self._set_out(q, backend, q.look(backend))

    def _waited_for(self, q: Question) -> Decision | None:
        """A backend that failed before, and that this request has waited for since."""
        if q.plan.waiting is None:
            return None
        for backend in q.route.order:
            if not q.look(backend).passes or not q.returnable(backend):
                continue
            if q.full(backend):
                held = q.hold(FULL_POLL, q.look(backend).max_wait, f"{backend} takes no more at once")
                if held is not None:
                    return held
            ramped = q.look(backend).gate is Gate.AVAILABLE
            decision = self._send(q, backend, Reason.RETRY, "waited for it", ramped=ramped)
            if decision is not None:
                return decision
        return None

    def _alone(self, q: Question) -> Decision | None:
        """The only candidate is asked whatever its state: without us it would be, too."""
        if len(q.route.order) > 1 or not q.untried(q.route.order[0]):
            return None
        backend = q.route.order[0]
        look = q.look(backend)
        if look.gate is Gate.BLOCKED:
            return None
        return self._send(q, backend, Reason.PRIMARY, q.route.why or look.why, anyway=True, ramped=False)

    def _valve(self, q: Question) -> Decision | None:
        """Everything refuses: wait for the soonest, or try it once before its time."""
        if q.facts.stays is not None:
            return None  # Its client knows how to wait (quota probe, low priority) or has nowhere else to go.
        looks = {b: q.look(b) for b in q.route.order}
        open_to_us = [b for b in looks if q.untried(b) or q.returnable(b)]
        candidates = sorted((b for b in open_to_us if looks[b].gate in PASSING_BY), key=lambda b: looks[b].wait)
        if candidates:
            soonest = looks[candidates[0]]
            held = q.hold(soonest.wait, soonest.max_wait, f"{candidates[0]}: {soonest.why}")
            if held is not None:
                return held
        if any(refusal.may_clear for refusal in q.refused.values()):
            held = q.hold(MONEY_POLL, MONEY_WAIT, "others hold the rest of the daily limit")
            if held is not None:
                return held
        for backend in candidates:
            if q.untried(backend) and looks[backend].may_be_early:
                why = looks[backend].why
                decision = self._send(q, backend, Reason.LAST_RESORT, why, anyway=True, ramped=False)
                if decision is not None:
                    return decision
        return None

    def _stop(self, q: Question, why: str) -> Stop:
        """Nothing helps."""
        looks = [q.look(b) for b in q.route.order]
        ends = [look.until - q.now.wall for look in looks if look.gate in PASSING_BY and look.until is not None]
        soonest = Seconds(max(1.0, min(ends))) if ends else None
        spend = next(iter(q.refused.values()), None)
        return Stop(why, spend, self._is_offline(q), soonest)

    # --- inside ------------------------------------------------------------------------------------

    def _send(
        self, q: Question, backend: BackendName, reason: Reason, detail: str, *, anyway: bool = False, ramped: bool
    ) -> Go | Hold | None:
        """Give leave to send, if the ramp and the money allow; ``None`` = the money does not."""
        desk, now, spot = self._desk, q.now, q.spot(backend)
        key = (backend, q.facts.model)
        ramp = desk.ramps.peek(key)
        if ramped and ramp is not None:
            opens = ramp.opens(desk.in_flight[key], now.monotonic)
            if now.monotonic < opens <= now.monotonic + q.facts.patience:
                return Hold(opens, f"traffic moves to {backend} step by step")
        reservation = None
        if desk.spend is not None and backend in q.facts.estimates:
            estimate, session = q.facts.estimates[backend], q.facts.session
            answer = desk.spend.reserve(estimate, now, session=session, session_limit_nusd=q.facts.session_limit_nusd)
            if isinstance(answer, Refusal):
                q.refused[backend] = answer
                q.said.extend(answer.announce)
                return None
            reservation = answer
        desk.permits += 1
        entry, changes = desk.gates.enter(spot, desk.permits, now, anyway=anyway)
        q.said.extend(changes)
        permit = Permit(
            desk.permits, backend, q.facts.model, q.facts.family, q.facts.exchange, q.facts.conversation, entry.probe,
            entry.held, reservation, now,
        )  # fmt: skip
        desk.take_off(Flight(permit, spot, entry))
        if not q.route.forced and q.facts.stays is None:
            self._note_moves(q, spot)
        return Go(backend, reason, permit, detail=detail)

    def _note_moves(self, q: Question, spot: Spot) -> None:
        """Remember which backends new requests have left for this one, or that they are back."""
        desk, model, now = self._desk, q.facts.model, q.now
        for before in q.route.base[: q.route.base.index(spot.backend)]:
            look = desk.gates.look(q.spot(before), now)
            if not look.passes and desk.dwells.leave(before, model, look.reason, now):
                desk.begin_ramp(spot.backend, model, now.monotonic)
        q.said.extend(desk.returned(spot, now))

    def _is_offline(self, q: Question) -> bool:
        """Whether no candidate could be reached; for a request that may go anywhere this is the daemon's state."""
        network, now = self._desk.network, q.now.monotonic
        outcomes = {t.verdict.outcome for t in q.tries}
        if Outcome.UNREACHABLE not in outcomes or not outcomes <= _NETWORK_SILENT:
            return False
        untried = [b for b in q.route.order if b not in q.tried]
        if not all(network.recently_unreachable(b, now) for b in untried):
            return False
        if not network.offline and not q.route.forced and q.facts.stays is None:
            for suspicion in network.go_offline():
                self._desk.gates.released(suspicion.spot, suspicion.entry, q.now, pause=False)
            q.said.append(Transition(TransitionKind.OFFLINE, detail="no backend can be reached"))
        return True

    # --- what comes back ---------------------------------------------------------------------------

    def committed(self, permit: Permit, now: Instant) -> list[Transition]:
        """First content: a probe has succeeded."""
        flight = self._desk.flights.get(permit.id)
        return [] if flight is None else feedback.committed(self._desk, flight, now)

    def observe(self, permit: Permit, verdict: Verdict, now: Instant) -> list[Transition]:
        """The attempt's end; a second time has no effect."""
        flight = self._desk.land(permit)
        return [] if flight is None else feedback.observe(self._desk, flight, verdict, now)

    def settle(self, permit: Permit, cost_nusd: int, now: Instant) -> list[Transition]:
        """What the attempt cost, in nano-USD; a second time has no effect."""
        if self._desk.spend is None or permit.reservation is None:
            return []
        return self._desk.spend.settle(permit.reservation, cost_nusd, now)

    # --- by hand, and across restarts --------------------------------------------------------------

    def force(
        self, backend: BackendName | None, model: str | None, until: Epoch | None, now: Instant
    ) -> list[Transition]:
        """Order a backend for every model (*model* ``None``) or one; ``None`` as backend ends the order."""
        if backend is None:
            return self._desk.overrides.end(model)
        return self._desk.overrides.force(backend, model, until, now)

    def acknowledge(self, backend: BackendName) -> bool:
        """Somebody has looked at a failed certificate: try it again; false if there was none."""
        return self._desk.gates.acknowledge(backend)

    def note_extra_usage(self, backend: BackendName, until: Epoch | None, now: Instant) -> None:
        """The plan is used up and *backend* charges extra until then (``avoid_extra_usage``); ``None`` = no more."""
        self._desk.note_extra_usage(backend, until, now)

    def reload(self, settings: Settings, now: Instant) -> list[Transition]:
        """Take a new configuration; denied models and certificates are tried anew."""
        return [*self._desk.overrides.expire(now), *self._desk.configure(settings)]

    def snapshot(self) -> dict[str, Any]:
        """What must survive a restart, as plain JSON values (money is the spend budget's own)."""
        return self._desk.snapshot()

    def restore(self, data: Mapping[str, Any], now: Instant) -> None:
        """Take back a snapshot; what makes no sense in it is left out."""
        self._desk.restore(data, now)

    def view(self, now: Instant) -> PolicyView:
        """Everything that ``status`` shows; changes nothing."""
        return views.view(self._desk, now)
