"""Prices: tokens times what they cost at this backend, for this model, in this scope.

Rule: money is integers. A price is micro-dollars per million tokens, a cost nano-dollars (1e-9 USD);
one token at $0.01 per MTok is 10 of them, so nothing worth counting is lost. Fractions that the
multipliers leave are rounded *up*, once, at the end: a limit must not be passed by rounding.

The table itself is data (``data/prices.yaml``), in dollars, dated and with sources. A model that it
does not know costs what the dearest known model of its family costs, kind by kind, or the dearest of
all; the answer says that it is an estimate.

The worst case of a request is what its reservation holds (:mod:`~claude_failover.core.spend`), so it
must be an upper bound and not a guess. A token is at least one byte, a prompt never has more tokens
than the model's context, and an answer never more than ``max_tokens``. Bytes / 3.5 is the usual
estimate and is wrong by half for Chinese, base64 or digits, which is how limits get passed.
Outside the bound: searches of the server tool and server-side compaction, which Claude Code does not
ask Bedrock for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from claude_failover.core.rates import (
    PER_MILLE,
    ModelPrice,
    Rates,
    dearest_of,
    mapping,
    micro,
    model_price,
    only,
    per_mille,
)
from claude_failover.core.types import Epoch, Kind, Usage
from claude_failover.errors import ConfigError

NUSD_PER_USD: Final = 1_000_000_000

PROMPT_OVERHEAD_TOKENS: Final = 2_000
"""What a backend adds to a prompt that is not in its bytes: the tool-use system prompt and framing.

Source: platform.claude.com/docs/en/agents-and-tools/tool-use/overview, "Pricing": at most some hundreds of tokens.
"""


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What an attempt's tokens cost."""

    nusd: int
    """At the backend that was used, in nano-dollars."""
    list_nusd: int
    """At the Claude API's list price: what the primary would have cost."""
    estimated: bool
    """The model, the scope or the fast price is not in the table; the dearest known was taken."""


class PriceTable:
    """The prices in force. Immutable but for a small memory of looked-up names."""

    def __init__(
        self,
        models: Mapping[str, ModelPrice],
        scopes: Mapping[str, int],
        *,
        as_of: str,
        geo_us: int,
        web_search_nusd: int,
        overridden: Iterable[str] = (),
    ) -> None:
        self.models = dict(models)
        """By canonical, undated id; overrides are in."""
        self.as_of = as_of
        """The day on which the table was true, ISO."""
        self.overridden = frozenset(overridden)
        """Models whose price came from the user's own file."""
        self._scopes = dict(scopes)
        self._geo_us = geo_us
        self._web_search_nusd = web_search_nusd
        self._found: dict[str, tuple[ModelPrice, bool]] = {}
        # What a user spelled with a date or a prefix is found by its plain name too.
        self._by_plain = {plain_name(name): price for name, price in self.models.items()}
        self._by_exact = {name: self.models[name] for name in self.overridden}

    @classmethod
    def build(cls, table: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> PriceTable:
        """Check and convert a parsed ``prices.yaml``, with the user's own file of the same shape over it.

        An override names only what differs: ``{models: {claude-opus-5-5: {input: 3.5}}}``. For a model
        that the table lacks, cache prices that are left out follow from ``input`` (x1.25, x2, x0.1).

        Raises:
            ConfigError: A key is unknown, or a value is not a price; the message names the place.
        """
        overrides = overrides or {}
        only(overrides, {"models", "scopes", "inference_geo_us", "web_search_per_1000", "as_of", "sources"}, "prices")
        raw: dict[str, dict[str, Any]] = {name: dict(row) for name, row in mapping(table, "models").items()}
        mine = mapping(overrides, "models")
        for name, row in mine.items():
            if not isinstance(row, Mapping):
                raise ConfigError(f"prices: models.{name}: expected a mapping of prices")
            raw[name] = {**raw.get(name, raw.get(plain_name(name), {})), **row}
        scopes = {**mapping(table, "scopes"), **mapping(overrides, "scopes")}
        merged = {**table, **overrides}
        return cls(
            {name: model_price(name, row) for name, row in raw.items()},
            {scope: per_mille(value, f"scopes.{scope}") for scope, value in scopes.items()},
            as_of=str(table["as_of"]),
            geo_us=per_mille(merged["inference_geo_us"], "inference_geo_us"),
            web_search_nusd=micro(merged["web_search_per_1000"], "web_search_per_1000"),
            overridden=mine,
        )

    def lookup(self, model: str) -> tuple[ModelPrice, bool]:
        """The price of a model under any of its names, and whether it is a stand-in."""
        found = self._found.get(model)
        if found is None:
            if len(self._found) >= 1_000:
                self._found.clear()
            found = self._found[model] = self._find(model)
        return found

    def cost(self, model: str, kind: Kind, scope: str, usage: Usage, at: Epoch | None = None) -> Cost:
        """What these tokens cost there.

        Args:
            model: Claude id, with or without date; Bedrock ids and profile ARNs are understood.
            kind: Of the backend.
            scope: The backend's scope (``global``, ``us``, …, ``none``); of no effect at the Claude API.
            usage: Tokens of one attempt: a price tier is decided per request, never on sums.
            at: When the attempt was made, for prices that have changed since; ``None`` = now.
        """
        price, estimated = self._found.get(model) or self.lookup(model)
        rates = plain = price.at(usage.prompt, at)
        if usage.fast:
            estimated = estimated or price.fast is None
            rates = price.fast or rates.doubled()
        factor, known = self._factor(price, kind, scope, geo_us=usage.geo_us)
        nusd = self._nusd(rates, usage, factor)
        list_nusd = nusd if kind is Kind.ANTHROPIC else self._nusd(plain, usage, PER_MILLE)
        return Cost(nusd, list_nusd, estimated or not known)

    def worst_case(
        self,
        model: str,
        kind: Kind,
        scope: str,
        prompt_bytes: int,
        max_tokens: int | None,
        running: int | None = None,
        *,
        hour_cache: bool = True,
    ) -> int:
        """The most that a request can cost, in nano-dollars: what is reserved before it is sent.

        Args:
            model: As in :meth:`cost`.
            kind: Of the backend.
            scope: Of the backend.
            prompt_bytes: Of the request's body, or its :class:`~claude_failover.core.bounds.PromptBound`. Each
                counts as a token of the dearest kind, up to the model's context.
            max_tokens: As sent to that backend; ``None`` = whatever the model can write.
            running: For display only: expect this many output tokens (:class:`RunningOutput`) and 3.5
                bytes a token. The result is then *no* upper bound and must not be reserved.
            hour_cache: Whether the request may write to the one-hour cache, which costs most.
        """
        price, _ = self.lookup(model)
        most = price.max_output if max_tokens is None else max(0, max_tokens)
        if running is None:
            prompt = min(price.context, max(0, prompt_bytes) + PROMPT_OVERHEAD_TOKENS)
            output = most
        else:
            prompt = min(price.context, max(0, prompt_bytes) * 10 // 35)
            output = min(most, running)
        rates = price.dearest() if running is None else price.at(prompt, None)
        if price.fast is not None and kind is Kind.ANTHROPIC and running is None:
            rates = dearest_of([rates, price.fast])
        factor, _ = self._factor(price, kind, scope, geo_us=kind is Kind.ANTHROPIC)
        dearest = max(rates.input, rates.write_5m, rates.read, rates.write_1h if hour_cache else 0)
        micro = prompt * (dearest if running is None else rates.write_5m) + output * rates.output
        return -(-micro * factor // (1_000 * PER_MILLE))

    def rebuild(self, model: str, usage: Usage, warm: int) -> int:
        """What of a cost, at list price, was for writing to this backend's cache what another's already held.

        Each provider has its own prompt cache: after a switch the whole prefix is written (x1.25 or x2 of the
        input price) where the other backend would have read it (x0.1 or less). Nano-dollars.

        Args:
            model: As in :meth:`cost`.
            usage: Of the attempt after the switch.
            warm: Tokens of the same conversation that the other backend had in its cache.
        """
        price, _ = self.lookup(model)
        rates = price.at(usage.prompt, None)
        short = min(warm, usage.cache_write_5m)
        long = min(warm - short, usage.cache_write_1h)
        micro = short * (rates.write_5m - rates.read) + long * (rates.write_1h - rates.read)
        return max(0, micro) // 1_000

    # --- inside -----------------------------------------------------------------------------

    def _find(self, model: str) -> tuple[ModelPrice, bool]:
        exact = self._by_exact.get(model)
        if exact is not None:
            return exact, False
        name = plain_name(model)
        found = self._by_plain.get(name)
        if found is not None:
            return found, False
        family = next((f for f in sorted({p.family for p in self.models.values()}) if f in name.split("-")), None)
        kin = [p for p in self.models.values() if family is None or p.family == family]
        return (
            ModelPrice(
                family=family or "",
                rates=dearest_of([p.dearest() for p in kin]),
                context=max(p.context for p in kin),
                max_output=max(p.max_output for p in kin),
            ),
            True,
        )

    def _factor(self, price: ModelPrice, kind: Kind, scope: str, *, geo_us: bool) -> tuple[int, bool]:
        """The multiplier in per mille, and whether the table knows it."""
        if kind is Kind.ANTHROPIC:
            return (self._geo_us if geo_us else PER_MILLE), True
        known = scope in self._scopes
        factor = self._scopes[scope] if known else max(self._scopes.values())
        return (factor if price.regional else PER_MILLE), known

    def _nusd(self, rates: Rates, usage: Usage, factor: int) -> int:
        """Nano-dollars, rounded up. Searches have one price everywhere."""
        return -(-rates.total(usage) * factor // (1_000 * PER_MILLE)) + usage.web_searches * self._web_search_nusd


class RunningOutput:
    """How long a model's answers have been lately: for showing what a reservation will probably become."""

    FLOOR: Final = 2_000
    KEPT: Final = 200

    def __init__(self) -> None:
        self._recent: dict[str, list[int]] = {}

    def observe(self, model: str, output: int) -> None:
        """Remember one complete answer's length in tokens."""
        if model not in self._recent and len(self._recent) >= 100:
            self._recent.clear()
        recent = self._recent.setdefault(model, [])
        recent.append(output)
        del recent[: -self.KEPT]

    def expect(self, model: str) -> int:
        """1.5 times the 95th percentile of the recent answers, at least 2,000 tokens."""
        recent = sorted(self._recent.get(model, ()))
        if not recent:
            return self.FLOOR
        p95 = recent[min(len(recent) - 1, len(recent) * 95 // 100)]
        return max(self.FLOOR, p95 * 3 // 2)


_ARN = re.compile(r"^arn:[^/]*/")
_PREFIX = re.compile(r"^(?:(?:global|us|eu|jp|au|apac|us-gov)\.)?anthropic\.")
_SUFFIX = re.compile(r"(?:\[[^\]]*\])?$")
_VERSION = re.compile(r"-v\d+(?::\d+)*$")
_DATE = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d|latest)$")


def plain_name(model: str) -> str:
    """A model's name without context suffix, Bedrock prefix and version, and date: the key of the table."""
    name = _PREFIX.sub("", _ARN.sub("", _SUFFIX.sub("", model.strip().lower())))
    name = _DATE.sub("", _VERSION.sub("", name))
    return name.removesuffix("-0") if re.search(r"-\d-0$", name) else name


def scope_of(upstream_model: str, default: str) -> str:
    """The scope that a Bedrock id itself names, which is what AWS bills; else the backend's.

    >>> scope_of("us.anthropic.claude-opus-5-5", "global")
    'us'
    """
    name = _ARN.sub("", upstream_model)
    if name.startswith("anthropic."):
        return "none"
    scope, dot, rest = name.partition(".")
    return scope if dot and rest.startswith("anthropic.") else default
