"""What a server said, read into values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import ProtocolViolation
from stages.pop3.replies import (
    Capabilities,
    MaildropSize,
    apop_challenge,
    capabilities,
    enter,
    list_item,
    maildrop_size,
    response_code,
    uidl_item,
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"[IN-USE] locked", "IN-USE"),
        (b"[sys/temp] later", "SYS/TEMP"),
        (b"[AUTH]", "AUTH"),
        (b"locked [IN-USE]", None),
        (b"[IN-USE", None),
        (b"[two words]", None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_a_response_code_stands_first_in_brackets(text: bytes, code: str | None) -> None:
    """RFC 2449 section 8."""
    assert response_code(text) == code


@pytest.mark.parametrize(
    ("greeting", "challenge"),
    [
        (b"POP3 server ready <1896.697170952@dbc.mtview.ca.us>", b"<1896.697170952@dbc.mtview.ca.us>"),
        (b"<1.2+a/b==@[192.0.2.1]> hello", b"<1.2+a/b==@[192.0.2.1]>"),
        (b"hello", None),
        (b"<no-at-sign>", None),
        (b"<@host>", None),
        (b"<1@>", None),
        (b"<1 2@host>", None),
        (b"<\x80\xff@host>", None),
        (b"<1@ho\x01st>", None),
        (b"<<1@host>", b"<1@host>"),
    ],
)
def test_a_challenge_is_a_message_id(greeting: bytes, challenge: bytes | None) -> None:
    """CVE-2007-1558: octets of the server's free choice give the password away, letter by letter."""
    assert apop_challenge(greeting) == challenge


def test_capabilities_are_found_in_any_case() -> None:
    """RFC 2449 section 5."""
    told = capabilities([b"uidl", b"Sasl plain LOGIN", b"PIPELINING", b"TOP", b"STLS", b"USER", b""])
    assert (told.uidl, told.pipelining, told.top, told.stls, told.user) == (True,) * 5
    assert told.sasl == ("PLAIN", "LOGIN")


def test_a_server_without_capa_has_told_nothing() -> None:
    assert Capabilities().was_told is False
    assert capabilities([]).was_told is True


def test_delays_and_expiry_are_figures_or_nothing() -> None:
    """RFC 2449 sections 6.5 and 6.7."""
    told = capabilities([b"LOGIN-DELAY 900 USER", b"EXPIRE 60"])
    assert (told.login_delay_seconds, told.expire_days) == (900, 60)
    told = capabilities([b"LOGIN-DELAY soon", b"EXPIRE NEVER"])
    assert (told.login_delay_seconds, told.expire_days) == (None, None)


def test_stat_gives_count_and_octets() -> None:
    assert maildrop_size(b"2 320 in your maildrop") == MaildropSize(count=2, octets=320)


def test_stat_without_a_size_still_counts() -> None:
    assert maildrop_size(b"2 lots") == MaildropSize(count=2, octets=None)


@pytest.mark.parametrize("text", [b"", b"many 320", b"-1 320", b"1e3 0"])
def test_stat_without_a_count_is_a_breach(text: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        maildrop_size(text)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        (b"1 120", (1, 120)),
        (b" 1  120 octets", (1, 120)),
        (b"1 0", (1, 0)),
        (b"1", (1, None)),
        (b"1 big", (1, None)),
        (b"1 -5", (1, None)),
        (b"1 18446744073709551616", (1, None)),
    ],
)
def test_a_size_is_a_figure_or_nothing(line: bytes, item: tuple[int, int | None]) -> None:
    """A size that is none is not guessed: the message needs another proof."""
    assert list_item(line) == item


@pytest.mark.parametrize("line", [b"", b"x 1", b"0 1", b"-1 1", b"99999999999 1", "²".encode() + b" 1"])
@pytest.mark.parametrize("item", [list_item, uidl_item])
def test_a_line_without_a_message_number_is_a_breach(line: bytes, item: object) -> None:
    """RFC 1939 section 4: numbers begin with 1."""
    with pytest.raises(ProtocolViolation):
        (list_item if item is list_item else uidl_item)(line)


@pytest.mark.parametrize(
    ("line", "unique_id"),
    [
        (b"1 QhdPYR:00WBw1Ph7x7", b"QhdPYR:00WBw1Ph7x7"),
        (b"1 a b", b"a b"),
        (b"1 ", b""),
        (b"1", b""),
        (b"1 " + b"x" * 500, b"x" * 500),
        (b"1 ../\x1b\xff", b"../\x1b\xff"),
    ],
)
def test_an_odd_unique_id_is_kept_as_it_is(line: bytes, unique_id: bytes) -> None:
    """RFC 1939 section 7 is narrower; what the server will say again tomorrow is what counts."""
    assert uidl_item(line) == (1, unique_id)


def by_number(*lines: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for line in lines:
        enter(line, uidl_item, into=found)
    return found


def test_a_listing_keeps_the_order_of_the_server() -> None:
    assert list(by_number(b"3 c", b"1 a")) == [3, 1]


def test_a_line_told_twice_alike_is_told_once() -> None:
    assert by_number(b"1 a", b"1 a") == {1: b"a"}


def test_a_number_told_twice_and_differently_is_a_breach() -> None:
    with pytest.raises(ProtocolViolation, match="message 1 is listed twice"):
        by_number(b"1 a", b"1 b")


@given(lines=st.lists(st.binary(max_size=60)))
def test_capabilities_are_read_from_any_octets(lines: list[bytes]) -> None:
    told = capabilities(lines)
    assert all(words for words in told.listed)
