"""Reading one model's prices: exact, or refused with the place."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from claude_failover.core.rates import Rates, dearest_of, mapping, micro, model_price, only, per_mille
from claude_failover.core.types import Epoch, Usage
from claude_failover.errors import ConfigError

ROW = {"family": "opus", "input": 4, "output": 20, "write_5m": 5, "write_1h": 8, "read": 0.2}
USD = 1_000_000


def test_prices_become_micro_dollars_exactly() -> None:
    assert model_price("m", ROW).rates == Rates(4 * USD, 20 * USD, 5 * USD, 8 * USD, 200_000)
    assert micro(0.0125, "x") == 12_500
    assert micro("0.000001", "x") == 1


def test_cache_prices_that_are_left_out_follow_from_the_input() -> None:
    price = model_price("m", {"input": 8, "output": 40})
    assert price.rates == Rates(8 * USD, 40 * USD, 10 * USD, 16 * USD, 800_000)
    assert (price.family, price.context, price.max_output, price.regional) == ("", 1_000_000, 128_000, True)


def test_tokens_times_prices() -> None:
    usage = Usage(input=1, output=2, cache_read=3, cache_write_5m=4, cache_write_1h=5)
    assert Rates(10, 100, 1_000, 10_000, 100_000).total(usage) == 10 + 200 + 4_000 + 50_000 + 300_000


def test_a_tier_holds_above_its_prompt_and_not_at_it() -> None:
    price = model_price("m", {**ROW, "above": {"prompt": 100_000, "input": 20, "output": 100}})
    assert price.at(100_000, None).input == 4 * USD
    assert price.at(100_001, None) == Rates(20 * USD, 100 * USD, 5 * USD, 8 * USD, 200_000)


def test_an_ended_price_holds_before_its_end() -> None:
    price = model_price(
        "m",
        {**ROW, "before": [{"until": "2026-10-07", "read": 0.4}, {"until": date(2026, 9, 1), "read": 0.8}]},
    )
    midnight = 1_791_331_200.0  # 2026-10-07T00:00:00Z
    assert price.at(0, Epoch(midnight - 1)).read == 400_000
    assert price.at(0, Epoch(midnight)).read == 200_000
    assert price.at(0, Epoch(midnight - 60 * 86_400)).read == 800_000
    assert price.at(0, None).read == 200_000


def test_fast_prices_are_a_row_of_their_own() -> None:
    price = model_price("m", {**ROW, "fast": {"input": 8, "output": 40, "write_5m": 10, "write_1h": 16, "read": 0.4}})
    assert price.fast == price.rates.doubled()


def test_the_dearest_is_taken_kind_by_kind() -> None:
    assert dearest_of([Rates(1, 2, 3, 4, 9), Rates(5, 1, 1, 1, 1)]) == Rates(5, 2, 3, 4, 9)
    price = model_price("m", {**ROW, "above": {"prompt": 1, "input": 3, "output": 100}})
    assert price.dearest() == Rates(4 * USD, 100 * USD, 5 * USD, 8 * USD, 200_000)
    assert model_price("m", ROW).dearest() == model_price("m", ROW).rates


def test_multipliers_are_per_mille() -> None:
    assert per_mille(1.1, "x") == 1_100
    assert per_mille("1.0", "x") == 1_000


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input": 1}, "prices: models.m: output is missing"),
        ({**ROW, "inptu": 1}, "prices: models.m: unknown key 'inptu'"),
        ({**ROW, "read": "cheap"}, "prices: models.m.read: a number is expected, not 'cheap'"),
        ({**ROW, "read": True}, "prices: models.m.read: a price in US dollars is expected, not True"),
        ({**ROW, "read": -1}, "prices: models.m.read: a price in US dollars is expected, not -1"),
        ({**ROW, "read": float("inf")}, "prices: models.m.read: a price in US dollars is expected, not inf"),
        ({**ROW, "read": 0.0000001}, "prices: models.m.read: finer than a micro-dollar: 1e-07"),
        ({**ROW, "context": 0}, "prices: models.m.context: a number of tokens is expected, not 0"),
        ({**ROW, "max_output": True}, "prices: models.m.max_output: a number of tokens is expected, not True"),
        ({**ROW, "above": {"input": 1}}, "prices: models.m.above.prompt: a number of tokens is expected, not None"),
        ({**ROW, "above": [1]}, "prices: models.m.above: a mapping is expected"),
        ({**ROW, "above": {"until": 1}}, "prices: models.m.above: unknown key 'until'"),
        ({**ROW, "before": [{"until": "soon"}]}, "prices: models.m.before: until must be a date, not 'soon'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_understood_names_its_place(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        model_price("m", row)
    assert str(error.value) == message


@pytest.mark.parametrize("value", [0.05, 1.00001, "x"])
def test_a_multiplier_must_look_like_one(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"prices: scopes\.us:"):
        per_mille(value, "scopes.us")


def test_a_section_that_is_absent_is_empty_and_one_of_the_wrong_kind_is_refused() -> None:
    assert mapping({}, "models") == {}
    with pytest.raises(ConfigError, match="prices: models: a mapping is expected"):
        mapping({"models": [1]}, "models")


def test_known_keys_pass() -> None:
    only({"a": 1}, ["a", "b"], "here")
