from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core import limits
from claude_failover.core.types import Epoch

SUFFIXES = [
    "status", "reset", "representative-claim", "fallback", "5h-status", "5h-reset", "5h-utilization", "7d-reset",
    "7d_opus-status", "7d_oi-reset", "7d-surpassed-threshold", "overage-status", "overage-in-use", "overage-reset",
    "overage-disabled-reason", "slow-offer", "upgrade-paths", "", "-", "5h-",
]  # fmt: skip
NAMES = st.sampled_from(
    [f"anthropic-ratelimit-unified-{suffix}" for suffix in SUFFIXES]
    + [
        "retry-after",
        "retry-after-ms",
        "x-amz-retry-after",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-fast-input-tokens-limit",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        ["rejected", "allowed", "true", "five_hour", "treatment", "1787296800", "2026-08-21T08:07:00Z", "1e400", "-0"]
    ),
    st.text(max_size=40),
    st.integers().map(str),
    st.floats().map(str),
)
MOMENTS = st.floats(min_value=0, max_value=4e9).map(Epoch)


@settings(max_examples=200)
@given(st.dictionaries(NAMES, VALUES, max_size=12), MOMENTS)
def test_no_header_whatever_it_says_breaks_the_reading(headers: dict[str, str], now: Epoch) -> None:
    plan = limits.plan_limits(headers)
    assert (plan is None) == (not any(name.startswith(limits.UNIFIED) for name in headers))
    limits.quotas(headers)
    wait = limits.retry_after(headers, now)
    assert wait is None or 0 <= wait <= limits.MAX_TOLD


@settings(max_examples=200)
@given(st.floats(allow_nan=False).map(Epoch), MOMENTS)
def test_a_believable_end_is_never_before_now_nor_beyond_the_longest_limit(moment: Epoch, now: Epoch) -> None:
    end = limits.believable(moment, now)
    assert end is None or now < end <= now + limits.MAX_TOLD


@settings(max_examples=100)
@given(MOMENTS)
def test_midnight_is_at_most_a_day_away_and_a_whole_day(now: Epoch) -> None:
    midnight = limits.next_utc_midnight(now)
    assert now < midnight <= now + 86_400
    assert midnight % 86_400 == 0
