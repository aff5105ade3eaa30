"""Take custody: bytes durable, then the row; only then a receipt.

The order of section "Admission" of the design: append the batch to the active segment and sync it, then insert rows,
ledger entries and events and advance the committed length in one transaction, then hand out receipts.

**Invariants:** no receipt before the commit returned (I1); after an error a segment is abandoned, never written or
synced again; identity decides (I4): what the ledger has already gets a receipt that says so, and no second row.
**Failures:** `SpoolFailed` when the bytes cannot be made durable in a second, new segment either, or the index fails:
nothing of the batch may be deleted anywhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from spool import models
from spool.envelope import Arrival, Origin, Place, Reason, Receipt
from spool.errors import SpoolFailed
from spool.events import Admitted, Event, SegmentAbandoned, emit
from spool.files import add_large, add_segment, newest_serial, set_sealed
from spool.journal import Journal, Outcome
from spool.layout import Stage
from spool.locks import Tenure
from spool.message_file import arrival_fields, block
from spool.models import to_ms
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.rows import Message, message_row, record_replay, set_applied
from spool.segments import NONCE_OCTETS, LargeWriter, SegmentWriter, large_head
from spool.states import LIVE

SEAL_OCTETS = 64 * 1024 * 1024
SEAL_AGE = timedelta(minutes=5)
BATCH_MESSAGES = 256
BATCH_OCTETS = 8 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class _Active:
    serial: int
    writer: SegmentWriter
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An arrival whose bytes are durable: in the active segment, or, where `segment` is None, in a large file."""

    arrival: Arrival
    place: Place
    segment: int | None


class Admission:
    """Admits batches for one stage; owns the stage's active segment. For one thread."""

    def __init__(self, spool: Spool, tenure: Tenure, *, journal: Journal | None = None) -> None:
        """`journal` is needed by who admits replays: a replay is the exit of the Badmail message."""
        self._spool = spool
        self._tenure = tenure
        self._journal = journal
        self._active: _Active | None = None
        self._abandoned: list[tuple[int, Event]] = []

    def admit(self, batch: Sequence[Arrival], *, extra: Iterable[Event] = ()) -> list[Receipt]:
        """Take custody of a batch, of at most `BATCH_MESSAGES` and about `BATCH_OCTETS`; receipts come in its order."""
        try:
            kept = self._keep(batch)
            return self._commit_all(kept, tuple(extra))
        except OSError as error:
            raise SpoolFailed(f"no custody for {len(batch)} messages: {error}") from error

    def open_large(
        self,
        origin: Origin,
        *,
        sender: str | None = None,
        recipients: Sequence[str] = (),
        objection: Reason | None = None,
    ) -> LargeWriter:
        """Start a large message; what `LargeWriter.finish` returns goes into an `Arrival`. Raises OSError.

        Envelope and objection are those of the arrival, as far as there are any: the file must tell of them too.
        """
        path = self._spool.layout.large_message(self._tenure.stage, origin.queue_id)
        head = large_head(origin, sender=sender, recipients=recipients, objection=objection)
        return LargeWriter(path, disk=self._spool.disk, head=head)

    def move_here(self, survivors: Sequence[tuple[Message, bytes, bytes]], *, serial: int) -> None:
        """Re-append (message, block, bytes) out of an old segment, under their own queue ids; raises SpoolFailed.

        What is claimed stays: the journal lines of an attempt name the newest segment that there was when it began, and
        must not go while a younger one holds a copy of the record. So claims are looked up once the new one has a row.
        """
        try:
            active = self._writable()
            survivors = self._unclaimed(survivors)
            records = [(message.queue_id, head, content) for message, head, content in survivors]
            places = active.writer.append(records)
        except OSError as error:
            self._abandon(error)
            raise SpoolFailed(f"moving out of segment {serial}: {error}") from error
        table = models.messages
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            for (message, _, _), place in zip(survivors, places, strict=True):
                connection.execute(
                    update(table)
                    .where(table.c.queue_id == message.queue_id, table.c.segment == serial)
                    .values(segment=active.serial, offset=place.offset, block_octets=place.block_octets)
                )
            _advance(connection, active)

    def _unclaimed(self, survivors: Sequence[tuple[Message, bytes, bytes]]) -> list[tuple[Message, bytes, bytes]]:
        table = models.messages
        ids = [message.queue_id for message, _, _ in survivors]
        query = select(table.c.queue_id).where(
            table.c.queue_id.in_(ids), table.c.state.in_(LIVE), table.c.claim_epoch.is_(None)
        )
        with self._spool.index.read() as connection:
            free = set(connection.execute(query).scalars())
        return [one for one in survivors if one[0].queue_id in free]

    def seal_if_due(self) -> bool:
        """Seal the active segment when it is old; call now and then. True when it was."""
        active = self._active
        if active is None or not self._is_due(active):
            return False
        self.seal()
        return True

    def seal(self) -> None:
        """Seal the active segment, a committed fact from then on."""
        active, self._active = self._active, None
        if active is None:
            return
        active.writer.close()
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            set_sealed(connection, active.serial)

    def close(self) -> None:
        """Seal what is open, at a clean stop."""
        self.seal()

    def _keep(self, batch: Sequence[Arrival]) -> list[_Kept]:
        """Make the bytes durable: small ones in the active segment, or after an error in a new one."""
        small = [arrival for arrival in batch if isinstance(arrival.content, bytes)]
        try:
            placed = self._append(small)
        except OSError as error:
            self._abandon(error)
            placed = self._append_again(small)
        places = iter(placed)
        return [
            _Kept(arrival=arrival, place=arrival.content, segment=None)
            if isinstance(arrival.content, Place)
            else _Kept(arrival=arrival, place=next(places), segment=self._active.serial if self._active else None)
            for arrival in batch
        ]

    def _append_again(self, small: Sequence[Arrival]) -> list[Place]:
        try:
            return self._append(small)
        except OSError as error:
            self._abandon(error)
            raise

    def _append(self, small: Sequence[Arrival]) -> list[Place]:
        if not small:
            return []
        return self._writable().writer.append(
            [
                (arrival.origin.queue_id, block(arrival_fields(arrival)), arrival.content)
                for arrival in small
                if isinstance(arrival.content, bytes)
            ]
        )

    def _writable(self) -> _Active:
        if self._active is not None and self._is_due(self._active):
            self.seal()
        if self._active is None:
            self._active = self._open_segment()
        return self._active

    def _open_segment(self) -> _Active:
        nonce = secrets.token_bytes(NONCE_OCTETS)
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            serial = add_segment(connection, self._tenure.stage, nonce=nonce, at=self._spool.now_ms())
        path = self._spool.layout.segment(self._tenure.stage, serial)
        try:
            writer = SegmentWriter(path, nonce, disk=self._spool.disk)
        except OSError as error:
            self._abandoned.append((serial, SegmentAbandoned(file=path.name, error=str(error))))
            raise
        return _Active(serial=serial, writer=writer, opened_at=self._spool.now())

    def _is_due(self, active: _Active) -> bool:
        age = self._spool.now() - active.opened_at
        return active.writer.octets >= SEAL_OCTETS or not timedelta(0) <= age < SEAL_AGE

    def _abandon(self, error: OSError) -> None:
        active, self._active = self._active, None
        if active is None:
            return
        active.writer.close()
        event = SegmentAbandoned(file=active.writer.path.name, error=str(error))
        self._abandoned.append((active.serial, event))

    def _commit_all(self, kept: list[_Kept], extra: tuple[Event, ...]) -> list[Receipt]:
        self._note_replays(kept)
        try:
            return self._commit(kept, extra)
        except IntegrityError:
            return [receipt for one in kept for receipt in self._commit_one(one, extra)]

    def _commit_one(self, one: _Kept, extra: Sequence[Event]) -> list[Receipt]:
        ours = [event for event in extra if event.queue_id == one.arrival.origin.queue_id]
        try:
            return self._commit([one], ours)
        except IntegrityError:
            return [self._had(one.arrival)]

    def _commit(self, kept: list[_Kept], extra: Sequence[Event]) -> list[Receipt]:
        now = self._spool.now()
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            rows = [
                message_row(one.arrival, place=one.place, segment=self._segment_of(connection, one, now=now), now=now)
                for one in kept
            ]
            connection.execute(insert(models.messages), rows)
            self._commit_ledger(connection, kept, now=now)
            for one in kept:
                if one.arrival.replays:
                    record_replay(connection, one.arrival, now=now)
            if self._active:
                _advance(connection, self._active)
            for serial, _ in self._abandoned:
                set_sealed(connection, serial)
            if self._journal:
                set_applied(connection, self._tenure.stage, number=self._journal.last)
            emit(connection, [event for _, event in self._abandoned], now=now)
            emit(connection, [*(_admitted(one.arrival) for one in kept), *extra], now=now)
        self._abandoned.clear()
        return [Receipt(queue_id=one.arrival.origin.queue_id, is_new=True) for one in kept]

    def _commit_ledger(self, connection: Connection, kept: list[_Kept], *, now: datetime) -> None:
        if self._tenure.stage is Stage.FETCH:
            connection.execute(insert(models.ledger), [ledger_row(one.arrival, now=now) for one in kept])

    def _segment_of(self, connection: Connection, one: _Kept, *, now: datetime) -> int:
        if one.segment is not None:
            return one.segment
        octets = one.place.block_octets + one.place.octets
        return add_large(
            connection, self._tenure.stage, queue_id=one.arrival.origin.queue_id, octets=octets, at=to_ms(now)
        )

    def _note_replays(self, kept: list[_Kept]) -> None:
        replays = [one.arrival for one in kept if one.arrival.replays]
        if not replays:
            return
        if self._journal is None:
            raise AssertionError("a replay is admitted only by who has a journal")
        with self._spool.index.read() as connection:
            self._journal.serial = newest_serial(connection, self._journal.serial)
        for arrival in replays:
            details = {"child": arrival.origin.queue_id, "sha256": arrival.digest.sha256.hex()}
            self._journal.note(Outcome.REPLAYED, arrival.replays or "", details=details)
        self._journal.sync()

    def _had(self, arrival: Arrival) -> Receipt:
        """The receipt for what a constraint refused: the ledger must show this very message."""
        table = models.ledger
        with self._spool.index.read() as connection:
            queue_id = connection.execute(
                select(table.c.queue_id).where(
                    table.c.account == arrival.origin.account,
                    table.c.uidl == arrival.origin.uidl.encoded,
                    table.c.identity == arrival.digest.identity,
                    table.c.copy == arrival.origin.copy,
                )
            ).scalar()
        if queue_id is None:
            raise SpoolFailed(f"the index refuses message {arrival.origin.queue_id}, which the ledger does not show")
        return Receipt(queue_id=QueueId(queue_id), is_new=False)


def ledger_row(arrival: Arrival, *, now: datetime) -> dict[str, object]:
    """The ledger entry of a message that is being admitted."""
    origin, digest = arrival.origin, arrival.digest
    return {
        "account": origin.account,
        "uidl": origin.uidl.encoded,
        "identity": digest.identity,
        "copy": origin.copy,
        "header": digest.header,
        "octets": digest.octets,
        "queue_id": origin.queue_id,
        "had_at": to_ms(now),
        "gone_at": None,
        "deletion_asked_at": None,
        "round": arrival.round,
    }


def _advance(connection: Connection, active: _Active) -> None:
    connection.execute(
        update(models.segments)
        .where(models.segments.c.serial == active.serial)
        .values(committed_octets=active.writer.octets)
    )


def _admitted(arrival: Arrival) -> Admitted:
    return Admitted(
        account=arrival.origin.account,
        queue_id=arrival.origin.queue_id,
        octets=arrival.digest.octets,
        uidl=arrival.origin.uidl.encoded,
    )
