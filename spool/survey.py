"""Read everything that the files of a spool hold, without an index: for `spool rebuild`.

**Invariants:** nothing is changed; several records of one queue id are one message, and its newest whole record stands
for it; what is no record is told of, never taken for one. Message bytes are not kept: memory is about 2 KiB a message.
**Failures:** `OSError` from the disk.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from spool.admission import BATCH_MESSAGES
from spool.envelope import Arrival, Digest, Place
from spool.journal import Line, Outcome, damaged_lines, read_journal
from spool.layout import PARTIAL_SUFFIX, Layout, Stage, message_id_of, queue_id_of
from spool.message_file import (
    MAX_BLOCK_OCTETS,
    Block,
    Digester,
    parse_block,
    parse_envelope,
    parse_objection,
    parse_origin,
)
from spool.opening import OWNERS
from spool.queue_id import QueueId
from spool.recovery import arrival_of
from spool.segments import Record, open_regular, read_message, read_nonce, scan
from spool.steps import Step, Tell, nobody

_NOT_SEEN = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message and the best of its records, in the file of that serial.

    Where no record is whole `is_whole` is False and the digest is what the block claims, without identity.
    `is_in_doubt` says that its bytes may be in the page cache alone.
    """

    arrival: Arrival
    place: Place
    serial: int
    is_whole: bool
    is_in_doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A segment, or a large file where `queue_id` is set; `octets` is where its last record ends."""

    serial: int
    stage: Stage
    path: Path
    queue_id: QueueId | None = None
    nonce: bytes | None = None
    octets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Octets of a file that are no record: a torn tail, or damage."""

    path: Path
    start: int
    end: int


@dataclass(slots=True, kw_only=True)
class Survey:
    """What the files hold. `highest_serial` is that of any file there is, or that a journal line remembers."""

    lines: dict[str, list[Line]] = field(default_factory=dict)
    ledger: list[Line] = field(default_factory=list)
    files: dict[int, File] = field(default_factory=dict)
    messages: dict[QueueId, Found] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    badmail: set[QueueId] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    highest_serial: int = 0

    def is_known(self, queue_id: str) -> bool:
        """Whether a record, a Badmail file or a journal line tells of this queue id."""
        return queue_id in self.messages or queue_id in self.badmail or queue_id in self.lines


def survey(layout: Layout, tell: Tell = nobody) -> Survey:
    """Read the journals, Badmail, the segments and the large files, in that order; raises OSError.

    `tell` hears of the octets of segments and large files.
    """
    found = Survey()
    of = sum(path.lstat().st_size for folder in (layout.segments, layout.large) for path in folder.iterdir())
    done = 0
    for owner in OWNERS:
        _read_journal(found, layout.journal(owner))
    _list_badmail(found, layout)
    for serial, stage, path in _segment_files(found, layout):
        for end in _read_segment(found, path, serial=serial, stage=stage):
            tell(Step(what="octets", done=done + end, of=of))
        done += path.lstat().st_size
    serials = count(found.highest_serial + 1)
    for path in sorted(layout.large.iterdir()):
        if not path.name.endswith(PARTIAL_SUFFIX):
            _read_large(found, path, serial=next(serials))
            done += path.lstat().st_size
            tell(Step(what="octets", done=done, of=of))
    found.highest_serial = next(serials) - 1
    return found


def _list_badmail(found: Survey, layout: Layout) -> None:
    for path in layout.badmail.iterdir():
        if known := message_id_of(path):
            found.badmail.add(known)
            if not stat.S_ISREG(path.lstat().st_mode):
                found.problems.append(f"Badmail/{path.name} is not a regular file: put the message there")


def _read_journal(found: Survey, path: Path) -> None:
    found.problems += [f"journal/{path.name}: line {number} is damaged" for number in damaged_lines(path)]
    for line in read_journal(path).lines:
        found.highest_serial = max(found.highest_serial, line.serial)
        if line.outcome is Outcome.LEDGER:
            found.ledger.append(line)
        else:
            found.lines.setdefault(line.queue_id, []).append(line)


def _segment_files(found: Survey, layout: Layout) -> Iterator[tuple[int, Stage, Path]]:
    """The segments, oldest first."""
    files: list[tuple[int, Stage, Path]] = []
    for path in layout.segments.iterdir():
        stage, _, serial = path.stem.rpartition("-")
        if path.suffix == ".seg" and serial.isdecimal() and stage in set(Stage):
            files.append((int(serial), Stage(stage), path))
        else:
            found.problems.append(f"segments/{path.name} is not a segment")
    found.highest_serial = max([found.highest_serial, *(serial for serial, _, _ in files)])
    return iter(sorted(files))


def _read_segment(found: Survey, path: Path, *, serial: int, stage: Stage) -> Iterator[int]:
    """Read a segment; gives where each of its records ends."""
    nonce = read_nonce(path)
    end = 0
    # Only what the last batch appended can be unsynced: after a failed sync nothing is appended any more.
    last: deque[QueueId] = deque(maxlen=BATCH_MESSAGES)
    for item in scan(path, nonce) if nonce else [(0, path.stat().st_size)]:
        if isinstance(item, Record):
            end = item.place.offset + item.place.block_octets + item.place.octets
            yield end
            last.append(item.queue_id)
            if one := _from_record(path, item, serial=serial):
                _note(found, one)
            else:
                found.gaps.append(Gap(path=path, start=item.place.offset, end=end))
        elif item[1] > item[0]:
            found.gaps.append(Gap(path=path, start=item[0], end=item[1]))
    for queue_id in last:
        if (known := found.messages.get(queue_id)) and known.serial == serial:
            found.messages[queue_id] = replace(known, is_in_doubt=True)
    found.files[serial] = File(serial=serial, stage=stage, path=path, nonce=nonce, octets=end)


def _from_record(path: Path, record: Record, *, serial: int) -> Found | None:
    whole = arrival_of(record.block, b"".join(read_message(path, record.place)))
    arrival = whole or _claimed(record.block)
    if arrival is None:
        return None
    arrival = replace(arrival, content=record.place)
    return Found(arrival=arrival, place=record.place, serial=serial, is_whole=whole is not None)


def _read_large(found: Survey, path: Path, *, serial: int) -> None:
    queue_id, stage = queue_id_of(path), path.name.partition("-")[0]
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        block = parse_block(file.read(MAX_BLOCK_OCTETS))
    arrival = _claimed(block) if block else None
    if queue_id is None or stage not in set(Stage) or block is None or arrival is None:
        found.gaps.append(Gap(path=path, start=0, end=size))
        return
    place = Place(offset=0, block_octets=block.end, octets=size - block.end)
    digester = Digester()
    for piece in read_message(path, place):
        digester.feed(piece)
    seen = digester.result()
    is_whole = (seen.octets, seen.sha256) == (arrival.digest.octets, arrival.digest.sha256)
    arrival = replace(arrival, content=place, digest=seen if is_whole else arrival.digest)
    _note(found, Found(arrival=arrival, place=place, serial=serial, is_whole=is_whole))
    found.files[serial] = File(serial=serial, stage=Stage(stage), path=path, queue_id=queue_id, octets=size)


def _claimed(block: Block) -> Arrival | None:
    """What a block says of the message behind it, unproven."""
    known = parse_origin(block)
    if known is None:
        return None
    origin, octets, sha256 = known
    sender, recipients = parse_envelope(block)
    return Arrival(
        origin=origin,
        digest=Digest(octets=octets, sha256=sha256, identity=_NOT_SEEN, header=_NOT_SEEN),
        content=b"",
        sender=sender,
        recipients=recipients,
        objection=parse_objection(block),
    )


def _note(found: Survey, one: Found) -> None:
    """Take a record for its message, unless a whole one is known and this one is not."""
    queue_id = one.arrival.origin.queue_id
    known = found.messages.get(queue_id)
    if known is None or one.is_whole or not known.is_whole:
        found.messages[queue_id] = one
