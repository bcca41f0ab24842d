from __future__ import annotations

import base64

from claude_failover.core.types import Epoch
from claude_failover.events.event import Event
from claude_failover.events.live_secrets import MAX_SECRETS, LiveSecrets, shown
from claude_failover.events.names import Level

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_registered_secrets_are_masked_in_plain_base64_and_hex() -> None:
    live = LiveSecrets()
    live.register(SECRET)
    plain, wrapped, spelt = SECRET, base64.b64encode(b"me:" + SECRET.encode()).decode(), SECRET.encode().hex()
    assert live.mask(f"a {plain} b") == "a [redacted] b"
    assert SECRET.encode().hex() not in live.mask(spelt)
    assert "[redacted]" in live.mask(wrapped)


def test_a_forgotten_secret_is_not_looked_for() -> None:
    live = LiveSecrets()
    live.register(SECRET)
    live.forget(SECRET)
    live.forget("never registered")
    assert live.mask(SECRET) == SECRET


def test_words_are_not_taken_for_secrets() -> None:
    live = LiveSecrets()
    live.register("short")
    live.register("")
    assert len(live) == 0


def test_refreshed_tokens_do_not_pile_up() -> None:
    live = LiveSecrets()
    for number in range(MAX_SECRETS + 5):
        live.register(f"a-long-secret-{number:04d}")
    assert len(live) == MAX_SECRETS
    assert live.mask("a-long-secret-0000") == "a-long-secret-0000"
    assert live.mask("a-long-secret-0068") == "[redacted]"


def test_what_is_shown_is_as_clean_as_what_is_written() -> None:
    live = LiveSecrets()
    live.register(SECRET)
    event = Event(
        1,
        Epoch(1.0),
        "code.crashed",
        Level.ERROR,
        {"message": f"it was {SECRET}", "body": "x", "where": "sk-ant-abcdef", "tried": [f"x {SECRET}"], "count": 3},
    )
    assert shown(event, live) == {
        "message": "it was [redacted]", "body": "[redacted]", "where": "[redacted]", "tried": ["x [redacted]"],
        "count": 3,
    }  # fmt: skip


def test_its_repr_shows_a_number_and_nothing_else() -> None:
    live = LiveSecrets()
    live.register(SECRET)
    assert repr(live) == "LiveSecrets(1)"
