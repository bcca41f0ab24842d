"""Bounded fuzzing of everything that reads what others write; longer with ``CLAUDE_FAILOVER_FUZZ_SECONDS``.

What atheris (``tests/fuzz/run.py``) or a longer run of this once found lies in ``tests/fuzz/regressions/TARGET`` and is
repeated here for good.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_failover.clock import SystemClock
from tests.fuzz.targets import TARGETS
from tests.fuzz.words import WORDS, exception, frame, seeds

SECONDS = float(os.environ.get("CLAUDE_FAILOVER_FUZZ_SECONDS", "0"))
"""For each target, beyond the bounded run."""

inputs = st.lists(
    st.one_of(
        st.sampled_from(WORDS),
        st.binary(max_size=24),
        st.binary(max_size=40).map(frame),
        st.binary(max_size=40).map(exception),
    ),
    max_size=24,
).map(b"".join)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=inputs)
def test_whatever_the_bytes_only_the_named_errors_come(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_longer_runs_begin_with_is_good_too(target: str) -> None:
    for seed in seeds():
        TARGETS[target](seed)


REGRESSIONS = sorted((Path(__file__).parents[1] / "fuzz/regressions").glob("*/*"))


@pytest.mark.parametrize("found", REGRESSIONS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_stays_mended(found: Path) -> None:
    TARGETS[found.parent.name](found.read_bytes())


if SECONDS:

    @pytest.mark.parametrize("target", TARGETS)
    @pytest.mark.timeout(SECONDS + 120)
    def test_the_same_for_as_long_as_was_said(target: str) -> None:
        clock = SystemClock()
        end = clock.now().monotonic + SECONDS

        @settings(
            max_examples=200, deadline=None, database=None, derandomize=False, suppress_health_check=list(HealthCheck)
        )
        @given(data=inputs)
        def play(data: bytes) -> None:
            TARGETS[target](data)

        while clock.now().monotonic < end:
            play()
