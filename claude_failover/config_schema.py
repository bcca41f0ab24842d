"""Every key of ``config.yaml``: its name, what it may be, and what it does, in words.

Rule: this is the only list of keys. The loader, the commented default file, the variables'
names and ``docs/configuration.md`` are all made from it; types and defaults come from the
dataclasses in :mod:`claude_failover.core.settings`, and a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from claude_failover import config_rules as rules
from claude_failover.config_rules import Rule, choice, listing, number, optional, switch, text, whole
from claude_failover.core.settings import (
    Alerts,
    CircuitBreaker,
    CostTracking,
    Credentials,
    Listen,
    Logging,
    Metrics,
    RateLimitFallback,
    Retry,
    Settings,
    Stream,
    Timeouts,
)
from claude_failover.core.types import Kind

PREFIX: Final = "CLAUDE_FAILOVER_"

DAY: Final = 86_400.0
HOUR: Final = 3_600.0

SCOPES: Final = ("global", "us", "eu", "jp", "au", "apac", "us-gov", "none")
SURFACES: Final = ("auto", "messages", "invoke", "mantle")


@dataclass(frozen=True, slots=True)
class Key:
    """One setting."""

    name: str
    """In the file, and in the dataclass."""
    rule: Rule
    says: str
    """What it does: for the commented file and the reference."""
    only: Kind | None = None
    """A backend's key that only this kind has."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table of keys."""

    path: tuple[str, ...]
    """In the file."""
    target: tuple[str, ...]
    """Attributes from :class:`Settings` down to the dataclass."""
    says: str
    keys: tuple[Key, ...]
    type: type

    @property
    def name(self) -> str:
        """As in messages: ``retry_policy.RateLimitError``."""
        return ".".join(self.path)

    def key(self, name: str) -> Key | None:
        """Find a key."""
        return next((key for key in self.keys if key.name == name), None)


def variable(*path: str) -> str:
    """Name the environment variable of a key: ``retry_policy``, ``RateLimitError``, ``retries`` -> ``…_RETRIES``."""
    words = (re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part).replace("-", "_").upper() for part in path)
    return PREFIX + "_".join(words)


def _seconds(high: float, *, zero: bool = False) -> Rule:
    return number(0, high, above=not zero, unit="seconds")


_DOLLARS: Final = optional(number(0, 1_000_000, unit="US dollars"))

_RETRY_KEYS: Final = (
    Key("retries", whole(0, 10), "how often to try the same backend again before the next one"),
    Key("backoff_factor", number(1, 10), "each wait is this many times the one before"),
    Key("max_wait", _seconds(HOUR, zero=True), "the longest wait for one retry"),
)


RETRY_SAYS: Final = "On the same backend, before the next one is asked; per class of failure."


def _retry(name: str, attribute: str, says: str) -> Section:
    return Section(("retry_policy", name), ("retry_policy", attribute), says, _RETRY_KEYS, Retry)


SECTIONS: Final = (
    Section(
        ("listen",),
        ("listen",),
        "The port that Claude Code talks to.",
        (
            Key("host", rules.HOST, "address to listen on; anything but loopback also needs allow_remote"),
            Key("port", whole(0, 65_535), "0 takes any free port, which status then shows"),
            Key("client_key", choice("required", "off"), "required: only clients that show our key are served"),
            Key("other_users", choice("refused", "allowed"), "refused: only /metrics, even with the key (Linux)"),
            Key("allow_remote", switch(), "listen beyond loopback; the key is then required"),
        ),
        Listen,
    ),
    Section(
        ("rate_limit_fallback",),
        ("rate_limit_fallback",),
        "What a rate limit does.",
        (
            Key("enabled", switch(), "false: a limit is passed on to the client instead of being answered elsewhere"),
            Key(
                "detection_threshold",
                whole(1, 1_000_000),
                "limit answers for a model before its cooldown starts; 1: at once",
            ),
            Key("cooldown_time", _seconds(DAY), "the cooldown when a limit names no end"),
            Key("respect_retry_after", switch(), "false: cooldown_time even where the backend named an end"),
            Key("max_retry_after", _seconds(8 * DAY), "the longest time without one real request let through"),
        ),
        RateLimitFallback,
    ),
    _retry("RateLimitError", "rate_limit", "Limits. Without retries the next backend is asked at once."),
    _retry("OverloadedError", "overloaded", "Overload: status 529, or overloaded_error inside a stream."),
    _retry("ConnectionError", "connection", "Connections refused, reset or not found, and 5xx answers."),
    Section(
        ("circuit_breaker",),
        ("circuit_breaker",),
        "When failures make us leave a backend alone, and for how long.",
        (
            Key("failure_threshold", whole(1, 1_000), "failures in a row that open the circuit"),
            Key("failure_rate", number(0, 1, above=True), "share of failures within window that opens it"),
            Key("window", _seconds(HOUR), "how far back failure_rate looks"),
            Key("open_for", _seconds(HOUR), "how long an open circuit rests before it lets one request through"),
            Key("max_open_for", _seconds(DAY), "the rest doubles with each failed return, up to this"),
        ),
        CircuitBreaker,
    ),
    Section(
        ("timeouts",),
        ("timeouts",),
        "Limits of one attempt, and of their number.",
        (
            Key("connect", _seconds(300), "name lookup, TCP and TLS"),
            Key("first_byte", _seconds(HOUR), "from sending the request to the response's headers"),
            Key("first_content", _seconds(HOUR), "from sending the request to the first content"),
            Key("stream_idle", _seconds(HOUR), "silence in the middle of an answer"),
            Key("total_attempts", whole(1, 20), "attempts for one request, retries and repairs counted"),
        ),
        Timeouts,
    ),
    Section(
        ("stream",),
        ("stream",),
        "Holding back and keeping alive.",
        (
            Key(
                "hold_max", _seconds(240), "after this the response is opened, with pings, although nobody answered yet"
            ),
            Key("ping_interval", _seconds(240), "between pings of ours while a backend is silent"),
        ),
        Stream,
    ),
    Section(
        ("cost_tracking",),
        ("cost_tracking",),
        "Money.",
        (
            Key("enabled", switch(), "false: nothing is counted, and no limit is kept"),
            Key("daily_limit", _DOLLARS, "US dollars a day over all paid backends; null: no limit"),
            Key("alert_threshold", _DOLLARS, "US dollars a day that raise an alert; null: none"),
            Key("prefer_primary", switch(), "false: the cheaper backend of a model comes first"),
            Key("timezone", rules.TIMEZONE, "whose midnight begins a day"),
            Key("avoid_extra_usage", switch(), "prefer Bedrock over the subscription's paid extra usage"),
            Key("price_file", optional(rules.FILE), "YAML with prices of your own: {models: {claude-x: {input: 3}}}"),
        ),
        CostTracking,
    ),
    Section(
        ("alerts",),
        ("alerts",),
        "Where alerts go, and two of their thresholds.",
        (
            Key(
                "command",
                optional(rules.COMMAND),
                "run for each alert, without a shell; the alert is JSON on its standard input",
            ),
            Key("webhook", optional(rules.WEBHOOK), "gets each alert as JSON by POST"),
            Key("desktop", switch(), "desktop notifications where there is a desktop"),
            Key("fallback_rate", number(0, 1), "share of requests failed over that raises an alert"),
            Key("latency_p95", _seconds(HOUR), "time to first content at P95 that raises an alert"),
        ),
        Alerts,
    ),
    Section(
        ("logging",),
        ("logging",),
        "The structured log.",
        (
            Key("level", choice("debug", "info", "warning", "error"), "debug also logs each attempt"),
            Key("format", choice("json", "text"), "of --foreground; on disk it is always JSON lines"),
            Key("max_bytes", whole(100_000, 1_000_000_000), "size at which a file is rotated"),
            Key("backups", whole(0, 100), "rotated files that are kept"),
        ),
        Logging,
    ),
    Section(
        ("metrics",),
        ("metrics",),
        "Prometheus metrics on /metrics of the same port.",
        (Key("enabled", switch(), "serve /metrics"),),
        Metrics,
    ),
    Section(
        ("credentials",),
        ("credentials",),
        "Where stored Anthropic tokens are looked for.",
        (
            Key(
                "sources",
                listing(choice("env", "keyring", "claude"), "env, keyring, claude"),
                "in this order; the first that has a token wins",
            ),
        ),
        Credentials,
    ),
)

KIND: Final = choice(*Kind)

BACKEND_KEYS: Final = (
    Key("name", rules.BACKEND_NAME, "yours to choose; commands, logs and metrics use it"),
    Key("kind", KIND, "anthropic: the Claude API; bedrock: AWS"),
    Key("base_url", rules.ORIGIN, "where the Claude API is", Kind.ANTHROPIC),
    Key(
        "credential",
        choice("auto", "client", "stored"),
        "auto: what the client sent, else the stored token; client, stored: only that",
        Kind.ANTHROPIC,
    ),
    Key("tls_min_version", choice("1.2", "1.3"), "the oldest TLS version accepted", Kind.ANTHROPIC),
    Key(
        "pinned_spki",
        listing(rules.PIN, "pins (sha256/ and the base64 of 32 bytes)"),
        "hashes of accepted public keys; empty: any certificate of a trusted authority",
        Kind.ANTHROPIC,
    ),
    Key("region", optional(rules.REGION), "null: AWS_REGION, AWS_DEFAULT_REGION, the profile's", Kind.BEDROCK),
    Key("profile", optional(rules.PROFILE), "profile in ~/.aws/config; null: AWS_PROFILE or default", Kind.BEDROCK),
    Key("scope", choice(*SCOPES), "prefix of inference profiles: where AWS may serve from", Kind.BEDROCK),
    Key("surface", choice(*SURFACES), "which API of Bedrock; auto finds out", Kind.BEDROCK),
    Key(
        "endpoint_url",
        optional(rules.ORIGIN),
        "another endpoint: FIPS, VPC; null: AWS_ENDPOINT_URL_BEDROCK_RUNTIME or the region's",
        Kind.BEDROCK,
    ),
    Key(
        "max_output_tokens",
        optional(whole(1, 1_000_000)),
        "lowers max_tokens there (quota is reserved by max_tokens)",
        Kind.BEDROCK,
    ),
)

LISTS: Final = {
    "backends": "Who can answer, in order of preference; any number, names are yours.",
    "models": "Claude id -> Bedrock id or ARN, over the built-in table.",
    "fallbacks": "Per model, who comes after the primary, as in - {claude-opus-5-5: [bedrock]}; [] = never leaves it.",
}
"""The three top-level keys that are not tables of scalars."""

TOP_KEYS: Final = (
    "listen",
    *LISTS,
    *dict.fromkeys(section.path[0] for section in SECTIONS if section.path != ("listen",)),
)
"""In the order of the file."""

BEDROCK_ID: Final = text("a Bedrock model id or ARN without spaces", rules.MODEL_CHECK)

DEFAULTS: Final = Settings()


def variables(backends: Mapping[str, Kind]) -> dict[str, tuple[str, Rule]]:
    """List each environment variable that holds a setting: its key (dotted), and what it may be.

    Args:
        backends: The configured backends, whose keys have variables too: ``CLAUDE_FAILOVER_BACKENDS_BEDROCK_REGION``.
    """
    found = {
        variable(*section.path, key.name): (f"{section.name}.{key.name}", key.rule)
        for section in SECTIONS
        for key in section.keys
        if key.rule.single
    }
    for name, kind in backends.items():
        for key in BACKEND_KEYS:
            if key.rule.single and key.name not in {"name", "kind"} and key.only in {None, kind}:
                found[variable("backends", name, key.name)] = (f"backends.{name}.{key.name}", key.rule)
    return found
