"""Any octets at all: no crash, no hang, and the promises kept. `make torture` tries a million more of each."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.smtp_fuzz import CHECKS, check_addresses, check_header, check_replies, check_verdict

REPLIES = (
    *(b"250 ok\r\n", b"250-ok\r\n", b"250\r\n", b"550 5.1.1 no\r\n", b"354 go\r\n", b"421 bye\r\n", b"999 x\r\n"),
    *(b"25", b"0", b"-", b" ", b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"4.3.1 ", b"250-SIZE 1\r\n", b"x" * 8190),
)
FIELDS = (
    *(b"Return-Path:", b"Sender:", b"From:", b"Received: from a by b", b"Subject:", b"From ", b"\xef\xbb\xbf", b":"),
    *(b"\r\n", b"\n", b"\r", b"\r\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b"\xff", b"a@example.org", b"<>"),
    *(b"<a@b.example>", b"=?utf-8?q?=0D=0A?=", b"=?utf-8?b?"),
)
TOKENS = (
    *(b"(", b")", b"<", b">", b'"', b"\\", b"@", b",", b":", b";", b".", b"[", b"]", b" ", b"\t", b"\r", b"\n", b"\0"),
    *(b"a", b"example.org", b"a@example.org", b"[192.0.2.1]", b"IPv6:", "ü".encode(), b"\xff", b"MAILER-DAEMON"),
)


def octets(parts: Sequence[bytes], *, size: int = 20) -> st.SearchStrategy[bytes]:
    """What the parser turns on, often, and any octets sometimes."""
    return st.lists(st.sampled_from(parts) | st.binary(max_size=4), max_size=size).map(b"".join)


@settings(max_examples=500)
@given(st.binary(min_size=1, max_size=1), octets(REPLIES))
def test_whatever_a_relay_says_is_a_reply_or_a_violation_however_it_is_cut(head: bytes, wire: bytes) -> None:
    check_replies(head + wire)


@settings(max_examples=1000)
@given(octets(FIELDS, size=40))
def test_whatever_stands_on_top_of_a_message_has_a_header_or_none(message: bytes) -> None:
    check_header(message)


@settings(max_examples=1000)
@given(octets(TOKENS))
def test_whatever_is_said_to_be_an_address_is_one_or_none(value: bytes) -> None:
    check_addresses(value)


@settings(max_examples=2000)
@given(st.binary(max_size=24))
def test_whatever_a_relay_answers_has_one_right_outcome(data: bytes) -> None:
    check_verdict(data)


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_noise_is_no_exception(name: str, data: bytes) -> None:
    CHECKS[name](data)
