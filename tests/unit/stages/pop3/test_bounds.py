"""Memory is bounded by what is held, not by what a server sends: each buffer on the way of its octets has a bound."""

from __future__ import annotations

from stages.lines import MAX_LINE_OCTETS
from stages.pop3 import commands
from stages.pop3.commands import MAX_LISTING_LINES, MAX_LISTING_OCTETS, Command, Follow
from stages.pop3.protocol import Broken, Event, ListingLine, MessageOctets, Pop3Protocol, Reply

PIECE = 64 * 1024
# What may be the beginning of CRLF . CRLF.
HELD_BACK = 4


def asked(command: Command) -> Pop3Protocol:
    protocol = Pop3Protocol()
    protocol.receive(b"+OK\r\n")
    protocol.send(command)
    protocol.receive(b"+OK\r\n")
    return protocol


def given(events: list[Event]) -> int:
    return sum(len(event.data) for event in events if isinstance(event, MessageOctets))


def test_of_a_line_of_50_mb_no_more_than_a_terminator_is_held_back() -> None:
    """A line of a message has no cap, and is not waited for."""
    protocol = asked(commands.retr(1))
    fed = out = 0
    while fed < 50_000_000:
        fed += PIECE
        out += given(protocol.receive(b"x" * PIECE))
        assert fed - out <= HELD_BACK


def test_of_a_message_without_end_no_more_than_a_terminator_is_held_back() -> None:
    protocol = asked(commands.retr(1))
    piece = b"\r\n..\r\n.\r" * 8192
    fed = out = dots = 0
    for _ in range(200):
        fed += len(piece)
        dots += piece.count(b"\r\n.")
        out += given(protocol.receive(piece))
        assert fed - dots - out <= HELD_BACK + len(piece) // 8192


def test_every_listing_has_a_bound_in_lines() -> None:
    bounded = Command(line=b"LIST", follow=Follow.LISTING, max_lines=1000)
    events = asked(bounded).receive(b"1 2\r\n" * 5000)
    assert sum(isinstance(event, ListingLine) for event in events) == 1000
    assert isinstance(events[-1], Broken)
    assert commands.LIST.max_lines == commands.UIDL.max_lines == MAX_LISTING_LINES


def test_a_listing_has_a_bound_in_octets() -> None:
    """A million lines of 8 KiB would be eight gigabytes."""
    protocol = asked(commands.UIDL)
    piece = (b"1 " + b"x" * 8000 + b"\r\n") * 8
    octets = 0
    while True:
        events = protocol.receive(piece)
        octets += sum(len(event.line) for event in events if isinstance(event, ListingLine))
        if isinstance(end := events[-1], Broken):
            break
    assert end.error.what == f"a listing of more than {MAX_LISTING_OCTETS} octets"
    assert MAX_LISTING_OCTETS - 8002 < octets <= MAX_LISTING_OCTETS


def test_a_line_without_end_is_given_up_at_the_cap_however_it_comes() -> None:
    for command in (commands.STAT, commands.LIST):
        protocol = Pop3Protocol()
        protocol.receive(b"+OK\r\n")
        protocol.send(command)
        fed = 0
        events: list[Event] = []
        while not any(isinstance(event, Broken) for event in events):
            fed += 100
            events = protocol.receive(b"x" * 100)
        assert fed <= MAX_LINE_OCTETS + 200


def test_nothing_is_collected_after_a_breach() -> None:
    """Whoever goes on feeding a dead core gets nothing, and it holds nothing."""
    protocol = asked(commands.STAT)
    assert isinstance(protocol.receive(b"unasked\r\n")[-1], Broken)
    assert all(protocol.receive(b"+OK\r\n" * 1000) == [] for _ in range(100))


def test_what_nobody_asked_for_is_not_collected() -> None:
    protocol = Pop3Protocol()
    first = protocol.receive(b"+OK\r\n" + b"x" * 1_000_000)
    assert [type(event) for event in first] == [Reply, Broken]
