"""The defaults: what an absent configuration file means."""

from __future__ import annotations

from claude_failover.core.settings import Backend, Retry, Settings
from claude_failover.core.types import BackendName, Kind


def test_the_claude_api_comes_first_and_bedrock_second() -> None:
    settings = Settings()
    assert [(backend.name, backend.kind) for backend in settings.backends] == [
        ("claude", Kind.ANTHROPIC),
        ("bedrock", Kind.BEDROCK),
    ]
    assert settings.primary is settings.backends[0]


def test_the_primary_is_whoever_comes_first() -> None:
    first = Backend(BackendName("aws"), Kind.BEDROCK)
    assert Settings(backends=(first, *Settings().backends)).primary is first


def test_the_defaults_are_those_that_are_promised() -> None:
    settings = Settings()
    assert (settings.listen.host, settings.listen.port, settings.listen.client_key) == ("127.0.0.1", 8484, "required")
    assert settings.listen.allow_remote is False
    limits = settings.rate_limit_fallback
    assert (limits.enabled, limits.detection_threshold, limits.cooldown_time) == (True, 1, 300.0)
    assert (limits.respect_retry_after, limits.max_retry_after) == (True, 3600.0)
    retries = settings.retry_policy
    assert (retries.rate_limit, retries.overloaded, retries.connection) == (
        Retry(0, 2.0, 60.0),
        Retry(1, 2.0, 3.0),
        Retry(1, 2.0, 1.0),
    )
    breaker = settings.circuit_breaker
    assert (breaker.failure_threshold, breaker.failure_rate, breaker.window) == (5, 0.5, 30.0)
    assert (breaker.open_for, breaker.max_open_for) == (15.0, 120.0)
    times = settings.timeouts
    assert (times.connect, times.first_byte, times.first_content, times.stream_idle) == (10.0, 120.0, 180.0, 120.0)
    assert times.total_attempts == 4
    assert (settings.stream.hold_max, settings.stream.ping_interval) == (15.0, 10.0)
    money = settings.cost_tracking
    assert (money.enabled, money.daily_limit, money.alert_threshold, money.prefer_primary) == (True, 100.0, 80.0, True)
    assert money.timezone == "local"
    assert (settings.alerts.fallback_rate, settings.alerts.latency_p95) == (0.10, 5.0)
    assert settings.credentials.sources == ("env", "keyring", "claude")


def test_two_settings_never_share_what_can_change() -> None:
    assert Settings().models is not Settings().models
    assert Settings().fallbacks is not Settings().fallbacks
