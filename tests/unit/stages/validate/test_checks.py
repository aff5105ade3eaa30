"""Facts about content, found in any chunking, and loops."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.envelope import Needs
from stages.mail.headers import scan
from stages.mail.received import Hop, trace_field
from stages.validate.checks import Content, ContentScan, loop_reason, needs

HOP = Hop(peer_host="pop.isp.example", gateway="gw.corp.example", recipients=("sales@corp.example",))


def content(*chunks: bytes) -> Content:
    facts = ContentScan()
    for chunk in chunks:
        facts.feed(chunk)
    return facts.result()


def plain_reading(message: bytes) -> Content:
    """The same facts, found in the plainest way."""
    lines = re.split(rb"\r\n|\r|\n", message)
    longest = max(map(len, lines))
    return Content(
        octets=len(message),
        is_eightbit=any(octet > 127 for octet in message),
        has_nul=0 in message,
        has_bare_cr=re.search(rb"\r(?!\n)", message) is not None,
        has_bare_lf=re.search(rb"(?<!\r)\n", message) is not None,
        overlong_line_octets=longest if longest > 998 else 0,
    )


def test_an_ordinary_message_has_nothing_special() -> None:
    message = b"Subject: x\r\n\r\nhello\r\n"
    assert content(message) == Content(
        octets=len(message),
        is_eightbit=False,
        has_nul=False,
        has_bare_cr=False,
        has_bare_lf=False,
        overlong_line_octets=0,
    )


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b""])
def test_a_line_of_998_octets_fits_and_one_of_999_does_not(end: bytes) -> None:
    """RFC 5322 section 2.1.1."""
    assert content(b"x" * 998 + end).overlong_line_octets == 0
    assert content(b"x" * 999 + end).overlong_line_octets == 999


def test_the_longest_of_several_overlong_lines_is_reported() -> None:
    lines = [1000, 3000, 5, 2000, 3000, 0, 2999]
    assert content(b"".join(b"x" * octets + b"\r\n" for octets in lines)).overlong_line_octets == 3000


def test_crlf_cut_in_two_by_a_chunk_is_still_crlf() -> None:
    facts = content(b"a\r", b"\nb")
    assert not facts.has_bare_cr
    assert not facts.has_bare_lf


def test_a_cr_at_the_very_end_is_bare() -> None:
    assert content(b"a\r").has_bare_cr


LINE_ISH = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"a", b"", b"\0", b"\xff", b"x" * 997, b"x" * 998, b"x" * 999, b"y" * 2500]
)


@given(st.lists(LINE_ISH, max_size=30))
def test_the_facts_are_those_of_a_plain_reading_in_any_chunking(chunks: list[bytes]) -> None:
    message = b"".join(chunks)
    assert content(*chunks) == content(message) == plain_reading(message)


@given(st.lists(st.integers(0, 2100), max_size=12), st.sampled_from([b"\r\n", b"\n", b"\r"]), st.integers(1, 3000))
def test_lines_are_measured_exactly_however_they_are_cut(lengths: list[int], end: bytes, size: int) -> None:
    message = b"".join(b"x" * length + end for length in lengths)
    chunks = [message[start : start + size] for start in range(0, len(message), size)]
    assert content(*chunks) == plain_reading(message)


@pytest.mark.parametrize("unit", [b"\n", b"\r", b"\r\n", b"x", b"x" * 998 + b"\r\n\r\n", b"\n" + b"x" * 50_000])
def test_hostile_content_takes_linear_time(unit: bytes) -> None:
    """A quadratic scan of 4 MB would take hours."""
    message = unit * (4_000_000 // len(unit))
    started = perf_counter()
    content(message)
    assert perf_counter() - started < 5


def received(count: int) -> bytes:
    return b"Received: from a by b; date\r\n" * count


def test_as_many_hops_as_allowed_are_no_loop() -> None:
    assert loop_reason(scan(received(50) + b"\r\n"), HOP, max_hops=50) is None


def test_one_hop_more_than_allowed_is_a_loop() -> None:
    """RFC 5321 section 6.3."""
    reason = loop_reason(scan(received(51) + b"\r\n"), HOP, max_hops=50)
    assert reason == "51 Received fields, more than max_hops = 50"


def own_traces(*hops: Hop) -> bytes:
    at = datetime(2025, 3, 4, tzinfo=UTC)
    fields = (
        trace_field(hop, peer_address="192.0.2.1", queue_id=f"id{number}", fetched_at=at)
        for number, hop in enumerate(hops)
    )
    return b"".join(fields) + b"Subject: x\r\n\r\n"


def test_our_own_trace_once_is_a_message_that_somebody_sent_round() -> None:
    assert loop_reason(scan(own_traces(HOP)), HOP, max_hops=50) is None


def test_our_own_trace_twice_is_a_loop() -> None:
    reason = loop_reason(scan(own_traces(HOP, HOP)), HOP, max_hops=50)
    assert reason == "a mail loop: it was fetched for this account 2 times before"


def test_traces_of_other_accounts_are_no_loop() -> None:
    other = Hop(peer_host="pop.isp.example", gateway="gw.corp.example", recipients=("info@corp.example",))
    assert loop_reason(scan(own_traces(other, other, HOP)), HOP, max_hops=50) is None


@pytest.mark.parametrize(
    ("message", "address", "expected"),
    [
        (b"Subject: x\r\n\r\nx", "a@example.org", Needs()),
        (b"Subject: x\r\n\r\n\xe4", "a@example.org", Needs(eightbit=True)),
        (b"Subject: \xe4\r\n\r\nx", "a@example.org", Needs(eightbit=True)),
        (b"Subject: x\r\n\r\nx", "é@example.org", Needs(smtputf8=True)),
    ],
    ids=["plain", "body", "header", "address"],
)
def test_the_relay_must_offer_what_content_and_addresses_need(message: bytes, address: str, expected: Needs) -> None:
    """RFC 6152, RFC 6531 section 3.4."""
    assert needs(content(message), addresses=["b@example.org", address]) == expected
