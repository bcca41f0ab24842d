"""The gate of the data port."""

from __future__ import annotations

import pytest

from claude_failover.core import gate
from claude_failover.core.gate import Admitted, Door, Refused, Route
from claude_failover.core.types import Headers

KEY = "k" * 43
DOOR = Door(8484, gate.digest(KEY))
OPEN_DOOR = Door(8484, None)
HOST = ("Host", "127.0.0.1:8484")
KEYED: Headers = (HOST, ("X-Claude-Failover-Key", KEY))


def why(method: str, target: str, lines: Headers, door: Door = DOOR) -> str:
    judged = gate.admit(method, target, lines, door)
    return judged.why if isinstance(judged, Refused) else judged.route.value


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("GET", "/.well-known/a%20b", Route.RELAY),
        ("GET", "/a/.../..b", Route.RELAY),
        ("POST", "/v1/messages", Route.MESSAGES),
        ("POST", "/v1/messages?beta=true", Route.MESSAGES),
        ("POST", "/v1/messages/count_tokens?beta=true", Route.COUNT_TOKENS),
        ("GET", "/v1/messages", Route.RELAY),
        ("POST", "/v1/messages/", Route.RELAY),
        ("GET", "/v1/models?limit=1000", Route.RELAY),
        ("DELETE", "/v1/files/file_1", Route.RELAY),
        ("GET", "/metrics", Route.METRICS),
        ("HEAD", "/", Route.HELLO),
        ("HEAD", "/api/hello", Route.HELLO),
        ("GET", "/healthz", Route.HEALTH),
        ("GET", "/api/hello", Route.RELAY),
    ],
)
def test_every_request_has_one_route(method: str, target: str, route: Route) -> None:
    judged = gate.admit(method, target, KEYED, DOOR)
    assert isinstance(judged, Admitted)
    assert judged.route is route


@pytest.mark.parametrize(
    "lines",
    [
        (HOST, ("x-claude-failover-key", KEY)),
        (HOST, ("X-CLAUDE-FAILOVER-KEY", f" {KEY} ")),
        (HOST, ("Authorization", f"Bearer {KEY}")),
        (HOST, ("authorization", f"bearer  {KEY}")),
        (HOST, ("x-api-key", KEY)),
    ],
)
def test_the_key_is_taken_in_three_places_and_goes_no_further(lines: Headers) -> None:
    judged = gate.admit("POST", "/v1/messages", (*lines, ("anthropic-version", "2023-06-01")), DOOR)
    assert judged == Admitted(Route.MESSAGES, (HOST, ("anthropic-version", "2023-06-01")))


def test_the_clients_own_credential_stays_beside_our_key() -> None:
    own = ("Authorization", "Bearer sk-ant-oat01-made-up")
    judged = gate.admit("POST", "/v1/messages", (*KEYED, own), DOOR)
    assert judged == Admitted(Route.MESSAGES, (HOST, own))


@pytest.mark.parametrize(
    "lines",
    [
        (HOST,),
        (HOST, ("x-claude-failover-key", "wrong")),
        (HOST, ("x-claude-failover-key", "schlüssel\udc80")),
        (HOST, ("x-claude-failover-key", "")),
        (HOST, ("authorization", KEY)),
        (HOST, ("authorization", f"Basic {KEY}")),
        (HOST, ("cookie2", KEY)),
    ],
)
def test_without_the_right_key_nothing_is_served(lines: Headers) -> None:
    judged = gate.admit("POST", "/v1/messages", lines, DOOR)
    assert isinstance(judged, Refused)
    assert (judged.status, judged.error_type, judged.why) == (401, "authentication_error", "key")
    assert "claude-failover run" in judged.message


def test_a_wrong_key_line_is_not_passed_on_beside_a_right_one() -> None:
    judged = gate.admit("POST", "/v1/messages", (*KEYED, ("x-claude-failover-key", "wrong")), DOOR)
    assert judged == Admitted(Route.MESSAGES, (HOST,))


def test_with_the_key_switched_off_anybody_on_loopback_may_ask() -> None:
    judged = gate.admit("POST", "/v1/messages", (HOST, ("x-claude-failover-key", "any"), ("x-api-key", "a")), OPEN_DOOR)
    assert judged == Admitted(Route.MESSAGES, (HOST, ("x-api-key", "a")))


def test_hello_and_health_need_no_key_and_carry_nothing_on() -> None:
    assert gate.admit("GET", "/healthz", (HOST, ("x-api-key", "a")), DOOR) == Admitted(Route.HEALTH, ())
    assert why("GET", "/metrics", (HOST,)) == "key"


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (("Host", "evil.example"),),
        (("Host", "evil.example:8484"),),
        (("Host", "127.0.0.1"),),
        (("Host", "127.0.0.1:8485"),),
        (("Host", "127.0.0.1.evil.example:8484"),),
        (("Host", "0.0.0.0:8484"),),
        (HOST, HOST),
        (HOST, ("host", "evil.example")),
        (("Host", "[::2]:8484"),),
        (("Host", "127.0.0.1:8484:8484"),),
    ],
)
def test_a_foreign_or_doubled_host_is_refused_on_every_route(lines: Headers) -> None:
    for target in ("/v1/messages", "/metrics", "/healthz", "/"):
        for method in ("POST", "GET", "HEAD"):
            assert why(method, target, (*lines, ("x-claude-failover-key", KEY))) == "host"


@pytest.mark.parametrize("host", ["localhost:8484", "LOCALHOST:8484", "[::1]:8484", " 127.0.0.1:8484 "])
def test_every_loopback_name_is_us(host: str) -> None:
    assert why("GET", "/healthz", (("Host", host),)) == "health"


def test_port_80_may_be_left_out() -> None:
    assert why("GET", "/healthz", (("Host", "localhost"),), Door(80, None)) == "health"
    assert why("GET", "/healthz", (("Host", "localhost:80"),), Door(80, None)) == "health"


@pytest.mark.parametrize(
    "line",
    [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Referer", "http://127.0.0.1:8484/"),
        ("Cookie", "a=b"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-User", "?1"),
    ],
)
def test_a_web_page_gets_nothing(line: tuple[str, str]) -> None:
    for target in ("/v1/messages", "/metrics", "/healthz"):
        assert why("POST", target, (*KEYED, line)) == "browser"


@pytest.mark.parametrize("line", [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Site", "none")])
def test_what_nodes_own_fetch_sends_is_no_browser(line: tuple[str, str]) -> None:
    assert why("POST", "/v1/messages", (*KEYED, line)) == "messages"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "http://evil.example/v1/messages"),
        ("POST", "http://127.0.0.1:8484/v1/messages"),
        ("CONNECT", "api.anthropic.com:443"),
        ("CONNECT", "/"),
        ("OPTIONS", "*"),
        ("GET", "//evil.example/"),
        ("GET", ""),
        ("GET", "/v1/../admin"),
        ("GET", "/v1/%2e%2e/admin"),
        ("GET", "/v1/%2E/admin"),
        ("POST", "/v1%2fmessages"),
        ("POST", "/v1%5cmessages"),
        ("POST", "/v1\\messages"),
        ("POST", "/v1/messages%00"),
        ("GET", "/./v1"),
    ],
)
def test_tricks_with_the_target_are_refused(method: str, target: str) -> None:
    assert why(method, target, KEYED) == "target"


def test_a_query_may_hold_what_a_path_may_not() -> None:
    assert why("GET", "/v1/files?path=%2e%2e%2f..", KEYED) == "relay"


@pytest.mark.parametrize("line", [("Upgrade", "h2c"), ("upgrade", "websocket"), ("UPGRADE", "")])
def test_no_other_protocol_is_changed_to(line: tuple[str, str]) -> None:
    assert why("POST", "/v1/messages", (*KEYED, line)) == "upgrade"


def test_no_refusal_repeats_what_was_sent() -> None:
    secret = "sk-ant-api03-made-up"
    for lines in ((HOST, ("x-api-key", secret)), (("Host", secret),), (*KEYED, ("Origin", secret))):
        judged = gate.admit("POST", f"/v1/{secret}", lines, DOOR)
        assert isinstance(judged, Refused)
        assert secret not in judged.message
