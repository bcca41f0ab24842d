from __future__ import annotations

import asyncio
import threading

import pytest

from claude_failover.credentials.threads import in_thread


async def test_work_is_done_elsewhere_and_its_result_comes_back() -> None:
    here = threading.current_thread()
    there = await in_thread(threading.current_thread, "elsewhere")
    assert there is not here
    assert (there.name, there.daemon) == ("elsewhere", True)
    assert (await in_thread(threading.current_thread, "important", finish=True)).daemon is False


async def test_what_it_raises_comes_back_too() -> None:
    def work() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        await in_thread(work, "failing")


async def test_whoever_finds_it_done_finds_what_follows_from_it_done() -> None:
    noted: list[str] = []
    future = in_thread(lambda: "found", "noting", then=lambda done: noted.append(done.result()))
    async with asyncio.timeout(30):
        while not future.done():  # noqa: ASYNC110 - each turn of the loop counts
            await asyncio.sleep(0)
    assert noted == ["found"]


async def test_a_future_that_is_given_up_is_left_alone() -> None:
    gate = threading.Event()
    done = threading.Event()

    def work() -> None:
        gate.wait(30)
        done.set()

    noted: list[bool] = []
    future = in_thread(work, "slow", then=lambda ended: noted.append(ended.cancelled()))
    future.cancel()
    gate.set()
    await in_thread(lambda: done.wait(30), "watch")
    await asyncio.sleep(0)
    assert future.cancelled()
    assert noted == []


def test_a_loop_that_is_gone_hears_nothing() -> None:
    gate = threading.Event()
    before = set(threading.enumerate())

    async def begin() -> None:
        in_thread(lambda: gate.wait(30), "late").cancel()

    asyncio.run(begin())
    (late,) = set(threading.enumerate()) - before
    gate.set()
    late.join(30)
    assert not late.is_alive()
