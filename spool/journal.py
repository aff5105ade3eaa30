"""The journal: what became of each message, and ledger entries that must outlive their segment.

One file for each stage and one for the commands; the owner alone appends, under its lock. A line is the CRC-32 of its
JSON text, a blank, the text:

    8a1f03c2 [17, 1767225600000, 3, "submitted", "01j0e5v3xk7m2q9r4s", {"claim": 1, "reply": "250 2.0.0 ok"}]

that is: number, time, the highest segment serial at that time, outcome, queue id, and what else the outcome needs.

**Invariants:** numbers only rise; a line is on disk when `sync` has returned; a torn or damaged line is skipped, the
lines behind it count. A file is rewritten by its owner at start, so that no line rests on pages whose sync failed in an
earlier life.
**Failures:** `OSError` from the disk; after a failed sync the journal refuses all further lines.
"""

from __future__ import annotations

import enum
import json
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spool.disk import Disk
from spool.errors import SpoolFailed


class Outcome(enum.StrEnum):
    """What a line says."""

    HEAD = "head"
    """All lines up to this number were compacted away."""
    DOT = "dot"
    """The final dot of this attempt is about to be sent."""
    RESULT = "result"
    """What the relay answered for each recipient, where it was not a plain acceptance of all."""
    SUBMITTED = "submitted"
    BADMAIL = "badmail"
    MOVED = "moved"
    """Some recipients left for a Badmail message of their own."""
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    HELD = "held"
    RELEASED = "released"
    REQUEUED = "requeued"
    DAMAGED = "damaged"
    LEDGER = "ledger"
    """A UIDL that was had; not about a message of the spool any more."""


EXITS = frozenset({Outcome.SUBMITTED, Outcome.BADMAIL, Outcome.REPLAYED, Outcome.DISCARDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of a journal."""

    number: int
    at: int
    serial: int
    outcome: Outcome
    queue_id: str
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A journal as it was read; `head` is the number up to which lines are gone, `last` the highest number."""

    head: int
    last: int
    lines: tuple[Line, ...]


class Journal:
    """A journal open for appending; `note` may be called from another thread than `sync`."""

    def __init__(self, path: Path, *, disk: Disk, now_ms: Callable[[], int], floor: int = 0) -> None:
        """Open, and rewrite what an earlier owner left; numbers go on above it and above `floor`. Raises OSError."""
        self.path = path
        self.serial = 0
        self._disk = disk
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._failed = False
        self._fd = -1
        contents = read_journal(path)
        self.last = max(contents.last, floor)
        self._rewrite(contents.head, contents.lines)

    def note(self, outcome: Outcome, queue_id: str, *, details: Mapping[str, object]) -> int:
        """Append a line, not yet synced, and return its number; raises OSError."""
        with self._lock:
            if self._failed:
                raise SpoolFailed(f"{self.path.name}: an earlier write or sync failed")
            self.last += 1
            line = Line(
                number=self.last,
                at=self._now_ms(),
                serial=self.serial,
                outcome=outcome,
                queue_id=queue_id,
                details=details,
            )
            self._durably(lambda: self._disk.write(self._fd, _line(line)))
            return line.number

    def sync(self) -> None:
        """Make all lines noted so far durable; raises OSError."""
        if self._failed:
            raise SpoolFailed(f"{self.path.name}: an earlier write or sync failed")
        self._durably(lambda: self._disk.sync_data(self._fd))

    def compact(self, may_go: Callable[[Line], bool]) -> None:
        """Rewrite the file without the lines that may go; raises OSError."""
        with self._lock:
            contents = read_journal(self.path)
            kept = tuple(line for line in contents.lines if not may_go(line))
            if len(kept) < len(contents.lines):
                gone = {line.number for line in contents.lines} - {line.number for line in kept}
                self._durably(lambda: self._rewrite(max(contents.head, *gone), kept))

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def _durably(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError:
            self._failed = True
            raise

    def _rewrite(self, head: int, lines: Iterable[Line]) -> None:
        self.close()
        first = Line(number=head, at=self._now_ms(), serial=0, outcome=Outcome.HEAD, queue_id="", details={})
        self._disk.write_file(self.path, (_line(line) for line in (first, *lines)))
        self._fd = self._disk.open_append(self.path)


def read_journal(path: Path) -> Contents:
    """Read a journal; a missing file is an empty one. Total on any content; raises OSError."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Contents(head=0, last=0, lines=())
    lines: list[Line] = []
    head = 0
    for raw in text.split(b"\n"):
        line = _parse(raw)
        if line is None:
            continue
        if line.outcome is Outcome.HEAD:
            head = max(head, line.number)
        else:
            lines.append(line)
    return Contents(head=head, last=max((head, *(line.number for line in lines))), lines=tuple(lines))


def lines_by_queue_id(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Group lines by the message that they are about, in order."""
    grouped: dict[str, list[Line]] = {}
    for line in lines:
        grouped.setdefault(line.queue_id, []).append(line)
    return grouped


def damaged_lines(path: Path) -> Iterator[int]:
    """The line numbers (from 1, as an editor counts) that are not readable; a torn last line is none."""
    try:
        parts = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for position, raw in enumerate(parts[:-1], start=1):
        if _parse(raw) is None:
            yield position


def _line(line: Line) -> bytes:
    entry = [line.number, line.at, line.serial, line.outcome, line.queue_id, line.details]
    text = json.dumps(entry, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(raw: bytes) -> Line | None:
    checksum, _, text = raw.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        number, at, serial, outcome, queue_id, details = json.loads(text)
        return Line(number=number, at=at, serial=serial, outcome=Outcome(outcome), queue_id=queue_id, details=details)
    except (ValueError, TypeError):
        return None
