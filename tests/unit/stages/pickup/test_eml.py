"""Files in Pickup: what envelope they ask for, what is cut off, and what they may not do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.message_file import block
from spool.queue_id import QueueId
from stages.pickup.eml import MAX_HEADER_OCTETS, TOP_OCTETS, PickupMessage, Unusable, read_top, refused_recipients

ID = "01j0e5v3xk7m2q9r4s"
MESSAGE = b"From: Ann <ann@example.org>\r\nTo: x@elsewhere.example\r\nSubject: x\r\n\r\nhello\r\n"


def read(file: bytes) -> PickupMessage:
    found = read_top(file[:TOP_OCTETS])
    assert isinstance(found, PickupMessage)
    return found


def message(file: bytes) -> bytes:
    """The message that a file holds."""
    found = read(file)
    return found.header + file[found.rest :]


def reason(file: bytes) -> str:
    found = read_top(file[:TOP_OCTETS])
    assert isinstance(found, Unusable)
    return found.reason


BADMAIL = (
    block(
        [
            ("X-Sender", "<bounce@example.org>"),
            ("X-Receiver", "<sales@corp.example>"),
            ("X-Receiver", "<info@corp.example>"),
            ("X-CreatedBy", "POP3Connector"),
            ("X-POP3Connector-Queue-Id", ID),
            ("X-POP3Connector-Reason", "submit: 550 no"),
        ]
    )
    + MESSAGE
)


def test_a_badmail_file_can_be_dropped_as_it_is() -> None:
    found = read(BADMAIL)
    assert (found.sender, found.recipients, found.hint) == (
        "bounce@example.org",
        ("sales@corp.example", "info@corp.example"),
        QueueId(ID),
    )


def test_the_block_is_cut_off_and_the_message_stays_as_it_was() -> None:
    assert message(BADMAIL) == MESSAGE


def test_an_edited_file_with_lf_line_ends_is_read_too() -> None:
    """Editors save with the line ends that they like."""
    assert read(BADMAIL.replace(b"\r\n", b"\n")).recipients == ("sales@corp.example", "info@corp.example")


@pytest.mark.parametrize(
    "top",
    [
        b"X-Sender: <a@example.org>\r\nX-Receiver: <b@corp.example>\r\n",
        b"X-Receiver: <b@corp.example>\nX-Sender: a@example.org\n",
        b"x-receiver: b@corp.example BODY=8bitmime\r\nx-sender: <a@example.org> RET=HDRS ENVID=x\r\n",
        b"X-CreatedBy: x\r\nX-Sender: <a@example.org>\r\nX-HeloDomain: x\r\nX-Receiver: <b@corp.example>\r\n",
        b"\xef\xbb\xbfX-Sender: <a@example.org>\r\nX-Receiver: <b@corp.example>\r\n",
        b"X-Sender: <a@example.org>\r\nX-Receiver: <b@corp.example>\r\nX-EndOfInjectedXHeaders: 9\r\n",
    ],
    ids=["in order", "other order, LF", "parameters", "Exchange", "byte order mark", "ended"],
)
def test_lines_written_by_hand_name_the_envelope_and_are_cut_off(top: bytes) -> None:
    """The Replay directory of Exchange takes X-Sender and X-Receiver in any order."""
    found = read(top + MESSAGE)
    assert (found.sender, found.recipients, message(top + MESSAGE)) == ("a@example.org", ("b@corp.example",), MESSAGE)


def test_x_lines_below_the_first_other_field_are_part_of_the_message() -> None:
    file = b"To: a@corp.example\r\nX-Receiver: <b@corp.example>\r\n\r\nbody"
    assert (read(file).recipients, message(file)) == (("a@corp.example",), file)


def test_x_lines_of_other_programs_stay_in_a_message_without_envelope() -> None:
    file = b"X-Source: scanner\r\nTo: a@corp.example\r\n\r\nbody"
    assert message(file) == file


def test_a_byte_order_mark_is_taken_off_a_message_without_a_block() -> None:
    """It would make the first field unreadable to the relay."""
    file = b"To: a@corp.example\r\n\r\nbody"
    assert message(b"\xef\xbb\xbf" + file) == file


def test_a_null_sender_is_kept() -> None:
    assert read(b"X-Sender: <>\r\nX-Receiver: <b@corp.example>\r\n" + MESSAGE).sender == ""


def test_without_x_sender_the_header_decides_later() -> None:
    """The same rule as for fetched mail, applied in one place: validate."""
    assert read(b"X-Receiver: <b@corp.example>\r\n" + MESSAGE).sender is None


def test_without_x_receiver_to_cc_and_bcc_decide() -> None:
    to = b"To: B <b@corp.example>, Staff: c@corp.example;\r\n"
    file = b"From: a@example.org\r\n" + to + b"Cc: d@corp.example\r\nBcc: e@corp.example\r\n\r\n"
    assert read(file).recipients == ("b@corp.example", "c@corp.example", "d@corp.example", "e@corp.example")


def test_bcc_is_taken_out_and_nothing_else_is_touched() -> None:
    """RFC 5322 section 3.6.3: the others must not see it."""
    file = (
        b"X-Sender: <a@example.org>\r\n"
        b"To: b@corp.example\r\nBCC: c@corp.example,\r\n\td@corp.example\r\n"
        b"X-A: \xff\nBcc:\r\nSubject: x\r\n\r\nBcc: body\r\n"
    )
    assert message(file) == b"To: b@corp.example\r\nX-A: \xff\nSubject: x\r\n\r\nBcc: body\r\n"


def test_bcc_is_left_alone_where_x_receiver_names_the_recipients() -> None:
    """A message that was received goes on as it was received."""
    file = b"Bcc: c@corp.example\r\n\r\nbody"
    assert message(b"X-Receiver: <b@corp.example>\r\n" + file) == file


def test_a_recipient_named_twice_gets_one_message() -> None:
    assert read(b"To: b@corp.example, B <b@corp.example>\r\n\r\n").recipients == ("b@corp.example",)


@pytest.mark.parametrize("hint", ["", "../../etc/passwd", ID.upper(), ID + "0"])
def test_a_hint_that_is_no_queue_id_is_ignored(hint: str) -> None:
    file = block([("X-Receiver", "<b@corp.example>"), ("X-POP3Connector-Queue-Id", hint)]) + MESSAGE
    assert read(file).hint is None


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"", "no recipient"),
        (b"some text\r\n", "no recipient"),
        (b"From: a@example.org\r\nTo: undisclosed-recipients:;\r\n\r\n", "no recipient"),
        (b"X-Receiver: <>\r\n" + MESSAGE, "unusable X-Receiver: the null path is no recipient"),
        (b"X-Receiver: <b\xff@corp.example>\r\n" + MESSAGE, "unusable X-Receiver: the local part"),
        (b"X-Receiver: bob\r\n" + MESSAGE, "unusable X-Receiver: no domain: bob"),
        (b"X-Sender: <a b@example.org>\r\nX-Receiver: <b@corp.example>\r\n" + MESSAGE, "unusable X-Sender"),
        (b"To: b@corp.example, bob\r\n\r\n", "unusable To: no domain"),
        (b"To: " + b", ".join(b"u%d@corp.example" % n for n in range(101)) + b"\r\n\r\n", "more than 100"),
    ],
)
def test_a_file_without_a_clear_envelope_is_refused_with_a_reason(file: bytes, said: str) -> None:
    """Sending to some of the recipients and forgetting the others would be worse."""
    assert reason(file).startswith(said)


def test_the_reason_is_safe_to_show() -> None:
    assert reason(b"X-Receiver: \x1b[31m<b\x00@corp.example>\r\n" + MESSAGE).isprintable()


def test_a_header_over_the_bound_is_not_addressed_by_half() -> None:
    """A Bcc behind the bound would be sent on."""
    file = b"To: b@corp.example\r\nX-A: " + b"x" * MAX_HEADER_OCTETS + b"\r\nBcc: c@corp.example\r\n\r\n"
    assert "longer than" in reason(file)


def test_a_long_header_does_not_matter_where_a_block_names_the_envelope() -> None:
    long = b"X-A: " + b"x" * MAX_HEADER_OCTETS + b"\r\n" + MESSAGE
    assert message(b"X-Receiver: <b@corp.example>\r\n" + long) == long


def test_a_recipient_outside_the_accepted_domains_is_refused() -> None:
    """A file whose first lines a sender wrote must not choose where we relay."""
    asked = ("a@corp.example", "b@elsewhere.example", "c@sub.corp.example", "d@CORP.example")
    refused = refused_recipients(asked, accept_domains=["Corp.Example"], known=[])
    assert refused == ("b@elsewhere.example", "c@sub.corp.example")


def test_a_recipient_that_the_hinted_message_had_is_allowed() -> None:
    """RFC 5321 section 2.4: of an address only the domain is case-blind."""
    asked = ("Bob@Elsewhere.example", "bob@elsewhere.example")
    refused = refused_recipients(asked, accept_domains=[], known=["Bob@elsewhere.example"])
    assert refused == ("bob@elsewhere.example",)


LINES = st.lists(
    st.sampled_from(
        [b"X-Sender: ", b"X-Receiver: ", b"X-EndOfInjectedXHeaders: 1", b"Bcc: ", b"To: ", b"X-A", b"\r", b"\n"]
    )
    | st.sampled_from(
        [b"\r\n", b"<a@corp.example>", b"b@corp.example", b"<>", b",", b" ", b"\xef\xbb\xbf", b"\xff", b"\0"]
    )
    | st.binary(max_size=5)
).map(b"".join)


@given(LINES)
def test_no_file_raises_and_no_recipient_can_end_a_command(file: bytes) -> None:
    found = read_top(file)
    if isinstance(found, Unusable):
        assert found.reason.isprintable()
    else:
        assert not any(set("\r\n\0") & set(address) for address in (*found.recipients, found.sender or ""))


@given(LINES)
def test_the_message_is_made_of_octets_of_the_file_in_their_order(file: bytes) -> None:
    found = read_top(file)
    if isinstance(found, PickupMessage):
        rest = iter(file[: found.rest])
        assert all(octet in rest for octet in found.header)
        assert found.rest <= len(file)
