"""The judgement that status starts with, and the exit code of --check."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claude_failover.control.status import (
    BackendStatus,
    Health,
    ModelState,
    State,
    assess,
)
from tests.control_fakes import NOW, sample_status

CLAUDE = BackendStatus("claude", "anthropic")
BEDROCK = BackendStatus("bedrock", "bedrock", paid=True)
FREE = BackendStatus("second", "anthropic")


def test_a_ready_primary_with_somebody_behind_it_is_protected() -> None:
    assert assess((CLAUDE, BEDROCK), spend_reached=False) is Health.PROTECTED


@pytest.mark.parametrize("state", [State.COOLDOWN, State.OPEN, State.BLOCKED])
def test_a_primary_that_cannot_serve_is_failed_over(state: State) -> None:
    assert assess((replace(CLAUDE, state=state), BEDROCK), spend_reached=False) is Health.FAILED_OVER


def test_one_cooling_model_at_the_primary_is_failed_over() -> None:
    primary = replace(CLAUDE, models=(ModelState("claude-opus-5", State.COOLDOWN, 5.0),))
    assert assess((primary, BEDROCK), spend_reached=False) is Health.FAILED_OVER


def test_a_model_that_is_ready_changes_nothing() -> None:
    primary = replace(CLAUDE, models=(ModelState("claude-opus-5"),))
    assert assess((primary, BEDROCK), spend_reached=False) is Health.PROTECTED


def test_a_backend_that_is_probed_counts_as_able() -> None:
    assert assess((replace(CLAUDE, state=State.HALF_OPEN), BEDROCK), spend_reached=False) is Health.PROTECTED


def test_nobody_behind_a_ready_primary_is_unprotected() -> None:
    assert assess((CLAUDE,), spend_reached=False) is Health.UNPROTECTED


def test_a_secondary_without_credentials_protects_nobody() -> None:
    assert assess((CLAUDE, replace(BEDROCK, usable=False)), spend_reached=False) is Health.UNPROTECTED


def test_the_reached_limit_takes_paid_backends_away() -> None:
    assert assess((CLAUDE, BEDROCK), spend_reached=True) is Health.SPEND_LIMIT


def test_the_reached_limit_leaves_a_free_secondary() -> None:
    assert assess((CLAUDE, BEDROCK, FREE), spend_reached=True) is Health.PROTECTED


def test_a_paid_primary_is_not_asked_about_the_limit() -> None:
    assert assess((BEDROCK, FREE), spend_reached=True) is Health.PROTECTED


def test_all_cooling_is_down() -> None:
    cooling = tuple(replace(one, state=State.COOLDOWN) for one in (CLAUDE, BEDROCK))
    assert assess(cooling, spend_reached=False) is Health.DOWN


def test_no_backend_at_all_is_down() -> None:
    assert assess((), spend_reached=False) is Health.DOWN


def test_offline_is_down_whatever_the_backends_look_like() -> None:
    assert assess((CLAUDE, BEDROCK), spend_reached=False, offline=True) is Health.DOWN


@pytest.mark.parametrize(
    ("health", "code"),
    [
        (Health.PROTECTED, 0),
        (Health.FAILED_OVER, 4),
        (Health.UNPROTECTED, 4),
        (Health.DOWN, 4),
        (Health.SPEND_LIMIT, 5),
    ],
)
def test_check_exits_with_the_code_of_the_reference(health: Health, code: int) -> None:
    assert sample_status(health=health).check_exit_code == code


def test_uptime_counts_from_when_it_could_serve_and_never_backwards() -> None:
    assert sample_status(started=NOW - 90).uptime_s == 90
    assert sample_status(started=NOW + 90).uptime_s == 0
