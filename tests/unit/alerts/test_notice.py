from __future__ import annotations

import json

import pytest

from claude_failover.alerts.notice import payload, sentence
from claude_failover.core.alert_rules import Severity
from claude_failover.core.conditions import Change, Notice
from claude_failover.core.types import Epoch

AT = Epoch(1_795_000_000.0)


def notice(change: Change = Change.RAISED, detail: str = "$81.50 spent today") -> Notice:
    return Notice("cost", change, Severity.WARNING, "Much was spent", detail, Epoch(AT - 720), AT)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (Change.RAISED, "Much was spent: $81.50 spent today"),
        (Change.REMINDED, "Much was spent (still): $81.50 spent today"),
        (Change.RESOLVED, "Over after 12 min: Much was spent"),
    ],
)
def test_a_notice_is_one_sentence(change: Change, line: str) -> None:
    assert sentence(notice(change)) == line


def test_a_webhook_gets_what_happened_and_a_text_for_chats() -> None:
    assert json.loads(payload(notice())) == {
        "alert": "cost",
        "state": "firing",
        "change": "raised",
        "severity": "warning",
        "title": "Much was spent",
        "detail": "$81.50 spent today",
        "since": "2026-11-18T10:54:40Z",
        "at": "2026-11-18T11:06:40Z",
        "text": "claude-failover: Much was spent: $81.50 spent today",
    }
    assert json.loads(payload(notice(Change.RESOLVED)))["state"] == "resolved"


def test_no_secret_leaves_in_a_notice() -> None:
    leaky = notice(detail="refresh failed: sk-ant-ort01-CANARYCANARY")
    assert "CANARY" not in sentence(leaky)
    assert b"CANARY" not in payload(leaky)
