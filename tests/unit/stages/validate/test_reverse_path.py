"""The reverse-path: which header decides, how it is repaired, and what cannot be repaired."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.mail.headers import MAX_FIELDS, MAX_HEADER_OCTETS, scan
from stages.validate.reverse_path import ReversePath, Unusable, derive


def path(*fields: bytes) -> str:
    """The reverse-path of a header with these fields, `refused` where there is none."""
    found = derive(scan(b"".join(field + b"\r\n" for field in fields) + b"\r\n"), "corp.example")
    return found.address if isinstance(found, ReversePath) else "refused"


def unusable(*fields: bytes) -> Unusable:
    found = derive(scan(b"".join(field + b"\r\n" for field in fields) + b"\r\n"), "corp.example")
    assert isinstance(found, Unusable)
    return found


RETURN_PATH = b"Return-Path: <bounce@example.org>"
SENDER = b"Sender: Office <office@example.org>"
FROM = b"From: Ann <ann@example.org>, Bob <bob@example.org>"


def test_the_return_path_comes_before_all_others() -> None:
    assert path(FROM, SENDER, RETURN_PATH) == "bounce@example.org"


def test_the_sender_comes_before_the_author() -> None:
    """RFC 5322 section 3.6.2: the Sender is who sent it."""
    assert path(FROM, SENDER) == "office@example.org"


def test_the_first_author_is_the_last_resort() -> None:
    assert path(FROM) == "ann@example.org"


def test_of_several_return_paths_the_topmost_counts() -> None:
    """RFC 5321 section 4.4: each final delivery puts its own on top."""
    assert path(RETURN_PATH, b"Return-Path: <older@example.org>") == "bounce@example.org"


@pytest.mark.parametrize("name", [b"Reply-To", b"Errors-To", b"X-Return-Path", b"Return-Path-X", b"Resent-From"])
def test_no_other_field_is_asked(name: bytes) -> None:
    assert path(name + b": <other@example.org>") == "refused"


@pytest.mark.parametrize("value", [b"<>", b" < > ", b"(bounce) <(none)> (x)"])
def test_the_null_path_is_kept(value: bytes) -> None:
    """RFC 5321 section 4.5.5: a bounce must not be bounced."""
    assert path(b"Return-Path:" + value, FROM) == ""


def test_a_null_path_on_top_is_not_replaced_by_an_older_one() -> None:
    assert path(b"Return-Path: <>", RETURN_PATH, FROM) == ""


@pytest.mark.parametrize("field", [b"From: <>", b"Sender: <>"])
def test_only_a_return_path_can_be_null(field: bytes) -> None:
    """RFC 5322 section 3.4: an author is a mailbox."""
    assert path(field) == "refused"


@pytest.mark.parametrize("value", [b"<MAILER-DAEMON>", b"<Mailer-Daemon>", b"MAILER-DAEMON (Mail System)"])
def test_a_bare_mailer_daemon_is_the_null_path(value: bytes) -> None:
    """Old MTAs write it so; completed by our domain, a bounce would be answered."""
    assert path(b"Return-Path: " + value) == ""


@pytest.mark.parametrize(
    ("field", "address"),
    [
        (b"Return-Path: <MAILER-DAEMON@example.org>", "MAILER-DAEMON@example.org"),
        (b"Return-Path: <MAILER-DAEMON@corp.example>", "MAILER-DAEMON@corp.example"),
        (b"From: MAILER-DAEMON", "MAILER-DAEMON@corp.example"),
    ],
)
def test_a_mailer_daemon_with_a_domain_or_as_an_author_is_an_address(field: bytes, address: str) -> None:
    assert path(field) == address


@pytest.mark.parametrize(
    ("field", "address"),
    [
        (b"Return-Path: bounce@example.org", "bounce@example.org"),
        (b"Return-Path: <@a.example,@b.example:bounce@example.org>", "bounce@example.org"),
        (b"Return-Path: (x) <\r\n bounce@example.org > (y)", "bounce@example.org"),
        (b"Return-Path: bounce", "bounce@corp.example"),
        (b"From: Ann <ann>", "ann@corp.example"),
        (b'Return-Path: <"ann other">', '"ann other"@corp.example'),
        (b'Return-Path: <"a\r\n RCPT TO:b"@example.org>', '"a RCPT TO:b"@example.org'),
    ],
)
def test_what_is_meant_without_doubt_is_repaired(field: bytes, address: str) -> None:
    assert path(field) == address


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"(none)",
        b"no address here",
        b"<@example.org>",
        b'<"">',
        b"<bounce@example..org>",
        b"<a\x00b@example.org>",
        b"<bounce@example.org>\rRCPT TO:<x@example.net>",
        b"<bounce\r@example.org>",
        b"<bounce@example.org> SIZE=1",
    ],
)
def test_a_return_path_that_is_there_but_unusable_is_not_passed_over(value: bytes) -> None:
    """Its envelope is broken: a person decides, not the next header."""
    assert path(b"Return-Path: " + value, SENDER, FROM) == "refused"


def test_the_reason_names_the_header_and_what_is_wrong() -> None:
    assert unusable(b"Sender: Ann Other", FROM) == Unusable(
        reason="unusable Sender: the local part is not words joined by single dots", header="Sender: Ann Other"
    )


def test_a_header_without_any_of_the_three_says_so() -> None:
    assert unusable(b"To: ann@example.org") == Unusable(reason="no Return-Path, Sender or From")


def test_a_header_that_was_cut_short_says_how_much_was_read() -> None:
    assert "in the first" in unusable(*[b"Received: x"] * 2_001, FROM).reason


def test_the_header_is_quoted_safely() -> None:
    """It is shown to operators: on terminals, in logs, on pages."""
    quoted = unusable(b"Return-Path: \x1b[31m\r\n <a\x00b\xe2\x80\xae" + b"x" * 1000).header
    assert quoted.isprintable()
    assert len(quoted) <= 200


@pytest.mark.parametrize(("value", "needs"), [("<josé@example.org>", True), ("<ann>", False), ("<>", False)])
def test_smtputf8_is_required_for_a_path_that_is_not_ascii(value: str, needs: bool) -> None:
    """RFC 6531 section 3.4."""
    found = derive(scan(f"Return-Path: {value}\r\n\r\n".encode()), "corp.example")
    assert isinstance(found, ReversePath)
    assert found.needs_smtputf8 is needs


def test_the_body_is_not_asked() -> None:
    """RFC 5322 section 2.1."""
    message = b"From: ann@example.org\r\n\r\nReturn-Path: <other@example.org>\r\n"
    assert derive(scan(message), "corp.example") == ReversePath("ann@example.org")


def found_in(message: bytes) -> ReversePath | Unusable:
    return derive(scan(message), "corp.example")


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n", b"\r"], ids=["crlf", "lf", "cr-cr-lf", "cr"])
@pytest.mark.parametrize(
    "top",
    [b"", b"\xef\xbb\xbf", b"From x@example.net Thu Jan  1 00:00:00 2026%E", b">From x@example.net%E", b"  %E"],
    ids=["nothing", "bom", "mbox", "quoted mbox", "blank line"],
)
def test_whatever_stands_on_top_and_however_lines_end_the_path_is_found(top: bytes, end: bytes) -> None:
    """What mail programs and servers do to a message on its way to a maildrop is no fault of its envelope."""
    message = top + b"Return-Path: <bounce@example.org>%ESubject: x%E%Ebody%E"
    assert found_in(message.replace(b"%E", end)) == ReversePath("bounce@example.org")


@pytest.mark.parametrize(
    "junk", [b"no field at all", b"<html>", b"--boundary", b": no name", b"\x00\x01", b"Na\xefve: x"]
)
def test_junk_lines_among_the_fields_hide_none(junk: bytes) -> None:
    assert path(b"Subject: x", junk, RETURN_PATH) == "bounce@example.org"


@pytest.mark.parametrize("message", [b"", b"\r\n", b"just text", b"\r\nFrom: ann@example.org\r\n", b"\0\0\0"])
def test_a_message_without_a_header_has_no_path(message: bytes) -> None:
    """What its body says is nobody's envelope."""
    assert found_in(message) == Unusable(reason="no Return-Path, Sender or From")


@pytest.mark.parametrize(
    ("octets", "fields", "expected"),
    [
        (MAX_HEADER_OCTETS, 1, "ann@example.org"),
        (MAX_HEADER_OCTETS + 2, 1, "refused"),
        (0, MAX_FIELDS - 1, "ann@example.org"),
        (0, MAX_FIELDS, "refused"),
    ],
)
def test_what_stands_behind_256_kib_or_2000_fields_is_not_asked(octets: int, fields: int, expected: str) -> None:
    """Half an address is another address: the field must be whole within the bound, and what follows no part of it."""
    author = b"From: ann@example.org\r\n\r\n"
    name = b"X-Filler: "
    padding = b"x" * max(0, octets - len(author) - len(name) - 2)
    found = found_in(name + padding + b"\r\n" + (name + b"\r\n") * (fields - 1) + author)
    assert (found.address if isinstance(found, ReversePath) else "refused") == expected
    if isinstance(found, Unusable):
        assert found.reason == "no Return-Path, Sender or From in the first 2000 fields and 262144 octets"


@given(st.sampled_from([b"Return-Path:", b"Sender:", b"From:"]), st.binary())
def test_no_header_raises_and_no_path_can_end_a_command(name: bytes, value: bytes) -> None:
    found = derive(scan(name + value + b"\r\n\r\n"), "corp.example")
    if isinstance(found, ReversePath):
        assert not set("\r\n\0") & set(found.address)
    else:
        assert (found.reason + found.header).isprintable()


def fallen_back(*fields: bytes) -> ReversePath | Unusable:
    return derive(scan(b"".join(field + b"\r\n" for field in fields) + b"\r\n"), "corp.example", falls_back=True)


BROKEN = b"Return-Path: <bounce@@example.org>"


def test_where_the_operator_wants_it_an_unusable_header_is_passed_over_for_the_next() -> None:
    found = fallen_back(BROKEN, SENDER, FROM)
    assert isinstance(found, ReversePath)
    assert found.address == "office@example.org"
    assert found.instead_of is not None
    assert found.instead_of.header == "Return-Path: <bounce@@example.org>"


def test_two_unusable_headers_are_passed_over_too() -> None:
    found = fallen_back(BROKEN, b"Sender: nobody at all", FROM)
    assert isinstance(found, ReversePath)
    assert found.address == "ann@example.org"


def test_where_no_header_is_usable_the_first_is_to_blame() -> None:
    found = fallen_back(BROKEN, b"Sender: nobody at all")
    assert isinstance(found, Unusable)
    assert found.header == "Return-Path: <bounce@@example.org>"


def test_a_usable_header_is_never_passed_over() -> None:
    """Least of all the null path."""
    for fields, address in (([RETURN_PATH, SENDER], "bounce@example.org"), ([b"Return-Path: <>", SENDER], "")):
        assert fallen_back(*fields) == ReversePath(address)
