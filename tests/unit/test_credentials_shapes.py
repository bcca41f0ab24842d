from __future__ import annotations

import pytest

from claude_failover.credentials import shapes
from claude_failover.credentials.secret import Secret


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("sk-ant-ort01-x", "refresh token"),
        ("sk-ant-admin01-x", "admin key"),
        ("sk-ant-sid01-x", "session cookie"),
        ("cfk_x", "client key"),
        ("ABSKx", "Bedrock"),
        ("sk-ant-oat01-a b", "white space"),
        ("sk-ant-oat01-é", "white space"),
        ("", "is empty"),
    ],
)
def test_what_is_no_use_is_recognised_by_how_it_begins(value: str, says: str) -> None:
    shape = shapes.shape_of(Secret(value))
    assert says in shape.problem
    assert shape.kind == ""


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("sk-ant-oat01-x", shapes.LOGIN),
        ("sk-ant-api03-x", shapes.API_KEY),
        ("of-a-gateway", shapes.BEARER),
    ],
)
def test_what_can_be_used_is_told_apart_by_how_it_begins(value: str, kind: str) -> None:
    assert shapes.shape_of(Secret(value)) == shapes.Shape(kind)
    assert shapes.shape_of(Secret("of-a-gateway"), shapes.API_KEY).kind == shapes.API_KEY
