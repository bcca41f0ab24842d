from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from claude_failover.core.sse import Scanner, ServerEvent, Splitter, parse, render

ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
names = st.sampled_from(["message_start", "message_stop", "content_block_delta", "ping", "error", "erratic", "m", ""])
noise = st.text("\r\n: eventdax", max_size=40).map(str.encode)


@st.composite
def block(draw: st.DrawFn) -> bytes:
    end = draw(ends)
    name = draw(names)
    lines = [f"event: {name}".encode()] if name else draw(st.sampled_from([[], [b": hello"], [b"id: 1"]]))
    lines = [*lines, *(b"data: " + text for text in draw(st.lists(st.sampled_from([b"", b"error", b"1"]), max_size=3)))]
    if not lines:
        lines = [b":"]
    return b"".join(line + end for line in lines) + end * draw(st.integers(1, 2))


streams = st.lists(block(), max_size=8).map(b"".join)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


cuts = st.lists(st.integers(0, 10_000), max_size=12)


def said(blocks: list[bytes]) -> list[tuple[str, bytes | None]]:
    return [(event.name, event.data) for event in map(parse, blocks)]


def split(data: bytes, places: list[int]) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    found = [event for piece in pieces(data, places) for event in splitter.feed(piece)]
    return found, splitter.pending


@given(st.one_of(streams, noise), cuts)
@settings(max_examples=200)
def test_any_cut_gives_the_same_events_and_loses_no_byte(data: bytes, places: list[int]) -> None:
    whole, _ = split(data, [])
    found, pending = split(data, places)
    assert said(found) == said(whole)
    assert b"".join(found) + pending == data


usual = st.lists(st.one_of(block(), st.builds(render, names.filter(bool), noise)), max_size=8).map(b"".join)


@given(st.one_of(streams, noise, usual), cuts, st.sampled_from([20, 1 << 20]))
@settings(max_examples=300)
def test_an_event_read_at_once_is_the_one_that_reading_its_block_gives(
    data: bytes, places: list[int], limit: int
) -> None:
    slow, quick = Splitter(limit), Splitter(limit)
    for piece in pieces(data, places):
        quick.put(piece)
        events = list(iter(quick.event, None))
        assert events == [parse(block) for block in slow.feed(piece)]
        assert (quick.overflow, quick.pending) == (slow.overflow, slow.pending)


@given(names.filter(bool), st.binary(max_size=50))
@settings(max_examples=200)
def test_what_is_rendered_is_one_event_that_reads_the_same(name: str, data: bytes) -> None:
    blocks, pending = split(render(name, data), [])
    assert pending == b""
    assert said(blocks) == [(name, b"\n".join(data.splitlines()) if b"\n" in data or b"\r" in data else data)]


NOTABLE = frozenset({"message_start", "message_stop", "error"})


def kind(event: ServerEvent) -> str:
    return event.name or ("error" if event.data == b"error" else "comment")


@given(streams, cuts)
@settings(max_examples=200)
def test_relaying_loses_no_byte_and_reads_what_splitting_reads(data: bytes, places: list[int]) -> None:
    blocks, rest = split(data, [])
    kinds = [kind(parse(found)) for found in blocks]
    good = kinds.index("error") if "error" in kinds else len(kinds)
    notable = [(k, parse(b).data) for k, b in zip(kinds[: good + 1], blocks, strict=False) if k in NOTABLE]

    first, *later = pieces(data, places)
    splitter = Splitter()
    before = splitter.feed(first)
    read = [parse(found) for found in before]
    if "error" in map(kind, read):
        return  # bad news before the commit: nothing is relayed
    scan = Scanner(kind, NOTABLE - {"error"}, frozenset({"error"}), splitter.pending, ("content_",))
    out = b"".join(before)
    for piece in [b"", *later]:
        now, found = scan.scan(piece)
        out += now
        read += found

    assert [(kind(event), event.data) for event in read if kind(event) in NOTABLE] == notable
    assert data.startswith(out)
    if good < len(kinds):  # everything before the error, but for an empty line at the seam
        assert out.rstrip(b"\r\n") == b"".join(blocks[:good]).rstrip(b"\r\n")
    else:
        assert data[len(out) :] in {b"", rest}
