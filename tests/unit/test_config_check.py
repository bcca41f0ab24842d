"""Values that contradict each other, and those that may not be meant."""

from __future__ import annotations

import pytest

from claude_failover.config_load import Loaded, parse
from claude_failover.errors import ConfigError

PIN = "sha256/" + "A" * 43 + "="


def warnings(text: str) -> tuple[str, ...]:
    return parse(text.encode()).warnings


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode())
    [line] = str(caught.value).splitlines()
    return line


def money(text: str) -> tuple[float | None, float | None, Loaded]:
    loaded = parse(text.encode())
    return loaded.settings.cost_tracking.daily_limit, loaded.settings.cost_tracking.alert_threshold, loaded


def test_an_alert_above_the_limit_is_a_contradiction() -> None:
    assert (
        complaint("cost_tracking:\n  daily_limit: 50\n  alert_threshold: 60\n")
        == "config.yaml:3: cost_tracking.alert_threshold (60) is above daily_limit (50)"
    )


def test_an_alert_at_the_limit_is_fine() -> None:
    assert money("cost_tracking: {daily_limit: 50, alert_threshold: 50}")[:2] == (50.0, 50.0)


def test_the_default_alert_gives_way_to_a_lower_limit() -> None:
    limit, alert, loaded = money("cost_tracking: {daily_limit: 50}")
    assert (limit, alert) == (50.0, 40.0)
    assert loaded.origins["cost_tracking.alert_threshold"] == "default (80% of daily_limit)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cost_tracking: {daily_limit: null}", (None, 80.0)),
        ("cost_tracking: {alert_threshold: null, daily_limit: 10}", (10.0, None)),
        ("cost_tracking: {daily_limit: 0}", (0.0, 0.0)),
    ],
)
def test_no_limit_and_no_alert_never_contradict(text: str, expected: tuple[float | None, float | None]) -> None:
    assert money(text)[:2] == expected


def test_a_limit_that_is_not_kept_is_warned_about() -> None:
    assert warnings("cost_tracking: {enabled: false, daily_limit: 5}") == (
        "config.yaml:1: cost_tracking.enabled is false: no limit and no alert is kept",
    )
    assert warnings("cost_tracking: {enabled: false}") == ()


def test_listening_beyond_loopback_needs_to_be_said_twice() -> None:
    assert 'config.yaml:1: listen.host "0.0.0.0" is not loopback' in complaint("listen: {host: 0.0.0.0}")
    assert "listen.allow_remote: true" in complaint("listen: {host: 0.0.0.0}")


def test_listening_beyond_loopback_needs_the_key() -> None:
    text = "listen:\n  host: 10.0.0.1\n  allow_remote: true\n  client_key: off\n"
    assert complaint(text) == "config.yaml:4: listen.client_key must be required where listen.host is not loopback"


def test_listening_beyond_loopback_is_allowed_with_a_warning() -> None:
    [warning] = warnings("listen: {host: '::', allow_remote: true}")
    assert "unencrypted" in warning


def test_a_first_rest_longer_than_the_longest_is_blamed_on_what_was_set() -> None:
    words = "circuit_breaker.open_for (300) is above max_open_for (120)"
    assert complaint("circuit_breaker: {open_for: 300}") == f"config.yaml:1: {words}"
    assert complaint("circuit_breaker:\n  max_open_for: 5\n").startswith("config.yaml:2: circuit_breaker.open_for (15)")


def test_a_fallback_must_be_a_backend_that_comes_after_the_primary() -> None:
    assert (
        complaint("fallbacks:\n  - {a: [aws]}\n")
        == 'config.yaml:2: fallbacks: unknown backend "aws" (allowed: bedrock)'
    )
    assert (
        complaint("fallbacks:\n  - {a: [claude]}\n")
        == 'config.yaml:2: fallbacks: "claude" is the primary; name those that come after it'
    )


def test_fallbacks_are_not_blamed_for_backends_that_could_not_be_read() -> None:
    text = "backends:\n  - {name: claude, kind: anthropic}\n  - {name: Aws, kind: bedrock}\nfallbacks: [{a: [aws]}]\n"
    assert complaint(text).startswith("config.yaml:3: backends: name: expected")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_backend_that_is_ourselves_is_refused(host: str) -> None:
    text = f"backends:\n  - {{name: claude, kind: anthropic, base_url: 'http://{host}:8484'}}\n"
    assert "base_url is our own port" in complaint(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("backends: [{name: a, kind: anthropic}]", "only one; there is nowhere to fail over to"),
        ("backends: [{name: a, kind: bedrock}, {name: b, kind: bedrock}]", "none of kind anthropic"),
        (
            "backends: [{name: a, kind: anthropic, tls_min_version: 1.2}, {name: b, kind: bedrock}]",
            "TLS 1.2 is accepted",
        ),
        (f"backends: [{{name: a, kind: anthropic, pinned_spki: ['{PIN}']}}, {{name: b, kind: bedrock}}]", "no second"),
        (
            "backends: [{name: a, kind: anthropic}, {name: b, kind: bedrock, scope: eu, region: us-west-2}]",
            "scope eu has no profiles in region us-west-2",
        ),
        ("timeouts: {first_content: 60}", "timeouts.first_content (60) ends before first_byte (120)"),
        ("stream: {ping_interval: 30}", "Claude Code shows that it waits after 20 seconds of silence"),
    ],
)
def test_what_may_not_be_meant_is_warned_about_with_its_line(text: str, words: str) -> None:
    [warning] = warnings(text)
    assert words in warning
    assert warning.startswith(("config.yaml:1: ", "backends: none"))


def test_the_defaults_and_a_plain_pair_are_not_warned_about() -> None:
    assert warnings("") == ()
    assert (
        warnings("backends: [{name: a, kind: anthropic}, {name: b, kind: bedrock, scope: us, region: ca-west-1}]") == ()
    )
