"""Bounded fuzzing of everything that reads what others write; longer with ``CLAUDE_FAILOVER_FUZZ_SECONDS``.

What atheris (``tests/fuzz/run.py``) or a longer run of this once found lies in ``tests/fuzz/regressions/TARGET`` and is
repeated here for good.
"""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_failover.clock import SystemClock
from tests.fuzz.targets import KEY, TARGETS

SECONDS = float(os.environ.get("CLAUDE_FAILOVER_FUZZ_SECONDS", "0"))
"""For each target, beyond the bounded run."""

WORDS = (
    b"\n", b"\n\n", b"\r\n", b": ", b"{", b"}", b"[", b"]", b'"', b",", b"\\", b"\0", b"\xff",
    b"\xe2\x80\xa8", b"\xed\xa0\x80",
    b"POST ", b"GET ", b"CONNECT ", b"/v1/messages", b"/metrics", b"//", b"/..", b"%2e%2e", b"http://", b"?beta=true",
    b"host: 127.0.0.1:8484", b"x-claude-failover-key: " + KEY.encode(), b"authorization: Bearer ", b"x-api-key: ",
    b"connection: host, authorization", b"origin: null", b"sec-fetch-site: none", b"upgrade: h2c", b"retry-after: ",
    b"1e400", b"-1", b"NaN", b"Infinity", b"9" * 25, b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"anthropic-ratelimit-unified-5h-reset: ", b"anthropic-ratelimit-unified-status: rejected",
    b"x-amzn-errortype: ThrottlingException:http://x", b"content-type: text/html", b"date: ",
    b'{"model":"claude-opus-5-5","max_tokens":1,"stream":true,"messages":[{"role":"user","content":"quota"}]}',
    b'{"type":"error","error":{"type":"overloaded_error","message":"', b'{"__type":"x#', b'{"Output":{"__type":"',
    b'"metadata":{"user_id":"{\\"session_id\\":', b'"tool_result"', b'"system"', b"\\u0000", b"\\ud800",
    b"event: message_start\n", b"event: error\n", b"data: ", b'data: {"type":"message_delta","usage":{"output_tokens":',
    b":event-type\x07\x00\x05chunk", b":message-type\x07\x00\x09exception", b'{"bytes":"', b"\xef\xbb\xbf",
    b"listen:", b"  port: ", b"backends:\n  - ", b"name: ", b"kind: bedrock", b"&a ", b"*a", b"<<: ",
    b"!!python/object:x ",
    b"sk-ant-oat01-", b"AKIA", b"-----BEGIN ", b"'", b"`",
)  # fmt: skip


def frame(payload: bytes) -> bytes:
    """A frame of an event stream whose checksums are right, so that what it holds is looked at."""
    header = b"\x0b:event-type\x07\x00\x05chunk"
    start = (16 + len(header) + len(payload)).to_bytes(4, "big") + len(header).to_bytes(4, "big")
    start += crc32(start).to_bytes(4, "big")
    return start + header + payload + crc32(start + header + payload).to_bytes(4, "big")


inputs = st.lists(
    st.one_of(st.sampled_from(WORDS), st.binary(max_size=24), st.binary(max_size=40).map(frame)), max_size=24
).map(b"".join)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=inputs)
def test_whatever_the_bytes_only_the_named_errors_come(target: str, data: bytes) -> None:
    TARGETS[target](data)


REGRESSIONS = sorted((Path(__file__).parents[1] / "fuzz/regressions").glob("*/*"))


@pytest.mark.parametrize("found", REGRESSIONS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_stays_mended(found: Path) -> None:
    TARGETS[found.parent.name](found.read_bytes())


if SECONDS:

    @pytest.mark.parametrize("target", TARGETS)
    @pytest.mark.timeout(SECONDS + 120)
    def test_the_same_for_as_long_as_was_said(target: str) -> None:
        clock = SystemClock()
        end = clock.now().monotonic + SECONDS

        @settings(max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(data=inputs)
        def play(data: bytes) -> None:
            TARGETS[target](data)

        while clock.now().monotonic < end:
            play()
