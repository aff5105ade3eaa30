"""Read what a POP3 server said: pure functions from the octets of a reply or a listing to a value.

**Invariants:** a figure is taken from digits alone and never guessed. What a server may get wrong without harm is
tolerated (odd unique-ids, sizes that are no sizes); what a decision stands on is not.

**Failures:** `ProtocolViolation` quoting the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from stages.errors import ProtocolViolation

_Value = TypeVar("_Value")

# RFC 2449 section 8: response codes in brackets, levels separated by a slash.
_RESPONSE_CODE = re.compile(rb"\[([\x21-\x5a\x5c\x5e-\x7e]+)\]")
# RFC 822 msg-id, of atoms or with an address literal. Anything wider would let a man in the middle choose MD5 blocks
# that collide (CVE-2007-1558).
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+"
_CHALLENGE = re.compile(rb"<" + _ATOM + rb"@(?:" + _ATOM + rb"|\[[0-9A-Fa-f.:]+\])>")
_MAX_NUMBER_DIGITS = 10
_MAX_OCTETS_DIGITS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What CAPA listed, one tuple of words a line; `was_told` is False where the server does not know CAPA."""

    listed: tuple[tuple[str, ...], ...] = ()
    was_told: bool = False

    def has(self, name: str) -> bool:
        """Whether the capability is listed."""
        return any(words[0] == name for words in self.listed)

    def arguments(self, name: str) -> tuple[str, ...]:
        """Return the words behind the capability's name; of all its lines, where it has several."""
        return tuple(word for words in self.listed if words[0] == name for word in words[1:])

    @property
    def pipelining(self) -> bool:
        """RFC 2449 section 6.6."""
        return self.has("PIPELINING")

    @property
    def uidl(self) -> bool:
        """RFC 2449 section 6.8."""
        return self.has("UIDL")

    @property
    def top(self) -> bool:
        """RFC 2449 section 6.2."""
        return self.has("TOP")

    @property
    def stls(self) -> bool:
        """RFC 2595 section 4."""
        return self.has("STLS")

    @property
    def user(self) -> bool:
        """RFC 2449 section 6.3: USER and PASS are taken in this state, over this transport."""
        return self.has("USER")

    @property
    def sasl(self) -> tuple[str, ...]:
        """RFC 2449 section 6.4: the mechanisms, in upper case."""
        return tuple(word.upper() for word in self.arguments("SASL"))

    @property
    def login_delay_seconds(self) -> int | None:
        """RFC 2449 section 6.5: the least time between two logins."""
        words = self.arguments("LOGIN-DELAY")
        return int(words[0]) if words and words[0].isdecimal() and len(words[0]) <= _MAX_NUMBER_DIGITS else None

    @property
    def expire_days(self) -> int | None:
        """RFC 2449 section 6.7: the least time that messages stay; None: for ever, or not told."""
        words = self.arguments("EXPIRE")
        return int(words[0]) if words and words[0].isdecimal() and len(words[0]) <= _MAX_NUMBER_DIGITS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaildropSize:
    """The answer to STAT; `octets` is None where the server gave no figure."""

    count: int
    octets: int | None


def capabilities(lines: Iterable[bytes]) -> Capabilities:
    """Read the lines of CAPA."""
    decoded = (line.decode("ascii", errors="replace").split() for line in lines)
    return Capabilities(listed=tuple((words[0].upper(), *words[1:]) for words in decoded if words), was_told=True)


def response_code(text: bytes) -> str | None:
    """Return the response code at the beginning of a reply's text, in upper case: `IN-USE`, `SYS/TEMP`, `AUTH`."""
    found = _RESPONSE_CODE.match(text)
    return found[1].decode("ascii").upper() if found else None


def apop_challenge(greeting: bytes) -> bytes | None:
    """Return the challenge in the greeting's text, brackets included; None where there is none or it is no msg-id."""
    found = _CHALLENGE.search(greeting)
    return found[0] if found else None


def maildrop_size(text: bytes) -> MaildropSize:
    """Read the text of the reply to STAT (RFC 1939 section 5)."""
    words = text.split()
    count = _figure(words[0], _MAX_NUMBER_DIGITS) if words else None
    if count is None:
        raise ProtocolViolation("no number of messages in the answer to STAT", text)
    return MaildropSize(count=count, octets=_octets(words[1:]))


def list_item(line: bytes) -> tuple[int, int | None]:
    """Read `number octets`, from a listing or a reply to LIST n. None: the size is not a figure.

    What stands behind the size is ignored (RFC 1939 section 5 discourages it, and servers write it).
    """
    words = line.split()
    return _number(words[0] if words else b"", line), _octets(words[1:])


def uidl_item(line: bytes) -> tuple[int, bytes]:
    """Read `number unique-id`, from a listing or a reply to UIDL n.

    RFC 1939 section 7 allows 1 to 70 octets of 0x21 to 0x7E; servers send longer, emptier and odder ones. They are
    kept as they are, but for white space around them, which a status line loses too.
    """
    number, _, unique_id = line.strip().partition(b" ")
    return _number(number, line), unique_id.strip()


def enter(line: bytes, item: Callable[[bytes], tuple[int, _Value]], *, into: dict[int, _Value]) -> None:
    """Read one line of a listing with `list_item` or `uidl_item`, into what its other lines said.

    A number listed twice must say the same both times: of two answers neither can be believed.
    """
    number, value = item(line)
    if into.setdefault(number, value) != value:
        raise ProtocolViolation(f"message {number} is listed twice, and differently", line)


def _number(word: bytes, line: bytes) -> int:
    number = _figure(word, _MAX_NUMBER_DIGITS)
    if not number:  # RFC 1939 section 4: messages are numbered from 1
        raise ProtocolViolation("no message number in a listing", line)
    return number


def _octets(words: list[bytes]) -> int | None:
    return _figure(words[0], _MAX_OCTETS_DIGITS) if words else None


def _figure(word: bytes, max_digits: int) -> int | None:
    return int(word) if word.isdigit() and len(word) <= max_digits else None
