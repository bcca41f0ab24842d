"""What inputs are made of: words that mean something to those who read them, and frames whose checksums are right."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Final
from zlib import crc32

KEY: Final = "cfk_" + "k" * 43

WORDS: Final = (
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
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 204 \r\n", b"\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Connection: close\r\n",
    b'{"claudeAiOauth":{"accessToken":"', b'"refreshToken":"', b'"expiresAt":', b'{"access_token":"', b'"expires_in":',
    b'{"kind":"', b'"access":"', b'{"seq":1,"at":1,"name":"x","fields":{', b'{"error":"', b"true", b"null",
    b'"source":{"type":"url"', b'"file_id":"', b'"type":"container_upload"', b'"content":[',
    b'"thread":{"type":"continue"',
    b'"messages":[{"role":"user","content":', b'"tools":[{"type":"web_search_', b'"thinking":{"type":"', b"[" * 40,
    b"sk-ant-oat01-", b"AKIA", b"-----BEGIN ", b"'", b"`",
)  # fmt: skip


def frame(payload: bytes) -> bytes:
    """A frame of an event stream whose checksums are right, so that what it holds is looked at."""
    return _frame(b"\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event", payload)


def _frame(header: bytes, payload: bytes) -> bytes:
    start = (16 + len(header) + len(payload)).to_bytes(4, "big") + len(header).to_bytes(4, "big")
    start += crc32(start).to_bytes(4, "big")
    return start + header + payload + crc32(start + header + payload).to_bytes(4, "big")


def exception(payload: bytes) -> bytes:
    """A frame that says that something went wrong."""
    return _frame(b"\x0d:message-type\x07\x00\x09exception\x0f:exception-type\x07\x00\x13throttlingException", payload)


STREAM: Final = tuple(
    json.dumps(event, separators=(",", ":")).encode()
    for event in (
        {"type": "message_start", "message": {"model": "claude-opus-5-5", "usage": {"input_tokens": 9}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 9}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    )
)
"""A streamed answer, and an error behind it."""


def _sse(lines: str) -> bytes:
    return b"".join(
        f"event: {json.loads(data)['type']}{lines}data: {data.decode()}{lines}{lines}".encode() for data in STREAM
    )


REQUEST: Final = json.dumps(
    {
        "model": "claude-opus-5-5", "max_tokens": 32000, "stream": True, "system": [{"type": "text", "text": "x"}],
        "metadata": {"user_id": json.dumps({"session_id": "s"})}, "thinking": {"type": "adaptive"},
        "tools": [{"name": "Bash", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "eA=="}}]}]},
        ],
    }
).encode()  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Inputs to begin with, of every kind."""
    cut = b"\x05\x11\x02\x1f"
    for ends in ("\n", "\r\n", "\r"):
        yield cut + _sse(ends)
    chunks = [frame(b'{"bytes":"%b","p":"ab"}' % base64.b64encode(data)) for data in STREAM]
    yield cut + b"".join(chunks)
    yield cut + chunks[0] + exception(b'{"message":"Too many tokens"}')
    yield (cut + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    yield cut + b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}"
    yield (
        b"POST /v1/messages?beta=true\nhost: 127.0.0.1:8484\nx-api-key: "
        + KEY.encode()
        + b"\nconnection: x-api-key, te\n"
    )
    yield REQUEST
    yield b"anthropic-beta: context-1m-2025-08-07\n\n" + REQUEST
    yield b"\x00\xe5\nretry-after: 30\nanthropic-ratelimit-unified-status: rejected\n\n" + STREAM[-1]
    yield b"listen:\n  port: 8484\nbackends:\n  - {name: claude, kind: anthropic}\nmodels: {claude-opus-5-5: x}\n"
    yield b'{"seq":1,"at":1.5,"name":"x","fields":{"a":[1]}}'
    yield b'{"claudeAiOauth":{"accessToken":"sk-ant-oat01-zzzzzzzzzzzzzz","refreshToken":"x","expiresAt":1e16}}'
    yield b'{"access_token":"sk-ant-oat01-zzzzzzzzzzzzzz","refresh_token":"x","expires_in":3600}'
