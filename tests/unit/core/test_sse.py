from __future__ import annotations

import pytest

from claude_failover.core.sse import MAX_NOTABLE, Scanner, ServerEvent, Splitter, parse, render, truncated

START = b'event: message_start\ndata: {"a":1}\n\n'
PING = b"event: ping\ndata: {}\n\n"
ERROR = b'event: error\ndata: {"type":"error"}\n\n'
STOP = b"event: message_stop\ndata: {}\n\n"


def named(event: ServerEvent) -> str:
    return event.name or (event.data or b"").decode()


def scanner(pending: bytes = b"", unread: tuple[str, ...] = ()) -> Scanner:
    return Scanner(named, frozenset({"message_start", "message_stop"}), frozenset({"error"}), pending, unread)


def test_an_event_ends_with_an_empty_line_and_keeps_its_bytes() -> None:
    splitter = Splitter()
    assert splitter.feed(START + PING + b"event: p") == [START, PING]
    assert splitter.pending == b"event: p"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_ends_a_line(end: bytes) -> None:
    block = b"event: ping" + end + b"data: 1" + end + b"data: 2" + end + end
    assert Splitter().feed(block * 2) == [block, block]
    assert parse(block) == ServerEvent(block, "ping", b"1\n2")


def test_a_line_feed_that_follows_late_belongs_to_the_next_event() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: 1\r\n\r") == [b"data: 1\r\n\r"]
    assert splitter.feed(b"\ndata: 2\r\n\r\n") == [b"\ndata: 2\r\n\r\n"]
    assert splitter.pending == b""


def test_one_carriage_return_and_its_line_feed_are_one_line_end() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: 1\r") == []
    assert splitter.feed(b"\ndata: 2\r\n\r\n") == [b"data: 1\r\ndata: 2\r\n\r\n"]


def test_empty_lines_before_an_event_belong_to_it() -> None:
    assert Splitter().feed(b"\n\n\n" + PING) == [b"\n\n\n" + PING]
    assert parse(b"\n\n\n" + PING).name == "ping"


def test_a_comment_is_a_block_without_name_and_data() -> None:
    assert parse(b": keep-alive\n\n") == ServerEvent(b": keep-alive\n\n", "", None)


def test_fields_are_read_as_the_standard_says() -> None:
    """One leading space is dropped, a field without colon is empty, unknown fields say nothing, the last name wins."""
    block = b"\xef\xbb\xbfevent: a\nid: 7\ndata:  two\ndata\nretry: 5\nevent:b\n\n"
    assert parse(block) == ServerEvent(block, "b", b" two\n")


def test_an_event_longer_than_the_limit_ends_the_splitter() -> None:
    splitter = Splitter(limit=12)
    assert splitter.feed(b"data: 1234\n\n") == [b"data: 1234\n\n"]
    assert splitter.feed(b"data: 12345\n\n") == []
    assert splitter.overflow
    assert splitter.feed(b"data: 1\n\n") == []


def test_an_event_is_read_as_its_block_is() -> None:
    splitter = Splitter(limit=60)
    splitter.put(START + b": a comment\n\n" + PING + b"event: p")
    assert splitter.event() == ServerEvent(START, "message_start", b'{"a":1}')
    assert splitter.event() == ServerEvent(b": a comment\n\n")
    assert splitter.event() == ServerEvent(PING, "ping", b"{}")
    assert splitter.event() is None
    assert splitter.pending == b"event: p"
    splitter.put(b"ing\ndata: " + b"1" * 60 + b"\n\n" + PING)
    assert splitter.event() is None, "longer than the limit"
    assert splitter.overflow
    assert splitter.event() is None


def test_an_event_that_grows_past_the_limit_ends_the_splitter_before_its_end_comes() -> None:
    splitter = Splitter(limit=12)
    assert splitter.feed(b"data: 1234567") == []
    assert splitter.overflow


def test_rendering_is_what_parsing_reads() -> None:
    assert render("ping", b"{}") == b"event: ping\ndata: {}\n\n"
    assert render("x", b'{\n"a":1\r\n}') == b'event: x\ndata: {\ndata: "a":1\ndata: }\n\n'
    assert parse(render("x", b"a\nb")).data == b"a\nb"


@pytest.mark.parametrize("rest", [b"", b"\n", b"\r\n\r", b": bye\n", b": bye"])
def test_a_stream_that_ends_in_empty_lines_or_a_comment_lost_nothing(rest: bytes) -> None:
    assert truncated(rest) is None


def test_a_stream_that_ends_inside_an_event_says_so() -> None:
    assert truncated(b"data: 1\n") == "the stream ended inside an event, after 8 of its bytes"


def test_relaying_hands_on_everything_and_returns_what_is_notable() -> None:
    assert scanner().scan(START + PING + STOP) == (START + PING + STOP, [parse(START), parse(STOP)])


def test_relaying_does_not_wait_for_the_end_of_an_event_that_nobody_reads() -> None:
    scan = scanner(unread=("content_",))
    assert scan.scan(b"event: content_block_delta\ndata: {") == (b"event: content_block_delta\ndata: {", [])
    assert scan.scan(b"...") == (b"...", [])
    assert scan.scan(b"}\n") == (b"}\n", [])
    assert scan.scan(b"\n" + STOP) == (b"\n" + STOP, [parse(STOP)])
    assert scan.scan(b"event: content_x\ndata: 1\n\n") == (b"event: content_x\ndata: 1\n\n", [])


def test_a_notable_event_goes_out_in_pieces_and_is_returned_whole() -> None:
    scan = scanner()
    assert scan.scan(b"event: message_st") == (b"event: message_st", [])
    assert scan.scan(b"op\ndata: {") == (b"op\ndata: {", [])
    assert scan.scan(b"}\n\n") == (b"}\n\n", [parse(STOP)])


def test_an_error_is_withheld_from_its_first_byte_on_and_nothing_follows_it() -> None:
    scan = scanner()
    assert scan.scan(PING + ERROR + PING) == (PING, [parse(ERROR)])
    assert scan.scan(PING) == (b"", [])
    assert scan.pending == b""


def test_a_tail_that_may_still_become_an_error_is_held_back() -> None:
    scan = scanner()
    assert scan.scan(PING + b"event: er") == (PING, [])
    assert scan.pending == b"event: er"
    assert scan.scan(b'ror\ndata: {"type":"er') == (b"", [])
    assert scan.scan(b'ror"}\n\n') == (b"", [parse(ERROR)])


def test_a_tail_that_did_not_become_an_error_goes_out_at_once() -> None:
    scan = scanner()
    assert scan.scan(b"event: ") == (b"", [])
    assert scan.scan(b"p") == (b"event: p", [])
    assert scan.scan(b"ing\ndata: {}\n\n") == (b"ing\ndata: {}\n\n", [])
    assert scan.scan(b"event: error_report\n") == (b"event: error_report\n", [])


def test_what_the_splitter_held_goes_out_first() -> None:
    assert scanner(b"event: ping\nda").scan(b"") == (b"event: ping\nda", [])
    assert scanner(b"event: erro").scan(b"") == (b"", [])


def test_an_event_without_a_name_is_kept_until_its_data_says_what_it_is() -> None:
    scan = scanner()
    assert scan.scan(b"data: mess") == (b"", [])
    assert scan.scan(b"age_stop\n\n") == (b"data: message_stop\n\n", [parse(b"data: message_stop\n\n")])
    assert scan.scan(b"event:\ndata: err") == (b"", [])
    assert scan.scan(b"or\n\n") == (b"", [parse(b"event:\ndata: error\n\n")])


def test_a_nameless_event_that_grows_too_long_is_relayed_unread() -> None:
    scan = scanner()
    long = b"data: " + b"x" * MAX_NOTABLE
    assert scan.scan(long) == (long, [])
    assert scan.scan(b"\n\n" + STOP) == (b"\n\n" + STOP, [parse(STOP)])


def test_a_notable_event_that_grows_too_long_is_relayed_unread() -> None:
    scan = scanner()
    long = b"event: message_start\ndata: " + b"x" * MAX_NOTABLE
    assert scan.scan(long) == (long, [])
    assert scan.scan(b"\n\n" + STOP) == (b"\n\n" + STOP, [parse(STOP)])


def test_an_error_that_grows_too_long_ends_the_relay_and_is_not_handed_on() -> None:
    scan = scanner()
    assert scan.scan(PING + b"event: error\ndata: " + b"x" * MAX_NOTABLE) == (PING, [])
    assert scan.overflow
    assert scan.scan(b"\n\n" + PING) == (b"", [])


def test_carriage_returns_are_relayed_and_seen_through() -> None:
    scan = scanner()
    assert scan.scan(b"event: ping\r") == (b"event: ping\r", [])
    assert scan.scan(b"\ndata: 1\r\n\r") == (b"\ndata: 1\r\n\r", [])
    assert scan.scan(b"\n") == (b"\n", [])
    assert scan.scan(b"event: error\r") == (b"", [])
    assert scan.scan(b"data: 1\r\r") == (b"", [ServerEvent(b"\nevent: error\rdata: 1\r\r", "error", b"1")])


def test_comments_are_relayed_and_not_returned() -> None:
    assert scanner().scan(b": hello\n\n" + PING) == (b": hello\n\n" + PING, [])


def test_events_may_be_asked_for_one_by_one_while_more_bytes_come() -> None:
    splitter = Splitter()
    splitter.put(b"data: 1\n\ndata: 2\n\n")
    assert splitter.next() == b"data: 1\n\n"
    splitter.put(b"data: 3\n\n")
    assert splitter.pending == b"data: 2\n\ndata: 3\n\n"
    assert [splitter.next(), splitter.next(), splitter.next()] == [b"data: 2\n\n", b"data: 3\n\n", None]


def test_events_can_be_taken_one_by_one_and_the_rest_waits() -> None:
    splitter = Splitter()
    splitter.put(b"data: 1\n\ndata: 2\n\nda")
    assert splitter.next() == b"data: 1\n\n"
    assert splitter.pending == b"data: 2\n\nda"
    splitter.put(b"ta: 3\n\n")
    assert splitter.next() == b"data: 2\n\n"
    assert splitter.next() == b"data: 3\n\n"
    assert splitter.next() is None
    assert splitter.pending == b""
