"""What tokens cost: worked by hand from the published prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.prices import PriceTable, RunningOutput, plain_name, scope_of
from claude_failover.core.types import Epoch, Kind, Usage
from claude_failover.errors import ConfigError

DATA = yaml.safe_load((Path(__file__).parents[3] / "claude_failover/data/prices.yaml").read_text())
TABLE = PriceTable.build(DATA)
A, B = Kind.ANTHROPIC, Kind.BEDROCK
USD = 1_000_000_000
MTOK = 1_000_000


def usd(model: str, usage: Usage, kind: Kind = A, scope: str = "global", **kwargs: Any) -> float:
    return TABLE.cost(model, kind, scope, usage, **kwargs).nusd / USD


def test_every_kind_of_token_has_its_price() -> None:
    """Opus 5.5: 4 in, 20 out, 5 and 8 for writes, 0.20 for reads, per MTok."""
    assert usd("claude-opus-5-5", Usage(input=MTOK)) == 4.0
    assert usd("claude-opus-5-5", Usage(output=MTOK)) == 20.0
    assert usd("claude-opus-5-5", Usage(cache_write_5m=MTOK)) == 5.0
    assert usd("claude-opus-5-5", Usage(cache_write_1h=MTOK)) == 8.0
    assert usd("claude-opus-5-5", Usage(cache_read=MTOK)) == 0.2


def test_a_turn_of_a_long_conversation() -> None:
    """Fable 5.2: 12 x 8 + 900 x 40 + 3,000 x 10 + 150,000 x 0.20 = 96 + 36,000 + 30,000 + 30,000 millionths."""
    turn = Usage(input=12, output=900, cache_write_5m=3_000, cache_read=150_000)
    assert TABLE.cost("claude-fable-5-2", A, "", turn).nusd == 96_096_000


def test_a_regional_profile_costs_a_tenth_more_and_the_list_price_is_kept_beside_it() -> None:
    """Sonnet 5.5 at `us.`: 2.20 in, 11 out."""
    cost = TABLE.cost("claude-sonnet-5-5", B, "us", Usage(input=MTOK, output=MTOK))
    assert (cost.nusd, cost.list_nusd, cost.estimated) == (13_200_000_000, 12 * USD, False)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("global", 4.0),
        ("us", 4.4),
        ("eu", 4.4),
        ("jp", 4.4),
        ("au", 4.4),
        ("apac", 4.4),
        ("none", 4.4),
        ("us-gov", 4.8),
    ],
)
def test_every_scope(scope: str, expected: float) -> None:
    assert usd("claude-opus-5-5", Usage(input=MTOK), B, scope) == expected


def test_models_older_than_4_5_have_no_regional_premium() -> None:
    assert usd("claude-opus-4-1-20250805", Usage(input=MTOK), B, "us") == 15.0


def test_an_unknown_scope_costs_the_dearest_and_says_so() -> None:
    cost = TABLE.cost("claude-opus-5-5", B, "mars", Usage(input=MTOK))
    assert (cost.nusd, cost.estimated) == (4_800_000_000, True)


def test_haiku_5_5_above_100k_tokens_of_prompt_costs_five_times_for_everything() -> None:
    """Reads and writes are part of the prompt. 99,000 + 500 + 500 = 100,000 is still the small price."""
    small = Usage(input=99_000, cache_read=500, cache_write_1h=500, output=1_000)
    large = Usage(input=99_000, cache_read=501, cache_write_1h=500, output=1_000)
    # 99,000 x 0.10 + 500 x 0.01 + 500 x 0.20 + 1,000 x 0.50 = 9,900 + 5 + 100 + 500 millionths
    assert TABLE.cost("claude-haiku-5-5", A, "", small).nusd == 10_505_000
    # 99,000 x 0.50 + 501 x 0.05 + 500 x 1 + 1,000 x 2.50 = 49,500 + 25.05 + 500 + 2,500 millionths
    assert TABLE.cost("claude-haiku-5-5", A, "", large).nusd == 52_525_050


def test_the_tier_and_the_region_go_together() -> None:
    """0.55 per MTok in, above 100k, at `eu.`."""
    assert usd("claude-haiku-5-5", Usage(input=200_000), B, "eu") == 0.11


def test_fast_mode_costs_double_where_it_exists() -> None:
    assert usd("claude-opus-5-5", Usage(input=MTOK, output=MTOK, fast=True)) == 48.0
    assert usd("claude-opus-5", Usage(cache_read=MTOK, fast=True)) == 1.0


def test_fast_mode_of_a_model_that_has_none_is_an_estimate() -> None:
    cost = TABLE.cost("claude-sonnet-5-5", A, "", Usage(input=MTOK, fast=True))
    assert (cost.nusd, cost.estimated) == (4 * USD, True)


def test_data_residency_costs_a_tenth_more_at_the_claude_api_only() -> None:
    """Every kind of token: 4.40, and with fast mode 8.80."""
    assert usd("claude-opus-5-5", Usage(input=MTOK, geo_us=True)) == 4.4
    assert usd("claude-opus-5-5", Usage(input=MTOK, geo_us=True, fast=True)) == 8.8
    assert usd("claude-opus-5-5", Usage(input=MTOK, geo_us=True), B) == 4.0


def test_a_web_search_costs_a_cent_everywhere() -> None:
    assert usd("claude-haiku-5-5", Usage(web_searches=3)) == 0.03
    assert usd("claude-haiku-5-5", Usage(web_searches=1), B, "us") == 0.01


def test_a_price_that_has_changed_is_the_one_of_its_day() -> None:
    """Sonnet 5.5: cache reads at 0.20 until 2026-10-07, 0.10 since."""
    before, after = Epoch(1_791_331_199.0), Epoch(1_791_331_200.0)
    assert usd("claude-sonnet-5-5", Usage(cache_read=MTOK), at=before) == 0.2
    assert usd("claude-sonnet-5-5", Usage(cache_read=MTOK), at=after) == 0.1
    assert usd("claude-sonnet-5-5", Usage(cache_read=MTOK)) == 0.1


def test_fractions_of_a_nano_dollar_are_rounded_up_once() -> None:
    """0.125 x 1.1 per MTok is 137.5 nano-dollars a token."""
    assert TABLE.cost("claude-haiku-5-5", B, "us", Usage(cache_write_5m=1)).nusd == 138
    assert TABLE.cost("claude-haiku-5-5", B, "us", Usage(cache_write_5m=2)).nusd == 275


def test_nothing_costs_nothing() -> None:
    assert TABLE.cost("claude-opus-5-5", B, "us", Usage()) == TABLE.cost("no-such-model", A, "", Usage()).__class__(
        0, 0, False
    )


def test_an_unknown_model_costs_what_the_dearest_of_its_family_does() -> None:
    """Sonnet: 6/22.50 is the dearest input and output (4.5 above 200k)."""
    cost = TABLE.cost("claude-sonnet-9-1", A, "", Usage(input=MTOK, output=MTOK))
    assert (cost.nusd, cost.estimated) == (28_500_000_000, True)


def test_a_model_of_no_known_family_costs_the_dearest_of_all() -> None:
    """Mythos preview: 25 in, 125 out."""
    cost = TABLE.cost("gpt-oss", A, "", Usage(input=MTOK, output=MTOK))
    assert (cost.nusd, cost.estimated) == (150 * USD, True)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("claude-opus-5-5[1m]", "claude-opus-5-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("claude-opus-5-latest", "claude-opus-5"),
        ("global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("us-gov.anthropic.claude-haiku-5-5", "claude-haiku-5-5"),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5", "claude-opus-5"),
        ("claude-sonnet-4-0", "claude-sonnet-4"),
        ("Claude-Opus-5 ", "claude-opus-5"),
        ("claude-mythos-preview", "claude-mythos-preview"),
        ("claude-haiku-5-5-2026-10-07", "claude-haiku-5-5"),
    ],
)
def test_a_model_is_known_under_all_its_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain
    assert TABLE.lookup(name)[1] is False


@pytest.mark.parametrize(
    ("upstream", "scope"),
    [
        ("us.anthropic.claude-opus-5-5", "us"),
        ("global.anthropic.claude-opus-5-5", "global"),
        ("anthropic.claude-opus-5-5", "none"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-5", "eu"),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc", "jp"),
        ("claude-opus-5-5", "jp"),
        ("my.model", "jp"),
    ],
)
def test_the_id_that_was_sent_names_the_scope_that_is_billed(upstream: str, scope: str) -> None:
    assert scope_of(upstream, "jp") == scope


def test_a_cold_cache_costs_the_writing_of_what_was_only_to_be_read() -> None:
    """Opus 5.5: 100,000 x (5 - 0.20) + 20,000 x (8 - 0.20) millionths; what is new would have been written anyway."""
    turn = Usage(input=10, output=10, cache_write_5m=100_000, cache_write_1h=30_000)
    assert TABLE.rebuild("claude-opus-5-5", turn, 120_000) == 636_000_000
    assert TABLE.rebuild("claude-opus-5-5", turn, 0) == 0
    assert TABLE.rebuild("claude-opus-5-5", Usage(cache_read=120_000), 120_000) == 0


# --- overrides -------------------------------------------------------------------------------------


def test_an_override_changes_only_what_it_names() -> None:
    table = PriceTable.build(DATA, {"models": {"claude-opus-5-5": {"input": 3.5}}, "scopes": {"us-gov": 1.1}})
    assert table.cost("claude-opus-5-5", B, "us-gov", Usage(input=MTOK)).nusd == 3_850_000_000
    assert table.cost("claude-opus-5-5", B, "global", Usage(output=MTOK)).nusd == 20 * USD
    assert table.overridden == {"claude-opus-5-5"}
    assert table.as_of == "2026-11-22"


def test_an_override_may_spell_a_model_with_its_date() -> None:
    table = PriceTable.build(DATA, {"models": {"claude-haiku-4-5-20251001": {"input": 0.5}}})
    assert table.cost("claude-haiku-4-5-20251001", A, "", Usage(input=MTOK)).nusd == USD // 2
    assert table.cost("claude-haiku-4-5", A, "", Usage(input=MTOK, output=MTOK)).nusd == 5 * USD + USD // 2


def test_an_override_may_name_an_arn_or_a_model_that_is_new() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    table = PriceTable.build(
        DATA, {"models": {arn: {"input": 1, "output": 2}, "claude-opus-6": {"input": 6, "output": 30}}}
    )
    assert table.cost(arn, B, "global", Usage(input=MTOK)).nusd == USD
    cost = table.cost("claude-opus-6", A, "", Usage(cache_write_1h=MTOK))
    assert (cost.nusd, cost.estimated) == (12 * USD, False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"model": {}}, "prices: prices: unknown key 'model'"),
        ({"models": {"claude-opus-5-5": 3}}, "prices: models.claude-opus-5-5: expected a mapping of prices"),
        ({"models": {"claude-opus-6": {"input": 3}}}, "prices: models.claude-opus-6: output is missing"),
        ({"scopes": {"us": 0}}, "prices: scopes.us: a multiplier such as 1.1 is expected, not 0"),
        ({"inference_geo_us": "x"}, "prices: inference_geo_us: a number is expected, not 'x'"),
    ],
    ids=str,
)
def test_an_override_that_is_not_understood_is_refused(override: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        PriceTable.build(DATA, override)
    assert str(error.value) == message


# --- worst cases -----------------------------------------------------------------------------------


def test_the_worst_case_of_a_request_worked_by_hand() -> None:
    """Opus 5.5: (100,000 bytes + 2,000) x 8 (1 h writes) + 32,000 x 20 = 816,000 + 640,000 millionths."""
    assert TABLE.worst_case("claude-opus-5-5", B, "global", 100_000, 32_000) == 1_456_000_000
    assert TABLE.worst_case("claude-opus-5-5", B, "us", 100_000, 32_000) == 1_601_600_000


def test_without_one_hour_caching_a_prompt_costs_at_most_a_five_minute_write() -> None:
    """Opus 5.5: 102,000 x 5 + 32,000 x 20 = 510,000 + 640,000 millionths."""
    bound = TABLE.worst_case("claude-opus-5-5", B, "global", 100_000, 32_000, hour_cache=False)
    assert bound == 1_150_000_000


def test_a_prompt_is_never_longer_than_the_context() -> None:
    """Haiku 4.5: 200,000 x 2 + 64,000 x 5."""
    assert TABLE.worst_case("claude-haiku-4-5", B, "global", 30_000_000, None) == 720_000_000


def test_the_worst_case_assumes_the_dearer_tier() -> None:
    """Haiku 5.5: (0 + 2,000) x 1.00 + 1,000 x 2.50 = 4,500 millionths."""
    assert TABLE.worst_case("claude-haiku-5-5", B, "global", -5, 1_000) == 4_500_000


def test_at_the_claude_api_residency_and_fast_mode_are_part_of_the_worst_case() -> None:
    """Opus 5.5: 2,000 x 16 x 1.1 + 0."""
    assert TABLE.worst_case("claude-opus-5-5", A, "", 0, 0) == 35_200_000


def test_the_likely_case_is_for_display() -> None:
    """35,000 bytes / 3.5 x 5 (5 m writes) + 3,000 x 20 = 50,000 + 60,000 millionths."""
    assert TABLE.worst_case("claude-opus-5-5", B, "global", 35_000, 32_000, 3_000) == 110_000_000


def test_running_output_is_one_and_a_half_times_the_95th_percentile() -> None:
    running = RunningOutput()
    assert running.expect("m") == 2_000
    for tokens in range(100):
        running.observe("m", tokens * 100)
    assert running.expect("m") == 14_250, "1.5 x 9,500"
    assert running.expect("other") == 2_000


def test_running_output_forgets() -> None:
    running = RunningOutput()
    running.observe("m", 50_000)
    for _ in range(RunningOutput.KEPT):
        running.observe("m", 10)
    assert running.expect("m") == 2_000
    for number in range(100):
        running.observe(f"m{number}", 50_000)
    assert running.expect("m99") == 75_000
    assert running.expect("m0") == 2_000


def test_names_that_were_looked_up_are_remembered_but_not_without_end() -> None:
    table = PriceTable.build(DATA)
    for number in range(1_500):
        assert table.lookup(f"model-{number}")[1] is True
    assert len(table._found) <= 1_000


@given(
    model=st.sampled_from([*sorted(TABLE.models), "claude-opus-9", "unheard-of"]),
    scope=st.sampled_from(["global", "us", "us-gov", "none", "mars"]),
    kind=st.sampled_from([A, B]),
    parts=st.tuples(*[st.integers(0, 300_000)] * 4),
    output=st.integers(0, 200_000),
    flags=st.tuples(st.booleans(), st.booleans()),
)
@settings(max_examples=200)
def test_no_request_costs_more_than_its_worst_case(
    model: str, scope: str, kind: Kind, parts: tuple[int, ...], output: int, flags: tuple[bool, bool]
) -> None:
    """A prompt has at most one token a byte, fits the context, and the output max_tokens."""
    price, _ = TABLE.lookup(model)
    fresh, read, write_5m, write_1h = parts
    scale = max(1, -(-sum(parts) // price.context))
    usage = Usage(
        fresh // scale,
        output,
        read // scale,
        write_5m // scale,
        write_1h // scale,
        geo_us=flags[0],
        fast=flags[1] and kind is A and price.fast is not None,
    )
    bound = TABLE.worst_case(model, kind, scope, usage.prompt, output)
    assert TABLE.cost(model, kind, scope, usage).nusd <= bound
