"""What an exchange holds on to while its answer streams: a thousand streams must not hold a thousand bodies."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType

import msgspec
import pytest

from claude_failover.core.phase import Phase
from tests.exchanges import BEDROCK, BLOCK, CLAUDE, DELTA, SSE, START, World, error, plan_limit

BIG = 50_000


def held_by(one: object) -> list[object]:
    """What *one* refers to; of values that the garbage collector need not look at it cannot say so."""
    fields = one.__struct_fields__ if isinstance(one, msgspec.Struct) else ()
    return [*gc.get_referents(one), *(getattr(one, field) for field in fields)]


def big_texts_below(root: object) -> list[int]:
    """Lengths of all the large bytes and strings that can be reached from *root*."""
    seen = {id(root)}
    todo = [root]
    found = []
    while todo:
        for one in held_by(todo.pop()):
            if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
                continue
            seen.add(id(one))
            if isinstance(one, bytes | bytearray | str) and len(one) >= BIG:
                found.append(len(one))
            todo.append(one)
    return found


@pytest.mark.parametrize("fails_over", [False, True], ids=["healthy", "failing over"])
def test_after_the_commit_nothing_holds_the_request_s_body(*, fails_over: bool) -> None:
    world = World()
    message = {"role": "user", "content": "x" * BIG}
    story = world.story(messages=[message])
    # The story itself keeps everything, so it is looked at from the exchange.
    story.start()
    assert big_texts_below(story.exchange)
    if fails_over:
        story.refuse(429, error("rate_limit_error", "limit"), plan_limit(world.clock.now()))
    assert story.open is not None
    assert story.open.backend == (BEDROCK if fails_over else CLAUDE)
    assert big_texts_below(story.exchange)
    story.head(200, SSE)
    story.body(START + BLOCK + DELTA)
    assert story.exchange.phase is Phase.COMMITTED
    assert big_texts_below(story.exchange) == []
