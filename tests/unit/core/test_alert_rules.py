from __future__ import annotations

import pytest

from claude_failover.core.alert_rules import RULES, Sample, View
from claude_failover.core.gauges import BackendGauges, Gauges
from claude_failover.core.settings import Alerts
from claude_failover.core.types import BackendName, Epoch, Seconds

AT = Epoch(1_795_000_000.0)
CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
BOTH = (BackendGauges(CLAUDE), BackendGauges(BEDROCK))
QUIET = Gauges(AT, BOTH, active=CLAUDE)


def sample(*, elsewhere: bool = False, ttft: float | None = 1.0, in_band: int = 0) -> Sample:
    return Sample(AT, elsewhere, None if ttft is None else Seconds(ttft), in_band)


def ask(code: str, view: View) -> str | None:
    (rule,) = [rule for rule in RULES if rule.code == code]
    return rule.holds(view)


def view(gauges: Gauges = QUIET, *recent: Sample, **rest: object) -> View:
    return View(gauges, Alerts(), recent=recent, **rest)  # type: ignore[arg-type]


def test_nothing_holds_when_all_is_quiet() -> None:
    assert [rule.code for rule in RULES if rule.holds(view()) is not None] == []


def test_codes_are_unique() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(
    ("elsewhere", "of", "answer"),
    [
        (1, 10, None),
        (2, 10, "2 of the last 10 requests (20%) left the primary"),
        (9, 9, None),
    ],
    ids=["exactly the threshold", "more", "too few to say"],
)
def test_the_fallback_rate_is_more_than_a_tenth_of_enough_requests(elsewhere: int, of: int, answer: str | None) -> None:
    recent = [sample(elsewhere=number < elsewhere) for number in range(of)]
    assert ask("fallback_rate", view(QUIET, *recent)) == answer


@pytest.mark.parametrize(
    ("times", "answer"),
    [
        ([6.0] + [1.0] * 19, None),
        ([6.0] * 2 + [1.0] * 18, "P95 of the time to first content is 6.0 s (limit 5 s)"),
        ([5.0] * 20, None),
        ([60.0] * 9, None),
        ([60.0] * 9 + [None] * 50, None),
    ],
    ids=["one of twenty", "two of twenty", "exactly the limit", "too few", "too few that say"],
)
def test_p95_is_the_nineteenth_of_twenty(times: list[float | None], answer: str | None) -> None:
    assert ask("latency", view(QUIET, *(sample(ttft=time) for time in times))) == answer


def test_three_answers_that_break_are_worth_a_word() -> None:
    assert ask("in_band_errors", view(QUIET, sample(in_band=2))) is None
    assert ask("in_band_errors", view(QUIET, sample(in_band=2), sample(in_band=1))) is not None


def test_more_than_four_trips_are_flapping() -> None:
    assert ask("breaker_flapping", view(trips=4)) is None
    assert ask("breaker_flapping", view(trips=5)) == "breakers opened 5 times in 30 minutes"


def test_a_failed_refresh_says_why() -> None:
    assert ask("token_refresh", view(refresh_failed="bedrock: login")) == "bedrock: login"


def test_a_bypass_says_how_many() -> None:
    gauges = Gauges(AT, bypasses=3)
    assert ask("bypass", view(gauges, bypassed=True)) is not None
    assert ask("bypass", view(gauges)) is None


GAUGE_ROWS = [
    ("cost", Gauges(AT, spent_usd=79.99, alert_usd=80.0), None),
    ("cost", Gauges(AT, spent_usd=80.0, alert_usd=80.0), "$80.00 spent today (alert at $80.00)"),
    ("cost", Gauges(AT, spent_usd=80.0), None),
    ("spend_limit", Gauges(AT, spent_usd=99.0, reserved_usd=0.5, limit_usd=100.0), None),
    ("spend_limit", Gauges(AT, spent_usd=99.0, reserved_usd=1.0, limit_usd=100.0),
     "$99.00 of $100.00 spent today: no failover until tomorrow"),
    ("spend_limit", Gauges(AT, spent_usd=99.0), None),
    ("all_backends_down", Gauges(AT, (BackendGauges(CLAUDE, available=False), BackendGauges(BEDROCK))), None),
    ("all_backends_down",
     Gauges(AT, (BackendGauges(CLAUDE, available=False), BackendGauges(BEDROCK, available=False))),
     "none of claude, bedrock can answer"),
    ("all_backends_down", Gauges(AT, BOTH, offline=True), "no backend can be reached: is the network up?"),
    ("all_backends_down", Gauges(AT), None),
    ("failover_long", Gauges(AT, BOTH, active=BEDROCK, failover_since=Epoch(AT - 1800)), None),
    ("failover_long", Gauges(AT, BOTH, active=BEDROCK, failover_since=Epoch(AT - 2700)),
     "bedrock has answered for 45 minutes"),
    ("failover_long", Gauges(AT, BOTH, failover_since=Epoch(AT - 2700)), "nobody has answered for 45 minutes"),
    ("credential_expiring", Gauges(AT, (BackendGauges(BEDROCK, credential_expires=Epoch(AT + 3600)),)), None),
    ("credential_expiring",
     Gauges(AT, (BackendGauges(CLAUDE, credential_expires=Epoch(AT + 1800)),
                 BackendGauges(BEDROCK, credential_expires=Epoch(AT + 600)))),
     "the credential of bedrock ends in 10 minutes"),
    ("credential_expiring", Gauges(AT, (BackendGauges(BEDROCK, credential_expires=Epoch(AT - 1)),)),
     "the credential of bedrock has ended"),
    ("backend_blocked", Gauges(AT, (BackendGauges(CLAUDE, blocked="pin mismatch"), BackendGauges(BEDROCK))),
     "claude: pin mismatch"),
    ("disk", Gauges(AT, ledger_error="disk full", log_error="read-only"),
     "the ledger cannot be written (disk full); the log cannot be written (read-only)"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "gauges", "answer"), GAUGE_ROWS)
def test_what_is_read_off_the_daemon(code: str, gauges: Gauges, answer: str | None) -> None:
    assert ask(code, view(gauges)) == answer
