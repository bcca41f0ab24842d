"""Blocking libraries, off the event loop: botocore's chain, keyrings, a token endpoint.

Rule: a daemon thread, never the loop's own pool. A prompt that nobody answers would hold one of its
few threads for ever, and name resolution waits in the same queue; and a pool is joined at exit, so
that a hung helper process would keep the daemon from stopping. Only what has a limit, and cannot be
done again, is waited for at exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Finishing(threading.Thread):
    """A thread that the process may not end before: its work has a limit, and cannot be done again."""


def finish_all() -> None:
    """Wait for all of them."""
    for thread in threading.enumerate():
        if isinstance(thread, Finishing):
            thread.join()


def in_thread(
    work: Callable[[], T],
    name: str,
    *,
    finish: bool = False,
    then: Callable[[asyncio.Future[T]], None] | None = None,
) -> asyncio.Future[T]:
    """Run *work* in a thread of its own; the future gets its result, or what it raised.

    Giving the future up does not stop the thread: it ends when its work ends, unheard.

    Args:
        work: Blocks.
        name: Of the thread.
        finish: The process may not end before it has: for work that has a limit and that cannot be done again.
        then: Called in the loop as soon as the future is done, and before anybody can find it done. A done callback
            comes a turn of the loop later: whoever asks in that turn would go on before what he waited for is noted.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # no error: there is a result
        else:
            future.set_exception(error)
        if then is not None:
            then(future)

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised again by whoever awaits the future
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, failure)

    kind = Finishing if finish else threading.Thread
    kind(target=run, name=name, daemon=not finish).start()
    return future
