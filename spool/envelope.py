"""The values that travel with a message.

**Invariants:** a `Uidl` keeps the provider's octets exactly, whatever they are, and shows itself only in a reversible
encoding of printable ASCII; the null reverse-path is the empty string, "not known yet" is None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote_from_bytes, unquote_to_bytes

from spool.queue_id import QueueId

# RFC 1939 section 7: a unique-id is made of 0x21 to 0x7E; "%" must go for the encoding to be reversible.
_PLAIN = bytes(octet for octet in range(0x21, 0x7F) if octet != 0x25).decode("ascii")
_REASON = re.compile(r"([a-z]+): (?:(\d{3})(?: |$))?(?:(\d\.\d{1,3}\.\d{1,3})(?: |$))?(.*)", re.DOTALL)


class Uidl(bytes):
    """A unique-id as the server gave it (RFC 1939 section 7); empty where the server has none."""

    __slots__ = ()

    @property
    def octets(self) -> bytes:
        """What the server gave, and nothing but octets."""
        return bytes(self)

    @property
    def encoded(self) -> str:
        """The reversible form for headers, rows and people: all but 0x21 to 0x7E, and `%`, as %XX."""
        return quote_from_bytes(self, safe=_PLAIN)

    @classmethod
    def parse(cls, text: str) -> Uidl:
        """Undo `encoded`; total on any text."""
        return cls(unquote_to_bytes(text))


NO_UIDL = Uidl(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What identifies the bytes of a message.

    `sha256` is of the bytes exactly as received (I2). `identity` leaves out the header fields that servers rewrite
    between sessions (I4), and `header` is the same of the header alone, as `TOP n 0` shows it. All 32 octets.
    """

    octets: int
    sha256: bytes
    identity: bytes
    header: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a message is where it is, in the words of whoever decided; `text` is safe, one line.

    `stage` is the stage that decided; `code` and `enhanced` are the server's (RFC 5321, RFC 3463), None where the
    verdict is ours.
    """

    stage: str
    code: int | None = None
    enhanced: str | None = None
    text: str = ""

    def __str__(self) -> str:
        """One line such as `submit: 550 5.7.1 refused as spam`."""
        said = [str(self.code or ""), self.enhanced or "", self.text]
        return f"{self.stage}: {' '.join(part for part in said if part)}"

    @classmethod
    def parse(cls, line: str) -> Reason:
        """Undo `str()`; a line in another form becomes the text of an unknown stage."""
        match = _REASON.fullmatch(line)
        if not match:
            return cls(stage="unknown", text=line)
        stage, code, enhanced, text = match.groups()
        return cls(stage=stage, code=int(code) if code else None, enhanced=enhanced, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the relay must offer or bear for this message to pass unchanged (RFC 6152, RFC 6531).

    `overlong_line_octets` is the length of its longest line where that is more than RFC 5322 section 2.1.1 allows, 998,
    else 0.
    """

    eightbit: bool = False
    smtputf8: bool = False
    overlong_line_octets: int = 0
    has_nul: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a message came from: what its block in the spool says.

    `account` and `uidl` are empty for a message that never was at a provider; `copy` counts equal messages of one
    listing from 1.
    """

    queue_id: QueueId
    account: str
    uidl: Uidl
    peer: str
    fetched_at: datetime
    copy: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record lies in its file; `offset` is that of its block."""

    offset: int
    block_octets: int
    octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message whose bytes are here and whose custody is asked for.

    `content` is a `Place` when the bytes are already durable in a large file that `spool.segments.LargeWriter`
    finished. `sender` and `recipients` are given only by pickup, `replays` names the Badmail message that this one
    replaces; `objection` sends the message to Badmail at its first look; `round` is that of the comparison by content
    under which it was found new (`spool.ledger`).
    """

    origin: Origin
    digest: Digest
    content: bytes | Place
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    objection: Reason | None = None
    replays: QueueId | None = None
    round: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Custody taken: the bytes are synced and the row is committed. Who holds none must not send `DELE` (I1).

    `is_new` is False where the ledger shows that this very message was admitted before.
    """

    queue_id: QueueId
    is_new: bool
