"""Rows of messages: written, moved by the table of transitions, read back as values.

**Invariants:** a state is written only by `move`, which asks `states.next_state` and compares and sets in the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Row, Select, select, update
from sqlalchemy.dialects.sqlite import insert

from spool import models
from spool.envelope import Arrival, Needs, Place, Reason, Uidl
from spool.errors import NotFound
from spool.events import Replayed, emit
from spool.journal import Outcome
from spool.layout import Layout, Stage
from spool.models import from_ms, to_ms
from spool.queue_id import QueueId
from spool.states import State, Trigger, next_state


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Where the bytes of a message are and what they must be."""

    queue_id: QueueId
    path: Path
    place: Place
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A row of the index.

    `stored` is None once the spool does not hold the bytes: submitted and collected, or a file of Badmail. `wish` is
    what the operator wants done when the claim ends.
    """

    queue_id: QueueId
    state: State
    account: str
    uidl: Uidl
    peer: str
    octets: int
    sha256: bytes
    sender: str | None
    recipients: tuple[str, ...]
    accepted: tuple[Mapping[str, object], ...]
    subject: str
    message_id: str
    needs: Needs
    reason: Reason | None
    fetched_at: datetime
    changed_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    possible_duplicate: bool
    is_claimed: bool
    parent: QueueId | None
    replay_id: QueueId | None
    replay: Mapping[str, object] | None
    stored: Stored | None
    wish: Outcome | None = None

    @property
    def addressees(self) -> Sequence[str]:
        """Those that still wait for it; of a submitted message those that have it."""
        if self.state is State.SUBMITTED:
            return [str(accepted["recipient"]) for accepted in self.accepted]
        return self.recipients


# What goes back to validate begins anew; it keeps its envelope and the count of its attempts.
ANEW: Mapping[str, object] = {"reason": None, "next_attempt_at": None, "breaks": None}


def message_row(arrival: Arrival, *, place: Place, segment: int, now: datetime) -> dict[str, object]:
    """The row of a message that is being admitted."""
    origin = arrival.origin
    return {
        **_EMPTY,
        "queue_id": origin.queue_id,
        "state": next_state(None, Trigger.ADMITTED),
        "account": origin.account,
        "uidl": origin.uidl.encoded,
        "peer": origin.peer,
        "fetched_at": to_ms(origin.fetched_at),
        "changed_at": to_ms(now),
        "segment": segment,
        "offset": place.offset,
        "block_octets": place.block_octets,
        "octets": place.octets,
        "sha256": arrival.digest.sha256,
        "sender": arrival.sender,
        "recipients": list(arrival.recipients),
        "reason": reason_json(arrival.objection),
    }


def badmail_row(
    known: Mapping[str, object], *, queue_id: QueueId, reason: Reason, recipients: Iterable[str], now: datetime
) -> dict[str, object]:
    """The row of a message that is in Badmail from its first moment.

    `known` gives fetched_at, octets and sha256, and what else is known: account, uidl, peer, sender ...
    """
    return {
        **_EMPTY,
        **known,
        "queue_id": queue_id,
        "state": next_state(None, Trigger.UNUSABLE),
        "changed_at": to_ms(now),
        "recipients": list(recipients),
        "reason": reason_json(reason),
    }


_EMPTY: Mapping[str, object] = {
    "account": "",
    "uidl": "",
    "peer": "",
    "segment": None,
    "offset": None,
    "block_octets": None,
    "sender": None,
    "accepted": [],
    "subject": "",
    "message_id": "",
    "eightbit": False,
    "smtputf8": False,
    "overlong_line_octets": 0,
    "has_nul": False,
    "attempts": 0,
    "queued_clock": 0,
    "possible_duplicate": False,
    "claim": 0,
    "parent": None,
}


def move(
    connection: Connection,
    queue_id: str,
    *,
    state: State,
    trigger: Trigger,
    now: datetime,
    values: Mapping[str, object] | None = None,
    where: Iterable[ColumnElement[bool]] = (),
) -> State | None:
    """Move a message out of `state`, compare-and-set; answers the new state, None where the row was not as expected."""
    table = models.messages
    following = next_state(state, trigger)
    changed = connection.execute(
        update(table)
        .where(table.c.queue_id == queue_id, table.c.state == state, *where)
        .values(state=following, changed_at=to_ms(now), **(values or {}))
    )
    return following if changed.rowcount == 1 else None


def record_replay(connection: Connection, arrival: Arrival, *, now: datetime) -> None:
    """Note on the Badmail message that this arrival went out in its place; nothing where it is no longer in Badmail."""
    parent = arrival.replays or ""
    child = arrival.origin.queue_id
    done = move(connection, parent, state=State.BADMAIL, trigger=Trigger.REPLAYED, now=now, values={"replay_id": child})
    if done:
        event = Replayed(queue_id=parent, account=arrival.origin.account, child=child)
        emit(connection, [event], now=now)


def set_applied(connection: Connection, owner: str, *, number: int) -> None:
    """Note the highest journal line whose effect these rows hold."""
    table = models.journals
    connection.execute(
        insert(table)
        .values(owner=owner, applied=number)
        .on_conflict_do_update(index_elements=[table.c.owner], set_={"applied": number}, where=table.c.applied < number)
    )


def select_messages() -> Select[tuple[object, ...]]:
    """The query whose rows `to_message` reads."""
    table, segments = models.messages, models.segments
    return select(table, segments.c.stage.label("segment_stage"), segments.c.queue_id.label("large")).select_from(
        table.outerjoin(segments, table.c.segment == segments.c.serial)
    )


def find_message(connection: Connection, queue_id: str, *, layout: Layout) -> Message:
    """Read one message; raises NotFound."""
    row = connection.execute(select_messages().where(models.messages.c.queue_id == queue_id)).first()
    if row is None:
        raise NotFound(f"no message {queue_id}")
    return to_message(row, layout)


def to_message(row: Row[tuple[object, ...]], layout: Layout) -> Message:
    """A row of `select_messages` as a value."""
    return Message(
        queue_id=QueueId(row.queue_id),
        state=State(row.state),
        account=row.account,
        uidl=Uidl.parse(row.uidl),
        peer=row.peer,
        octets=row.octets,
        sha256=row.sha256,
        sender=row.sender,
        recipients=tuple(row.recipients),
        accepted=tuple(row.accepted),
        subject=row.subject,
        message_id=row.message_id,
        needs=Needs(
            eightbit=row.eightbit,
            smtputf8=row.smtputf8,
            overlong_line_octets=row.overlong_line_octets,
            has_nul=row.has_nul,
        ),
        reason=Reason(**row.reason) if row.reason else None,
        fetched_at=from_ms(row.fetched_at),
        changed_at=from_ms(row.changed_at),
        attempts=row.attempts,
        next_attempt_at=None if row.next_attempt_at is None else from_ms(row.next_attempt_at),
        possible_duplicate=row.possible_duplicate,
        is_claimed=row.claim_epoch is not None,
        parent=QueueId(row.parent) if row.parent else None,
        replay_id=QueueId(row.replay_id) if row.replay_id else None,
        replay=row.replay,
        stored=to_stored(row, layout),
        wish=Outcome(row.wish) if row.wish else None,
    )


def to_stored(row: Row[tuple[object, ...]], layout: Layout) -> Stored | None:
    """Where a row of `select_messages` says that the bytes are."""
    if row.segment is None:
        return None
    stage = Stage(row.segment_stage)
    path = layout.large_message(stage, QueueId(row.large)) if row.large else layout.segment(stage, row.segment)
    place = Place(offset=row.offset, block_octets=row.block_octets, octets=row.octets)
    return Stored(queue_id=QueueId(row.queue_id), path=path, place=place, sha256=row.sha256)


def reason_json(reason: Reason | None) -> dict[str, object] | None:
    """A reason as it stands in its column, and in `badmail ls --json`."""
    if reason is None:
        return None
    return {"stage": reason.stage, "code": reason.code, "enhanced": reason.enhanced, "text": reason.text}
