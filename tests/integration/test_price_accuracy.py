"""Our prices against an independent table: the ``genai-prices`` package (0.2.3, MIT), its bundled data only.

Every price of every model, and a grid of usages, at the Claude API and at Bedrock's scopes. Where the two
differ, the difference stands in :data:`EXPLAINED` with its source; a new difference fails, and so does an
explanation that is no longer needed.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.prices import PriceTable
from claude_failover.core.types import Epoch, Kind, Usage

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import genai_prices

DATA = yaml.safe_load((Path(__file__).parents[2] / "claude_failover/data/prices.yaml").read_text())
TABLE = PriceTable.build(DATA)
MOMENT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SCOPES: Final = ("global", "us", "eu", "jp", "au", "apac", "us-gov", "none")
PLACES: Final = ("claude", *SCOPES)

BEDROCK_IDS: Final = {
    "claude-opus-4-6": "claude-opus-4-6-v1",
    "claude-opus-4-5": "claude-opus-4-5-20251101-v1:0",
    "claude-opus-4-1": "claude-opus-4-1-20250805-v1:0",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929-v1:0",
    "claude-sonnet-4": "claude-sonnet-4-20250514-v1:0",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001-v1:0",
}

GRID: Final = {
    "a token of input": Usage(input=1),
    "a token of output": Usage(output=1),
    "a 5-minute write": Usage(cache_write_5m=1),
    "a 1-hour write": Usage(cache_write_1h=1),
    "a read": Usage(cache_read=1),
    "a small turn": Usage(input=12, output=300, cache_read=20_000, cache_write_5m=800),
    "1-hour caching": Usage(input=3, output=2_500, cache_read=61_234, cache_write_5m=17, cache_write_1h=4_321),
    "exactly 100k of prompt": Usage(input=40_000, output=1_000, cache_read=50_000, cache_write_1h=10_000),
    "a token more": Usage(input=40_001, output=1_000, cache_read=50_000, cache_write_1h=10_000),
    "exactly 200k of prompt": Usage(input=1, output=64_000, cache_read=199_999),
    "more than 200k of prompt": Usage(input=2, output=64_000, cache_read=199_999),
    "a long conversation": Usage(input=50, output=8_000, cache_read=800_000, cache_write_5m=30_000),
}

EXPLAINED: Final = {
    "us-gov": "1.20 here, 1.10 there. litellm 1.109.1 prices the GovCloud profiles at 1.20; the dearer guards a limit.",
    "claude-mythos-5-1": "By invitation, absent there; 10/50 is litellm 1.109.1's.",
    "claude-mythos-5": "By invitation, absent there; 10/50 is litellm 1.109.1's.",
    "claude-mythos-preview": "By invitation, absent there; 27.5/137.5 at regional profiles is litellm 1.109.1's.",
    "claude-sonnet-4-5 above 200k on Bedrock": "The tier of the 1M beta is in litellm 1.109.1 and in the first-party "
    "table there, but not in the Bedrock one there; a request that large is charged the dearer price here.",
    "claude-sonnet-4 above 200k": "The same tier: litellm 1.109.1 has it, the table there does not.",
    "1-hour writes of models before 4.5 on Bedrock": "Not priced there at all (Bedrock had only 5-minute caching for "
    "them); here twice the input, as at the Claude API.",
    "profile not listed": "No such inference profile in the table there; here a scope has one price for every model.",
}

NOT_LISTED: Final = {
    "jp": {"claude-fable-5", "claude-fable-5-1", "claude-fable-5-2", "claude-mythos-5-2"},
    "au": {"claude-fable-5-1", "claude-fable-5-2", "claude-mythos-5-2"},
    "eu": {"claude-fable-5-1"},
    "apac": {
        "claude-fable-5",
        "claude-fable-5-1",
        "claude-fable-5-2",
        "claude-mythos-5-2",
        "claude-opus-4-8",
        "claude-opus-5",
        "claude-opus-5-5",
    },
    "global": {"claude-opus-4-1"},
}
"""By scope: models without that profile in genai-prices 0.2.3."""


def theirs(model: str, place: str, usage: Usage, *, fast: bool = False) -> Decimal:
    """What ``genai-prices`` says, in dollars (its ``input_tokens`` is the whole prompt). LookupError: unknown there."""
    bedrock = BEDROCK_IDS.get(model, model)
    if place == "claude":
        provider, reference = "anthropic", model
    else:
        provider = "aws"
        reference = f"anthropic.{bedrock}" if place == "none" else f"{place}.anthropic.{bedrock}"
    tokens = genai_prices.Usage(
        input_tokens=usage.prompt,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write_5m + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
    )
    priced = genai_prices.calc_price(
        tokens,
        reference,
        provider_id=provider,
        genai_request_timestamp=MOMENT,
        price_context={"speed": "fast"} if fast else None,
    )
    return Decimal(priced.total_price)


def ours(model: str, place: str, usage: Usage) -> Decimal:
    kind = Kind.ANTHROPIC if place == "claude" else Kind.BEDROCK
    return Decimal(TABLE.cost(model, kind, place, usage, Epoch(MOMENT.timestamp())).nusd) / 1_000_000_000


def explanation(model: str, place: str, usage: Usage) -> str | None:
    """Which known difference, if any, this comparison falls under."""
    on_bedrock = place != "claude"
    if model in EXPLAINED:
        return model
    if model in NOT_LISTED.get(place, ()):
        return "profile not listed"
    if model == "claude-sonnet-4" and usage.prompt > 200_000:
        return "claude-sonnet-4 above 200k"
    if model == "claude-sonnet-4-5" and on_bedrock and usage.prompt > 200_000:
        return "claude-sonnet-4-5 above 200k on Bedrock"
    if on_bedrock and usage.cache_write_1h and model in {"claude-opus-4-1", "claude-sonnet-4"}:
        return "1-hour writes of models before 4.5 on Bedrock"
    return "us-gov" if place == "us-gov" and TABLE.models[model].regional else None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("model", sorted(TABLE.models))
def test_every_price_and_a_grid_of_usages_agree(model: str, place: str) -> None:
    for name, usage in GRID.items():
        if explanation(model, place, usage):
            continue
        difference = ours(model, place, usage) - theirs(model, place, usage)
        assert 0 <= difference < Decimal("0.000000001"), f"{name}: less than a nano-dollar, and only upwards"


def test_every_explained_difference_is_really_one() -> None:
    """An explanation that has become untrue must go, or it hides the next difference."""
    needed = set()
    for model in TABLE.models:
        for place in PLACES:
            for usage in GRID.values():
                reason = explanation(model, place, usage)
                if reason is None:
                    continue
                try:
                    if abs(ours(model, place, usage) - theirs(model, place, usage)) >= Decimal("0.000000001"):
                        needed.add(reason)
                except LookupError:
                    needed.add(reason)
    assert needed == set(EXPLAINED)


@pytest.mark.parametrize("model", sorted(name for name, price in TABLE.models.items() if price.fast))
def test_fast_mode_agrees(model: str) -> None:
    for usage in GRID.values():
        fast = Usage(
            **{name: getattr(usage, name) for name in ("input", "output", "cache_read", "cache_write_5m")}, fast=True
        )
        assert abs(ours(model, "claude", fast) - theirs(model, "claude", fast, fast=True)) < Decimal("0.000000001")


def test_only_models_that_have_fast_mode_there_have_it_here() -> None:
    there = {
        model
        for model in TABLE.models
        if model not in EXPLAINED
        and theirs(model, "claude", Usage(input=1_000), fast=True) != theirs(model, "claude", Usage(input=1_000))
    }
    assert there == {name for name, price in TABLE.models.items() if price.fast}


def test_web_searches_agree() -> None:
    there = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=0, output_tokens=0, web_searches=7), "claude-opus-5-5", provider_id="anthropic"
    )
    assert Decimal(there.total_price) == ours("claude-opus-5-5", "claude", Usage(web_searches=7)) == Decimal("0.07")


@given(
    model=st.sampled_from(sorted(set(TABLE.models) - set(EXPLAINED) - {"claude-sonnet-4", "claude-opus-4-1"})),
    place=st.sampled_from(["claude", "global", "us", "none"]),
    parts=st.tuples(*[st.integers(0, 60_000)] * 4),
    output=st.integers(0, 128_000),
)
@settings(max_examples=150, deadline=None)
def test_any_usage_agrees(model: str, place: str, parts: tuple[int, int, int, int], output: int) -> None:
    fresh, read, write_5m, write_1h = parts
    usage = Usage(fresh, output, read, write_5m, write_1h)
    if not explanation(model, place, usage):
        assert 0 <= ours(model, place, usage) - theirs(model, place, usage) < Decimal("0.000000001")
