"""Replies find their commands, whatever the pieces they come in, and nothing else passes for a reply."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import OurBug
from stages.smtp.commands import DATA, QUIT, RSET, STARTTLS, Command, ehlo, rcpt
from stages.smtp.protocol import MAX_REPLY_LINES, Answer, Event, Goodbye, SmtpProtocol, Violation
from stages.smtp.replies import Phase

RCPT = rcpt("r@corp.example")
GREETING = b"220 relay\r\n"


def greeted(*commands: Command) -> SmtpProtocol:
    protocol = SmtpProtocol()
    protocol.receive(GREETING)
    for command in commands:
        protocol.send(command)
    return protocol


def told(events: list[Event]) -> list[str]:
    lines = []
    for event in events:
        match event:
            case Answer():
                lines.append(f"{event.phase} {event.reply.code}")
            case Goodbye():
                lines.append(f"goodbye {event.reply.code}")
            case Violation():
                lines.append(f"violation {event.error}")
    return lines


def ways_to_cut(wire: bytes) -> list[list[bytes]]:
    return [[wire], [wire[start : start + 1] for start in range(len(wire))]]


DIALOGUES = {
    b"250 ok\r\n": ["RCPT TO 250"],
    b"250\r\n": ["RCPT TO 250"],
    b"250 \r\n": ["RCPT TO 250"],
    b"250-a\r\n250-b\r\n250 c\r\n": ["RCPT TO 250"],
    b"250-a\r\n250\r\n": ["RCPT TO 250"],
    b"571 x\r\n": ["RCPT TO 571"],
    b"421 bye\r\n": ["RCPT TO 421"],
    b"250 ok\r\n421 bye\r\n": ["RCPT TO 250", "goodbye 421"],
    b"250 ok\r\n250 again\r\n": ["RCPT TO 250", "violation a reply that nobody asked for: 250 again"],
    b"250 ok\r\nrubbish\r\n250 never seen\r\n": ["RCPT TO 250", "violation not an SMTP reply: rubbish"],
    b"25\r\n": ["violation not an SMTP reply: 25"],
    b"2500 ok\r\n": ["violation not an SMTP reply: 2500 ok"],
    b"999 ok\r\n": ["violation not an SMTP reply: 999 ok"],
    b"150 ok\r\n": ["violation not an SMTP reply: 150 ok"],
    b"\r\n": ["violation not an SMTP reply"],
    b"250:ok\r\n": ["violation not an SMTP reply: 250:ok"],
    b" 250 ok\r\n": ["violation not an SMTP reply:  250 ok"],
    b"\x1b[2Jhi\r\n": ["violation not an SMTP reply: \\x1b[2Jhi"],
    b"250 ok\n": ["violation a line that ends in a bare LF: 250 ok"],
    b"250-a\r\n550 b\r\n": ["violation a line of another code in a reply that began with 250: 550 b"],
    b"354 go\r\n": ["violation a reply that makes no sense to RCPT TO: 354 go"],
}


@pytest.mark.parametrize(("wire", "events"), DIALOGUES.items())
def test_what_arrives_means_the_same_whole_and_octet_by_octet(wire: bytes, events: list[str]) -> None:
    """RFC 5321 section 4.2.1."""
    for chunks in ways_to_cut(wire):
        protocol = greeted(RCPT)
        assert told([event for chunk in chunks for event in protocol.receive(chunk)]) == events


@given(st.lists(st.sampled_from([*DIALOGUES, b"250-", b"\r", b"\n", b"421"])), st.data())
def test_any_chunking_gives_the_same_events(pieces: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    whole, cut = greeted(RCPT, RCPT, RCPT), greeted(RCPT, RCPT, RCPT)
    chunks = [wire[start:end] for start, end in itertools.pairwise([0, *cuts, len(wire)])]
    assert told([event for chunk in chunks for event in cut.receive(chunk)]) == told(whole.receive(wire))


def test_pipelined_replies_answer_the_commands_in_their_order() -> None:
    """RFC 2920 section 3.1."""
    protocol = greeted(RSET, RCPT, DATA)
    assert told(protocol.receive(b"250 ok\r\n550 no\r\n354 go\r\n")) == ["RSET 250", "RCPT TO 550", "DATA 354"]


def test_the_greeting_is_awaited_first() -> None:
    assert SmtpProtocol().awaited is Phase.GREETING


@pytest.mark.parametrize("line", [b"421 busy\r\n", b"554 no\r\n"])
def test_a_refusing_greeting_is_an_answer(line: bytes) -> None:
    assert told(SmtpProtocol().receive(line)) == [f"greeting {line[:3].decode()}"]


def test_the_reply_to_the_final_dot_comes_before_those_of_the_next_envelope() -> None:
    protocol = greeted()
    protocol.begin_content()
    protocol.send(RCPT)
    assert told(protocol.receive(b"250 taken\r\n550 no\r\n")) == ["final dot 250", "RCPT TO 550"]


@pytest.mark.parametrize("command", [ehlo("gw.corp.example"), STARTTLS, DATA, QUIT])
def test_nothing_is_sent_behind_a_command_that_ends_its_group(command: Command) -> None:
    """RFC 2920 section 3.1."""
    protocol = greeted(command)
    with pytest.raises(OurBug):
        protocol.send(RSET)


def test_nothing_is_sent_before_the_greeting() -> None:
    """RFC 5321 section 4.3.1."""
    with pytest.raises(OurBug):
        SmtpProtocol().send(RSET)


def test_no_content_is_sent_while_a_reply_is_awaited() -> None:
    protocol = greeted(DATA)
    with pytest.raises(OurBug):
        protocol.begin_content()


@pytest.mark.parametrize("injected", [b"2", b"250 ok\r\n", b"\r\n"])
def test_octets_in_the_clear_behind_the_consent_to_tls_are_fatal(injected: bytes) -> None:
    """CVE-2011-0411."""
    (event,) = greeted(STARTTLS).receive(b"220 go\r\n" + injected)
    assert isinstance(event, Violation)


def test_a_refused_starttls_is_only_refused() -> None:
    assert told(greeted(STARTTLS).receive(b"454 not now\r\n")) == ["STARTTLS 454"]


def test_a_reply_has_at_most_a_hundred_lines() -> None:
    fits = b"250-x\r\n" * (MAX_REPLY_LINES - 1) + b"250 x\r\n"
    assert told(greeted(RCPT).receive(fits)) == ["RCPT TO 250"]
    (event,) = greeted(RCPT).receive(b"250-x\r\n" + fits)
    assert isinstance(event, Violation)


def test_a_reply_has_at_most_64_kib() -> None:
    line = b"250-" + b"x" * 8000 + b"\r\n"
    assert greeted(RCPT).receive(line * 8) == []
    (event,) = greeted(RCPT).receive(line * 9)
    assert isinstance(event, Violation)


def test_an_endless_line_is_not_collected() -> None:
    (event,) = greeted(RCPT).receive(b"250 " + b"x" * 9000)
    assert isinstance(event, Violation)


def test_a_broken_connection_says_nothing_more() -> None:
    protocol = greeted(RCPT)
    protocol.receive(b"rubbish\r\n")
    assert protocol.receive(b"250 ok\r\n") == []
