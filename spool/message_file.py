"""The message-file format: a block of injected X-headers, then the message exactly as the provider sent it.

The format of Exchange's Replay directory, so that a Badmail file can be dropped into Pickup as it is:

    X-Sender: <alice@example.org>
    X-Receiver: <sales@corp.example>
    X-CreatedBy: POP3Connector
    X-POP3Connector-Queue-Id: 01j0e5v3xk7m2q9r4s
    X-EndOfInjectedXHeaders: 118
    <the message, byte for byte>

**Invariants:** what `parse_block` calls the message is what `block` was put in front of, byte for byte; a value can add
no line; parsing is total and looks at 64 KiB at most. The block says nothing about who wrote it: a sender can write one
too, so only the spool's own files are believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from spool.envelope import Arrival, Digest, Origin, Reason, Uidl
from spool.queue_id import QueueId

CREATOR = "POP3Connector"
SENDER = "X-Sender"
RECEIVER = "X-Receiver"
CREATED_BY = "X-CreatedBy"
PREFIX = "X-POP3Connector-"
END = "X-EndOfInjectedXHeaders"
MAX_BLOCK_OCTETS = 64 * 1024
MAX_HEADER_OCTETS = 256 * 1024
_END_PREFIX = END.lower().encode("ascii") + b":"
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")
# Servers rewrite these between sessions, and a read mark must not make old mail new.
_VOLATILE = (b"status:", b"x-status:", b"x-keywords:", b"x-uidl:")


@dataclass(frozen=True, slots=True)
class Block:
    """A parsed block; `end` is the offset at which the message begins."""

    fields: tuple[tuple[str, str], ...]
    end: int

    def get(self, name: str) -> str | None:
        """The first value of a field, None where it is absent; names are compared case-blind."""
        return next(self.all(name), None)

    def all(self, name: str) -> Iterator[str]:
        """All values of a field, in order."""
        wanted = name.lower()
        return (value for key, value in self.fields if key.lower() == wanted)


def block(fields: Iterable[tuple[str, str]]) -> bytes:
    """Write a block; control characters in a value are replaced, so that no value can end its line."""
    lines = "".join(f"{name}: {_one_line(value)}\r\n" for name, value in fields).encode("utf-8", "replace")
    return b"%s%s: %d\r\n" % (lines, END.encode("ascii"), len(lines))


def parse_block(data: bytes) -> Block | None:
    """Read the block at the start of `data`; None where there is none. CRLF and LF line ends are both taken."""
    fields: list[tuple[str, str]] = []
    start = 0
    while True:
        end = data.find(b"\n", start, MAX_BLOCK_OCTETS)
        line = data[start:end].rstrip(b"\r")
        if end < 0 or line[:2].lower() != b"x-":
            return None
        name, colon, value = line.partition(b":")
        if not colon:
            return None
        start = end + 1
        if line[: len(_END_PREFIX)].lower() == _END_PREFIX:
            return Block(tuple(fields), start)
        fields.append((name.decode("ascii", "replace").rstrip(), value.strip(b" \t").decode("utf-8", "replace")))


def origin_fields(origin: Origin, *, octets: int, sha256: bytes) -> list[tuple[str, str]]:
    """What is known of a message when it arrives, as fields of its block."""
    fields = [
        (CREATED_BY, CREATOR),
        (PREFIX + "Queue-Id", origin.queue_id),
        (PREFIX + "Account", quote(origin.account, safe=_PRINTABLE)),
        (PREFIX + "UIDL", origin.uidl.encoded),
        (PREFIX + "Peer", origin.peer),
        (PREFIX + "Fetched-At", timestamp(origin.fetched_at)),
        # Of fixed width: a large message learns its length and hash when the block is written already.
        (PREFIX + "Octets", f"{octets:015d}"),
        (PREFIX + "SHA256", sha256.hex()),
    ]
    if origin.copy > 1:
        fields.append((PREFIX + "Copy", str(origin.copy)))
    return fields


def envelope_fields(sender: str | None, recipients: Sequence[str]) -> list[tuple[str, str]]:
    """The envelope as X-Sender and X-Receiver lines; a sender that is not known yet has no line."""
    sender_field = [] if sender is None else [(SENDER, f"<{sender}>")]
    return [*sender_field, *((RECEIVER, f"<{recipient}>") for recipient in recipients)]


def arrival_fields(arrival: Arrival) -> list[tuple[str, str]]:
    """The whole block of a message that is being admitted."""
    known = arrival.digest
    return custody_fields(
        arrival.origin,
        octets=known.octets,
        sha256=known.sha256,
        sender=arrival.sender,
        recipients=arrival.recipients,
        objection=arrival.objection,
    )


def custody_fields(
    origin: Origin,
    *,
    octets: int,
    sha256: bytes,
    sender: str | None = None,
    recipients: Sequence[str] = (),
    objection: Reason | None = None,
) -> list[tuple[str, str]]:
    """The same of a message whose length and hash may not be known yet."""
    return [
        *envelope_fields(sender, recipients),
        *origin_fields(origin, octets=octets, sha256=sha256),
        *([(PREFIX + "Objection", str(objection))] if objection else []),
    ]


def parse_envelope(found: Block) -> tuple[str | None, tuple[str, ...]]:
    """The reverse-path and the recipients that a block of our own names; ("" is the null path, None is no path)."""
    sender = found.get(SENDER)
    return (
        None if sender is None else sender.removeprefix("<").removesuffix(">"),
        tuple(value.removeprefix("<").removesuffix(">") for value in found.all(RECEIVER)),
    )


def parse_origin(found: Block) -> tuple[Origin, int, bytes] | None:
    """Read back what `origin_fields` wrote: origin, octets, SHA-256; None where the block is not one of ours."""
    try:
        origin = Origin(
            queue_id=QueueId(found.get(PREFIX + "Queue-Id") or ""),
            account=unquote(found.get(PREFIX + "Account") or ""),
            uidl=Uidl.parse(found.get(PREFIX + "UIDL") or ""),
            peer=found.get(PREFIX + "Peer") or "",
            fetched_at=parse_timestamp(found.get(PREFIX + "Fetched-At") or ""),
            copy=int(found.get(PREFIX + "Copy") or 1),
        )
        octets = int(found.get(PREFIX + "Octets") or "")
        sha256 = bytes.fromhex(found.get(PREFIX + "SHA256") or "")
    except ValueError:
        return None
    return origin, octets, sha256


def parse_objection(found: Block) -> Reason | None:
    """The objection that fetch or pickup noted, if any."""
    line = found.get(PREFIX + "Objection")
    return Reason.parse(line) if line else None


class Digester:
    """Digest a message as it arrives, chunk by chunk; memory is bounded by the header's bound."""

    def __init__(self) -> None:
        self._octets = 0
        self._exact = hashlib.sha256()
        self._identity = hashlib.sha256()
        self._header: bytearray | None = bytearray()
        self._header_digest = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the message."""
        self._octets += len(chunk)
        self._exact.update(chunk)
        if self._header is None:
            self._identity.update(chunk)
            return
        searched = max(0, len(self._header) - 3)
        self._header += chunk
        end = _header_end(self._header, searched)
        if end or len(self._header) >= MAX_HEADER_OCTETS:
            self._end_header(min(end or MAX_HEADER_OCTETS, MAX_HEADER_OCTETS))

    def result(self) -> Digest:
        """The digest of all that was fed; nothing can be fed after it."""
        if self._header is not None:
            self._end_header(len(self._header))
        return Digest(
            octets=self._octets,
            sha256=self._exact.digest(),
            identity=self._identity.digest(),
            header=self._header_digest,
        )

    def _end_header(self, end: int) -> None:
        held = bytes(self._header or b"")
        self._header = None
        stable = _without_volatile(held[:end])
        self._header_digest = _header_hash(stable)
        self._identity.update(stable)
        self._identity.update(held[end:])


def digest(message: bytes) -> Digest:
    """Digest a whole message."""
    exact = hashlib.sha256(message).digest()
    end = _header_end(message[:MAX_HEADER_OCTETS], 0) or MAX_HEADER_OCTETS
    header = message[:end]
    stable = _without_volatile(header)
    same = len(stable) == len(header)
    identity = exact if same else hashlib.sha256(stable + message[end:]).digest()
    return Digest(octets=len(message), sha256=exact, identity=identity, header=_header_hash(stable))


def header_digest(header: bytes) -> bytes:
    """Digest what `TOP n 0` showed, comparable with `Digest.header`."""
    return digest(header).header


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> datetime:
    """Undo `timestamp`; raises ValueError."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _one_line(value: str) -> str:
    return (
        value if value.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    )


def _header_end(data: bytes | bytearray, start: int) -> int:
    """The offset behind the empty line that ends the header, 0 where there is none yet."""
    if data.startswith(b"\r\n"):
        return 2
    found = data.find(b"\r\n\r\n", start)
    return found + 4 if found >= 0 else 0


def _header_hash(stable: bytes) -> bytes:
    # Servers differ in whether TOP ends with the empty line: it is no part of the hash.
    return hashlib.sha256(stable.rstrip(b"\r\n")).digest()


def _without_volatile(header: bytes) -> bytes:
    lowered = header.lower()
    if not any(lowered.startswith(name) or b"\n" + name in lowered for name in _VOLATILE):
        return header
    kept: list[bytes] = []
    dropping = False
    for line in header.split(b"\n"):
        if line[:1] not in (b" ", b"\t"):
            dropping = line[:11].lower().startswith(_VOLATILE)
        if not dropping:
            kept.append(line)
    return b"\n".join(kept)
