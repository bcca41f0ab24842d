from __future__ import annotations

import pytest

from claude_failover.core.types import Epoch
from claude_failover.credentials import shapes
from claude_failover.credentials.secret import Secret
from claude_failover.credentials.token import StoredToken


@pytest.mark.parametrize(
    ("kind", "bearer", "oauth"),
    [(shapes.LOGIN, True, True), (shapes.BEARER, True, False), (shapes.API_KEY, False, False)],
)
def test_its_kind_decides_how_a_token_is_sent(kind: str, bearer: bool, oauth: bool) -> None:
    token = StoredToken(Secret("x" * 30), kind, "keyring")
    assert (token.bearer, token.oauth) == (bearer, oauth)


def test_its_view_and_its_repr_do_not_show_it() -> None:
    token = StoredToken(Secret("sk-ant-api03-0123456789abcdef"), shapes.API_KEY, "keyring", Epoch(5.0), "old")
    assert token.view().text == "api key …cdef from keyring (old)"
    assert "0123456789" not in repr(token) + repr(token.view())
