"""Commands are one line and keep their secrets."""

from __future__ import annotations

import pytest

from stages.errors import OurBug
from stages.pop3 import commands


@pytest.mark.parametrize("octet", [b"\r", b"\n", b"\0"])
def test_a_command_of_two_lines_cannot_be_made(octet: bytes) -> None:
    """A second line would be a command of somebody else's choosing."""
    with pytest.raises(OurBug):
        commands.user(b"alice" + octet + b"DELE 1")


def test_a_password_is_not_shown() -> None:
    command = commands.password(b"hunter2")
    assert command.shown == "PASS ***"
    assert "hunter2" not in repr(command)


def test_an_apop_digest_is_not_shown() -> None:
    """Whoever has it can look for the password at leisure."""
    assert commands.apop(b"alice", b"0123abcd").shown == "APOP alice ***"


def test_a_name_beyond_ascii_is_shown_escaped() -> None:
    assert commands.user("ä".encode()).shown == r"USER \xc3\xa4"


def test_an_initial_response_is_not_shown() -> None:
    command = commands.auth_at_once("PLAIN", b"AGEAYg==", secrets=(b"b",))
    assert command is not None
    assert command.line == b"AUTH PLAIN AGEAYg=="
    assert command.shown == "AUTH PLAIN ***"
    assert "AGEAYg" not in repr(command)


def test_an_empty_initial_response_is_an_equals_sign() -> None:
    """RFC 5034 section 4."""
    command = commands.auth_at_once("X", b"", secrets=())
    assert command is not None
    assert command.line == b"AUTH X ="


def test_an_initial_response_fits_into_255_octets_or_is_not_sent() -> None:
    """RFC 5034 section 4; the line end counts."""
    fits = 255 - len(b"AUTH XOAUTH2 \r\n")
    assert commands.auth_at_once("XOAUTH2", b"A" * fits, secrets=()) is not None
    assert commands.auth_at_once("XOAUTH2", b"A" * (fits + 1), secrets=()) is None


@pytest.mark.parametrize("secret", ["PASS", "A", "PLAIN", "alice", "***", "AUTH"])
def test_a_secret_that_is_a_word_of_its_command_does_not_show_by_what_is_missing(secret: str) -> None:
    """Who sends a secret says which line to show; it is not sought in the line."""
    octets = secret.encode()
    at_once = commands.auth_at_once("PLAIN", octets, secrets=(octets,))
    assert at_once is not None
    assert commands.password(octets).shown == "PASS ***"
    assert commands.apop(b"alice", octets).shown == "APOP alice ***"
    assert commands.auth("PLAIN", secrets=(octets,)).shown == "AUTH PLAIN"
    assert at_once.shown == "AUTH PLAIN ***"
    assert commands.response(octets, secrets=(octets,)).shown == "***"
