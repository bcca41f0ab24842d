from __future__ import annotations

from claude_failover.credentials.view import CredentialView, of_error
from claude_failover.errors import CredentialError


def test_one_line_says_what_it_is_and_where_it_is_from() -> None:
    assert CredentialView("ANTHROPIC_API_KEY", "api key", tail="0001").text == "api key …0001 from ANTHROPIC_API_KEY"
    assert CredentialView("sso", "temporary keys", warning="refresh failed").text == (
        "temporary keys from sso (refresh failed)"
    )


def test_a_problem_is_all_that_is_said_of_one_that_cannot_be_used() -> None:
    view = of_error("AWS", CredentialError("the login has expired", hint="aws sso login"))
    assert (view.usable, view.text, view.hint) == (False, "the login has expired", "aws sso login")
    assert of_error("AWS", CredentialError("none")).hint == ""
