"""The sans-I/O core: every framing case whole, octet by octet, and with trailing data."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import OurBug, ProtocolViolation
from stages.pop3 import commands
from stages.pop3.commands import Command
from stages.pop3.protocol import (
    MAX_CHALLENGES,
    Broken,
    Challenge,
    Event,
    ListingEnd,
    ListingLine,
    MessageEnd,
    MessageOctets,
    Pop3Protocol,
    Reply,
)

GREETING = b"+OK\r\n"
# Octets that framing turns on, often, and any others sometimes.
FRAGMENTS = st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"..", b"\r\n.", b"a", b"\0", b"\xff", b"+OK", b"\r\n.\r"])
LOGIN_LINES = st.lists(
    st.sampled_from([b"+ YQ==\r\n", b"+\r\n", b"+OK\r\n", b"-ERR no\r\n", b"+ ", b"\n"]), max_size=6
).map(b"".join)
CONTENT = st.lists(FRAGMENTS | st.binary(max_size=4), max_size=30).map(b"".join)


def greeted(*expected: Command) -> Pop3Protocol:
    protocol = Pop3Protocol()
    protocol.receive(GREETING)
    for command in expected:
        protocol.send(command)
    return protocol


def stuff(message: bytes) -> bytes:
    """Send a message as RFC 1939 section 3 has it, one that ends in CRLF."""
    lines = message.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"


def gist(events: Iterable[Event]) -> list[object]:
    """What the events say, however the message was cut."""
    told: list[object] = []
    content = b""
    for event in events:
        match event:
            case MessageOctets(data=data):
                assert data
                content += data
            case MessageEnd(octets=octets, has_unstuffed_dots=unstuffed):
                told.append((content, octets, unstuffed))
                content = b""
            case Broken(error=error):
                told.append(error.what)
            case Reply(ok=ok, text=text):
                told.append((ok, text))
            case ListingLine(line=line):
                told.append(line)
            case ListingEnd(lines=lines):
                told.append(lines)
            case Challenge():
                pass
    return told


def retrieved(wire: bytes, *, cuts: Iterable[bytes] | None = None, trailing: int = 0) -> list[object]:
    """The gist of the answer `wire` to one RETR, and `trailing` STAT behind it."""
    protocol = greeted(commands.retr(1), *[commands.STAT] * trailing)
    events: list[Event] = []
    for piece in [wire] if cuts is None else cuts:
        events += protocol.receive(piece)
    return gist(events)


def octets_of(wire: bytes) -> list[bytes]:
    return [wire[index : index + 1] for index in range(len(wire))]


FRAMING = {
    "one line": (b"a\r\n.\r\n", b"a\r\n", False),
    "no octet at all": (b".\r\n", b"", False),
    "one empty line": (b"\r\n.\r\n", b"\r\n", False),
    "a stuffed dot in the first line": (b"..\r\n.\r\n", b".\r\n", False),
    "a stuffed dot in a later line": (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n", False),
    "two stuffed dots": (b"...\r\n...\r\n.\r\n", b"..\r\n..\r\n", False),
    "the first line not stuffed": (b".a\r\n.\r\n", b"a\r\n", True),
    "a later line not stuffed": (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n", True),
    "a dot and a bare CR": (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n", True),
    "a dot and a bare LF": (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n", True),
    "a dot and a bare CR in the first line": (b".\rb\r\n.\r\n", b"\rb\r\n", True),
    "LF . LF": (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n", False),
    "LF . CRLF": (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n", False),
    "CR . CR": (b"a\r.\rb\r\n.\r\n", b"a\r.\rb\r\n", False),
    "CR . CRLF": (b"a\r.\r\nb\r\n.\r\n", b"a\r.\r\nb\r\n", False),
    "CRLF . CR CR LF": (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n\r\r\nb\r\n", True),
    "CR CRLF before the dot": (b"a\r\r\n.\r\n", b"a\r\r\n", False),
    "NUL": (b"a\0\r\n.\r\n", b"a\0\r\n", False),
    "a dot at a line's end": (b"a.\r\n.\r\n", b"a.\r\n", False),
    "a status line inside": (b"+OK 3 octets\r\n-ERR\r\n.\r\n", b"+OK 3 octets\r\n-ERR\r\n", False),
}


@pytest.mark.parametrize(("wire", "message", "unstuffed"), FRAMING.values(), ids=FRAMING.keys())
@pytest.mark.parametrize("cut", [None, octets_of], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("trailing", [0, 1], ids=["alone", "with trailing data"])
def test_a_message_ends_at_crlf_dot_crlf_and_nothing_else(
    wire: bytes, message: bytes, unstuffed: bool, cut: object, trailing: int
) -> None:
    """RFC 1939 section 3."""
    answer = b"+OK\r\n" + wire + b"+OK 2 3\r\n" * trailing
    expected = [(True, b""), (message, len(message), unstuffed)] + [(True, b"2 3")] * trailing
    assert retrieved(answer, cuts=octets_of(answer) if cut else None, trailing=trailing) == expected


@given(message=CONTENT)
def test_what_was_stuffed_comes_out_unstuffed(message: bytes) -> None:
    assert retrieved(b"+OK\r\n" + stuff(message + b"\r\n"))[1] == (message + b"\r\n", len(message) + 2, False)


@given(wire=CONTENT, data=st.data())
def test_any_chunking_gives_the_same_events(wire: bytes, data: st.DataObject) -> None:
    """The same even for nonsense: a listing, a message and a reply are due, and anything may come."""
    wire = b"+OK\r\n1 2\r\n.\r\n+OK\r\n" + wire + b"\r\n.\r\n+OK\r\n"
    at = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    whole, cut = (
        greeted(commands.LIST, commands.retr(1), commands.STAT),
        greeted(commands.LIST, commands.retr(1), commands.STAT),
    )
    pieces = [wire[start:end] for start, end in zip([0, *at], [*at, len(wire)], strict=True)]
    assert gist(event for piece in pieces for event in cut.receive(piece)) == gist(whole.receive(wire))


def test_the_octets_of_a_message_are_given_as_they_come() -> None:
    """A message of any size never waits in memory for its end; at most four octets do."""
    protocol = greeted(commands.retr(1))
    events = protocol.receive(b"+OK\r\n" + b"x" * 100_000)
    assert sum(len(event.data) for event in events if isinstance(event, MessageOctets)) == 100_000


def test_a_message_line_has_no_cap() -> None:
    """RFC 1939 caps replies, not mail."""
    message = b"x" * 1_000_000 + b"\r\n"
    assert retrieved(b"+OK\r\n" + message + b".\r\n")[1] == (message, len(message), False)


def test_the_greeting_is_the_first_answer() -> None:
    assert gist(Pop3Protocol().receive(b"+OK hello\r\n")) == [(True, b"hello")]


def test_answers_belong_to_commands_in_the_order_of_sending() -> None:
    """RFC 2449 section 6.6."""
    protocol = greeted(commands.dele(2), commands.dele(1))
    events = protocol.receive(b"+OK\r\n-ERR\r\n")
    assert [(event.command.line, event.ok) for event in events if isinstance(event, Reply)] == [
        (b"DELE 2", True),
        (b"DELE 1", False),
    ]


def test_a_command_is_outstanding_until_its_whole_answer_has_come() -> None:
    protocol = greeted(commands.retr(1))
    protocol.receive(b"+OK\r\nbody\r\n.\r")
    assert protocol.outstanding == 1
    protocol.receive(b"\n")
    assert protocol.outstanding == 0


def test_nothing_follows_a_negative_reply() -> None:
    """RFC 1939 section 3: -ERR is one line, to any command."""
    assert gist(greeted(commands.retr(1), commands.STAT).receive(b"-ERR no\r\n+OK 0 0\r\n")) == [
        (False, b"no"),
        (True, b"0 0"),
    ]


def test_a_listing_comes_line_by_line() -> None:
    events = greeted(commands.UIDL).receive(b"+OK\r\n1 a\r\n2 b\r\n.\r\n")
    assert gist(events) == [(True, b""), b"1 a", b"2 b", 2]


def test_a_stuffed_line_of_a_listing_loses_its_dot() -> None:
    """RFC 1939 section 3: stuffing is for every multi-line answer."""
    assert gist(greeted(commands.CAPA).receive(b"+OK\r\n..X\r\n.\r\n")) == [(True, b""), b".X", 1]


def test_a_status_in_lower_case_is_understood() -> None:
    """RFC 1939 section 3 says MUST be upper case; it costs nothing to understand the others."""
    assert gist(greeted(commands.STAT).receive(b"+Ok 1 2\r\n")) == [(True, b"1 2")]


BREACHES = {
    "no status": (b"OK 1 2\r\n", "neither +OK nor -ERR"),
    "an empty line": (b"\r\n", "neither +OK nor -ERR"),
    "a bare LF": (b"+OK 1 2\n", "a line that ends in a bare LF"),
    "a line without end": (b"+OK " + b"x" * 8192, "a line of more than 8192 octets"),
    "a second reply": (b"+OK 1 2\r\n+OK\r\n", "octets that nobody asked for"),
    "a single octet": (b"+OK 1 2\r\n\0", "octets that nobody asked for"),
}


@pytest.mark.parametrize(("wire", "what"), BREACHES.values(), ids=BREACHES.keys())
@pytest.mark.parametrize("cut", [None, octets_of], ids=["whole", "octet by octet"])
def test_a_breach_is_the_last_event(wire: bytes, what: str, cut: object) -> None:
    protocol = greeted(commands.STAT)
    events = [event for piece in (octets_of(wire) if cut else [wire]) for event in protocol.receive(piece)]
    assert gist(events)[-1] == what
    assert [type(event) for event in events].count(Broken) == 1


def test_nothing_is_said_after_a_breach() -> None:
    protocol = greeted(commands.STAT, commands.STAT)
    protocol.receive(b"nonsense\r\n")
    assert protocol.receive(b"+OK 1 2\r\n") == []


def test_a_breach_quotes_the_line_made_safe() -> None:
    [event] = greeted(commands.STAT).receive(b"\x1b[2Jhello\r\n")
    assert isinstance(event, Broken)
    assert str(event.error) == r"neither +OK nor -ERR: \x1b[2Jhello"


def test_a_capability_list_without_end_is_cut_off() -> None:
    events = greeted(commands.CAPA).receive(b"+OK\r\n" + b"X\r\n" * 1001)
    assert gist(events)[-1] == "a listing of more than 1000 lines"


def test_octets_behind_the_consent_to_tls_are_a_breach() -> None:
    """RFC 2595 section 4, CVE-2011-0411."""
    assert gist(greeted(commands.STLS).receive(b"+OK\r\n+OK\r\n")) == [(True, b""), "octets that nobody asked for"]


@pytest.mark.parametrize("echo", [b"-ERR PASS hunter2\r\n", b"PASS hunter2\r\n"], ids=["reply", "breach"])
def test_a_password_that_the_server_repeats_is_masked(echo: bytes) -> None:
    [event] = greeted(commands.password(b"hunter2")).receive(echo)
    shown = event.text if isinstance(event, Reply) else str(event).encode()
    assert b"hunter2" not in shown
    assert b"hunter2" not in repr(event).encode()


@given(wire=st.binary(max_size=200) | CONTENT)
def test_any_octets_end_in_events(wire: bytes) -> None:
    """The core is total: it never raises for what a server sends."""
    protocol = Pop3Protocol()
    for command in [commands.CAPA, commands.retr(1), commands.UIDL]:
        protocol.send(command)
    for event in protocol.receive(b"+OK\r\n" + wire):
        assert not isinstance(event, Broken) or isinstance(event.error, ProtocolViolation)


AUTH = commands.auth("LOGIN", secrets=(b"hunter2",))


@pytest.mark.parametrize("cut", [None, octets_of], ids=["whole", "octet by octet"])
@pytest.mark.parametrize(
    ("line", "text"), [(b"+ dXNlcg==", b"dXNlcg=="), (b"+ ", b""), (b"+", b""), (b"+  x ", b"x"), (b"+ +OK", b"+OK")]
)
def test_a_challenge_is_an_event_of_a_command_that_takes_them(line: bytes, text: bytes, cut: object) -> None:
    """RFC 5034 section 4."""
    protocol = greeted(AUTH)
    wire = line + b"\r\n"
    events = [event for piece in (octets_of(wire) if cut else [wire]) for event in protocol.receive(piece)]
    assert events == [Challenge(text=text)]
    assert protocol.outstanding == 1


@pytest.mark.parametrize("command", [commands.STAT, commands.user(b"alice"), commands.password(b"x"), commands.CAPA])
def test_a_challenge_to_another_command_is_a_breach(command: Command) -> None:
    assert gist(greeted(command).receive(b"+ dXNlcg==\r\n")) == ["neither +OK nor -ERR"]


def test_a_challenge_in_place_of_the_greeting_is_a_breach() -> None:
    assert gist(Pop3Protocol().receive(b"+ \r\n")) == ["neither +OK nor -ERR"]


def test_the_reply_follows_the_responses() -> None:
    protocol = greeted(AUTH)
    protocol.receive(b"+ a\r\n")
    assert protocol.respond(b"YWxpY2U=") == b"YWxpY2U=\r\n"
    protocol.receive(b"+ b\r\n")
    assert protocol.respond(b"") == b"\r\n"
    assert gist(protocol.receive(b"+OK in\r\n")) == [(True, b"in")]
    assert protocol.outstanding == 0


@pytest.mark.parametrize("more", [b"+ b\r\n", b"+OK\r\n", b"-", b"\0"])
@pytest.mark.parametrize("in_one_piece", [True, False])
def test_nothing_may_follow_a_challenge_before_its_response(more: bytes, in_one_piece: bool) -> None:
    """It would pass for the answer to a response that was not sent."""
    protocol = greeted(AUTH)
    pieces = [b"+ a\r\n" + more] if in_one_piece else [b"+ a\r\n", more]
    events = [event for piece in pieces for event in protocol.receive(piece)]
    assert gist(events) == ["octets that nobody asked for"]


def test_challenges_without_end_are_cut_off() -> None:
    protocol = greeted(AUTH)
    for _ in range(MAX_CHALLENGES):
        assert protocol.receive(b"+ \r\n") == [Challenge(text=b"")]
        protocol.respond(b"")
    assert gist(protocol.receive(b"+ \r\n")) == ["challenges without end"]


def test_each_login_has_its_own_count_of_challenges() -> None:
    protocol = greeted()
    for _ in range(3):
        protocol.send(AUTH)
        for _ in range(MAX_CHALLENGES):
            protocol.receive(b"+ \r\n")
            protocol.respond(b"")
        assert gist(protocol.receive(b"-ERR\r\n")) == [(False, b"")]


def test_a_challenge_has_the_cap_of_a_line() -> None:
    assert gist(greeted(AUTH).receive(b"+ " + b"A" * 8191)) == []
    assert gist(greeted(AUTH).receive(b"+ " + b"A" * 8192)) == ["a line of more than 8192 octets"]


def test_a_response_to_no_challenge_is_our_bug() -> None:
    with pytest.raises(OurBug):
        greeted(AUTH).respond(b"")


@pytest.mark.parametrize("echo", [b"-ERR bad aHVudGVyMg== of hunter2\r\n", b"what aHVudGVyMg== hunter2\r\n"])
def test_a_response_that_the_server_repeats_is_masked(echo: bytes) -> None:
    """In its own form and as it was sent."""
    protocol = greeted(AUTH)
    protocol.receive(b"+ \r\n")
    protocol.respond(b"aHVudGVyMg==")
    [event] = protocol.receive(echo)
    shown = event.text if isinstance(event, Reply) else str(event).encode()
    assert shown.count(b"***") == 2
    assert b"hunter2" not in shown
    assert b"aHVudGVyMg" not in repr(event).encode() + shown


def test_what_was_said_as_a_secret_is_masked_in_a_later_breach() -> None:
    protocol = greeted(commands.password(b"hunter2"))
    protocol.receive(b"+OK\r\n")
    [event] = protocol.receive(b"hunter2 was wrong\n")
    assert isinstance(event, Broken)
    assert str(event.error) == "octets that nobody asked for: *** was wrong\\x0a"


def test_figures_of_later_replies_are_never_taken_for_a_secret() -> None:
    """A password may be `1`."""
    protocol = greeted(commands.password(b"1"), commands.STAT)
    assert gist(protocol.receive(b"+OK 1\r\n+OK 1 11\r\n")) == [(True, b"***"), (True, b"1 11")]


def test_of_two_secrets_of_which_one_is_in_the_other_neither_is_left() -> None:
    """`secret` in `secretive`: masked the other way round, the rest would be shown."""
    command = commands.auth("PLAIN", secrets=(b"secret", b"secretive"))
    assert gist(greeted(command).receive(b"-ERR secretive secret\r\n")) == [(False, b"*** ***")]


def test_a_cancelled_exchange_masks_no_asterisks() -> None:
    protocol = greeted(AUTH)
    protocol.receive(b"+ \r\n")
    assert protocol.respond(commands.CANCEL) == b"*\r\n"
    assert gist(protocol.receive(b"-ERR * cancelled\r\n")) == [(False, b"* cancelled")]


@given(wire=LOGIN_LINES | CONTENT, data=st.data())
def test_a_login_is_the_same_however_it_is_cut(wire: bytes, data: st.DataObject) -> None:
    """Any octets end in events, with a challenge among them or not."""
    at = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    pieces = [wire[start:end] for start, end in zip([0, *at], [*at, len(wire)], strict=True)]
    cut, whole = greeted(AUTH), greeted(AUTH).receive(wire)
    events = [event for piece in pieces for event in cut.receive(piece)]
    assert gist(events) == gist(whole)
    assert [event for event in events if isinstance(event, Challenge)] == [
        event for event in whole if isinstance(event, Challenge)
    ]
