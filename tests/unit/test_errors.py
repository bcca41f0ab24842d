"""One tree of errors: each a message, what to type, and an exit code."""

from __future__ import annotations

import pytest

from claude_failover import errors
from claude_failover.errors import FailoverError


@pytest.mark.parametrize(
    ("kind", "code", "hint"),
    [
        (errors.FailoverError, 1, None),
        (errors.ConfigError, 2, None),
        (errors.UsageError, 2, None),
        (errors.DaemonNotRunning, 3, "claude-failover start"),
        (errors.DaemonFailed, 1, "claude-failover logs -n 50"),
        (errors.AlreadyRunning, 0, None),
        (errors.ControlError, 1, None),
        (errors.CredentialError, 1, None),
        (errors.LedgerError, 1, None),
        (errors.LaunchError, 125, None),
    ],
)
def test_each_error_has_its_exit_code_and_what_to_type(kind: type[FailoverError], code: int, hint: str | None) -> None:
    error = kind("what is wrong")
    assert (str(error), error.exit_code, error.hint) == ("what is wrong", code, hint)


def test_a_hint_given_with_an_error_wins_and_stays_with_that_error() -> None:
    assert errors.DaemonNotRunning("no", hint="look elsewhere").hint == "look elsewhere"
    assert errors.DaemonNotRunning("no").hint == "claude-failover start"


def test_the_tree_in_the_docstring_names_every_error() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, FailoverError)]
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)
