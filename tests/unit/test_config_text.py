"""Settings back to text, and that the text means the same settings again."""

from __future__ import annotations

import json
import re

import pytest

from claude_failover.config_load import parse
from claude_failover.config_text import default_text, effective_json, effective_text, masked, scalar
from claude_failover.config_yaml import Scalar, Table, read
from claude_failover.core.settings import Settings

RICH = b"""
listen: {client_key: off}
backends:
  - {name: sub, kind: anthropic}
  - {name: west, kind: bedrock, region: us-west-2, profile: "a: b"}
models: {claude-x: "arn:aws:bedrock:us-west-2:1:application-inference-profile/x"}
fallbacks: [{claude-x: [west]}, {claude-y: []}]
cost_tracking: {daily_limit: null, alert_threshold: 12.5}
alerts: {webhook: "https://hooks.example/T0/s3cret"}
"""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (8484, "8484"),
        (100.0, "100"),
        (0.1, "0.1"),
        ((), "[]"),
        (("env", "off"), '[env, "off"]'),
        ("local", "local"),
        ("https://x.example:1/y", "https://x.example:1/y"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", '"::1"'),
        ("1.3", '"1.3"'),
        ("off", '"off"'),
        ("No", '"No"'),
        ("a: b", '"a: b"'),
        ("a #b", '"a #b"'),
        ("", '""'),
        ("é\n", '"é\\n"'),
    ],
)
def test_a_value_is_written_so_that_it_is_read_as_the_same(value: object, text: str) -> None:
    assert scalar(value) == text
    found = read(f"k: {text}".encode()).tree
    assert isinstance(found, Table)
    if not isinstance(value, tuple):
        entry = found.entries["k"]
        assert isinstance(entry, Scalar)
        assert entry.value == value


def loaded_keys() -> list[str]:
    """Every key of a section or backend that has a default (a backend's name and kind have none)."""
    return [key for key in parse(b"").origins if not key.endswith((".name", ".kind"))]


def test_the_default_file_means_exactly_the_defaults() -> None:
    loaded = parse(default_text().encode())
    assert loaded.settings == Settings()
    assert loaded.warnings == ()


def test_the_default_file_means_the_same_with_every_comment_sign_taken_away() -> None:
    uncommented, count = re.subn(r"(?m)^(\s*)#(?=\w)", r"\1", default_text())
    assert count == len(loaded_keys())
    loaded = parse(uncommented.encode())
    assert loaded.settings == Settings()
    assert loaded.origins["timeouts.connect"].startswith("config.yaml:")


def test_the_default_file_shows_every_key_with_its_meaning() -> None:
    text = default_text()
    assert "  #port: 8484                          # 0 takes any free port, which status then shows\n" in text
    assert "\n# Money.\ncost_tracking:\n" in text
    assert "  # - {claude-haiku-5-5: []}\n" in text
    assert max(map(len, text.splitlines())) <= 125


def test_what_is_in_force_is_shown_with_its_origin_and_can_be_loaded_again() -> None:
    loaded = parse(RICH, environ={"CLAUDE_FAILOVER_LISTEN_PORT": "1"})
    text = effective_text(loaded)
    assert '  client_key: "off"                    # config.yaml:2\n' in text
    assert "  port: 1                              # env CLAUDE_FAILOVER_LISTEN_PORT\n" in text
    assert "  allow_remote: false                  # default\n" in text
    assert "  - {claude-x: [west]}\n" in text
    assert parse(text.encode()).settings == masked(loaded.settings)


def test_empty_tables_are_shown_as_empty() -> None:
    text = effective_text(parse(b""))
    assert "\nmodels: {}\nfallbacks: []\n" in text


def test_what_is_in_force_as_json_has_every_key_and_its_origin() -> None:
    answer = json.loads(json.dumps(effective_json(parse(RICH))))
    assert answer["schema_version"] == 1
    assert answer["path"] is None
    assert answer["settings"]["listen"] == {
        "host": "127.0.0.1",
        "port": 8484,
        "client_key": "off",
        "other_users": "refused",
        "allow_remote": False,
    }
    assert answer["settings"]["backends"][1]["region"] == "us-west-2"
    assert "base_url" not in answer["settings"]["backends"][1]
    assert answer["settings"]["fallbacks"] == [{"claude-x": ["west"]}, {"claude-y": []}]
    assert answer["settings"]["retry_policy"]["OverloadedError"]["max_wait"] == 3.0
    assert answer["origins"]["listen.client_key"] == "config.yaml:2"
    assert answer["warnings"] == []


@pytest.mark.parametrize(
    ("hook", "shown"),
    [
        (None, None),
        ("https://hooks.example/T0/s3cret", "https://hooks.example/..."),
        ("https://hooks.example?token=s3cret", "https://hooks.example/..."),
        ("https://hooks.example", "https://hooks.example"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
    ],
)
def test_a_webhooks_path_is_a_secret(hook: str | None, shown: str | None) -> None:
    environ = {"CLAUDE_FAILOVER_ALERTS_WEBHOOK": hook} if hook else {}
    assert masked(parse(b"", environ=environ).settings).alerts.webhook == shown
