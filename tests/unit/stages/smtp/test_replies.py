"""Replies become values, and what cannot be read is left out, not guessed."""

import pytest

from stages.smtp.replies import Extensions, Reply, parse_extensions, parse_reply


def reply(*lines: bytes, code: int = 250) -> Reply:
    return parse_reply(code, lines)


@pytest.mark.parametrize(
    ("line", "enhanced", "text"),
    [
        (b"5.1.1 no such user", "5.1.1", "no such user"),
        (b"4.123.456  text", "4.123.456", "text"),
        (b"5.7.1", "5.7.1", ""),
        (b"5.7.1: text", None, "5.7.1: text"),
        (b"3.1.1 text", None, "3.1.1 text"),
        (b"5.1 text", None, "5.1 text"),
        (b"5.1.1234 text", None, "5.1.1234 text"),
        (b"10.5.1.1 is banned", None, "10.5.1.1 is banned"),
        (b"5.1.1.1 is banned", None, "5.1.1.1 is banned"),
        (b"", None, ""),
    ],
)
def test_an_enhanced_code_is_read_where_it_is_one(line: bytes, enhanced: str | None, text: str) -> None:
    """RFC 3463 section 2; addresses and versions look alike."""
    assert (reply(line).enhanced, reply(line).text) == (enhanced, text)


def test_the_text_of_several_lines_is_one_line_without_repeated_codes() -> None:
    """RFC 2034 section 4: the code stands on each line."""
    assert reply(b"5.7.1 your message", b"5.7.1 is spam", b" ", code=550).text == "your message is spam"


def test_the_text_cannot_steer_a_terminal() -> None:
    assert reply(b"\x1b]0;gotcha\x07").text == "\\x1b]0;gotcha\\x07"


def test_the_text_is_bounded() -> None:
    assert len(reply(b"x" * 8000).text) == 400


def test_a_reply_shows_itself_on_one_line() -> None:
    assert str(reply(b"5.7.1 no", b"5.7.1 way", code=550)) == "550 5.7.1 no way"


def test_extensions_are_read_in_any_case() -> None:
    offered = parse_extensions(
        reply(b"relay", b"size 35882577", b"PipeLining", b"8BITMIME", b"SMTPUTF8", b"STARTTLS", b"AUTH login PLAIN")
    )
    assert offered == Extensions(
        size=35882577,
        size_offered=True,
        pipelining=True,
        eightbitmime=True,
        smtputf8=True,
        starttls=True,
        auth=frozenset({"LOGIN", "PLAIN"}),
    )


@pytest.mark.parametrize("line", [b"SIZE", b"SIZE 0", b"SIZE x", b"SIZE -1", b"SIZE 123456789012345678901"])
def test_a_size_that_tells_no_limit_is_none(line: bytes) -> None:
    """RFC 1870 section 3: 0 says that there is no fixed limit."""
    offered = parse_extensions(reply(b"relay", line))
    assert (offered.size, offered.size_offered) == (None, True)


def test_the_first_line_is_a_name_and_no_extension() -> None:
    assert parse_extensions(reply(b"PIPELINING")) == Extensions()


def test_unknown_and_unreadable_lines_are_passed_over() -> None:
    assert parse_extensions(reply(b"relay", b"X-WHATEVER", b"", b"\xff\xfe", b"PIPELINING")).pipelining


def test_auth_is_read_in_its_older_form_too() -> None:
    assert parse_extensions(reply(b"relay", b"AUTH=LOGIN", b"AUTH PLAIN")).auth == {"LOGIN", "PLAIN"}
