"""The promise about money, whatever happens in whatever order."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.spend import DayWindow, Refusal, Reservation, SpendBudget
from claude_failover.core.types import Epoch, Instant, Monotonic

DAY = 86_400.0


def day_of(wall: Epoch) -> DayWindow:
    number = int(wall // DAY)
    return DayWindow(f"day-{number:06d}", Epoch((number + 1) * DAY))


@dataclass
class Step:
    """One thing that may happen. *share* is how much of its bound an attempt really costs, in percent."""

    what: str
    amount: int
    share: int
    hours: int
    session: int


steps = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(["reserve", "reserve", "settle", "release", "limit"]),
        amount=st.integers(0, 60),
        share=st.integers(0, 100),
        hours=st.integers(-30, 30),
        session=st.integers(0, 3),
    ),
    max_size=80,
)


@given(steps=steps, limit=st.integers(0, 200), seed=st.integers(0, 2**16))
@settings(max_examples=200)
def test_no_day_ever_costs_more_than_its_limit(steps: list[Step], limit: int, seed: int) -> None:
    """Costs stay within their bounds; limits change, the clock jumps, attempts end in any order and on other days."""
    budget = SpendBudget(limit, None, day_of)
    rng = random.Random(seed)
    wall, highest = DAY * 100, limit
    under_way: list[Reservation] = []
    booked: dict[str, int] = {}
    for step in steps:
        wall += step.hours * 3600.0
        now = Instant(Epoch(wall), Monotonic(0))
        if step.what == "reserve":
            answer = budget.reserve(
                step.amount, now, session=str(step.session), session_limit_nusd=50 if step.session else None
            )
            if isinstance(answer, Reservation):
                under_way.append(answer)
            else:
                view = budget.view(now)
                assert view.limit is not None
                refused_by_day = view.spent + view.held + step.amount > view.limit
                assert refused_by_day or answer.session is not None, "refused only when the limit could be passed"
        elif step.what == "limit":
            budget.configure(step.amount * 4, None)
            highest = max(highest, step.amount * 4)
        elif under_way:
            ended = under_way.pop(rng.randrange(len(under_way)))
            cost = 0 if step.what == "release" else ended.amount_nusd * step.share // 100
            budget.settle(ended, cost, now)
            booked[ended.day] = booked.get(ended.day, 0) + cost
        assert all(total <= highest for total in booked.values())
        for day, spent in budget.snapshot().items():
            assert spent == booked.get(day, 0)
        view = budget.view(now)
        assert view.held == sum(r.amount_nusd for r in under_way if r.day == view.day)
        assert view.held >= 0
        assert view.open == len(under_way)
    for last in under_way:
        budget.release(last, Instant(Epoch(wall), Monotonic(0)))
    assert budget.view(Instant(Epoch(wall), Monotonic(0))).held == 0


@given(
    limit=st.integers(1, 10_000),
    bounds=st.lists(st.integers(1, 1_000), min_size=500, max_size=500),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=30, deadline=None)
def test_five_hundred_at_once_stay_within_the_limit_and_use_it(limit: int, bounds: list[int], seed: int) -> None:
    """All ask before any has ended; each that is granted costs anything up to its bound; the refused ask again."""
    budget = SpendBudget(limit, None, day_of)
    now = Instant(Epoch(DAY * 100), Monotonic(0))
    rng = random.Random(seed)
    total, waiting = 0, list(bounds)
    while waiting:
        answers = [(bound, budget.reserve(bound, now)) for bound in waiting]
        granted = [answer for _, answer in answers if isinstance(answer, Reservation)]
        assert total + sum(r.amount_nusd for r in granted) <= limit
        for reservation in granted:
            cost = rng.randint(0, reservation.amount_nusd)
            budget.settle(reservation, cost, now)
            total += cost
        assert total <= limit
        if not granted:
            assert all(total + bound > limit for bound in waiting), "whoever fits is served in the end"
            break
        waiting = [bound for bound, answer in answers if isinstance(answer, Refusal)]
    assert budget.view(now).spent == total
    assert budget.view(now).overrun == 0


@given(costs=st.lists(st.tuples(st.integers(-10, 100), st.integers(-10, 300)), max_size=50))
@settings(max_examples=100)
def test_nothing_is_ever_negative(costs: list[tuple[int, int]]) -> None:
    budget = SpendBudget(None, 50, day_of)
    now = Instant(Epoch(0), Monotonic(0))
    alerts = 0
    for amount, actual in costs:
        answer = budget.reserve(amount, now, session="s", session_limit_nusd=10**9)
        assert isinstance(answer, Reservation)
        alerts += len(budget.settle(answer, actual, now))
        view = budget.view(now)
        assert min(view.spent, view.held, view.overrun) >= 0
    assert alerts == (1 if budget.view(now).spent >= 50 else 0)
