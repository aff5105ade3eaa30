"""Injected lines: those that Exchange writes, those that people write, those that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.message_file import block, parse_block
from stages.pickup.injected import read_injected, with_envelope

MESSAGE = b"From: ann@example.org\r\n\r\nhello\r\n"
# The form of a file that Exchange exports: folded parameters, properties in base 64, names in its own case.
EXPORTED = (
    b"X-sender: <ann@example.org> BODY=7bit RET=HDRS ENVID=12345ABCD auth=<someAuth>\r\n"
    b"X-Receiver: <bob@corp.example>\r\n ORCPT=rfc822;bob@corp.example NOTIFY=NEVER;\r\n"
    b" X-ExtendedProps=BQAVABYAAgAAAAUAFAARAJ05ab4WgQhHsqdZ7WUjHykPADUAAABNaWNyb3NvZnQ\r\n\tuRXhj==\r\n"
    b"X-Receiver: <carol@corp.example> NOTIFY=NEVER ORcpt=carol@corp.example\r\n"
    b"X-CreatedBy: MSExchange15\r\n"
    b"X-HeloDomain: mail.example.org\r\n"
    b"X-ExtendedProps: BQBjAAoAU4mmlidQ3AgFAGEACAABAAAABQA3AAIAAA8=\r\n"
    b"X-ExtendedMessageProps: BQBjAAoA\r\n"
    b"X-LegacyExch50: AAAA\r\n"
    b"X-Source: SMTP:Default MBX-01\r\n"
    b"X-SourceIPAddress: 192.0.2.1\r\n"
)
END = b"X-EndOfInjectedXHeaders: 20998\r\n"


@pytest.mark.parametrize("end", [END, b""], ids=["with the end mark", "without"])
def test_what_exchange_exports_is_read_whole(end: bytes) -> None:
    injected = read_injected(EXPORTED + end + MESSAGE)
    assert injected.end == len(EXPORTED + end)
    assert [field.value.partition(" ")[0] for field in injected.all("X-Receiver")] == [
        "<bob@corp.example>",
        "<carol@corp.example>",
    ]


def test_the_offsets_of_a_field_are_those_of_all_its_lines() -> None:
    (receiver, _) = read_injected(EXPORTED + MESSAGE).all("X-Receiver")
    assert EXPORTED[receiver.start : receiver.end].count(b"\n") == 4


def test_a_line_of_another_program_ends_what_people_wrote() -> None:
    top = b"X-Receiver: <bob@corp.example>\r\nX-Spam: no\r\nX-Sender: <a@example.org>\r\n" + MESSAGE
    assert top[read_injected(top).end :].startswith(b"X-Spam: no")


def test_before_the_end_mark_every_x_line_is_injected() -> None:
    assert read_injected(b"X-Spam: no\r\n" + END + MESSAGE).end == len(b"X-Spam: no\r\n" + END)


def test_x_lines_without_envelope_or_end_mark_are_the_messages_own() -> None:
    assert read_injected(b"X-Source: scanner\r\nX-CreatedBy: x\r\n" + MESSAGE).end == 0


def test_behind_the_end_mark_the_message_begins_whatever_it_begins_with() -> None:
    """It may begin with white space, or with such lines of its own."""
    for rest in (b" folded?\r\n", EXPORTED):
        assert read_injected(EXPORTED + END + rest).end == len(EXPORTED + END)


def test_lines_without_end_are_called_so() -> None:
    assert not read_injected(b"X-Receiver: <bob@corp.example>\r\n" * 3_000).is_whole
    assert read_injected(b"X-Receiver: <bob@corp.example>\r\n" * 2_000).is_whole


def test_a_new_envelope_takes_the_place_of_the_old_one_and_all_else_stays() -> None:
    top = with_envelope(EXPORTED + MESSAGE, sender="", recipients=["dave@corp.example"])
    injected = read_injected(top)
    assert [field.value for field in injected.all("X-Sender")] == ["<>"]
    assert [field.value for field in injected.all("X-Receiver")] == ["<dave@corp.example>"]
    assert [field.value for field in injected.all("X-HeloDomain")] == ["mail.example.org"]
    assert top[injected.end :] == MESSAGE


def test_what_is_not_given_of_an_envelope_stays_as_the_file_has_it() -> None:
    old = read_injected(EXPORTED + MESSAGE)
    injected = read_injected(with_envelope(EXPORTED + MESSAGE, sender="dave@example.org", recipients=[]))
    assert [field.value for field in injected.all("X-Sender")] == ["<dave@example.org>"]
    assert [field.value for field in injected.all("X-Receiver")] == [field.value for field in old.all("X-Receiver")]


def test_a_file_without_injected_lines_gets_some() -> None:
    assert with_envelope(b"\xef\xbb\xbf" + MESSAGE, sender=None, recipients=["bob@corp.example"]) == (
        block([("X-Receiver", "<bob@corp.example>")]) + MESSAGE
    )


VALUES = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(["X-Sender", "X-Receiver", "X-CreatedBy", "X-Any"]), VALUES)), st.binary())
def test_what_the_spool_writes_is_read_as_the_spool_reads_it(fields: list[tuple[str, str]], message: bytes) -> None:
    written = block(fields)
    injected, known = read_injected(written + message), parse_block(written + message)
    assert known is not None
    assert injected.end == known.end == len(written)
    assert [field.name for field in injected.fields] == [name for name, _ in known.fields]


@given(
    st.lists(st.sampled_from([b"X-Sender: <a@b>", b"X-A", b":", b"\r", b"\n", b" ", b"\t", END, b"x-"])).map(b"".join)
)
def test_any_octets_are_read_and_the_fields_lie_within_them(top: bytes) -> None:
    injected = read_injected(top)
    assert injected.end <= len(top)
    assert all(field.start < field.end <= injected.end for field in injected.fields)
