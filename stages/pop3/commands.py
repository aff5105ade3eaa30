"""The commands of RFC 1939 and its extensions, each with what its positive reply brings along.

**Invariants:** a command is one line; the secrets in it are marked, and neither `repr` nor `shown` contains them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from stages.errors import OurBug

MAX_CAPA_LINES = 1_000
MAX_LISTING_LINES = 1_000_000
MAX_LISTING_OCTETS = 64 * 1024 * 1024
MASK = b"***"
CANCEL = b"*"  # RFC 5034 section 4: in place of a response
_MAX_AUTH_OCTETS = 255  # RFC 5034 section 4: the whole line of an AUTH with an initial response


class Follow(Enum):
    """What comes behind the +OK line."""

    NOTHING = "nothing"
    LISTING = "listing"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command line, without its CRLF. A listing of more than `max_lines` lines, or of more
    than `MAX_LISTING_OCTETS`, breaks the protocol.

    `takes_challenges`: before its reply the server may send lines that want a response (RFC 5034). `public` is the form
    that a log may show, where the line itself holds a secret; `secrets` are what no reply may show.
    """

    line: bytes = field(repr=False)
    follow: Follow = Follow.NOTHING
    max_lines: int = 0
    takes_challenges: bool = False
    public: bytes | None = None
    secrets: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if any(octet in self.line for octet in b"\r\n\0"):
            raise OurBug(f"a POP3 command of more than one line: {self.shown!r}")

    @property
    def shown(self) -> str:
        """The command as a log may show it."""
        shown = self.line if self.public is None else self.public
        return shown.decode("ascii", errors="backslashreplace")


def masked(text: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return `text` without any of the secrets, whatever they have in common."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


GREETING = Command(line=b"")  # stands for the connection itself, whose "reply" is the greeting
CAPA = Command(line=b"CAPA", follow=Follow.LISTING, max_lines=MAX_CAPA_LINES)
STLS = Command(line=b"STLS")
STAT = Command(line=b"STAT")
LIST = Command(line=b"LIST", follow=Follow.LISTING, max_lines=MAX_LISTING_LINES)
UIDL = Command(line=b"UIDL", follow=Follow.LISTING, max_lines=MAX_LISTING_LINES)
UTF8 = Command(line=b"UTF8")
NOOP = Command(line=b"NOOP")
QUIT = Command(line=b"QUIT")


def user(name: bytes) -> Command:
    """RFC 1939 section 7: the first half of a login."""
    return Command(line=b"USER " + name)


def password(secret: bytes) -> Command:
    """RFC 1939 section 7: the second half of a login (PASS)."""
    return Command(line=b"PASS " + secret, public=b"PASS " + MASK, secrets=(secret,))


def apop(name: bytes, digest: bytes) -> Command:
    """RFC 1939 section 7: a login without the password in clear."""
    asks = b"APOP " + name + b" "
    return Command(line=asks + digest, public=asks + MASK, secrets=(digest,))


def auth(mechanism: str, *, secrets: tuple[bytes, ...]) -> Command:
    """RFC 5034: a login by SASL, the mechanism alone on the line. `secrets` are what no reply may show."""
    return Command(line=b"AUTH " + mechanism.encode("ascii"), takes_challenges=True, secrets=secrets)


def auth_at_once(mechanism: str, response: bytes, *, secrets: tuple[bytes, ...]) -> Command | None:
    """RFC 5034 section 4: AUTH with an initial response, already encoded; None where that line would be too long."""
    asks = b"AUTH " + mechanism.encode("ascii") + b" "
    line = asks + (response or b"=")
    if len(line) + 2 > _MAX_AUTH_OCTETS:
        return None
    return Command(line=line, public=asks + MASK, takes_challenges=True, secrets=(*secrets, response))


def response(line: bytes, *, secrets: tuple[bytes, ...]) -> Command:
    """A response that stands where a command does: some servers answer a bare AUTH with +OK and go on."""
    return Command(line=line, public=MASK, takes_challenges=True, secrets=(*secrets, line))


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
