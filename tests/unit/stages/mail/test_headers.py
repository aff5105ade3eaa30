"""The header scan: tolerant, bounded, and never fooled into reading a body as a header."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.mail.headers import MAX_FIELDS, MAX_HEADER_OCTETS, Header, message_id, scan, subject


def values(header: Header, name: bytes) -> list[bytes]:
    return [field.value for field in header.all(name)]


def test_the_body_begins_behind_the_first_empty_line() -> None:
    """RFC 5322 section 2.1."""
    message = b"From: a@example.org\r\n\r\nSender: b@example.org\r\n\r\n"
    header = scan(message)
    assert message[header.body :] == b"Sender: b@example.org\r\n\r\n"
    assert header.first(b"sender") is None


def test_a_message_without_a_body_ends_with_its_header() -> None:
    message = b"From: a@example.org\r\nTo: b@example.org"
    assert (scan(message).body, values(scan(message), b"to")) == (len(message), [b"b@example.org"])


def test_an_empty_first_line_means_an_empty_header() -> None:
    assert scan(b"\r\nFrom: a@example.org\r\n") == Header(fields=(), body=2, is_eightbit=False, is_truncated=False)


def test_names_are_compared_case_blind_and_may_have_white_space_before_the_colon() -> None:
    """RFC 5322 sections 1.2.2 and 4.5."""
    assert values(scan(b"rEtUrN-PaTh \t: <a@example.org>\r\n"), b"return-path") == [b"<a@example.org>"]


def test_a_name_that_only_begins_like_another_is_another() -> None:
    assert scan(b"X-From: a\r\nFrom-: b\r\nFromage: c\r\n\r\n").fields == ()


def test_folded_values_are_unfolded_and_keep_their_inner_white_space() -> None:
    """RFC 5322 section 2.2.3: only the line end goes."""
    assert values(scan(b"Subject:\r\n one\r\n\t two\r\n\r\n"), b"subject") == [b"one\t two"]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n", b"\r"], ids=["crlf", "lf", "cr-cr-lf", "cr"])
def test_all_line_ends_found_in_the_field_are_understood(end: bytes) -> None:
    message = b"Subject: one" + end + b" two" + end + b"From: a@example.org" + end + end + b"To: body" + end
    header = scan(message)
    assert values(header, b"subject") + values(header, b"from") == [b"one two", b"a@example.org"]
    assert message[header.body :] == b"To: body" + end


def test_a_macintosh_text_is_one_even_if_the_server_ended_it_with_crlf() -> None:
    assert values(scan(b"From: a@example.org\r\rbody\r\n"), b"from") == [b"a@example.org"]


@pytest.mark.parametrize("octet", [b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xe2\x80\xa8"])
def test_no_other_character_ends_a_line(octet: bytes) -> None:
    """RFC 5322 section 2.2; the line ends of Python's str are a trap."""
    header = scan(b"Subject: x" + octet + b"Sender: hidden@example.org\r\nFrom: a@example.org\r\n\r\n")
    assert [field.name for field in header.fields] == [b"subject", b"from"]


@pytest.mark.parametrize(
    "top",
    [
        b"From other@example.org Tue Jul  1 10:00:00 2025\r\n",
        b">From other@example.org Tue Jul  1 10:00:00 2025\r\n",
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbfFrom other@example.org Tue Jul  1 10:00:00 2025\r\n",
        b"            \r\n",
    ],
    ids=["mbox", "quoted mbox", "bom", "bom and mbox", "blank line"],
)
def test_what_mail_programs_put_on_top_of_a_header_is_skipped(top: bytes) -> None:
    """RFC 4155: the separator of a mailbox file is no field."""
    header = scan(top + b"From: a@example.org\r\n\r\nbody")
    assert values(header, b"from") == [b"a@example.org"]


def test_a_line_that_is_no_field_is_skipped_with_its_continuation() -> None:
    header = scan(b"Subject: x\r\nno field\r\n From: hidden@example.org\r\nFrom: a@example.org\r\n\r\n")
    assert values(header, b"from") == [b"a@example.org"]


def test_text_that_begins_with_no_field_has_no_header() -> None:
    """RFC 5322 section 2.1: it would be guessing to search a letter for something that looks like a field."""
    header = scan(b"Dear Sir,\r\nFrom: here to there\r\n")
    assert (header.fields, header.body) == ((), 0)


def test_offsets_point_at_the_field_in_the_message() -> None:
    message = b"\xef\xbb\xbfTo: a@example.org\r\nBcc: b@example.org,\r\n c@example.org\r\n\r\n"
    (bcc,) = scan(message).all(b"bcc")
    assert message[bcc.start : bcc.end] == b"Bcc: b@example.org,\r\n c@example.org\r\n"


def test_eight_bit_octets_of_the_body_do_not_make_the_header_eight_bit() -> None:
    assert not scan(b"Subject: x\r\n\r\n\xe4").is_eightbit


def test_eight_bit_octets_count_in_fields_that_nobody_wants() -> None:
    assert scan(b"X-Other: \xe4\r\n\r\n").is_eightbit


def test_the_scan_stops_at_its_bound_and_drops_the_field_that_it_cuts() -> None:
    """Half an address could be another address."""
    filler = b"X-Filler: " + b"x" * (MAX_HEADER_OCTETS - 25) + b"\r\n"
    header = scan(filler + b"From: someone@example.org\r\n\r\n")
    assert (header.fields, header.is_truncated) == ((), True)


def test_a_header_within_the_bound_is_whole_however_long_the_body() -> None:
    assert not scan(b"From: a@example.org\r\n\r\n" + b"x" * MAX_HEADER_OCTETS).is_truncated


def test_the_scan_stops_after_the_last_field_it_may_look_at() -> None:
    header = scan(b"Received: x\r\n" * (MAX_FIELDS + 1) + b"\r\n")
    assert (len(header.fields), header.is_truncated) == (MAX_FIELDS, True)


def test_encoded_words_of_the_subject_are_decoded() -> None:
    assert subject(scan(b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an =?iso-8859-1?B?5GxsZQ==?=\r\n")) == "Grüße an älle"


def test_white_space_between_two_encoded_words_is_not_shown() -> None:
    """RFC 2047 section 6.2."""
    assert subject(scan(b"Subject: =?us-ascii?q?a?=\r\n =?us-ascii?q?b?= =?utf-8?q?c?= d\r\n")) == "abc d"


def test_a_character_split_over_two_words_is_put_together() -> None:
    assert subject(scan(b"Subject: =?utf-8?b?w7w=?= =?utf-8?q?=C3?= =?utf-8?q?=A4?=\r\n")) == "üä"


@pytest.mark.parametrize(
    "raw",
    [b"=?rot13?q?uryyb?=", b"=?punycode?q?bcher-kva?=", b"=?utf-8?x?a?=", b"=?utf-8?b?A?=", b"=?utf-8?q?a b?="],
)
def test_a_word_that_cannot_be_decoded_is_shown_as_it_is(raw: bytes) -> None:
    assert subject(scan(b"Subject: " + raw + b"\r\n")) == raw.decode()


def test_a_subject_cannot_write_to_a_terminal_whichever_way_it_is_written() -> None:
    shown = subject(scan(b"Subject: \x1b[2J =?utf-8?q?=1B[31m=0D=0AX?= =?utf-8?b?4oCu?= \xe9\r\n"))
    assert shown.isprintable()


def test_a_message_without_a_subject_has_an_empty_one() -> None:
    assert subject(scan(b"From: a@example.org\r\n\r\n")) == ""


HEADER_LIKE = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"From", b"Subject", b"a@b", b"\xef\xbb\xbf", b"\xff"])
    | st.sampled_from([b"=?utf-8?q?", b"=?utf-8?b?", b"?=", b"=C3"])
    | st.binary(max_size=6)
).map(b"".join)


@given(HEADER_LIKE)
def test_the_scan_is_total_and_stays_within_the_message(message: bytes) -> None:
    header = scan(message)
    assert 0 <= header.body <= len(message)
    assert all(field.start < field.end <= header.body for field in header.fields)
    assert subject(header).isprintable()
    assert message_id(header).isprintable()
    assert len(message_id(header)) <= 200


@given(HEADER_LIKE)
def test_no_value_has_a_line_end_of_the_text_it_came_from(message: bytes) -> None:
    assert not any(b"\n" in field.value for field in scan(message).fields)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"<1@example.org>", "1@example.org"),
        (b"  <1@example.org>  ", "1@example.org"),
        (b"\n <1@example.org>", "1@example.org"),
        (b"(made by hand) <1@example.org> (and so on)", "1@example.org"),
        (b"1@example.org", "1@example.org"),
        (b"<1@example.org", "1@example.org"),
        (b"<>", "<>"),
        (b"", ""),
        (b"<a\x1b[2J\xff@b>", "a\\x1b[2J\\xff@b"),
        (b"<" + b"x" * 300 + b">", "x" * 197 + "..."),
    ],
)
def test_a_message_id_is_what_stands_in_its_brackets(value: bytes, found: str) -> None:
    """RFC 5322 section 3.6.4; senders leave them out."""
    assert message_id(scan(b"Message-Id: " + value + b"\n\n")) == found


def test_a_message_without_a_message_id_has_an_empty_one() -> None:
    assert message_id(scan(b"Subject: x\n\n")) == ""


def test_of_two_message_ids_the_upper_one_counts() -> None:
    assert message_id(scan(b"Message-ID: <1@a>\nMessage-ID: <2@a>\n\n")) == "1@a"


@pytest.mark.parametrize(
    "unit",
    [
        b"\r",
        b"\n ",
        b"a\n",
        b"a",
        b"a:",
        b" ",
        b"\r\r\n ",
        b"From:\r",
        b"From ",
        b"=?utf-8?q?a",
        b"Subject: =?utf-8?q?a?=\n ",
    ],
)
def test_hostile_headers_take_linear_time(unit: bytes) -> None:
    """At the bound a quadratic scan would take many minutes."""
    message = b"Subject: " + unit * (2 * MAX_HEADER_OCTETS // len(unit))
    started = perf_counter()
    subject(scan(message))
    subject(scan(message[9:]))
    assert perf_counter() - started < 5
