"""The message-file format: what goes in comes out, whatever anybody sends."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.envelope import Arrival, Origin, Reason, Uidl
from spool.message_file import (
    MAX_BLOCK_OCTETS,
    MAX_HEADER_OCTETS,
    Digester,
    arrival_fields,
    block,
    digest,
    envelope_fields,
    header_digest,
    origin_fields,
    parse_block,
    parse_envelope,
    parse_objection,
    parse_origin,
)
from spool.models import from_ms
from spool.queue_id import new_queue_id
from tests.support.spools import arrival

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
NAMES = st.from_regex(r"[Xx]-[A-Za-z0-9-]{1,20}", fullmatch=True).filter(
    lambda name: "endofinjected" not in name.lower()
)
ADDRESSES = st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.example", fullmatch=True)
# To the millisecond, as a block has them.
TIMES = st.integers(min_value=0, max_value=7_000_000_000_000).map(from_ms)
ORIGINS = st.builds(
    Origin,
    queue_id=st.builds(new_queue_id),
    account=TEXT,
    uidl=st.binary(max_size=70).map(Uidl),
    peer=st.just("pop.isp.example [192.0.2.1]"),
    fetched_at=TIMES,
    copy=st.integers(min_value=1, max_value=99),
)
# Header-like text with what matters about it: line ends, folding, the fields that servers rewrite.
PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b" ",
        b"Status: RO",
        b"X-UIDL: 7",
        b"x-status:",
        b"Subject: a",
        b":",
        b"x" * 50,
    ]
)
MESSAGES = st.lists(PIECES, max_size=12).map(b"".join)


@given(fields=st.lists(st.tuples(NAMES, TEXT), max_size=8), message=st.binary(max_size=200))
def test_a_block_is_read_back_and_the_message_behind_it_is_untouched(
    fields: list[tuple[str, str]], message: bytes
) -> None:
    head = block(fields)
    found = parse_block(head + message)
    assert found is not None
    assert (head + message)[found.end :] == message
    assert [name for name, _ in found.fields] == [name for name, _ in fields]


@given(value=TEXT)
def test_no_value_adds_a_line(value: str) -> None:
    """Values come from servers and senders; a line of theirs could name a recipient."""
    head = block([("X-Receiver", value)])
    assert head.count(b"\n") == 2
    assert head.count(b"\r") == 2


@given(origin=ORIGINS, message=st.binary(max_size=100))
def test_an_origin_is_read_back_from_its_block(origin: Origin, message: bytes) -> None:
    known = digest(message)
    found = parse_block(block(origin_fields(origin, octets=known.octets, sha256=known.sha256)))
    assert found is not None
    assert parse_origin(found) == (origin, known.octets, known.sha256)


@given(sender=st.none() | st.just("") | ADDRESSES, recipients=st.lists(ADDRESSES, max_size=4))
def test_an_envelope_is_read_back_from_its_block(sender: str | None, recipients: list[str]) -> None:
    """The null reverse-path and one that is not known yet are two things."""
    found = parse_block(block(envelope_fields(sender, recipients)))
    assert found is not None
    assert parse_envelope(found) == (sender, tuple(recipients))


def test_an_objection_is_read_back_from_its_block() -> None:
    first = arrival()
    objected = Arrival(
        origin=first.origin,
        digest=first.digest,
        content=first.content,
        objection=Reason(stage="fetch", text="too large"),
    )
    found = parse_block(block(arrival_fields(objected)))
    assert found is not None
    assert parse_objection(found) == Reason(stage="fetch", text="too large")


def test_a_block_has_one_width_whatever_the_message_is() -> None:
    """A large message learns its length and hash when its block is written already."""
    origin = arrival().origin
    widths = {
        len(block(origin_fields(origin, octets=octets, sha256=sha)))
        for octets, sha in [(0, bytes(32)), (10**14, b"\xff" * 32)]
    }
    assert len(widths) == 1


@given(st.binary(max_size=300) | MESSAGES | st.binary(max_size=100).map(lambda rest: block([("X-A", "b")]) + rest))
def test_reading_a_block_is_total(data: bytes) -> None:
    found = parse_block(data)
    if found is not None:
        assert 0 < found.end <= len(data)
        parse_origin(found)
        parse_envelope(found)
        parse_objection(found)


def test_lf_line_ends_are_taken_in_a_block() -> None:
    """An operator's editor may have written them."""
    found = parse_block(b"X-Sender: <a@b.example>\nx-endofinjectedxheaders: 24\nSubject: x\n")
    assert found is not None
    assert (found.get("x-SENDER"), found.end) == ("<a@b.example>", 52)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Subject: x\r\n\r\n",
        b"X-Sender: <a@b>\r\n\r\nX-EndOfInjectedXHeaders: 9\r\n",
        b"X-Sender\r\n",
        b"X-A: b\r\n",
    ],
)
def test_a_message_that_begins_otherwise_has_no_block(data: bytes) -> None:
    assert parse_block(data) is None


def test_a_block_is_looked_for_in_the_first_64_kib_alone() -> None:
    """Else a hostile file costs as much as it is long."""
    fields = [("X-Receiver", "a" * 1000)] * (MAX_BLOCK_OCTETS // 1000)
    assert parse_block(block(fields)) is None
    assert parse_block(block(fields[:-2])) is not None


@given(message=MESSAGES, cuts=st.lists(st.integers(min_value=0, max_value=300), max_size=8))
def test_a_digest_is_the_same_however_the_message_arrives(message: bytes, cuts: list[int]) -> None:
    digester = Digester()
    edges = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    for start, end in itertools.pairwise(edges):
        digester.feed(message[start:end])
    assert digester.result() == digest(message)


@pytest.mark.parametrize("size", range(1, 40))
def test_a_digest_is_the_same_wherever_the_end_of_the_header_is_cut(size: int) -> None:
    message = b"A: b\r\nStatus: RO\r\n\r\nStatus: body\r\n\r\nend\r\n"
    digester = Digester()
    for start in range(0, len(message), size):
        digester.feed(message[start : start + size])
    assert digester.result() == digest(message)


@pytest.mark.parametrize("beyond", range(-4, 5))
@pytest.mark.parametrize("chunk", [1000, 4096, MAX_HEADER_OCTETS + 10])
def test_a_digest_is_the_same_where_the_header_reaches_its_bound(beyond: int, chunk: int) -> None:
    """Memory is bounded by the header's bound, and the bound must not depend on the chunks."""
    message = b"X: ".ljust(MAX_HEADER_OCTETS + beyond, b"y") + b"\r\n\r\nStatus: RO\r\n"
    digester = Digester()
    for start in range(0, len(message), chunk):
        digester.feed(message[start : start + chunk])
    assert digester.result() == digest(message)


@pytest.mark.parametrize("field", ["Status: RO", "X-Status: A", "X-Keywords: a\r\n b", "X-UIDL: 00ff", "STATUS: O"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_read_mark_does_not_make_old_mail_new(field: str, position: int) -> None:
    """Servers rewrite these fields between sessions."""
    lines = ["From: a@b.example", "Subject: x"]
    plain = "\r\n".join(lines) + "\r\n\r\nbody\r\n"
    marked = "\r\n".join([*lines[:position], field, *lines[position:]]) + "\r\n\r\nbody\r\n"
    first, second = digest(plain.encode()), digest(marked.encode())
    assert (first.identity, first.header) == (second.identity, second.header)
    assert first.sha256 != second.sha256


@pytest.mark.parametrize(
    "other",
    [
        b"Subject: x\r\nStatus-Of-Order: shipped\r\n\r\nbody\r\n",
        b"Subject: x\r\nStatus-Of-Order: shipped\r\nX-UIDL: 7\r\n\r\nbody\r\n",
        b"Subject: x\r\n\r\nStatus: RO\r\nbody\r\n",
        b"Subject: x\r\n Status: RO\r\n\r\nbody\r\n",
        b"Subject: x\r\n\r\nbody \r\n",
        b"Subject: y\r\n\r\nbody\r\n",
    ],
)
def test_any_other_difference_is_another_message(other: bytes) -> None:
    """Taking new mail for old would delete it unread."""
    assert digest(other).identity != digest(b"Subject: x\r\n\r\nbody\r\n").identity


@pytest.mark.parametrize("shown", [b"", b"\r\n"])
@pytest.mark.parametrize("header", [b"Subject: x\r\n", b"Status: RO\r\nSubject: x\r\n", b"Subject: x\r\n folded\r\n"])
def test_what_top_shows_has_the_digest_of_the_header(header: bytes, shown: bytes) -> None:
    """RFC 1939 section 7, TOP: headers, the blank line, n lines; some servers leave the blank line out for n = 0."""
    assert header_digest(header + shown) == digest(header + b"\r\nbody\r\n").header


def test_the_header_digest_says_nothing_of_the_body() -> None:
    assert digest(b"A: b\r\n\r\none\r\n").header == digest(b"A: b\r\n\r\ntwo\r\n").header
