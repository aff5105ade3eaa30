"""No text from outside becomes a second command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import OurBug
from stages.secret import Secret
from stages.smtp.commands import (
    CANCEL,
    Envelope,
    auth_alone,
    auth_at_once,
    auth_response,
    ehlo,
    helo_name,
    mail,
    rcpt,
)
from stages.smtp.replies import Extensions

EVERYTHING = Extensions(size=10**6, size_offered=True, eightbitmime=True, smtputf8=True)


def envelope(
    reverse_path: str = "a@example.org", *recipients: str, eightbit: bool = False, smtputf8: bool = False
) -> Envelope:
    return Envelope(
        reverse_path=reverse_path,
        recipients=recipients or ("r@corp.example",),
        octets=123,
        eightbit=eightbit,
        smtputf8=smtputf8,
    )


@pytest.mark.parametrize("offender", [*"\r\n\0 <>\t\x1b\x7f", "\u2028", "\ud800", "x@y>\r\nRCPT TO:<z@y"])
def test_an_address_that_could_carry_a_command_makes_no_envelope(offender: str) -> None:
    with pytest.raises(OurBug):
        envelope(f"a{offender}@example.org", smtputf8=True)
    with pytest.raises(OurBug):
        envelope("", f"r{offender}@corp.example", smtputf8=True)


@pytest.mark.parametrize("address", ['"first last"@x.example', '"a>b<c"@x.example', r'"say \"hi\" > all"@x.example'])
def test_a_quoted_local_part_may_hold_space_and_angle_brackets(address: str) -> None:
    """RFC 5321 section 4.1.2: they are its own between the quotes."""
    assert mail(envelope(address), Extensions()).wire == f"MAIL FROM:<{address}>\r\n".encode()


@pytest.mark.parametrize(
    "address",
    [
        '"a\r\nb"@x.example',
        '"a\\\nb"@x.example',
        '"a\0b"@x.example',
        '"a"b> c@x.example',
        r'"a\"@x> c',
        '"a" <b@x.example',
    ],
)
def test_what_is_not_between_quotes_is_not_excused_by_them(address: str) -> None:
    with pytest.raises(OurBug):
        envelope(address)


@pytest.mark.parametrize("recipients", [(), ("",), ("r@corp.example", "")])
def test_an_envelope_without_a_recipient_is_no_envelope(recipients: tuple[str, ...]) -> None:
    with pytest.raises(OurBug):
        Envelope(reverse_path="", recipients=recipients, octets=1)


def test_an_address_beyond_ascii_needs_smtputf8() -> None:
    """RFC 6531 section 3.4."""
    with pytest.raises(OurBug):
        envelope("jürgen@example.org")


@given(st.text())
def test_every_envelope_that_can_be_made_is_one_command_a_line(address: str) -> None:
    try:
        made = envelope(address, "r@corp.example", smtputf8=True)
    except OurBug:
        return
    wire = mail(made, EVERYTHING).wire
    assert wire.startswith(b"MAIL FROM:<" + address.encode() + b"> SIZE=123")
    assert wire.splitlines(keepends=True) == [wire] or not address.isascii()
    assert wire.count(b"\r") == wire.count(b"\n") == wire.count(b"\r\n") == 1


def test_the_null_reverse_path_is_written_as_empty_brackets() -> None:
    assert mail(envelope(""), Extensions()).wire == b"MAIL FROM:<>\r\n"


def test_parameters_are_given_where_they_are_offered_and_needed() -> None:
    """RFC 1870, RFC 6152, RFC 6531."""
    wire = mail(envelope("jürgen@example.org", eightbit=True, smtputf8=True), EVERYTHING).wire
    assert wire == "MAIL FROM:<jürgen@example.org> SIZE=123 BODY=8BITMIME SMTPUTF8\r\n".encode()


def test_parameters_are_left_out_where_they_are_not_needed() -> None:
    assert mail(envelope(), EVERYTHING).wire == b"MAIL FROM:<a@example.org> SIZE=123\r\n"


def test_parameters_are_left_out_where_they_are_not_offered() -> None:
    assert mail(envelope(eightbit=True), Extensions()).wire == b"MAIL FROM:<a@example.org>\r\n"


def test_a_relay_that_offers_size_without_a_limit_is_told_the_size() -> None:
    offered = Extensions(size=None, size_offered=True)
    assert mail(envelope(), offered).wire == b"MAIL FROM:<a@example.org> SIZE=123\r\n"


def test_a_recipient_is_written_in_brackets() -> None:
    assert rcpt("r@corp.example").wire == b"RCPT TO:<r@corp.example>\r\n"


@pytest.mark.parametrize(
    "name", ["gw.corp.example", "gw", "[192.0.2.1]", "[IPv6:2001:db8::1]", "xn--mller-kva.example"]
)
def test_a_domain_or_an_address_literal_introduces_us(name: str) -> None:
    """RFC 5321 section 4.1.3."""
    assert ehlo(name).wire == f"EHLO {name}\r\n".encode()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a\r\nMAIL",
        "-a.example",
        "a-.example",
        "a..b",
        "a_b.example",
        "192.0.2.1]",
        "[192.0.2.999]",
        "[2001:db8::1]",
        "[IPv6:x]",
        "[IPv6:fe80::1%eth0]",
        "müller.example",
        "a.example\n",
        "x" * 64,
    ],
)
def test_no_other_name_introduces_us(name: str) -> None:
    with pytest.raises(ValueError, match="neither a domain nor an address literal"):
        helo_name(name)


def test_the_first_word_of_the_client_goes_along() -> None:
    """RFC 4954 section 4."""
    command = auth_at_once("PLAIN", b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm")
    assert command is not None
    assert command.wire == b"AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"


def test_an_empty_first_word_is_written_as_an_equals_sign() -> None:
    """RFC 4954 section 4: nothing at all would mean that there is none."""
    command = auth_at_once("EXTERNAL", b"")
    assert command is not None
    assert command.wire == b"AUTH EXTERNAL =\r\n"


def test_a_command_has_at_most_512_octets() -> None:
    """RFC 5321 section 4.5.3.1.4, the CRLF included."""
    room = 512 - len(b"AUTH XOAUTH2 \r\n")
    longest = auth_at_once("XOAUTH2", b"x" * room)
    assert longest is not None
    assert len(longest.wire) == 512
    assert auth_at_once("XOAUTH2", b"x" * (room + 1)) is None


def test_a_log_sees_no_response() -> None:
    for command in (auth_at_once("PLAIN", b"c2VjcmV0"), auth_response(b"c2VjcmV0")):
        assert command is not None
        assert b"c2VjcmV0" in command.wire
        assert "c2VjcmV0" not in command.shown
        assert "c2VjcmV0" not in repr(command)
        assert command.response == Secret("c2VjcmV0")


def test_a_log_sees_which_login_is_tried_and_that_it_is_cancelled() -> None:
    assert auth_alone("LOGIN").shown == "AUTH LOGIN"
    assert CANCEL.shown == "*"
