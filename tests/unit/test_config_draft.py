"""Settings in the making: origins, complaints, and the dataclasses at the end."""

from __future__ import annotations

from claude_failover.config_draft import Draft, Origin, unknown
from claude_failover.config_yaml import Problem
from claude_failover.core.settings import Settings
from claude_failover.core.types import BackendName, Kind


def test_an_untouched_draft_is_the_defaults() -> None:
    draft = Draft("config.yaml", [])
    assert draft.build() == Settings()
    assert set(draft.all_origins().values()) == {"default"}


def test_values_find_their_dataclass_however_deep() -> None:
    draft = Draft("config.yaml", [])
    draft.values = {
        "retry_policy.ConnectionError.retries": 3,
        "listen.port": 1,
        "backends.claude.credential": "stored",
        "backends.claude.name": "claude",
    }
    settings = draft.build()
    assert settings.retry_policy.connection.retries == 3
    assert settings.retry_policy.overloaded == Settings().retry_policy.overloaded
    assert settings.listen.port == 1
    assert settings.backends[0].credential == "stored"


def test_a_combination_is_blamed_on_the_last_key_that_somebody_set() -> None:
    draft = Draft("/etc/cf/config.yaml", [])
    draft.from_file("a", 3)
    draft.origins["b"] = Origin("env B", where="B")
    draft.blame("text", "a", "b")
    draft.blame("text", "b", "a")
    draft.blame("text", "c")
    assert draft.problems == [Problem(0, "text", "B"), Problem(3, "text"), Problem(0, "text")]


def test_a_warning_says_where_if_anybody_set_it() -> None:
    draft = Draft("/etc/cf/config.yaml", [])
    draft.from_file("a", 3)
    draft.warn("hm", "a")
    draft.warn("hm", "b")
    assert draft.warnings == ["config.yaml:3: hm", "hm"]


def test_every_key_has_an_origin_and_only_those_of_its_kind() -> None:
    draft = Draft("config.yaml", [])
    draft.backends = {"aws": Kind.BEDROCK}
    draft.models = {"claude-x": "y"}
    draft.fallbacks = {"claude-x": (BackendName("aws"),)}
    draft.from_file("fallbacks.claude-x", 9)
    origins = draft.all_origins()
    assert origins["backends.aws.region"] == "default"
    assert "backends.aws.base_url" not in origins
    assert "backends.claude.base_url" not in origins
    assert origins["models.claude-x"] == "default"
    assert origins["fallbacks.claude-x"] == "config.yaml:9"


def test_an_unknown_word_comes_with_a_guess_if_one_is_near() -> None:
    assert unknown("prot", ["host", "port"], "key") == 'unknown key "prot"; did you mean "port"? (allowed: host, port)'
    assert unknown("zzz", ["host", "port"], "key") == 'unknown key "zzz" (allowed: host, port)'
