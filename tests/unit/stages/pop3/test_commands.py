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
