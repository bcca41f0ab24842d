"""Usage: what an attempt read and wrote, in tokens, from what the wire said.

Rule: every number on the wire is *cumulative*, so the largest seen per field wins and nothing is
ever added up. ``message_start`` brings the input side, the split of cache writes and a provisional
output count; each ``message_delta`` repeats or raises some of them; a plain answer has all at once.

Two things are estimates, and only when there is nothing better: the output of a stream that was cut
(bytes of text seen / 3.5, never less than what the wire had said), and cache writes without a split
(all of them 5 minutes, which is what a request without a ``ttl`` gets).

Source: platform.claude.com/docs/en/build-with-claude/streaming ("token counts shown in the usage field
of the message_delta event are cumulative") and .../prompt-caching (the ``cache_creation`` split);
the types of the anthropic SDK 2.12. Pitfalls that others fell into: adding deltas up, and counting
``amazon-bedrock-invocationMetrics`` on top of the usage that it repeats.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from claude_failover.core.types import Ended, Usage

BYTES_PER_TOKEN_X10: Final = 35
"""3.5 bytes of text a token: English and code, on the high side of the count for current tokenizers."""

DELTA_OVERHEAD: Final = 118
"""Bytes of one ``content_block_delta`` as SSE that are not the model's text: the lines' names, the JSON around it."""

MAX_COUNT: Final = 10**12
"""A count above this is no count: nothing on the wire is, and sums of it stay far from 64 bits."""

_NONE: Final = dict.fromkeys(("input", "output", "read", "write", "write_5m", "write_1h", "searches", "thinking"), 0)
"""Every field that is counted."""

_DELTA_MARK: Final = b'"content_block_delta"'
"""In quotes: once per event, in its JSON; the ``event:`` line has no quotes."""


class _Usage(msgspec.Struct):
    """The ``usage`` object. Fields are untyped on purpose: one odd field must not lose the others."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation: Any = None
    server_tool_use: Any = None
    output_tokens_details: Any = None
    inference_geo: Any = None
    speed: Any = None
    iterations: Any = None


class _Metrics(msgspec.Struct, rename="camel"):
    """``amazon-bedrock-invocationMetrics`` of a ``message_stop`` (bedrock-runtime's InvokeModel)."""

    input_token_count: Any = None
    output_token_count: Any = None
    cache_read_input_token_count: Any = None
    cache_write_input_token_count: Any = None


class _Message(msgspec.Struct):
    """A message, whole or as it stands in ``message_start``."""

    model: Any = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    """Whatever may carry usage: ``message_start``, ``message_delta``, ``message_stop``."""

    message: _Message | None = None
    usage: _Usage | None = None
    metrics: _Metrics | None = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")


_EVENT: Final = msgspec.json.Decoder(_Event)
_BODY: Final = msgspec.json.Decoder(_Message)

_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, ValueError)
"""What decoding hostile bytes raises: not JSON, wrong shape, nested too deep, not UTF-8."""


class UsageCounter:
    """Counts one attempt. Never raises, whatever the bytes; knows no prices."""

    def __init__(self) -> None:
        self.model = ""
        """The model that answered, as the wire names it: may differ from the one asked for."""
        self._best: dict[str, int] = {}
        self._metrics: dict[str, int] = {}
        self._compaction: dict[str, int] = {}
        self._geo_us = False
        self._fast = False
        self._stopped = False
        self._text_bytes = 0
        self._wire_bytes = 0
        self._deltas = 0

    # --- what is fed in ---------------------------------------------------------------------

    def event(self, type: str, data: bytes) -> None:  # noqa: A002 - the wire's own word
        """Take the payload of a stream's event; all but the three that carry usage are ignored."""
        if type not in {"message_start", "message_delta", "message_stop"}:
            return
        if type == "message_stop":
            self._stopped = True
        try:
            event = _EVENT.decode(data)
        except _UNREADABLE:
            return
        if event.message is not None:
            self._message(event.message)
        if event.usage is not None:
            self._take(event.usage)
        if event.metrics is not None:
            self._take_metrics(event.metrics)

    def body(self, data: bytes) -> None:
        """Take a complete answer that was not streamed."""
        try:
            message = _BODY.decode(data)
        except _UNREADABLE:
            return
        if message.usage is not None:
            self._stopped = True
        self._message(message)

    def seen(self, bytes_of_text: int) -> None:
        """Count bytes of the model's text, thinking or tool input: the floor if the stream is cut."""
        self._text_bytes += max(0, bytes_of_text)

    def relayed(self, data: bytes, since: int = 0) -> None:
        """Count SSE bytes that went to the client undecoded, from *since* on; the text in them is estimated.

        An event name cut in two by a read is missed, which makes the estimate 118 bytes larger. Behind a
        ``message_stop`` that was counted for nobody asks for an estimate any more.
        """
        if self._stopped and self._best:
            return
        self._wire_bytes += len(data) - since
        self._deltas += data.count(_DELTA_MARK, since)

    # --- what is known ----------------------------------------------------------------------

    @property
    def usage(self) -> Usage:
        """The tokens so far; after a cut, with the output that the bytes seen make plausible."""
        best = _NONE | self._merged()
        extra = _NONE | self._compaction if self._compaction else _NONE
        write_1h = best["write_1h"]
        write_5m = max(best["write_5m"], best["write"] - write_1h)
        return Usage(
            input=best["input"] + extra["input"],
            output=max(best["output"], self._output_floor()) + extra["output"],
            cache_read=best["read"] + extra["read"],
            cache_write_5m=write_5m + extra["write"],
            cache_write_1h=write_1h,
            web_searches=best["searches"],
            thinking=min(best["thinking"], best["output"]),
            geo_us=self._geo_us,
            fast=self._fast,
        )

    @property
    def estimated(self) -> bool:
        """Whether the output is our estimate rather than the wire's count."""
        return self._output_floor() > self._merged().get("output", 0)

    @property
    def disagreement(self) -> str:
        """How Bedrock's invocation metrics contradict the usage, one phrase; empty if they do not.

        The larger number is the one that is counted: a limit must not be passed on a doubt.
        """
        if not self._metrics:
            return ""
        wrong = [
            f"{field} {self._best[field]} != {told}"
            for field, told in self._metrics.items()
            if field in self._best and self._best[field] != told
        ]
        return ", ".join(wrong)

    def state(self, *, complete: bool) -> Ended:
        """Whether what was counted is everything. *complete*: the answer came to its proper end."""
        if not self._best and not self._metrics:
            return Ended.PARTIAL if self._seen_bytes() else Ended.NOTHING
        return Ended.COMPLETE if complete and self._stopped else Ended.PARTIAL

    # --- inside -----------------------------------------------------------------------------

    def _message(self, message: _Message) -> None:
        if type(message.model) is str and message.model:
            self.model = message.model[:200]
        if message.usage is not None:
            self._take(message.usage)

    def _take(self, usage: _Usage) -> None:
        best = self._best
        # Of a dozen fields an event brings one to four; the decoder makes dicts and lists, no kinds of them.
        for field, value in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("read", usage.cache_read_input_tokens),
            ("write", usage.cache_creation_input_tokens),
        ):
            if value is not None:
                _raise_to(best, field, value)
        if type(usage.cache_creation) is dict:
            _raise_to(best, "write_5m", usage.cache_creation.get("ephemeral_5m_input_tokens"))
            _raise_to(best, "write_1h", usage.cache_creation.get("ephemeral_1h_input_tokens"))
        if type(usage.server_tool_use) is dict:
            _raise_to(best, "searches", usage.server_tool_use.get("web_search_requests"))
        if type(usage.output_tokens_details) is dict:
            _raise_to(best, "thinking", usage.output_tokens_details.get("thinking_tokens"))
        if usage.inference_geo == "us":
            self._geo_us = True
        if usage.speed == "fast":
            self._fast = True
        if type(usage.iterations) is list:
            self._take_iterations(usage.iterations)

    def _take_iterations(self, iterations: list[Any]) -> None:
        """Server-side compaction is billed, but is not part of the top-level counts.

        Source: platform.claude.com/docs/en/build-with-claude/compaction: "The top-level input_tokens and
        output_tokens do not include compaction iteration usage". Each list is the whole list so far.
        """
        total: dict[str, int] = {}
        for entry in iterations:
            if not isinstance(entry, dict) or entry.get("type") != "compaction":
                continue
            for field, key in (
                ("input", "input_tokens"),
                ("output", "output_tokens"),
                ("read", "cache_read_input_tokens"),
                ("write", "cache_creation_input_tokens"),
            ):
                total[field] = min(MAX_COUNT, total.get(field, 0) + (_count(entry.get(key)) or 0))
        for field, value in total.items():
            _raise_to(self._compaction, field, value)

    def _take_metrics(self, metrics: _Metrics) -> None:
        for field, value in (
            ("input", metrics.input_token_count),
            ("output", metrics.output_token_count),
            ("read", metrics.cache_read_input_token_count),
            ("write", metrics.cache_write_input_token_count),
        ):
            _raise_to(self._metrics, field, value)

    def _merged(self) -> dict[str, int]:
        if not self._metrics:
            return self._best
        return self._best | {field: max(told, self._best.get(field, 0)) for field, told in self._metrics.items()}

    def _seen_bytes(self) -> int:
        return self._text_bytes + max(0, self._wire_bytes - self._deltas * DELTA_OVERHEAD if self._deltas else 0)

    def _output_floor(self) -> int:
        if self._stopped:
            return 0
        return -(-self._seen_bytes() * 10 // BYTES_PER_TOKEN_X10)


def _count(value: Any) -> int | None:
    """A token count, or ``None`` for whatever else stood there (a bool is an int to Python, not to us)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        return None
    return value


def _raise_to(counts: dict[str, int], field: str, value: Any) -> None:
    # Nearly all are absent or plain numbers; a dozen of them come with every answer.
    count = value if value is None or (type(value) is int and 0 <= value <= MAX_COUNT) else _count(value)
    if count is not None and count > counts.get(field, -1):
        counts[field] = count
