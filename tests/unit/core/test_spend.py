"""The spend budget: what is granted, refused, settled, and on which day."""

from __future__ import annotations

from claude_failover.core.spend import (
    MAX_SESSIONS,
    DayWindow,
    Refusal,
    Reservation,
    SpendBudget,
    dollars,
    nusd,
)
from claude_failover.core.types import Epoch, Instant, Monotonic, TransitionKind

USD = 1_000_000_000
DAY = 86_400.0


def day_of(wall: Epoch) -> DayWindow:
    """Days of 86,400 s that begin at 0; keys sort as time does."""
    number = int(wall // DAY)
    return DayWindow(f"day-{number:06d}", Epoch((number + 1) * DAY), "00:00 UTC")


def at(wall: float) -> Instant:
    return Instant(Epoch(wall), Monotonic(wall))


NOON = at(DAY * 100 + DAY / 2)
TOMORROW = at(DAY * 101 + 1)


def budget(limit: int | None = 10 * USD, alert: int | None = 8 * USD) -> SpendBudget:
    return SpendBudget(limit, alert, day_of)


def granted(answer: Reservation | Refusal) -> Reservation:
    assert isinstance(answer, Reservation)
    return answer


def refused(answer: Reservation | Refusal) -> Refusal:
    assert isinstance(answer, Refusal)
    return answer


def test_what_is_held_counts_against_the_limit_before_it_is_spent() -> None:
    money = budget()
    granted(money.reserve(6 * USD, NOON))
    granted(money.reserve(4 * USD, NOON))
    answer = refused(money.reserve(1, NOON))
    assert (answer.spent, answer.held, answer.limit, answer.amount) == (0, 10 * USD, 10 * USD, 1)
    assert answer.resets == Epoch(DAY * 101)


def test_settling_gives_back_what_was_held_too_much() -> None:
    money = budget()
    first = granted(money.reserve(10 * USD, NOON))
    assert money.settle(first, 1 * USD, NOON) == []
    granted(money.reserve(9 * USD, NOON))
    assert isinstance(money.reserve(1, NOON), Refusal)
    view = money.view(NOON)
    assert (view.spent, view.held, view.open, view.refused, view.overrun) == (1 * USD, 9 * USD, 1, 1, 0)


def test_releasing_costs_nothing() -> None:
    money = budget()
    money.release(granted(money.reserve(10 * USD, NOON)), NOON)
    assert (money.view(NOON).spent, money.view(NOON).held) == (0, 0)


def test_a_reservation_settles_only_once() -> None:
    money = budget()
    reservation = granted(money.reserve(5 * USD, NOON))
    money.settle(reservation, 2 * USD, NOON)
    assert money.settle(reservation, 2 * USD, NOON) == []
    money.release(reservation, NOON)
    assert (money.view(NOON).spent, money.view(NOON).held) == (2 * USD, 0)


def test_negative_amounts_and_costs_count_as_nothing() -> None:
    money = budget()
    reservation = granted(money.reserve(-5, NOON))
    assert reservation.amount_nusd == 0
    money.settle(reservation, -7, NOON)
    assert (money.view(NOON).spent, money.view(NOON).held) == (0, 0)


def test_a_cost_above_its_hold_is_booked_in_full_and_shown() -> None:
    money = budget()
    money.settle(granted(money.reserve(1 * USD, NOON)), 3 * USD, NOON)
    assert (money.view(NOON).spent, money.view(NOON).overrun) == (3 * USD, 2 * USD)


def test_without_a_limit_everything_is_granted() -> None:
    money = budget(limit=None, alert=None)
    money.settle(granted(money.reserve(10**15, NOON)), 10**15, NOON)
    granted(money.reserve(10**15, NOON))
    assert not money.view(NOON).exhausted


def test_a_limit_of_nothing_refuses_every_paid_attempt_but_a_free_one() -> None:
    money = budget(limit=0, alert=None)
    refused(money.reserve(1, NOON))
    granted(money.reserve(0, NOON))
    assert money.view(NOON).exhausted


def test_a_new_day_has_the_whole_limit_again() -> None:
    money = budget()
    money.settle(granted(money.reserve(10 * USD, NOON)), 10 * USD, NOON)
    refused(money.reserve(1, NOON))
    granted(money.reserve(10 * USD, TOMORROW))
    assert money.view(TOMORROW).day == "day-000101"
    assert money.snapshot() == {"day-000101": 0}


def test_a_cost_is_booked_to_the_day_of_its_reservation() -> None:
    money = budget()
    evening = granted(money.reserve(3 * USD, NOON))
    granted(money.reserve(10 * USD, TOMORROW))
    money.settle(evening, 2 * USD, TOMORROW)
    assert money.view(TOMORROW).spent == 0
    assert money.spent("day-000101") == 0


def test_a_day_is_remembered_while_anything_of_it_is_under_way() -> None:
    money = budget()
    evening = granted(money.reserve(3 * USD, NOON))
    free = granted(money.reserve(0, NOON))
    money.view(TOMORROW)
    assert money.snapshot() == {"day-000100": 0, "day-000101": 0}
    money.settle(evening, 2 * USD, TOMORROW)
    assert money.spent("day-000100") == 2 * USD, "the one that holds nothing is still open on that day"
    money.settle(free, 1 * USD, TOMORROW)
    assert money.snapshot() == {"day-000101": 0}
    assert money.spent("day-000100") == 0


def test_the_day_never_moves_backwards() -> None:
    money = budget()
    money.settle(granted(money.reserve(10 * USD, TOMORROW)), 10 * USD, TOMORROW)
    refused(money.reserve(1, NOON))
    assert money.view(NOON).day == "day-000101"


def test_the_alert_comes_once_a_day() -> None:
    money = budget()
    (alert,) = money.settle(granted(money.reserve(9 * USD, NOON)), 8 * USD, NOON)
    assert alert.kind is TransitionKind.SPEND_ALERT
    assert alert.fields == {
        "spent_nusd": 8 * USD,
        "alert_nusd": 8 * USD,
        "limit_nusd": 10 * USD,
        "day": "day-000100",
    }
    assert alert.detail == "$8.00 of the daily limit $10.00 spent at paid backends (alert at $8.00)"
    assert money.settle(granted(money.reserve(1 * USD, NOON)), 1 * USD, NOON) == []
    (again,) = money.settle(granted(money.reserve(9 * USD, TOMORROW)), 9 * USD, TOMORROW)
    assert again.fields["day"] == "day-000101"


def test_an_alert_needs_no_limit() -> None:
    money = budget(limit=None)
    (alert,) = money.settle(granted(money.reserve(9 * USD, NOON)), 9 * USD, NOON)
    assert alert.detail == "$9.00 spent at paid backends (alert at $8.00)"


def test_reaching_the_limit_is_announced_once_a_day() -> None:
    money = budget(alert=None)
    money.settle(granted(money.reserve(10 * USD, NOON)), 10 * USD, NOON)
    first, second = refused(money.reserve(1 * USD, NOON)), refused(money.reserve(1 * USD, NOON))
    (told,) = first.announce
    assert (told.kind, told.until) == (TransitionKind.SPEND_LIMIT, Epoch(DAY * 101))
    assert told.detail == first.message
    assert second.announce == ()


def test_a_refusal_that_may_clear_is_not_the_end_of_the_day() -> None:
    """Others' holds stand in the way; when they settle cheap there is room. Waiting is worth it."""
    money = budget()
    other = granted(money.reserve(9 * USD, NOON))
    answer = refused(money.reserve(2 * USD, NOON))
    assert answer.may_clear
    assert answer.announce == ()
    money.settle(other, 1 * USD, NOON)
    granted(money.reserve(2 * USD, NOON))


def test_a_refusal_that_no_settling_can_mend_says_so() -> None:
    money = budget()
    granted(money.reserve(1 * USD, NOON))
    assert not refused(money.reserve(11 * USD, NOON)).may_clear


def test_the_message_says_what_how_much_until_when_and_what_to_do() -> None:
    money = budget(limit=20 * USD, alert=None)
    money.settle(granted(money.reserve(19 * USD, NOON)), 18 * USD + USD // 2, NOON)
    granted(money.reserve(USD, NOON))
    assert refused(money.reserve(USD, NOON)).message == (
        "claude-failover: the daily limit of $20.00 for paid backends is reached ($18.50 spent, up to $1.00 reserved "
        "by requests under way; this request may cost up to $1.00). Resets 00:00 UTC. To raise it: "
        "cost_tracking.daily_limit in config.yaml, then `claude-failover reload`."
    )


def test_the_message_of_a_spent_day_is_short() -> None:
    refusal = Refusal(spent=20 * USD, limit=20 * USD, resets=Epoch(0), amount=5)
    assert refusal.message.startswith(
        "claude-failover: the daily limit of $20.00 for paid backends is reached ($20.00 spent). "
        "Resets at the end of the day."
    )


def test_raising_the_limit_counts_at_once() -> None:
    money = budget()
    money.settle(granted(money.reserve(10 * USD, NOON)), 10 * USD, NOON)
    assert refused(money.reserve(1 * USD, NOON)).announce
    money.configure(12 * USD, 8 * USD)
    granted(money.reserve(1 * USD, NOON))
    assert refused(money.reserve(2 * USD, NOON)).limit == 12 * USD
    money.settle(granted(money.reserve(1 * USD, NOON)), 1 * USD, NOON)


def test_a_raised_limit_may_be_announced_again_and_an_unchanged_one_not() -> None:
    money = budget(alert=None)
    money.settle(granted(money.reserve(10 * USD, NOON)), 10 * USD, NOON)
    assert refused(money.reserve(1, NOON)).announce
    money.configure(10 * USD, None)
    assert not refused(money.reserve(1, NOON)).announce
    money.configure(9 * USD, None)
    assert refused(money.reserve(1, NOON)).announce


def test_an_alert_threshold_raised_above_the_sum_is_armed_again() -> None:
    money = budget()
    assert money.settle(granted(money.reserve(8 * USD, NOON)), 8 * USD, NOON)
    money.configure(10 * USD, 9 * USD)
    assert money.settle(granted(money.reserve(1 * USD, NOON)), 1 * USD, NOON)
    money.configure(10 * USD, 7 * USD)
    assert money.settle(granted(money.reserve(1 * USD, NOON)), 1 * USD, NOON) == []


def test_an_alert_threshold_taken_away_stays_silent() -> None:
    money = budget()
    money.configure(10 * USD, None)
    assert money.settle(granted(money.reserve(9 * USD, NOON)), 9 * USD, NOON) == []


def test_a_reload_may_change_the_time_zone() -> None:
    money = budget()
    money.configure(1, None, lambda wall: DayWindow("day-000100", Epoch(wall + 60), "in a minute"))
    assert money.view(NOON).label == "in a minute"


def test_a_restart_goes_on_with_the_sum_of_the_day() -> None:
    money = budget()
    money.restore("day-000100", 9 * USD)
    refused(money.reserve(2 * USD, NOON))
    money.restore("day-000100", 1 * USD)
    assert money.spent("day-000100") == 9 * USD, "never less than is already known"


def test_an_alert_that_was_due_before_a_restart_has_been_given() -> None:
    money = budget()
    money.restore("day-000100", 9 * USD)
    assert money.settle(granted(money.reserve(1 * USD, NOON)), 1 * USD, NOON) == []


class Notes:
    """A journal that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, float]] = []

    def held(self, reservation: Reservation, now: Epoch) -> None:
        self.told.append(("held", reservation.amount_nusd, now))

    def settled(self, reservation: Reservation) -> None:
        self.told.append(("settled", reservation.amount_nusd, 0.0))


def test_a_journal_that_is_taken_away_is_left_with_nothing_open() -> None:
    notes = Notes()
    money = SpendBudget(10 * USD, None, day_of, notes)
    reservation = granted(money.reserve(6 * USD, NOON))
    money.detach()
    money.detach()
    assert notes.told == [("held", 6 * USD, NOON.wall), ("settled", 6 * USD, 0.0)]
    # The money itself is still reserved, and given back as ever; only nobody writes it down.
    refused(money.reserve(6 * USD, NOON))
    money.release(reservation, NOON)
    granted(money.reserve(6 * USD, NOON))
    assert len(notes.told) == 2


def test_the_journal_learns_of_every_reservation_and_of_its_end_once() -> None:
    notes = Notes()
    money = SpendBudget(10 * USD, None, day_of, notes)
    reservation = granted(money.reserve(6 * USD, NOON))
    refused(money.reserve(6 * USD, NOON))
    money.release(reservation, TOMORROW)
    money.attach(None)
    money.settle(granted(money.reserve(1, TOMORROW)), 1, TOMORROW)
    money.attach(notes)
    money.release(reservation, TOMORROW)
    assert notes.told == [("held", 6 * USD, NOON.wall), ("settled", 6 * USD, 0.0)]


def test_a_session_can_have_a_budget_of_its_own() -> None:
    money = budget()
    mine = granted(money.reserve(3 * USD, NOON, session="s1", session_limit_nusd=5 * USD))
    assert mine.session == "s1"
    answer = refused(money.reserve(3 * USD, NOON, session="s1", session_limit_nusd=5 * USD))
    assert (answer.session, answer.spent, answer.held, answer.limit) == ("s1", 0, 3 * USD, 5 * USD)
    assert "this session's budget of $5.00" in answer.message
    granted(money.reserve(3 * USD, NOON, session="s2", session_limit_nusd=5 * USD))
    granted(money.reserve(3 * USD, NOON, session="s1"))
    assert money.view(NOON).held == 9 * USD, "a refused reservation holds nothing anywhere"


def test_a_session_budget_does_not_reset_with_the_day() -> None:
    money = budget()
    money.settle(granted(money.reserve(5 * USD, NOON, session="s", session_limit_nusd=5 * USD)), 4 * USD, NOON)
    answer = refused(money.reserve(2 * USD, TOMORROW, session="s", session_limit_nusd=5 * USD))
    assert answer.spent == 4 * USD
    (told,) = answer.announce
    assert told.until is None


def test_a_session_budget_is_restored_from_the_ledger() -> None:
    money = budget()
    assert not money.knows_session("s")
    money.restore_session("s", 4 * USD)
    assert money.knows_session("s")
    refused(money.reserve(2 * USD, NOON, session="s", session_limit_nusd=5 * USD))


def test_only_idle_sessions_are_forgotten() -> None:
    money = budget(limit=None)
    granted(money.reserve(1, NOON, session="busy", session_limit_nusd=5))
    for number in range(MAX_SESSIONS):
        money.restore_session(f"s{number}", 1)
    assert money.knows_session("busy")
    assert not money.knows_session("s0")
    assert money.knows_session(f"s{MAX_SESSIONS - 1}")


def test_with_every_session_busy_none_is_forgotten() -> None:
    money = budget(limit=None)
    for number in range(MAX_SESSIONS):
        granted(money.reserve(1, NOON, session=f"s{number}", session_limit_nusd=5))
    granted(money.reserve(1, NOON, session="one more", session_limit_nusd=5))
    assert money.knows_session("s0")


def test_dollars_are_rounded_up_and_keep_small_sums_visible() -> None:
    assert dollars(0) == "$0.00"
    assert dollars(1) == "$0.0001"
    assert dollars(94_000_000) == "$0.0940"
    assert dollars(100_000_000) == "$0.10"
    assert dollars(1_234_560_000_001) == "$1,234.57"
    assert dollars(-5 * USD) == "-$5.00"


def test_settings_in_dollars_become_nano_dollars() -> None:
    assert nusd(100.0) == 100_000_000_000
    assert nusd(0.1) == 100_000_000
    assert nusd(None) is None
