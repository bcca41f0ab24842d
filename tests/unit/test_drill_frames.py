"""Our frames are what botocore reads, and are wrong only where they are meant to be."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.drill.frames import chunk, corrupt, exception, frame, unmodelled_error

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
values = st.text(max_size=80)


@settings(max_examples=100)
@given(st.dictionaries(names, values, max_size=5), st.binary(max_size=300), st.integers(1, 60))
def test_botocore_reads_any_frame_however_it_is_cut(headers: dict[str, str], payload: bytes, size: int) -> None:
    data = frame(headers, payload) * 2
    buffer = EventStreamBuffer()
    for start in range(0, len(data), size):
        buffer.add_data(data[start : start + size])
    assert [(event.headers, event.payload) for event in buffer] == [(headers, payload)] * 2


def test_a_chunk_hides_an_event_in_base64_behind_padding() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(chunk({"type": "ping"}, padding=70) + chunk({"type": "ping"}, padding=None))
    padded, bare = (json.loads(event.payload) for event in buffer)
    assert json.loads(b64decode(padded["bytes"])) == {"type": "ping"}
    assert len(padded["p"]) == 70
    assert "p" not in bare


def test_exceptions_and_errors_have_the_headers_that_name_them() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(exception("throttlingException", "Too many tokens", {"originalStatusCode": 429}))
    buffer.add_data(unmodelled_error("InternalFailure", "oops"))
    first, second = buffer
    assert first.headers[":message-type"] == "exception"
    assert first.headers[":exception-type"] == "throttlingException"
    assert json.loads(first.payload) == {"message": "Too many tokens", "originalStatusCode": 429}
    assert second.headers == {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "oops"}


@pytest.mark.parametrize("prelude", [True, False])
def test_a_corrupt_frame_fails_its_checksum(prelude: bool) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(corrupt(chunk({"type": "ping"}), prelude=prelude))
    with pytest.raises(ChecksumMismatch):
        next(iter(buffer))
