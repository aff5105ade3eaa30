"""The trace field: one field whatever the values, the same at each attempt, and known again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.mail.received import Hop, is_ours, trace_field

HOP = Hop(peer_host="pop.isp.example", gateway="gw.corp.example", recipients=("sales@corp.example",))
AT = datetime(2025, 3, 4, 9, 30, 5, 999_999, tzinfo=UTC)
QUEUE_ID = "01j0e5v3xk7m2q9r4s"


def field(hop: Hop = HOP, peer_address: str | None = "192.0.2.1", queue_id: str = QUEUE_ID) -> str:
    return trace_field(hop, peer_address=peer_address, queue_id=queue_id, fetched_at=AT).decode("ascii")


def unfolded(text: str) -> bytes:
    return text.replace("\r\n ", " ").removeprefix("Received:").strip().encode()


def test_the_field_says_where_the_message_came_from_and_whose_hands_it_is_in() -> None:
    """RFC 5321 section 4.4."""
    assert unfolded(field()).decode() == (
        "from pop.isp.example ([192.0.2.1]) by gw.corp.example (pop3connector/1.0) with POP3 id 01j0e5v3xk7m2q9r4s"
        " for <sales@corp.example>; Tue, 04 Mar 2025 09:30:05 +0000"
    )


def test_lines_are_folded_before_78_octets() -> None:
    """RFC 5322 section 2.1.1."""
    assert all(len(line) <= 78 for line in field().split("\r\n"))


def test_a_recipient_is_named_only_if_there_is_no_other() -> None:
    """RFC 5321 section 7.6: it would tell each recipient about the others."""
    several = replace(HOP, recipients=("a@corp.example", "b@corp.example"))
    assert " for " not in field(several)


@pytest.mark.parametrize("recipient", ["josé@corp.example", '"a b"@corp.example', '"a>b"@corp.example'])
def test_a_recipient_that_would_change_the_header_is_not_named(recipient: str) -> None:
    assert " for " not in field(replace(HOP, recipients=(recipient,)))


@pytest.mark.parametrize(
    ("address", "shown"), [("2001:db8::1", "([IPv6:2001:db8::1])"), ("fe80::1%eth0", "([IPv6:fe80::1])")]
)
def test_an_ipv6_address_is_tagged(address: str, shown: str) -> None:
    """RFC 5321 section 4.1.3."""
    assert shown in field(peer_address=address)


def test_a_host_that_is_configured_as_an_address_is_a_literal() -> None:
    assert "from [192.0.2.1] " in field(replace(HOP, peer_host="192.0.2.1"))


@pytest.mark.parametrize("address", [None, "", "nonsense", "192.0.2.1]) by evil"])
def test_an_unknown_peer_address_is_left_out(address: str | None) -> None:
    assert unfolded(field(peer_address=address)).startswith(b"from pop.isp.example by gw.corp.example ")


def test_the_time_is_given_in_utc_wherever_it_was_taken() -> None:
    """The same octets at each attempt, also after the clock's zone was changed."""
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert trace_field(HOP, peer_address=None, queue_id=QUEUE_ID, fetched_at=elsewhere) == trace_field(
        HOP, peer_address=None, queue_id=QUEUE_ID, fetched_at=AT
    )


@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_no_value_can_add_a_line_or_a_field(
    host: str, gateway: str, recipient: str, address: str, queue_id: str
) -> None:
    hop = Hop(peer_host=host, gateway=gateway, recipients=(recipient,))
    written = field(hop, address, queue_id)
    lines = written.split("\r\n")
    assert lines[-1] == ""
    assert all(line.startswith(" ") for line in lines[1:-1])
    assert all(0x20 <= ord(character) < 0x7F for line in lines for character in line)


def test_our_own_field_is_recognised() -> None:
    assert is_ours(unfolded(field()), HOP)


def test_a_field_that_a_relay_folded_anew_is_recognised() -> None:
    assert is_ours(unfolded(field()).replace(b" ", b"\t  "), HOP)


def test_case_in_host_names_makes_no_difference() -> None:
    assert is_ours(unfolded(field()), replace(HOP, gateway="GW.corp.example", peer_host="POP.isp.example"))


@pytest.mark.parametrize(
    "other",
    [
        replace(HOP, peer_host="pop.other.example"),
        replace(HOP, gateway="gw.other.example"),
        replace(HOP, recipients=("other@corp.example",)),
        replace(HOP, recipients=("a@corp.example", "b@corp.example")),
    ],
    ids=["host", "gateway", "recipient", "recipients"],
)
def test_the_field_of_another_account_or_installation_is_not_ours(other: Hop) -> None:
    """A message may rightly pass through two accounts, one forwarded to the other."""
    assert not is_ours(unfolded(field()), other)


@pytest.mark.parametrize(
    "value", [b"", b"from pop.isp.example by gw.corp.example with ESMTP id x; date", b"x " * 100_000]
)
def test_the_fields_of_others_are_not_ours(value: bytes) -> None:
    assert not is_ours(value, HOP)


@given(st.binary())
def test_recognition_is_total(value: bytes) -> None:
    assert not is_ours(value, HOP)
