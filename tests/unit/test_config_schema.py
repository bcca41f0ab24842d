"""The list of keys and the dataclasses of the core are two sides of one thing."""

from __future__ import annotations

from dataclasses import fields

import pytest

from claude_failover.config_schema import BACKEND_KEYS, LISTS, SECTIONS, TOP_KEYS, Section, variable, variables
from claude_failover.config_text import value_of
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import Kind

KINDS = {"claude": Kind.ANTHROPIC, "bedrock": Kind.BEDROCK}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_a_section_has_exactly_the_fields_of_its_dataclass(section: Section) -> None:
    assert [key.name for key in section.keys] == [field.name for field in fields(section.type)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_every_default_is_a_value_that_the_file_may_hold(section: Section) -> None:
    for key in section.keys:
        default = value_of(Settings(), section, key)
        if default is None or isinstance(default, bool | str | int | float):
            held = "null" if default is None else str(default)
            assert key.rule.read_text(held) == default


def test_a_backend_has_exactly_the_fields_of_its_dataclass() -> None:
    assert [key.name for key in BACKEND_KEYS] == [field.name for field in fields(Backend)]


def test_every_field_of_the_settings_has_a_place_in_the_file() -> None:
    assert sorted(TOP_KEYS) == sorted(field.name for field in fields(Settings))
    assert sorted({section.target[0] for section in SECTIONS} | set(LISTS)) == sorted(TOP_KEYS)


def test_every_key_is_explained_in_one_line() -> None:
    for key in (*(key for section in SECTIONS for key in section.keys), *BACKEND_KEYS):
        assert 10 <= len(key.says) <= 100
        assert key.says[-1] != "."


def test_variables_are_named_after_the_path() -> None:
    assert variable("listen", "port") == "CLAUDE_FAILOVER_LISTEN_PORT"
    assert (
        variable("retry_policy", "RateLimitError", "max_wait")
        == "CLAUDE_FAILOVER_RETRY_POLICY_RATE_LIMIT_ERROR_MAX_WAIT"
    )
    assert variable("backends", "aws-eu", "region") == "CLAUDE_FAILOVER_BACKENDS_AWS_EU_REGION"


def test_every_single_value_has_one_variable_of_its_own() -> None:
    keys = [key for _, (key, _) in variables(KINDS).items()]
    assert len(keys) == len(set(keys))
    singles = sum(key.rule.single for section in SECTIONS for key in section.keys)
    backends = sum(key.rule.single and key.name not in {"name", "kind"} for key in BACKEND_KEYS)
    assert len(keys) == singles + backends


def test_a_backend_has_variables_for_the_keys_of_its_kind_only() -> None:
    names = variables(KINDS)
    assert "CLAUDE_FAILOVER_BACKENDS_CLAUDE_BASE_URL" in names
    assert "CLAUDE_FAILOVER_BACKENDS_BEDROCK_REGION" in names
    assert "CLAUDE_FAILOVER_BACKENDS_CLAUDE_REGION" not in names
    assert "CLAUDE_FAILOVER_BACKENDS_BEDROCK_KIND" not in names
