"""Rates: one model's prices, and how they are read from a table in dollars.

Rule: a price is an integer of micro-dollars per million tokens, converted exactly or refused; nothing
here is a float. The table's own shape is described at the top of ``data/prices.yaml``. Anything in it
that is not understood is an error that names the place: a misspelt key would be a wrong bill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from claude_failover.core.types import Epoch, Usage
from claude_failover.errors import ConfigError

_PLAIN_KEYS: Final = ("input", "output", "write_5m", "write_1h", "read")
_MODEL_KEYS: Final = frozenset({*_PLAIN_KEYS, "family", "context", "max_output", "regional", "above", "fast", "before"})
PER_MILLE: Final = 1_000
"""Multipliers are integers too: 1.1 is 1,100."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Micro-dollars per MTok, by kind of token."""

    input: int
    output: int
    write_5m: int
    write_1h: int
    read: int

    def total(self, usage: Usage) -> int:
        """Tokens x price: in micro-dollars x 1e6."""
        return (
            usage.input * self.input
            + usage.output * self.output
            + usage.cache_write_5m * self.write_5m
            + usage.cache_write_1h * self.write_1h
            + usage.cache_read * self.read
        )

    def doubled(self) -> Rates:
        """Twice as dear: what fast mode costs wherever its price is known."""
        return Rates(*(2 * getattr(self, key) for key in _PLAIN_KEYS))


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Everything the table says about one model."""

    family: str
    rates: Rates
    context: int
    max_output: int
    regional: bool = True
    """Whether Bedrock's scopes multiply the price (they do since Claude 4.5)."""
    tier_above: int | None = None
    """Prompts of more tokens than this cost *tier* for every kind."""
    tier: Rates | None = None
    fast: Rates | None = None
    before: tuple[tuple[Epoch, Rates], ...] = ()
    """Ended prices, earliest end first: valid for moments before the ``Epoch``."""

    def at(self, prompt: int, moment: Epoch | None) -> Rates:
        """The rates for a prompt of that many tokens, at that moment (``None``: now in force)."""
        if self.tier is not None and self.tier_above is not None and prompt > self.tier_above:
            return self.tier
        if moment is not None:
            for until, rates in self.before:
                if moment < until:
                    return rates
        return self.rates

    def dearest(self) -> Rates:
        """Kind by kind the most that a token can cost at standard speed."""
        return dearest_of([self.rates, *([self.tier] if self.tier else [])])


def dearest_of(rates: Iterable[Rates]) -> Rates:
    """Kind by kind the highest of several rates."""
    rates = list(rates)
    return Rates(*(max(getattr(rate, key) for rate in rates) for key in _PLAIN_KEYS))


# --- reading a table ------------------------------------------------------------------------------


def model_price(name: str, row: Mapping[str, Any]) -> ModelPrice:
    """Read one row of ``models``."""
    place = f"models.{name}"
    only(row, _MODEL_KEYS, place)
    for key in ("input", "output"):
        if key not in row:
            raise ConfigError(f"prices: {place}: {key} is missing")
    rates = _rates(row, place, None)
    tier, tier_above, fast = None, None, None
    if "above" in row:
        above = mapping(row, "above", place)
        only(above, {*_PLAIN_KEYS, "prompt"}, f"{place}.above")
        tier, tier_above = _rates(above, f"{place}.above", rates), _whole(above.get("prompt"), f"{place}.above.prompt")
    if "fast" in row:
        fast = _rates(mapping(row, "fast", place), f"{place}.fast", rates)
    return ModelPrice(
        family=str(row.get("family", "")),
        rates=rates,
        context=_whole(row.get("context", 1_000_000), f"{place}.context"),
        max_output=_whole(row.get("max_output", 128_000), f"{place}.max_output"),
        regional=bool(row.get("regional", True)),
        tier_above=tier_above,
        tier=tier,
        fast=fast,
        before=tuple(sorted((_ended(entry, place, rates) for entry in row.get("before", ())), key=lambda e: e[0])),
    )


def _ended(entry: Mapping[str, Any], place: str, rates: Rates) -> tuple[Epoch, Rates]:
    until = entry.get("until")
    try:
        day = until if isinstance(until, date) else date.fromisoformat(str(until))
    except ValueError as error:
        raise ConfigError(f"prices: {place}.before: until must be a date, not {until!r}") from error
    return Epoch((day.toordinal() - date(1970, 1, 1).toordinal()) * 86_400.0), _rates(entry, f"{place}.before", rates)


def _rates(row: Mapping[str, Any], place: str, base: Rates | None) -> Rates:
    """Prices of one row; those that it leaves out are *base*'s, or the usual multiples of its input.

    Source of the multiples: platform.claude.com/docs/en/about-claude/pricing, "Prompt caching".
    """
    told = {key: micro(row[key], f"{place}.{key}") for key in _PLAIN_KEYS if key in row}
    if base is not None:
        return replace(base, **told)
    usual = {"write_5m": told["input"] * 5 // 4, "write_1h": told["input"] * 2, "read": told["input"] // 10}
    return Rates(**{**usual, **told})


def micro(value: Any, place: str) -> int:
    """Dollars to micro-dollars, exactly.

    Dollars per 1,000 pieces to nano-dollars a piece is the same number: $10 per 1,000 is 10,000,000.
    """
    number = _decimal(value, place) * 1_000_000
    if number != number.to_integral_value():
        raise ConfigError(f"prices: {place}: finer than a micro-dollar: {value}")
    return int(number)


def per_mille(value: Any, place: str) -> int:
    """A multiplier such as 1.1 as 1,100."""
    number = _decimal(value, place) * PER_MILLE
    if number != number.to_integral_value() or number < PER_MILLE // 10:
        raise ConfigError(f"prices: {place}: a multiplier such as 1.1 is expected, not {value}")
    return int(number)


def _decimal(value: Any, place: str) -> Decimal:
    try:
        number = Decimal("nan" if isinstance(value, bool) else str(value))
    except InvalidOperation as error:
        raise ConfigError(f"prices: {place}: a number is expected, not {value!r}") from error
    if not number.is_finite() or not 0 <= number <= 1_000_000:
        raise ConfigError(f"prices: {place}: a price in US dollars is expected, not {value}")
    return number


def _whole(value: Any, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ConfigError(f"prices: {place}: a number of tokens is expected, not {value!r}")
    return value


def mapping(parent: Mapping[str, Any], key: str, place: str = "") -> Mapping[str, Any]:
    """The mapping under *key*; absent is empty."""
    value = parent.get(key) or {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"prices: {place}{'.' if place else ''}{key}: a mapping is expected")
    return value


def only(row: Mapping[str, Any], allowed: Iterable[str], place: str) -> None:
    """Refuse keys that are not *allowed*."""
    unknown = sorted(str(key) for key in row if key not in set(allowed))
    if unknown:
        raise ConfigError(f"prices: {place}: unknown key {unknown[0]!r}")
