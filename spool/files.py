"""The rows of segments and large files: which files there are, whose, and in what condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from spool import models
from spool.layout import Layout, Stage
from spool.opening import Spool
from spool.queue_id import QueueId


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRow:
    """A segment, or a large file where `queue_id` is set; octets beyond `committed_octets` are nobody's yet."""

    serial: int
    stage: Stage
    queue_id: QueueId | None
    nonce: bytes | None
    committed_octets: int
    status: str


def segment_rows(
    spool: Spool, *where: ColumnElement[bool], stage: Stage | None = None, status: str | None = None
) -> Sequence[SegmentRow]:
    """The files of a stage in a status ("active", "sealed", "marked"), oldest first; None stands for any."""
    table = models.segments
    query = select(table).where(*where).order_by(table.c.serial)
    if stage is not None:
        query = query.where(table.c.stage == stage)
    if status is not None:
        query = query.where(table.c.status == status)
    with spool.index.read() as connection:
        return [
            SegmentRow(
                serial=row.serial,
                stage=Stage(row.stage),
                queue_id=QueueId(row.queue_id) if row.queue_id else None,
                nonce=row.nonce,
                committed_octets=row.committed_octets,
                status=row.status,
            )
            for row in connection.execute(query)
        ]


def segment_path(layout: Layout, row: SegmentRow) -> Path:
    """Where the file of a row lies."""
    return layout.large_message(row.stage, row.queue_id) if row.queue_id else layout.segment(row.stage, row.serial)


def add_segment(connection: Connection, stage: Stage, *, nonce: bytes, at: int) -> int:
    """Give a new segment its row, before its file exists, and return its serial."""
    row = {"stage": stage, "nonce": nonce, "committed_octets": 0, "status": "active", "created_at": at}
    return int(connection.execute(insert(models.segments).values(row).returning(models.segments.c.serial)).scalar_one())


def add_large(connection: Connection, stage: Stage, *, queue_id: QueueId, octets: int, at: int) -> int:
    """Give a large file, durable already, its row: sealed from birth. Return its serial."""
    row = {"stage": stage, "queue_id": queue_id, "committed_octets": octets, "status": "sealed", "created_at": at}
    return int(connection.execute(insert(models.segments).values(row).returning(models.segments.c.serial)).scalar_one())


def newest_serial(connection: Connection, known: int = 0) -> int:
    """The highest serial that any segment has had so far, which a journal's lines name; `known` is the last answer."""
    return max(known, connection.execute(select(func.max(models.segments.c.serial))).scalar() or 0)


def set_sealed(connection: Connection, serial: int) -> None:
    """Note that a segment is never appended to again."""
    connection.execute(update(models.segments).where(models.segments.c.serial == serial).values(status="sealed"))
