"""Take into custody, at the start of a stage, what an earlier holder wrote and did not commit.

Octets beyond a segment's committed length may be page cache that a power cut would take. So an intact record there is
never adopted in place: it is appended to a new segment, synced and committed under its own queue id; the old segment
ends sealed and is never appended to. For pickup nothing need be recovered: its claim files hold the same messages until
their commit.

**Invariants:** skipped are queue ids that have a row or a journal line, and records whose identity was admitted since;
only the holder of the stage's lock comes here.
**Failures:** `SpoolFailed`; the next start begins again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sqlalchemy import select

from spool import models
from spool.admission import BATCH_MESSAGES, Admission
from spool.envelope import Arrival, Place
from spool.events import Event, RecordUnreadable, Recovered, emit
from spool.files import SegmentRow, segment_path, segment_rows, set_sealed
from spool.journal import Outcome, read_journal
from spool.layout import PARTIAL_SUFFIX, Stage, queue_id_of
from spool.locks import Tenure
from spool.message_file import (
    MAX_BLOCK_OCTETS,
    Block,
    digest,
    parse_block,
    parse_envelope,
    parse_objection,
    parse_origin,
)
from spool.opening import OWNERS, Spool
from spool.queue_id import QueueId
from spool.retention import finish_collection
from spool.segments import HEADER_OCTETS, Record, open_regular, read_message, scan
from spool.staging import spool_failures


def recover(spool: Spool, tenure: Tenure, *, admission: Admission) -> int:
    """Recover the stage's files before its first session; answers how many messages were taken into custody."""
    with spool_failures("recovery"):
        finish_collection(spool, tenure.stage)
        known = journaled_ids(spool)
        count = 0
        for segment in segment_rows(spool, stage=tenure.stage, status="active"):
            if tenure.stage is Stage.FETCH:
                count += _recover_segment(spool, segment, admission=admission, known=known)
            with spool.index.write() as connection:
                tenure.check(connection)
                set_sealed(connection, segment.serial)
        return count + _recover_large(spool, tenure.stage, admission=admission, known=known)


def arrival_of(found: Block, content: bytes) -> Arrival | None:
    """The arrival that a record of the spool was, read from its block and its message; None where they do not agree."""
    known = parse_origin(found)
    if known is None:
        return None
    origin, octets, sha256 = known
    seen = digest(content)
    if (seen.octets, seen.sha256) != (octets, sha256):
        return None
    sender, recipients = parse_envelope(found)
    return Arrival(
        origin=origin,
        digest=seen,
        content=content,
        sender=sender,
        recipients=recipients,
        objection=parse_objection(found),
    )


def journaled_ids(spool: Spool) -> set[str]:
    """The messages that any journal tells of."""
    return {
        line.queue_id
        for owner in OWNERS
        for line in read_journal(spool.layout.journal(owner)).lines
        if line.outcome is not Outcome.LEDGER
    }


def _recover_segment(spool: Spool, segment: SegmentRow, *, admission: Admission, known: set[str]) -> int:
    path = segment_path(spool.layout, segment)
    if not path.exists():
        return 0
    start = max(segment.committed_octets, HEADER_OCTETS)
    unreadable: list[Event] = []
    arrivals = _arrivals(spool, path, nonce=segment.nonce or b"", start=start, unreadable=unreadable, known=known)
    count = 0
    while batch := list(islice(arrivals, BATCH_MESSAGES)):
        events = [
            Recovered(
                account=one.origin.account, queue_id=one.origin.queue_id, file=path.name, octets=one.digest.octets
            )
            for one in batch
        ]
        count += sum(receipt.is_new for receipt in admission.admit(batch, extra=events))
    if unreadable:
        with spool.index.write() as connection:
            emit(connection, unreadable, now=spool.now())
    return count


def _arrivals(
    spool: Spool, path: Path, *, nonce: bytes, start: int, unreadable: list[Event], known: set[str]
) -> Iterator[Arrival]:
    for found in scan(path, nonce, start=start):
        if not isinstance(found, Record):
            unreadable.append(RecordUnreadable(file=path.name, start=found[0], end=found[1]))
            continue
        if found.queue_id in known or _has_row(spool, found.queue_id):
            continue
        arrival = arrival_of(found.block, b"".join(read_message(path, found.place)))
        if arrival is None:
            end = found.place.offset + found.place.block_octets + found.place.octets
            unreadable.append(RecordUnreadable(file=path.name, start=found.place.offset, end=end))
        elif not _was_admitted(spool, arrival):
            yield arrival


def _recover_large(spool: Spool, stage: Stage, *, admission: Admission, known: set[str]) -> int:
    """Admit or clear large files that no row of `segments` owns."""
    with spool.index.read() as connection:
        owned = set(
            connection.execute(
                select(models.segments.c.queue_id).where(models.segments.c.queue_id.is_not(None))
            ).scalars()
        )
    count = 0
    for path in sorted(spool.layout.large.glob(f"{stage}-*")):
        queue_id = queue_id_of(path)
        if path.name.endswith(PARTIAL_SUFFIX):
            spool.disk.unlink(path)
        elif queue_id is None or queue_id in owned:
            continue
        elif stage is Stage.PICKUP:
            _drop(spool, path)
        else:
            count += _recover_large_file(spool, path, queue_id=queue_id, admission=admission, known=known)
    return count


def _recover_large_file(spool: Spool, path: Path, *, queue_id: QueueId, admission: Admission, known: set[str]) -> int:
    if queue_id in known or _has_row(spool, queue_id):
        return _drop(spool, path)
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        found = parse_block(file.read(MAX_BLOCK_OCTETS))
    origin = parse_origin(found) if found else None
    if found is None or origin is None or found.end + origin[1] != size:
        return _set_aside(spool, path, size=size)
    place = Place(offset=0, block_octets=found.end, octets=origin[1])
    sender, recipients = parse_envelope(found)
    objection = parse_objection(found)
    writer = admission.open_large(origin[0], sender=sender, recipients=recipients, objection=objection)
    checked = hashlib.sha256()
    for piece in read_message(path, place):
        checked.update(piece)
        writer.write(piece)
    if checked.digest() != origin[2]:
        writer.discard()
        return _set_aside(spool, path, size=size)
    # Renamed over the old file: the new one alone is known to be on disk.
    seen, place = writer.finish()
    arrival = Arrival(
        origin=origin[0],
        digest=seen,
        content=place,
        sender=sender,
        recipients=recipients,
        objection=objection,
    )
    if _was_admitted(spool, arrival):
        return _drop(spool, path)
    event = Recovered(account=origin[0].account, queue_id=queue_id, file=path.name, octets=seen.octets)
    admission.admit([arrival], extra=[event])
    return 1


def _drop(spool: Spool, path: Path) -> int:
    spool.disk.unlink(path)
    spool.disk.sync_directory(path.parent)
    return 0


def _set_aside(spool: Spool, path: Path, *, size: int) -> int:
    spool.disk.rename(path, spool.layout.set_aside(path.name))
    spool.disk.sync_directory(spool.layout.damaged)
    spool.disk.sync_directory(path.parent)
    with spool.index.write() as connection:
        emit(connection, [RecordUnreadable(file=f"damaged/{path.name}", start=0, end=size)], now=spool.now())
    return 0


def _was_admitted(spool: Spool, arrival: Arrival) -> bool:
    table = models.ledger
    query = select(table.c.entry).where(
        table.c.account == arrival.origin.account,
        table.c.uidl == arrival.origin.uidl.encoded,
        table.c.identity == arrival.digest.identity,
        table.c.copy == arrival.origin.copy,
    )
    with spool.index.read() as connection:
        return connection.execute(query).first() is not None


def _has_row(spool: Spool, queue_id: str) -> bool:
    query = select(models.messages.c.state).where(models.messages.c.queue_id == queue_id)
    with spool.index.read() as connection:
        return connection.execute(query).first() is not None
