"""Files in Pickup: what envelope they ask for, what is cut off, and what they may not do."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.message_file import block
from spool.queue_id import QueueId
from stages.pickup.eml import (
    MAX_HEADER_OCTETS,
    TOP_OCTETS,
    PickupMessage,
    Unusable,
    objection,
    read_top,
    refused_recipients,
)

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


TWO_SENDERS = b"X-Sender: <a@example.org>\r\nX-Receiver: <b@corp.example>\r\nX-Sender: <a@example.org>\r\n" + MESSAGE
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


def test_resent_bcc_is_taken_out_as_well_and_addresses_nobody() -> None:
    """RFC 5322 section 3.6.6: it is to Resent-To what Bcc is to To; whom an old copy went to is no address of this."""
    resent = b"Resent-To: r@corp.example\r\nResent-Bcc: s@corp.example\r\n"
    found, sent = read(resent + b"To: b@corp.example\r\n\r\n"), message(resent + b"To: b@corp.example\r\n\r\n")
    assert (found.recipients, sent) == (
        ("b@corp.example",),
        b"Resent-To: r@corp.example\r\nTo: b@corp.example\r\n\r\n",
    )


def test_addresses_are_found_in_all_that_a_header_may_write_around_them() -> None:
    """RFC 5322 section 3.4: folds, comments, groups, quoted names; RFC 2047: encoded words, which are names alone."""
    to = (
        b"To: =?utf-8?q?J=C3=B6rg?= <joerg@corp.example>,\r\n"
        b'\t"Smith, Ann" <ann (at work) @corp.example> (the boss, really),\r\n'
        b" Staff (all of them): bob@corp.example, <carol@corp.example>;,,\r\n"
        b" =?iso-8859-1?B?SvZyZw==?= =?utf-8?q?Two?= <dave@corp.example>\r\n"
    )
    names = [address.partition("@")[0] for address in read(to + b"\r\nbody").recipients]
    assert names == ["joerg", "ann", "bob", "carol", "dave"]


def test_a_bcc_alone_addresses_a_message_that_names_nobody_then() -> None:
    """RFC 5322 section 3.6.3: a message needs no To; nothing is made up in its place."""
    file = b"From: a@example.org\r\nBcc: b@corp.example\r\n\r\nbody"
    assert (read(file).recipients, message(file)) == (("b@corp.example",), b"From: a@example.org\r\n\r\nbody")


def test_a_header_without_a_body_is_a_message() -> None:
    """RFC 5322 section 2.1: the body is optional, and so is the empty line before it."""
    assert message(b"To: b@corp.example\r\n") == b"To: b@corp.example\r\n"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_line_ends_of_any_kind_are_read(end: bytes) -> None:
    """CR alone is how old Macintosh programs wrote; read as one line it would all be injected lines, and no message."""
    body = b"From: a@example.org%sBcc: c@corp.example%s%sbody" % (end, end, end)
    file = b"X-Receiver: <b@corp.example> NOTIFY=NEVER%sX-Sender: <a@example.org>%s" % (end, end) + body
    assert (read(file).sender, read(file).recipients, message(file)) == (
        "a@example.org",
        ("b@corp.example",),
        body,
    )
    assert (read(body).recipients, message(body)) == (
        ("c@corp.example",),
        b"From: a@example.org%s%sbody" % (end, end),
    )


def test_an_mbox_line_behind_injected_lines_is_part_of_the_message() -> None:
    """What a provider sent goes out as it came."""
    file = b"From alice@example.org Thu Jan  1 00:00:00 2026\r\n" + MESSAGE
    assert message(BADMAIL.removesuffix(MESSAGE) + file) == file


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
        (b"", "the file is empty"),
        (b"\n", "no recipient"),
        (b"some text\r\n", "line 1 is no header field"),
        (b"From: a@example.org\r\nTo: undisclosed-recipients:;\r\n\r\n", "no recipient"),
        (b"X-Sender: <a@example.org>\r\nsome text\r\n", "line 2 is no header field"),
        (b"X-Receiver: <>\r\n" + MESSAGE, "line 1: unusable X-Receiver: the null path is no recipient"),
        (b"X-Receiver: <b\xff@corp.example>\r\n" + MESSAGE, "line 1: unusable X-Receiver: the local part"),
        (
            b"X-Sender: <a@b.example>\n BODY=7bit\nX-Receiver: bob\n" + MESSAGE,
            "line 3: unusable X-Receiver: no domain: bob",
        ),
        (
            b"X-Sender: <a b@example.org>\r\nX-Receiver: <b@corp.example>\r\n" + MESSAGE,
            "line 1: unusable X-Sender",
        ),
        (b"X-A: b\r\nTo: b@corp.example\r\nCc: c@corp.example,\r\n bob\r\n\r\n", "line 3: unusable Cc: no domain"),
        (b"X-Receiver: <b@corp.example>\r\nX-EndOfInjectedXHeaders: 0\r\n", "there is no message in it"),
        (b"Bcc: b@corp.example\r\n", "there is no message in it"),
        (TWO_SENDERS, "line 3: a second X-Sender"),
        (b"From alice@example.org Thu Jan  1 00:00:00 2026\n" + MESSAGE, "line 1 begins a mailbox file (mbox)"),
        (MESSAGE.decode().encode("utf-16"), "the file is UTF-16"),
        (MESSAGE.decode().encode("utf-16-le"), "the file is UTF-16"),
        (MESSAGE.decode().encode("utf-16-be"), "the file is UTF-16"),
        (b"\0" * TOP_OCTETS, "line 1 is no header field"),
        (
            b"X-Receiver: <b@corp.example>\r\nX-Source: " + b"x" * 70_000 + b"\r\nX-Source: y\r\n",
            "its injected X-lines",
        ),
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


def test_a_header_of_64_kib_is_taken_and_one_octet_more_is_not() -> None:
    for octets, excess in [(MAX_HEADER_OCTETS, ""), (MAX_HEADER_OCTETS + 1, "the header is longer than 65536 octets")]:
        to = b"To: b@corp.example\r\nX-A: "
        header = to + b"x" * (octets - len(to) - 4) + b"\r\n\r\n"
        assert len(header) == octets
        assert read(b"X-Receiver: <b@corp.example>\r\n" + header + b"body").excess == excess
        assert isinstance(read_top(header + b"body"), Unusable) is bool(excess)


def asked(file: bytes, *, known: Collection[str] | None = None) -> str | None:
    return objection(read_top(file[:TOP_OCTETS]), accept_domains=["corp.example"], known=known)


MANY = [f"u{number}@corp.example" for number in range(101)]
EXCESSIVE = [
    pytest.param(b"X-Receiver: <b@corp.example>\r\n" + b"X-A: %s\r\n" % (b"x" * MAX_HEADER_OCTETS), id="header"),
    pytest.param(b"X-Receiver: <b@corp.example>\r\n" + b"X-A: x\r\n" * 2_001, id="fields"),
    pytest.param(block([("X-Receiver", f"<{one}>") for one in MANY]), id="X-Receiver"),
    pytest.param(b"To: " + ", ".join(MANY).encode() + b"\r\n", id="To"),
]


@pytest.mark.parametrize("top", EXCESSIVE)
def test_a_file_has_100_recipients_and_a_header_of_64_kib_at_most(top: bytes) -> None:
    assert "header" in str(asked(top + b"\r\nbody")) or "101 recipients" in str(asked(top + b"\r\nbody"))


@pytest.mark.parametrize("top", EXCESSIVE)
def test_the_bounds_are_not_for_what_came_from_a_provider(top: bytes) -> None:
    """A message that fetch took in must be able to go out of Badmail again, whatever its header is like."""
    assert asked(top + b"\r\nbody", known=["b@corp.example"]) is None


def test_100_recipients_are_taken() -> None:
    assert asked(block([("X-Receiver", f"<{one}>") for one in MANY[1:]]) + MESSAGE) is None


def test_many_refused_recipients_are_named_by_the_first_few() -> None:
    file = block([("X-Receiver", f"<{number}@elsewhere.example>") for number in range(7)]) + MESSAGE
    assert str(asked(file)).endswith("3@elsewhere.example, 4@elsewhere.example and 2 more")


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
