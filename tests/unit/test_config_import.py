"""A LiteLLM file of the plan's shape, carried over."""

from __future__ import annotations

import pytest

from claude_failover.config_import import import_litellm
from claude_failover.config_load import parse
from claude_failover.core.settings import Backend, RateLimitFallback, Retry, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.errors import ConfigError

PLAN = """\
# OAuth token configuration
litellm_settings:
  callbacks: [oauth_passthrough.proxy_handler_instance]
  custom_auth_token_env: CLAUDE_CODE_OAUTH_TOKEN  # NEW

router_settings:
  fallbacks:
    - {"claude-opus-4-5-20251101": ["claude-opus-4-5-20251101-bedrock"]}
  rate_limit_fallback:
    enabled: true
    detection_threshold: 2
    cooldown_time: 600
    respect_retry_after: true
    max_retry_after: 3600  # Max 1 hour wait
  retry_policy:
    RateLimitError:
      retries: 3
      backoff_factor: 2
      max_wait: 60
  cost_tracking:
    enabled: true
    daily_limit: 50.00
    alert_threshold: 40.00
    prefer_primary: true
model_list:
  - model_name: claude-opus-4-5-20251101
    litellm_params:
      model: anthropic/claude-opus-4-5-20251101
      api_key: os.environ/ANTHROPIC_API_KEY
  - model_name: claude-opus-4-5-20251101-bedrock
    litellm_params:
      model: bedrock/us.anthropic.claude-opus-4-5-20251101-v1:0
      aws_region_name: us-west-2
      aws_profile_name: bedrock-access
"""


def carried(text: str) -> tuple[Settings, list[str]]:
    imported = import_litellm(text.encode(), "lite.yaml")
    return parse(imported.text.encode()).settings, [note.removeprefix("lite.yaml:") for note in imported.notes]


def test_the_plans_file_is_carried_over_whole() -> None:
    settings, notes = carried(PLAN)
    assert settings.backends == (
        Backend(BackendName("claude"), Kind.ANTHROPIC),
        Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-west-2", profile="bedrock-access", scope="us"),
    )
    model = "claude-opus-4-5-20251101"
    assert settings.models == {model: "us.anthropic.claude-opus-4-5-20251101-v1:0"}
    assert settings.fallbacks == {model: ("bedrock",)}
    assert settings.rate_limit_fallback == RateLimitFallback(detection_threshold=2, cooldown_time=600.0)
    assert settings.retry_policy.rate_limit == Retry(3, 2.0, 60.0)
    assert (settings.cost_tracking.daily_limit, settings.cost_tracking.alert_threshold) == (50.0, 40.0)
    assert notes == [
        "3: litellm_settings.callbacks: not needed: the client's credential is passed through by itself",
    ]


def test_only_what_was_said_is_written() -> None:
    text = import_litellm(PLAN.encode(), "lite.yaml").text
    assert text.startswith(
        "# Imported from lite.yaml.\nbackends:\n  - name: claude\n    kind: anthropic\n  - name: bedrock\n"
    )
    for absent in ("listen", "timeouts", "base_url", "surface", "timezone"):
        assert absent not in text


def test_a_secret_is_never_copied() -> None:
    text = """\
model_list:
  - model_name: a
    litellm_params: {model: anthropic/claude-x, api_key: sk-ant-s3cret}
  - model_name: b
    litellm_params:
      model: bedrock/anthropic.claude-x
      aws_secret_access_key: s3cret
      aws_access_key_id: os.environ/AWS_ACCESS_KEY_ID
general_settings: {master_key: sk-s3cret}
environment_variables: {X: s3cret}
"""
    imported = import_litellm(text.encode(), "lite.yaml")
    assert "s3cret" not in imported.text + "".join(imported.notes)
    assert imported.notes == (
        "lite.yaml:3: model_list: api_key is a secret and not copied; claude-failover token set anthropic",
        "lite.yaml:7: model_list: aws_secret_access_key is a secret and not copied; claude-failover token set bedrock",
        "lite.yaml:8: model_list: aws_access_key_id is a secret and not copied; claude-failover token set bedrock",
        "lite.yaml:9: general_settings.master_key: not copied: we make a key of our own at the first start",
        "lite.yaml:10: environment_variables: no counterpart; not carried over",
    )


def test_deployments_in_several_regions_become_backends_in_order() -> None:
    settings, notes = carried("""\
model_list:
  - {model_name: west, litellm_params: {model: bedrock/us.anthropic.claude-x, aws_region_name: us-west-2}}
  - {model_name: eu, litellm_params: {model: bedrock/converse/eu.anthropic.claude-x, aws_region_name: eu-west-1}}
  - {model_name: x, litellm_params: {model: claude-x, api_base: "https://gateway.example"}}
  - {model_name: west2, litellm_params: {model: bedrock/us.anthropic.claude-y, aws_region_name: us-west-2}}
router_settings:
  fallbacks: [{x: [west, eu]}]
""")
    assert [(backend.name, backend.region, backend.scope) for backend in settings.backends] == [
        ("claude", None, "global"),
        ("bedrock", "us-west-2", "us"),
        ("bedrock-2", "eu-west-1", "eu"),
    ]
    assert settings.primary.base_url == "https://gateway.example"
    assert settings.fallbacks == {"claude-x": ("bedrock", "bedrock-2")}
    assert settings.models == {}, "the prefixes are the backends' scopes"
    assert notes == []


def test_two_different_models_for_one_are_told() -> None:
    settings, notes = carried("""\
model_list:
  - {model_name: x, litellm_params: {model: anthropic/claude-x}}
  - {model_name: one, litellm_params: {model: bedrock/anthropic.claude-x, aws_region_name: us-west-2}}
  - {model_name: two, litellm_params: {model: bedrock/anthropic.claude-y, aws_region_name: eu-west-1}}
router_settings:
  fallbacks: [{x: [one, two]}]
""")
    assert settings.models == {"claude-x": "anthropic.claude-x"}
    assert notes == ['6: models: "claude-x" can have one Bedrock id; anthropic.claude-y is left out']


def test_without_a_claude_api_in_the_list_the_default_one_comes_first() -> None:
    settings, _ = carried("model_list:\n  - {model_name: b, litellm_params: {model: bedrock/anthropic.claude-x}}\n")
    assert [backend.name for backend in settings.backends] == ["claude", "bedrock"]


def test_settings_with_another_name_find_their_place() -> None:
    settings, notes = carried("""\
router_settings: {allowed_fails: 7, cooldown_time: 30, stream_timeout: 60}
litellm_settings: {max_budget: 20, budget_duration: 1d}
general_settings: {port: 9000}
""")
    assert settings.circuit_breaker.failure_threshold == 7
    assert settings.rate_limit_fallback.cooldown_time == 30.0
    assert settings.timeouts.first_byte == 60.0
    assert settings.cost_tracking.daily_limit == 20.0
    assert settings.listen.port == 9000
    assert notes == []


def test_litellms_own_retry_policy_is_read_as_far_as_it_goes() -> None:
    settings, notes = carried(
        "router_settings:\n  retry_policy:\n    RateLimitErrorRetries: 2\n    TimeoutErrorRetries: 2\n"
    )
    assert settings.retry_policy.rate_limit.retries == 2
    assert notes == ["4: retry_policy.TimeoutErrorRetries: no counterpart; not carried over"]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "litellm_settings: {max_budget: 20}",
            "1: litellm_settings.max_budget: not for a day; set cost_tracking.daily_limit",
        ),
        (
            "litellm_settings: {custom_auth_token_env: MY_TOKEN}",
            "1: litellm_settings.custom_auth_token_env: no counterpart",
        ),
        (
            "router_settings: {num_retries: 3}",
            "1: router_settings.num_retries: no counterpart: retries are set per class",
        ),
        ("router_settings: {zzz: 3}", "1: router_settings.zzz: no counterpart; not carried over"),
        ("router_settings: {cooldown_time: '30'}", "1: router_settings.cooldown_time: expected a number above 0"),
        ("router_settings: {cooldown_time: os.environ/CD}", "os.environ/CD is a variable; set it in our file"),
        ("router_settings: {cost_tracking: {zzz: 1}}", "1: cost_tracking.zzz: no counterpart; not carried over"),
        ("router_settings: {fallbacks: [{a: [b]}]}", '1: fallbacks: "b" is not in model_list; not carried over'),
        (
            "router_settings: {fallbacks: [{a: []}, {a: []}]}",
            '1: fallbacks: "a" stands in the list twice; the first counts',
        ),
        ("model_list: {}", "1: model_list: expected a list, not a table"),
        ("model_list: [x]", "1: model_list: an entry without model_name and litellm_params.model"),
        (
            "model_list: [{model_name: g, litellm_params: {model: openai/gpt-5}}]",
            '"openai/gpt-5" is neither the Claude API',
        ),
        (
            "model_list: [{model_name: g, litellm_params: {model: claude-x, rpm: 6}}]",
            "1: model_list: rpm has no counterpart",
        ),
        (
            "model_list: [{model_name: g, litellm_params: {model: claude-x, api_base: 'https://x/v1'}}]",
            "model_list: api_base: expected an https URL",
        ),
        ("router_settings: []\nmodel_list: []", "1: router_settings: no counterpart; not carried over"),
    ],
)
def test_what_stays_behind_is_named_with_its_line(text: str, note: str) -> None:
    _, notes = carried(text)
    assert len(notes) == 1
    assert note in notes[0]


def test_another_model_of_the_same_backend_is_no_failover() -> None:
    settings, notes = carried("""\
model_list:
  - {model_name: opus, litellm_params: {model: anthropic/claude-opus-x}}
  - {model_name: sonnet, litellm_params: {model: anthropic/claude-sonnet-x}}
router_settings:
  fallbacks: [{opus: [sonnet]}, x]
""")
    assert settings.fallbacks == {"claude-opus-x": ()}
    assert notes == ['5: fallbacks: "sonnet" is another model of the same backend; left out']


@pytest.mark.parametrize("text", ["listen: {port: 1}", "", "- x", "just words"])
def test_a_file_that_is_not_litellms_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a LiteLLM configuration"):
        import_litellm(text.encode(), "lite.yaml")


def test_a_file_that_cannot_be_read_is_refused_with_its_lines() -> None:
    with pytest.raises(ConfigError, match=r"lite\.yaml:2: duplicate key"):
        import_litellm(b"model_list: []\nmodel_list: []\n", "lite.yaml")


def test_a_contradiction_in_the_source_is_told_before_anything_is_written() -> None:
    text = b"router_settings: {cost_tracking: {daily_limit: 5, alert_threshold: 6}}"
    with pytest.raises(ConfigError, match=r"alert_threshold \(6\) is above daily_limit \(5\)"):
        import_litellm(text, "lite.yaml")
