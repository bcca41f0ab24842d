"""Whatever the bytes: settings or complaints with lines that exist, never another exception."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.config_import import import_litellm
from claude_failover.config_load import parse
from claude_failover.config_schema import BACKEND_KEYS, SECTIONS, TOP_KEYS, variables
from claude_failover.config_text import effective_text, masked
from claude_failover.config_yaml import read
from claude_failover.core.types import Kind
from claude_failover.errors import ConfigError

WORDS = (
    *TOP_KEYS,
    *(key.name for section in SECTIONS for key in section.keys),
    *(key.name for key in BACKEND_KEYS),
    "RateLimitError",
    "anthropic",
    "bedrock",
    "null",
    "-1",
    "0.5",
    ".nan",
    "1e999",
    "true",
    "'x'",
    "https://x.example",
    "claude-opus-5-5",
    "model_list",
    "router_settings",
    "litellm_params",
)

SPACE = ("\n", "\n  ", "\n    ", "\n  - ", ": ", ": {", "}", "[", "]", ", ", " # ", "\t", "&a ", "*a", "--- ", "|\n  ")

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(WORDS))
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def flow(tree: Any) -> str:
    """A tree as YAML in flow style, written naively on purpose."""
    match tree:
        case dict():
            return "{" + ", ".join(f"{key}: {flow(value)}" for key, value in tree.items()) + "}"
        case list():
            return "[" + ", ".join(map(flow, tree)) + "]"
        case bool():
            return str(tree).lower()
        case None:
            return "null"
        case _:
            return str(tree)


def survives(data: bytes) -> None:
    lines = data.decode("utf-8", "replace").count("\n") + data.count(b"\r") + 2
    try:
        loaded = parse(data)
    except ConfigError as error:
        for complaint in str(error).splitlines():
            found = re.match(r"config\.yaml:(\d+): .", complaint)
            if found is not None:
                assert 1 <= int(found[1]) <= lines
    else:
        assert parse(effective_text(loaded).encode()).settings == masked(loaded.settings)


@given(st.binary(max_size=300))
@settings(max_examples=150)
def test_any_bytes_are_settings_or_complaints(data: bytes) -> None:
    survives(data)


@given(st.lists(st.sampled_from(WORDS + SPACE), max_size=25))
@settings(max_examples=200)
def test_any_words_of_ours_are_settings_or_complaints(words: list[str]) -> None:
    survives("".join(words).encode())


@given(st.dictionaries(st.sampled_from(TOP_KEYS), TREES, max_size=4))
@settings(max_examples=200)
def test_any_tree_below_our_keys_is_settings_or_complaints(tree: dict[str, Any]) -> None:
    survives(flow(tree).encode("utf-8", "surrogatepass"))


@given(
    st.dictionaries(
        st.sampled_from(sorted(variables({"claude": Kind.ANTHROPIC, "bedrock": Kind.BEDROCK}))),
        st.text(max_size=12) | st.sampled_from(WORDS),
        max_size=4,
    )
)
@settings(max_examples=150)
def test_any_variables_are_settings_or_complaints_that_name_them(environ: dict[str, str]) -> None:
    try:
        parse(b"", environ=environ)
    except ConfigError as error:
        assert any(name in str(error) for name in environ)  # noqa: PT017 - not raising is right too


@given(st.dictionaries(st.sampled_from(("model_list", "router_settings", "litellm_settings")), TREES, max_size=3))
@settings(max_examples=150)
def test_any_foreign_file_is_imported_or_refused(tree: dict[str, Any]) -> None:
    try:
        imported = import_litellm(flow(tree).encode("utf-8", "surrogatepass"))
    except ConfigError:
        return
    parse(imported.text.encode())


@given(st.integers(min_value=1, max_value=40))
@settings(max_examples=20)
def test_depth_is_bounded_before_the_stack_is(depth: int) -> None:
    document = read(b"a: " + b"[" * depth + b"]" * depth)
    assert bool(document.problems) is (depth > 11)
