"""The commands of RFC 1939 and its extensions, each with what its positive reply brings along.

**Invariants:** a command is one line; a secret in it is marked, and neither `repr` nor `shown` contains it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from stages.errors import OurBug

MAX_CAPA_LINES = 1_000
MAX_LISTING_LINES = 1_000_000
_MASK = b"***"


class Follow(Enum):
    """What comes behind the +OK line."""

    NOTHING = "nothing"
    LISTING = "listing"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command line, without its CRLF. A listing of more than `max_lines` lines breaks the protocol."""

    line: bytes = field(repr=False)
    follow: Follow = Follow.NOTHING
    max_lines: int = 0
    secret: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if any(octet in self.line for octet in b"\r\n\0"):
            raise OurBug(f"a POP3 command of more than one line: {self.masked(self.line)!r}")

    @property
    def shown(self) -> str:
        """The command as a log may show it."""
        return self.masked(self.line).decode("ascii", errors="backslashreplace")

    def masked(self, text: bytes) -> bytes:
        """Return `text`, ours or the server's echo, without this command's secret."""
        return text.replace(self.secret, _MASK) if self.secret else text


GREETING = Command(line=b"")  # stands for the connection itself, whose "reply" is the greeting
CAPA = Command(line=b"CAPA", follow=Follow.LISTING, max_lines=MAX_CAPA_LINES)
STLS = Command(line=b"STLS")
STAT = Command(line=b"STAT")
LIST = Command(line=b"LIST", follow=Follow.LISTING, max_lines=MAX_LISTING_LINES)
UIDL = Command(line=b"UIDL", follow=Follow.LISTING, max_lines=MAX_LISTING_LINES)
NOOP = Command(line=b"NOOP")
QUIT = Command(line=b"QUIT")


def user(name: bytes) -> Command:
    """RFC 1939 section 7: the first half of a login."""
    return Command(line=b"USER " + name)


def password(secret: bytes) -> Command:
    """RFC 1939 section 7: the second half of a login (PASS)."""
    return Command(line=b"PASS " + secret, secret=secret)


def apop(name: bytes, digest: bytes) -> Command:
    """RFC 1939 section 7: a login without the password in clear."""
    return Command(line=b"APOP " + name + b" " + digest, secret=digest)


def list_of(number: int) -> Command:
    """LIST of one message: one line."""
    return Command(line=b"LIST %d" % number)


def uidl_of(number: int) -> Command:
    """UIDL of one message: one line."""
    return Command(line=b"UIDL %d" % number)


def top(number: int) -> Command:
    """The header of a message, with no line of its body."""
    return Command(line=b"TOP %d 0" % number, follow=Follow.MESSAGE)


def retr(number: int) -> Command:
    """The whole message."""
    return Command(line=b"RETR %d" % number, follow=Follow.MESSAGE)


def dele(number: int) -> Command:
    """Mark a message as deleted; QUIT makes it a fact (RFC 1939 section 6)."""
    return Command(line=b"DELE %d" % number)
