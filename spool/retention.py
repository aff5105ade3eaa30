"""Let go of what is no longer needed: segments without live messages, old rows, journal lines that nothing can ask for.

The order on the way out: rows before files. A segment is marked (commit), unlinked, its directory synced, and only then
may its rows forget it and journal lines go. Ledger entries that a maildrop may still show are in the journal, synced,
before the segment that could tell of them is unlinked.

**Invariants:** only sealed segments are collected, each by the stage that owns it. A journal line goes only when its
effect is in the index and no file holds a record of its queue id: every segment on disk is younger than the line (dead
copies and tails included, whatever they hold), the row has lost its place, and there is no large file, Badmail file or
claim of that name.
**Failures:** `SpoolFailed`; whatever was begun is finished by the next start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, func, select, update

from spool import models
from spool.admission import BATCH_OCTETS, Admission
from spool.content import injected_block, load
from spool.errors import Damaged
from spool.files import SegmentRow, segment_path, segment_rows
from spool.journal import Journal, Line, Outcome
from spool.layout import Layout, Stage
from spool.ledger import note_entry
from spool.locks import Tenure
from spool.models import to_ms
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.rows import Message, select_messages, set_applied, to_message
from spool.staging import spool_failures
from spool.states import FINAL, LIVE

LEDGER_KEPT = timedelta(days=30)
SURVIVORS_MOVE_AFTER = timedelta(days=1)
SURVIVORS_AT_MOST = 256


def collect(spool: Spool, tenure: Tenure, *, admission: Admission, journal: Journal) -> int:
    """Collect the stage's segments that are due; answers how many files went."""
    with spool_failures("collection"):
        due = _due(spool, tenure.stage)
        if due:
            noted = _keep_ledger(spool, due, journal=journal)
            with spool.index.write() as connection:
                tenure.check(connection)
                if noted:
                    set_applied(connection, tenure.stage, number=noted)
                serials = [row.serial for row in due]
                connection.execute(
                    update(models.segments).where(models.segments.c.serial.in_(serials)).values(status="marked")
                )
        finish_collection(spool, tenure.stage)
        for row in _aged(spool, tenure.stage):
            _move_survivors(spool, row, admission=admission)
        return len(due)


def finish_collection(spool: Spool, stage: Stage) -> None:
    """Unlink marked files, sync, then forget them."""
    marked = segment_rows(spool, stage=stage, status="marked")
    if not marked:
        return
    for row in marked:
        spool.disk.unlink(segment_path(spool.layout, row))
    spool.disk.sync_directory(spool.layout.segments)
    spool.disk.sync_directory(spool.layout.large)
    serials = [row.serial for row in marked]
    table = models.messages
    with spool.index.write() as connection:
        connection.execute(
            update(table).where(table.c.segment.in_(serials)).values(segment=None, offset=None, block_octets=None)
        )
        connection.execute(delete(models.segments).where(models.segments.c.serial.in_(serials)))


def prune(spool: Spool, *, history: timedelta) -> None:
    """Drop rows of finished messages, events and vanished ledger entries that are older than is kept.

    The events of a message stay as long as its row: its life is told from its beginning.
    """
    messages, ledger, events = models.messages, models.ledger, models.events
    limit = to_ms(spool.now() - history)
    with spool.index.write() as connection:
        connection.execute(
            delete(messages).where(
                messages.c.state.in_(FINAL), messages.c.segment.is_(None), messages.c.changed_at < limit
            )
        )
        connection.execute(delete(ledger).where(ledger.c.gone_at < to_ms(spool.now() - LEDGER_KEPT)))
        has_row = events.c.queue_id.in_(select(messages.c.queue_id))
        connection.execute(delete(events).where(events.c.at < limit, ~has_row))


def compact(spool: Spool, journal: Journal, *, owner: str) -> None:
    """Drop the lines that nothing can ask for any more."""
    with spool_failures("journal"):
        with spool.index.read() as connection:
            applied = connection.execute(
                select(models.journals.c.applied).where(models.journals.c.owner == owner)
            ).scalar()
            entries = set(connection.execute(select(models.ledger.c.entry)).scalars())
            placed = set(
                connection.execute(
                    select(models.messages.c.queue_id).where(models.messages.c.segment.is_not(None))
                ).scalars()
            )
            kin = select(models.messages.c.queue_id, models.messages.c.parent)
            rows = connection.execute(kin.where(models.messages.c.parent.is_not(None)))
            parents = {row.queue_id: row.parent for row in rows}
        oldest = _oldest_serial(spool.layout)

        def may_go(line: Line) -> bool:
            # Above what the index has applied, the head of a compacted journal would say that the index is lost.
            if line.number > (applied or 0):
                return False
            if line.outcome is Outcome.LEDGER:
                return line.details.get("entry") not in entries
            return (
                (oldest is None or line.serial < oldest)
                and line.queue_id not in placed
                # It proves that refused recipients left the parent, which a rebuild would send to them again.
                and parents.get(line.queue_id) not in placed
                and not _has_file(spool.layout, line.queue_id)
            )

        journal.compact(may_go)


def _due(spool: Spool, stage: Stage) -> Sequence[SegmentRow]:
    live = select(models.messages.c.segment).where(_is_live())
    return segment_rows(spool, models.segments.c.serial.not_in(live), stage=stage, status="sealed")


def _is_live() -> ColumnElement[bool]:
    return and_(models.messages.c.state.in_(LIVE), models.messages.c.segment.is_not(None))


def _aged(spool: Spool, stage: Stage) -> Sequence[SegmentRow]:
    """Sealed segments that are old and hold back their octets for a few live messages."""
    limit = to_ms(spool.now() - SURVIVORS_MOVE_AFTER)
    few = (
        select(models.messages.c.segment)
        .where(_is_live())
        .group_by(models.messages.c.segment)
        .having(func.count() <= SURVIVORS_AT_MOST)
    )
    segments = models.segments
    return segment_rows(
        spool,
        segments.c.queue_id.is_(None),
        segments.c.created_at < limit,
        segments.c.serial.in_(few),
        stage=stage,
        status="sealed",
    )


def _move_survivors(spool: Spool, row: SegmentRow, *, admission: Admission) -> None:
    table = models.messages
    query = select_messages().where(_is_live(), table.c.segment == row.serial, table.c.claim_epoch.is_(None))
    with spool.index.read() as connection:
        survivors = [to_message(found, spool.layout) for found in connection.execute(query)]
    moving: list[tuple[Message, bytes, bytes]] = []
    for message in survivors:
        if message.stored is None:
            raise AssertionError(f"{message.queue_id} is live without bytes")
        # What cannot be read stays where it is: whoever takes it next finds the damage and says so.
        with contextlib.suppress(Damaged):
            moving.append((message, injected_block(spool, message.stored), load(spool, message.stored)))
        if sum(one.octets for one, _, _ in moving) >= BATCH_OCTETS:
            admission.move_here(moving, serial=row.serial)
            moving = []
    if moving:
        admission.move_here(moving, serial=row.serial)


def _keep_ledger(spool: Spool, due: Sequence[SegmentRow], *, journal: Journal) -> int:
    """Note the entries whose segment goes; answers the number of the last line, 0 where there was none."""
    ledger, messages = models.ledger, models.messages
    query = (
        select(ledger)
        .join(messages, ledger.c.queue_id == messages.c.queue_id)
        .where(messages.c.segment.in_([row.serial for row in due]))
    )
    with spool.index.read() as connection:
        entries = connection.execute(query).all()
    last = 0
    for entry in entries:
        last = note_entry(journal, entry)
    if entries:
        journal.sync()
    return last


def _oldest_serial(layout: Layout) -> int | None:
    """The lowest serial of any segment on disk, whoever owns it; None where there is none."""
    serials = [path.stem.rpartition("-")[2] for path in layout.segments.glob("*.seg")]
    return min((int(serial) for serial in serials if serial.isdecimal()), default=None)


def _has_file(layout: Layout, queue_id: str) -> bool:
    known = QueueId(queue_id)
    names = [layout.large_message(stage, known) for stage in Stage]
    return any(path.exists() for path in (*names, layout.badmail_message(known), layout.pickup_claim(known)))
