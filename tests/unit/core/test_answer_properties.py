from __future__ import annotations

import base64
import itertools
import json
import struct
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.answer import AnswerEvent, AnswerReader, FrameReader, SseReader, without_metrics

NOTABLE = {"message_start", "message_delta", "message_stop", "error", "exception", "malformed"}
texts = st.text('aé"\\\n\r{}: ', max_size=12)
types = st.sampled_from(
    ["message_start", "ping", "content_block_start", "content_block_delta", "message_delta", "message_stop", "newer"]
)
payloads = st.builds(lambda kind, text: {"type": kind, "text": text}, types, texts)
bad = st.sampled_from([{"type": "error", "error": {"type": "overloaded_error"}}])
answers = st.lists(st.one_of(payloads, payloads, payloads, bad), min_size=1, max_size=10)
cuts = st.lists(st.integers(0, 100_000), max_size=15)


def encode(event: dict[str, object]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def sse(event: dict[str, object]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + encode(event) + b"\n\n"


def frame(event: dict[str, object]) -> bytes:
    names = {":event-type": "chunk", ":message-type": "event"}
    block = b"".join(
        bytes([len(n)]) + n.encode() + b"\x07" + struct.pack("!H", len(v)) + v.encode() for n, v in names.items()
    )
    payload = json.dumps({"bytes": base64.b64encode(encode(event)).decode()}).encode()
    start = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    start += struct.pack("!I", zlib.crc32(start)) + block + payload
    return start + struct.pack("!I", zlib.crc32(start))


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted({cut % (len(data) + 1) for cut in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(at)]


def play(answer: AnswerReader, parts: list[bytes], commit_after: int) -> tuple[bytes, list[AnswerEvent]] | None:
    """Feed until the commit, relay from then on; ``None`` if bad news came before it."""
    out = b""
    notable: list[AnswerEvent] = []
    for part in parts[:commit_after]:
        for event in answer.feed(part):
            if event.type == "error":
                return None
            out += event.raw
            notable += [event] if event.type in NOTABLE else []
    out += answer.commit()
    for part in parts[commit_after:]:
        now, found = answer.relay(part)
        out += now
        notable += found
    return out, notable


@given(answers, cuts, st.integers(0, 10), st.booleans())
@settings(max_examples=200)
def test_however_it_is_cut_the_client_gets_everything_up_to_an_error_and_we_read_the_same(
    events: list[dict[str, object]],
    places: list[int],
    commit_after: int,
    framed: bool,
) -> None:
    data = b"".join(map(frame if framed else sse, events))
    answer = FrameReader() if framed else SseReader()
    played = play(answer, pieces(data, places), commit_after)
    if played is None:
        return
    kinds = [str(event["type"]) for event in events]
    good = kinds.index("error") if "error" in kinds else len(kinds)
    assert played[0] == b"".join(map(sse, events[:good]))
    assert [(event.type, event.data, event.raw) for event in played[1]] == [
        (str(event["type"]), encode(event), sse(event)) for event in events[: good + 1] if event["type"] in NOTABLE
    ]
    assert answer.end() is None


@given(st.binary(max_size=200), cuts, st.booleans())
@settings(max_examples=200)
def test_garbage_is_a_value_and_never_an_exception(data: bytes, places: list[int], framed: bool) -> None:
    answer = FrameReader() if framed else SseReader()
    parts = pieces(data, places)
    for part in parts:
        answer.feed(part)
    answer.end()
    other = FrameReader() if framed else SseReader()
    other.commit()
    for part in parts:
        other.relay(part)
    other.end()


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "amazon-bedrock-invocationMetrics"]), inner, max_size=2),
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["type", "a", "b", "amazon-bedrock-invocationMetrics"]), json_values, max_size=4),
    st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :")]),
)
@settings(max_examples=200)
def test_only_the_metrics_are_taken_out(event: dict[str, object], separators: tuple[str, str]) -> None:
    shorter = json.loads(without_metrics(json.dumps(event, separators=separators).encode()))
    event.pop("amazon-bedrock-invocationMetrics", None)
    assert shorter == event
