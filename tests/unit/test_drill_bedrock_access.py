"""Who may call the simulated Bedrock, and what is noted when it arrives."""

from __future__ import annotations

import pytest

from claude_failover.drill.bedrock_access import ACCESS_KEY, API_KEY, SECRET_KEY, Account, by_key, leaks
from claude_failover.drill.script import Refusal, Seen
from claude_failover.drill.sigv4 import Credential

ACCOUNT = Account("us-east-1", dict(by_key(Credential(ACCESS_KEY, SECRET_KEY))), {API_KEY})


def judged(headers: dict[str, str], *, keyed: bool = True) -> Refusal | None:
    seen = Seen(1, "POST", "/", tuple(headers.items()), b"", 1, 0.0)
    return ACCOUNT.check(seen, "bedrock", 0.0, keyed=keyed)


def test_a_key_comes_as_bearer_or_on_the_messages_surface_as_x_api_key() -> None:
    assert judged({"authorization": f"Bearer {API_KEY}"}) is None
    assert judged({"x-api-key": API_KEY}) is None
    refused = judged({"x-api-key": API_KEY}, keyed=False)
    assert refused is not None
    assert refused.message == "Authorization header is missing"


def test_both_at_once_are_refused() -> None:
    refused = judged({"x-api-key": API_KEY, "authorization": f"Bearer {API_KEY}"})
    assert refused is not None
    assert refused.status == 400
    assert refused.message.startswith("Cannot provide both")


@pytest.mark.parametrize(
    ("key", "wording"), [("ABSKother", "not valid"), ("sk-ant-api03-x", "Invalid API Key format: Must start with")]
)
def test_other_keys_are_refused_with_a_capital_message(key: str, wording: str) -> None:
    refused = judged({"authorization": f"Bearer {key}"})
    assert refused is not None
    assert (refused.status, refused.shape) == (403, "aws-capital")
    assert wording in refused.message


def test_a_signature_is_verified() -> None:
    refused = judged({"authorization": "AWS4-HMAC-SHA256 nonsense"})
    assert refused is not None
    assert refused.error_type == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-ant-oat01-secret"},
        {"x-api-key": "sk-ant-api03-secret"},
        {"anthropic-beta": "effort-2025-11-24,oauth-2025-04-20"},
        {"X-Stainless-Lang": "js"},
        {"x-app": "cli"},
        {"x-claude-code-session-id": "s"},
        {"anthropic-dangerous-direct-browser-access": "true"},
        {"user-agent": "claude-cli/2.1.330 (external, cli)"},
        {"cookie": "a=b"},
        {"x-claude-failover-force": "bedrock"},
    ],
)
def test_what_is_anthropics_or_the_clients_is_a_leak(headers: dict[str, str]) -> None:
    found = leaks(Seen(1, "POST", "/", tuple(headers.items()), b"", 1, 0.0))
    assert len(found) == 1
    assert "secret" not in found[0]


def test_a_leak_is_also_found_in_the_target_and_in_the_bodys_betas() -> None:
    seen = Seen(1, "POST", "/?key=sk-ant-x", (), b'{"anthropic_beta":["oauth-2025-04-20"]}', 1, 0.0)
    assert len(leaks(seen)) == 2


def test_a_prompt_may_talk_about_keys() -> None:
    assert leaks(Seen(1, "POST", "/", (("user-agent", "claude-failover"),), b'{"text":"sk-ant-x"}', 1, 0.0)) == []
