"""The window of events and its subscribers."""

from __future__ import annotations

import asyncio

from claude_failover.control import feed
from claude_failover.control.feed import Feed
from claude_failover.core.types import Epoch

AT = Epoch(1000.0)


def publish(source: Feed, *names: str) -> None:
    for name in names:
        source.publish(name, {}, AT)


async def test_events_are_numbered_from_one() -> None:
    source = Feed()
    publish(source, "a", "b")
    assert [(event.seq, event.name) for event in source.recent()] == [(1, "a"), (2, "b")]


async def test_the_window_forgets_the_oldest() -> None:
    source = Feed(window=2)
    publish(source, "a", "b", "c")
    assert [event.name for event in source.recent()] == ["b", "c"]


async def test_the_window_holds_a_thousand() -> None:
    source = Feed()
    publish(source, *(["x"] * 1500))
    assert len(source.recent()) == 1000


async def test_a_subscriber_gets_what_comes_after_it_came() -> None:
    source = Feed()
    publish(source, "before")
    with source.subscribe() as subscription:
        publish(source, "after")
        event = await subscription.next()
    assert event is not None
    assert event.name == "after"


async def test_a_subscriber_can_ask_for_what_it_missed() -> None:
    source = Feed()
    publish(source, "a", "b", "c")
    with source.subscribe(since=1) as subscription:
        names = [event.name for event in [await subscription.next(), await subscription.next()] if event]
    assert names == ["b", "c"]


async def test_a_subscriber_that_leaves_is_forgotten() -> None:
    source = Feed()
    with source.subscribe():
        assert source.listeners == 1
    assert source.listeners == 0


async def test_a_subscriber_that_does_not_keep_up_is_dropped_after_what_it_had() -> None:
    source = Feed()
    with source.subscribe() as subscription:
        publish(source, *(["x"] * (feed.BACKLOG + 1)))
        assert source.listeners == 0
        got = 0
        while await subscription.next() is not None:
            got += 1
    assert got == feed.BACKLOG


async def test_the_end_is_told_to_everyone() -> None:
    source = Feed()
    with source.subscribe() as one, source.subscribe() as two:
        source.end()
        assert list(await asyncio.gather(one.next(), two.next())) == [None, None]
    assert source.listeners == 0


async def test_a_cancelled_wait_loses_nothing() -> None:
    source = Feed()
    with source.subscribe() as subscription:
        waiting = asyncio.get_running_loop().create_task(subscription.next())
        await asyncio.sleep(0)
        waiting.cancel()
        publish(source, "kept")
        event = await subscription.next()
    assert event is not None
    assert event.name == "kept"
