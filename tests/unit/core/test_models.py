from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
import yaml

from claude_failover.core import bedrock_ids
from claude_failover.core.capabilities import Binding, Capabilities
from claude_failover.core.models import NAME_MAX, RESOLVED_MAX, Catalog, Entry, Target, Unmapped, generation
from claude_failover.core.settings import Backend
from claude_failover.core.types import BackendName, Kind, Surface

TABLE: dict[str, Any] = yaml.safe_load((files("claude_failover") / "data" / "models.yaml").read_text("utf-8"))
BEDROCK = Backend(BackendName("bedrock"), Kind.BEDROCK, region="us-east-1")
APPLICATION = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12cd34ef56"


def catalog(overrides: Mapping[str, str] | None = None, discovered: Iterable[str] = ()) -> Catalog:
    return Catalog.build(TABLE, overrides or {}, discovered)


def target(model: str, backend: Backend = BEDROCK, made: Catalog | None = None) -> Target:
    found = (made or catalog()).resolve(model, backend)
    assert isinstance(found, Target), found.why
    return found


def why(model: str, made: Catalog | None = None) -> str:
    found = (made or catalog()).resolve(model, BEDROCK)
    assert isinstance(found, Unmapped)
    return found.why


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("claude-opus-5-5", "claude-opus-5-5"),
        (" claude-opus-5-5[1m] ", "claude-opus-5-5"),
        ("claude-opus-5-5-20260922", "claude-opus-5-5"),
        ("opus", "claude-opus-5-5"),
        ("opus[1m]", "claude-opus-5-5"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("claude-haiku-4-5-latest", "claude-haiku-4-5-20251001"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),
        ("anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("anthropic.claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("global.anthropic.claude-nova-6-v1:0", "claude-nova-6"),
        ("claude-nova-6-1-20270301", "claude-nova-6-1"),
        (APPLICATION, APPLICATION),
        ("claude-opus-4-20250514", "claude-opus-4-20250514"),
        ("something-else", "something-else"),
    ],
)
def test_every_spelling_has_one_canonical_id(spelling: str, canonical: str) -> None:
    assert catalog().normalise(spelling) == canonical


def test_a_normalised_id_stays_what_it_is() -> None:
    made = catalog()
    for model in [*TABLE["models"], *TABLE["aliases"]]:
        assert made.normalise(made.normalise(model)) == made.normalise(model)


@pytest.mark.parametrize(
    ("model", "bedrock_id", "family", "version", "surfaces"),
    [
        ("claude-opus-5-5", "global.anthropic.claude-opus-5-5", "opus", (5, 5), "messages invoke"),
        ("claude-opus-5", "global.anthropic.claude-opus-5", "opus", (5, 0), "messages invoke"),
        ("claude-opus-4-6", "global.anthropic.claude-opus-4-6-v1", "opus", (4, 6), "invoke"),
        ("claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6", "sonnet", (4, 6), "invoke"),
        (
            "claude-haiku-4-5",
            "global.anthropic.claude-haiku-4-5-20251001-v1:0",
            "haiku",
            (4, 5),
            "invoke",
        ),
        ("claude-opus-4-1", "us.anthropic.claude-opus-4-1-20250805-v1:0", "opus", (4, 1), "invoke"),
        ("claude-mythos-preview", "global.anthropic.claude-mythos-preview", "mythos", None, "messages invoke"),
    ],
)
def test_the_table_says_id_family_generation_and_surfaces(
    model: str, bedrock_id: str, family: str, version: tuple[int, int] | None, surfaces: str
) -> None:
    found = target(model)
    assert (found.bedrock_id, found.family, found.generation) == (bedrock_id, family, version)
    assert " ".join(found.surfaces) == surfaces
    assert (found.source, found.forms[0]) == ("table", bedrock_id)


def test_capabilities_follow_the_generation() -> None:
    opus, sonnet, haiku = target("claude-opus-5-5"), target("claude-sonnet-5"), target("claude-haiku-4-5")
    assert opus.capabilities.adaptive
    assert not opus.capabilities.budget
    assert opus.capabilities.system_role
    assert not sonnet.capabilities.system_role
    assert (haiku.capabilities.adaptive, haiku.capabilities.budget, haiku.capabilities.effort) == (False, True, ())
    assert (haiku.capabilities.interleaved, target("claude-sonnet-4-5").capabilities.interleaved) == (False, True)
    assert target("claude-opus-4-6").capabilities.effort == ("low", "medium", "high", "max")
    assert target("claude-fable-5-1").capabilities.binding is Binding.ENFORCED
    assert target("claude-sonnet-4-6").capabilities.max_output == 64_000


def test_a_new_model_that_follows_the_naming_rule_needs_no_release() -> None:
    found = target("claude-nova-6-1-20270301")
    assert (found.bedrock_id, found.family, found.source) == (
        "global.anthropic.claude-nova-6-1",
        "nova",
        "rule",
    )
    assert found.capabilities == replace(target("claude-opus-5").capabilities, sampling=True)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("claude-3-7-sonnet-20250219", "claude-3-7-sonnet-20250219 is retired on Bedrock"),
        ("claude-opus-4-20250514", "claude-opus-4-20250514 is retired on Bedrock"),
        (
            "claude-opus-4-4",
            (
                "claude-opus-4-4 is in no table and fits no naming rule; "
                'name its Bedrock id under "models:" in config.yaml'
            ),
        ),
        ("", "the request names no model"),
        ("[1m]", "the request names no model"),
    ],
)
def test_an_unknown_model_says_why_it_cannot_fail_over(model: str, reason: str) -> None:
    assert why(model) == reason


def test_the_scope_decides_the_prefix() -> None:
    assert target("opus", replace(BEDROCK, scope="eu")).forms == (
        "eu.anthropic.claude-opus-5-5",
        "anthropic.claude-opus-5-5",
    )
    assert target("opus", replace(BEDROCK, scope="none")).bedrock_id == "anthropic.claude-opus-5-5"


def test_the_configured_surface_wins() -> None:
    assert target("claude-opus-4-6", replace(BEDROCK, surface="messages")).surfaces == (Surface.MESSAGES,)


def test_mantle_has_its_own_ids_without_a_prefix() -> None:
    mantle = replace(BEDROCK, surface="mantle")
    assert target("claude-haiku-4-5", mantle).forms == ("anthropic.claude-haiku-4-5",)
    assert target("claude-opus-5-5", mantle).bedrock_id == "anthropic.claude-opus-5-5"
    assert target("us.anthropic.claude-haiku-4-5-20251001-v1:0", mantle).bedrock_id == "anthropic.claude-haiku-4-5"
    assert target("global.anthropic.claude-opus-5-5", mantle).bedrock_id == "anthropic.claude-opus-5-5"
    assert target(APPLICATION, mantle).bedrock_id == APPLICATION


def test_an_id_that_is_bedrocks_already_goes_out_as_it_is() -> None:
    found = target("us.anthropic.claude-opus-4-6-v1[1m]", replace(BEDROCK, scope="eu"))
    assert (found.bedrock_id, found.claude_model, found.source) == (
        "us.anthropic.claude-opus-4-6-v1",
        "claude-opus-4-6",
        "id",
    )
    assert found.forms == ("us.anthropic.claude-opus-4-6-v1",)
    assert found.capabilities == target("claude-opus-4-6").capabilities


def test_an_arn_that_nobody_explained_is_given_the_least() -> None:
    found = target(APPLICATION)
    assert (found.claude_model, found.bedrock_id, found.family) == (APPLICATION, APPLICATION, None)
    assert (found.capabilities, found.surfaces, found.generation) == (Capabilities(), (Surface.INVOKE,), None)


def test_an_application_profile_has_the_capabilities_of_the_model_it_was_declared_for() -> None:
    made = catalog({"claude-opus-5-5": APPLICATION})
    for spelling in ("opus", "claude-opus-5-5[1m]", APPLICATION):
        found = target(spelling, made=made)
        assert (found.claude_model, found.bedrock_id, found.source) == ("claude-opus-5-5", APPLICATION, "config")
        assert found.capabilities == target("claude-opus-5-5").capabilities
        assert found.surfaces == (Surface.INVOKE,)
    assert target("opus", replace(BEDROCK, surface="messages"), made).surfaces == (Surface.MESSAGES,)


def test_the_owner_may_map_a_model_to_another_one() -> None:
    made = catalog({"claude-fable-5-2": "claude-opus-5-5", "haiku": "us.anthropic.claude-haiku-4-5-20251001-v1:0"})
    fable, haiku = target("fable", made=made), target("claude-haiku-5-5", made=made)
    assert (fable.claude_model, fable.bedrock_id, fable.family, fable.source) == (
        "claude-fable-5-2",
        "global.anthropic.claude-opus-5-5",
        "opus",
        "config",
    )
    assert haiku.bedrock_id == "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    assert haiku.generation == (4, 5)


def test_a_configured_value_that_means_nothing_is_said() -> None:
    made = catalog({"claude-opus-5-5": "claud-opus"})
    assert (
        why("opus", made)
        == 'models: claude-opus-5-5 is set to "claud-opus", which is no Bedrock id, ARN or known model'
    )


def test_discovery_refines_prefixes_and_adds_models() -> None:
    made = catalog(
        discovered=[
            "us.anthropic.claude-opus-5-5",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-nova-4-2-20260101-v1:0",
            APPLICATION,
            "amazon.nova-pro-v1:0",
            "us.anthropic.claude-opus-4-20250514-v1:0",
        ]
    )
    assert target("opus", made=made).forms[0] == "us.anthropic.claude-opus-5-5"
    nova = target("claude-nova-4-2-20260101", made=made)
    assert (nova.bedrock_id, nova.source, nova.family) == (
        "us.anthropic.claude-nova-4-2-20260101-v1:0",
        "discovered",
        "nova",
    )
    assert (nova.capabilities, nova.surfaces) == (Capabilities(), (Surface.INVOKE,))
    assert "retired" in why("claude-opus-4-20250514", made)


def test_a_discovered_model_that_no_rule_names_has_no_family() -> None:
    made = catalog(discovered=["global.anthropic.claude-x9"])
    assert target("claude-x9", made=made).family is None


def test_entries_list_table_configuration_and_discovery() -> None:
    made = catalog({"claude-own": APPLICATION}, ["us.anthropic.claude-nova-6", "us.anthropic.claude-opus-5-5"])
    entries = made.entries(BEDROCK)
    assert [entry.claude_model for entry in entries] == [*TABLE["models"], "claude-own", "claude-nova-6"]
    assert entries[-1] == Entry("claude-nova-6", target("claude-nova-6", made=made))
    assert all(isinstance(entry.target, Target) for entry in entries)
    assert made.as_of == TABLE["as_of"]


def test_the_table_is_consistent() -> None:
    for model, row in TABLE["models"].items():
        assert bedrock_ids.claude_spelling(row["bedrock"]) == model
        assert set(row["prefixes"]) <= set(bedrock_ids.PREFIXES)
        assert model.startswith(f"claude-{row['family']}-")
        for scope in (*bedrock_ids.PREFIXES, "none"):
            found = target(model, replace(BEDROCK, scope=scope))
            assert all(bedrock_ids.foundation_id(form) == row["bedrock"] for form in found.forms)
    assert set(TABLE["aliases"].values()) <= set(TABLE["models"])


@pytest.mark.parametrize(
    ("model", "numbers"),
    [("claude-opus-5", (5, 0)), ("claude-haiku-4-5-20251001", (4, 5)), ("claude-mythos-preview", None)],
)
def test_a_generation_is_read_from_the_id(model: str, numbers: tuple[int, int] | None) -> None:
    assert generation(model) == numbers


def test_spellings_are_remembered_in_a_bounded_number_and_of_a_bounded_length() -> None:
    made = catalog()
    assert made.normalise("opus") == made.normalise("opus") == "claude-opus-5-5"
    long = "x" * (NAME_MAX + 1)
    assert made.normalise(f"{long}[1m]") == made.normalise(f"{long}[1m]") == long
    for number in range(RESOLVED_MAX):
        assert made.normalise(f"made-up-{number}[1m]") == f"made-up-{number}"
    assert made.normalise("opus") == "claude-opus-5-5"


def test_an_answer_is_remembered_for_the_backend_that_was_asked_about() -> None:
    """After a reload a backend of the same name may be in another region."""
    made = catalog()
    moved = replace(BEDROCK, region="eu-central-1", scope="eu")
    assert target("claude-opus-5-5", BEDROCK, made).bedrock_id == "global.anthropic.claude-opus-5-5"
    assert target("claude-opus-5-5", moved, made).bedrock_id == "eu.anthropic.claude-opus-5-5"


def test_answers_are_remembered_in_a_bounded_number() -> None:
    made = catalog()
    first = made.resolve("claude-opus-5-5", BEDROCK)
    assert made.resolve("claude-opus-5-5", BEDROCK) is first
    for number in range(RESOLVED_MAX):
        made.resolve(f"made-up-{number}", BEDROCK)
    assert made.resolve("claude-opus-5-5", BEDROCK) == first
    assert made.resolve("claude-opus-5-5", BEDROCK) is not first
