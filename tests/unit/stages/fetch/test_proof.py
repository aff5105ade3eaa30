"""What TOP shows and what RETR gave: one message, or two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.fetch.proof import HEAD_OCTETS, Head, head_of, is_same, objection

HEADER = b"From: a@example.org\r\nMessage-ID: <1@example.org>\r\n\r\n"
OTHER = b"From: b@example.org\r\nMessage-ID: <2@example.org>\r\n\r\n"
NAMELESS = b"From: a@example.org\r\nDate: today\r\n\r\n"


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        (HEADER, HEADER + b"body\r\n"),
        (HEADER.removesuffix(b"\r\n"), HEADER + b"body\r\n"),
        (b"Status: RO\r\n" + HEADER, HEADER + b"body\r\n"),
        (b"X-Scanned: yes\r\n" + HEADER, HEADER + b"body\r\n"),
        (NAMELESS, NAMELESS + b"body\r\n"),
        (NAMELESS, NAMELESS.replace(b"\r\n", b"\n") + b"body\n"),
        (HEADER.replace(b"Message-ID: ", b"message-id:\r\n "), b"X-Scanned: yes\r\n" + HEADER + b"body\r\n"),
        (b"\r\n", b"\r\nno header\r\n"),
    ],
)
def test_one_message_is_known_again(shown: bytes, came: bytes) -> None:
    """Without the empty line, with a read mark, through a scanner, with other line ends, folded, without a header."""
    assert is_same(head_of(shown), head_of(came))


@pytest.mark.parametrize(
    ("shown", "came"), [(HEADER, OTHER + b"body\r\n"), (NAMELESS, HEADER), (NAMELESS, b"X: y\r\n" + NAMELESS)]
)
def test_two_messages_are_told_apart(shown: bytes, came: bytes) -> None:
    """Without a Message-ID the header must be the same."""
    assert not is_same(head_of(shown), head_of(came))


def test_two_messages_without_message_id_are_not_one_for_that() -> None:
    assert not is_same(Head(digest=b"1", message_id=b""), Head(digest=b"2", message_id=b""))


@given(octets=st.binary(max_size=300))
def test_every_message_is_its_own(octets: bytes) -> None:
    assert is_same(head_of(octets), head_of(octets))


def test_a_head_is_read_up_to_its_bound() -> None:
    assert head_of(b"x" * (HEAD_OCTETS + 1)) == head_of(b"x" * (HEAD_OCTETS + 500))


def test_what_top_shows_decides() -> None:
    came = head_of(HEADER)
    assert objection(head_of(HEADER), came, octets=10, told=20, others={10}) is None
    assert objection(head_of(OTHER), came, octets=10, told=20, others=set()) == "TOP shows another message"


def test_without_top_a_message_of_another_one_s_size_is_not_believed() -> None:
    came = head_of(HEADER)
    expected = "10 octets came where LIST says 20, the size of another message"
    assert objection(None, came, octets=10, told=20, others={10, 20}) == expected
    assert objection(None, came, octets=11, told=20, others={10, 20}) is None
    assert objection(None, came, octets=10, told=10, others={10}) is None
