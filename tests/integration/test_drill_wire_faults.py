"""Every break of the catalogue, as aiohttp's client meets it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from claude_failover.drill import wire_faults
from claude_failover.drill.script import How, cut
from claude_failover.drill.wire_faults import AFTER_CONTENT, BEFORE_CONTENT, CATALOGUE, HARMLESS
from tests.fakes import claude_headers, messages_body, said, simulated_bedrock, simulated_claude, sse_events

MS = 0.001


LONG = 30.0
"""Seconds for what comes by itself: they only end what hangs."""


def silence_of(name: str) -> float:
    """Seconds after which a break counts as silent."""
    return 300 * MS if name.startswith("silent") else LONG


async def fetched(url: str, *, silence: float = LONG, behind: bytes = b"") -> tuple[bytes, str]:
    """The body as far as it came, and how it ended: ``complete``, ``silent`` (*behind* that), or the error's name."""
    loop, data = asyncio.get_running_loop(), b""
    async with aiohttp.ClientSession(url, auto_decompress=False) as session:
        try:
            async with (
                asyncio.timeout(LONG if behind else silence) as limit,
                session.post("/v1/messages", data=messages_body(), headers=claude_headers()) as response,
            ):
                async for piece in response.content.iter_any():
                    data += piece
                    if behind in data:
                        limit.reschedule(loop.time() + silence)
        except TimeoutError:
            return data, "silent"
        except aiohttp.ClientError as error:
            return data, type(error).__name__
        return data, "complete"


@pytest.mark.parametrize("name", HARMLESS)
async def test_an_odd_answer_is_an_answer(name: str) -> None:
    async with simulated_claude(HARMLESS[name]()) as claude:
        data, ended = await fetched(claude.url)
        assert (said(data), ended) == ("Simulated Claude, answer 1.", "complete")
        assert claude.served_answers == 1


@pytest.mark.parametrize("name", BEFORE_CONTENT)
async def test_a_break_before_content_shows_none(name: str) -> None:
    async with simulated_claude(BEFORE_CONTENT[name]()) as claude:
        data, ended = await fetched(claude.url, silence=silence_of(name))
        assert b"text_delta" not in data or name in ("bad-gzip", "corrupt-first")
        assert (ended == "silent") == name.startswith("silent")
        assert claude.served_answers == (name in ("bad-gzip", "corrupt-first"))


@pytest.mark.parametrize("name", AFTER_CONTENT)
async def test_a_break_after_content_never_looks_complete(name: str) -> None:
    async with simulated_claude(AFTER_CONTENT[name]()) as claude:
        data, _ = await fetched(claude.url, silence=silence_of(name), behind=b"text_delta")
        assert b"text_delta" in data
        assert b"message_stop" not in data
        await claude.until(lambda: claude.partial_answers == 1)
        assert claude.served_answers == 0


async def test_lengths_lie_in_both_directions() -> None:
    async with simulated_claude(wire_faults.long_length(), wire_faults.short_length()) as claude:
        assert (await fetched(claude.url))[1] == "ClientPayloadError"
        # What follows is no response of the next request's: the client may notice that, or have left already.
        data, ended = await fetched(claude.url)
        assert ended in ("complete", "ClientResponseError")
        assert b"message_stop" not in data


async def test_pings_alone_go_on_for_as_long_as_they_are_told() -> None:
    async with simulated_claude(wire_faults.only_pings(100 * MS, 20 * MS)) as claude:
        loop = asyncio.get_running_loop()
        started = loop.time()
        data, _ = await fetched(claude.url)
        assert loop.time() - started >= 90 * MS
        assert [name for name, _ in sse_events(data)].count("ping") == 6  # five, and the one of the first block


async def test_events_of_the_future_lie_between_known_ones() -> None:
    async with simulated_claude(wire_faults.unknown_event()) as claude:
        data, _ = await fetched(claude.url)
        assert data.index(b"message_start") < data.index(b"from_the_future") < data.index(b"content_block_start")


@pytest.mark.parametrize("name", CATALOGUE)
async def test_every_break_also_works_on_frames(name: str) -> None:
    """No break depends on what the bytes mean."""
    async with (
        simulated_bedrock(CATALOGUE[name](), strict=False) as bedrock,
        aiohttp.ClientSession(bedrock.url, auto_decompress=False) as session,
    ):
        headers = {"authorization": "Bearer ABSKsimulated-and-worth-nothing", "content-type": "application/json"}
        path = "/model/global.anthropic.claude-opus-5-5/invoke-with-response-stream"
        try:
            async with (
                asyncio.timeout(silence_of(name)),
                session.post(path, data=b'{"messages": []}', headers=headers) as response,
            ):
                await response.read()
        except (TimeoutError, aiohttp.ClientError):
            assert name not in HARMLESS


async def test_a_dying_process_resets_everybody() -> None:
    async with simulated_claude(cut("content", How.FIN), BEFORE_CONTENT["silent"]()) as claude:
        await fetched(claude.url)

        async def die() -> None:
            await claude.until(lambda: claude.count == 2)
            claude.reset_all()

        async with asyncio.TaskGroup() as group:
            group.create_task(die())
            assert (await fetched(claude.url))[1] in ("ServerDisconnectedError", "ClientOSError")
        assert claude.gone == 0
