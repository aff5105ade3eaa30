"""Carry out what the operator decides about messages: hold, release, requeue, discard; in the queue and in Badmail.

Under the lock that commands share a line is noted in their journal and synced, then the row changes. A command that
died in between has said what is to be: the next one, or a stage when it starts, carries it out. What `spool.wishes`
says of a message under a claim is noted in the same way; submit carries that out.

**Invariants:** a line is synced before its row changes, and takes effect once. The index's write lock is held from the
look at the row to the commit, so no line tells of a change that does not happen, and what a stage decided in the
meantime is never undone: it compares and sets. A Badmail file goes after the commit that discards its message. A
damaged message is requeued only when its bytes were read and found whole.
**Failures:** `StageHeld` (another command does not end), `SpoolFailed`; what cannot be done to one message is a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, Row, update

from spool import models
from spool.badmail import unlink_badmail
from spool.content import injected_block, pieces
from spool.errors import Damaged, ForbiddenTransition, NotFound, SpoolError, StageHeld
from spool.events import Event, PossibleDuplicate, StateChanged, WishNoted, emit
from spool.files import newest_serial
from spool.journal import Journal, Outcome, read_journal
from spool.layout import COMMAND_JOURNAL
from spool.locks import COMMANDS, hold
from spool.message_file import parse_block, parse_objection
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.retention import compact
from spool.rows import ANEW, Stored, move, reason_json, select_messages, set_applied, to_stored
from spool.staging import open_journal, spool_failures
from spool.states import State, Trigger
from spool.wishes import (
    BY_THE_OPERATOR,
    HELD_BY_THE_OPERATOR,
    TRIGGERS,
    Standing,
    Wished,
    Word,
    follow,
    objection,
    word_of,
)

_PATIENCE_SECONDS = 60
# So many lines are synced at once; others who write wait for no more than that.
_CHUNK = 100

_Row = Row[tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What came of one message: its new state, what was noted for the end of its claim, or why nothing can be done."""

    queue_id: QueueId
    came_of_it: State | Wished | SpoolError


def change(spool: Spool, queue_ids: Iterable[QueueId], *, asked: Outcome, is_badmail: bool = False) -> list[Decision]:
    """Do to each message what the operator asks, durably before it is answered; one keeps none of the others back.

    `asked` is HELD, RELEASED, REQUEUED or DISCARDED, and `is_badmail` says that messages of Badmail are meant. Ring
    validate after a release and a requeue, and submit where something was noted.
    """
    with hold(spool.layout, COMMANDS, timeout=_PATIENCE_SECONDS), _journal(spool) as journal:
        _catch_up(spool)
        return [
            decision
            for chunk in _chunks(dict.fromkeys(queue_ids))
            for decision in _change(spool, chunk, asked=asked, journal=journal, is_badmail=is_badmail)
        ]


def finish_by_hand(spool: Spool) -> None:
    """Carry out what a command noted before it died, and drop the lines that nothing can ask for any more.

    Does nothing while a command is at work: it does the same.
    """
    if not read_journal(spool.layout.journal(COMMAND_JOURNAL)).lines:
        return
    try:
        with hold(spool.layout, COMMANDS), _journal(spool) as journal:
            _catch_up(spool)
            compact(spool, journal, owner=COMMAND_JOURNAL)
    except StageHeld:
        return


@contextmanager
def _journal(spool: Spool) -> Iterator[Journal]:
    with spool_failures("journal"):
        journal = open_journal(spool, COMMAND_JOURNAL)
        try:
            yield journal
        finally:
            journal.close()


def _catch_up(spool: Spool) -> None:
    """Bring the rows up to the journal."""
    table = models.journals
    with spool.index.write() as connection:
        query = table.select().where(table.c.owner == COMMAND_JOURNAL)
        known = connection.execute(query).first()
        applied = known.applied if known else 0
        contents = read_journal(spool.layout.journal(COMMAND_JOURNAL))
        # The last word about a message counts: the rest was said before it and never carried out.
        last = {line.queue_id: line for line in contents.lines if line.number > applied and line.outcome in TRIGGERS}
        changer = _Changer(spool, connection)
        for line in last.values():
            changer.apply(QueueId(line.queue_id), word_of(line))
        if contents.last > applied:
            set_applied(connection, COMMAND_JOURNAL, number=contents.last)
    changer.clear_badmail()


def _change(
    spool: Spool, queue_ids: Sequence[QueueId], *, asked: Outcome, journal: Journal, is_badmail: bool
) -> list[Decision]:
    refused: dict[QueueId, SpoolError] = _unreadable(spool, queue_ids) if asked is Outcome.REQUEUED else {}
    words: dict[QueueId, Word] = {}
    with spool.index.write() as connection:
        journal.serial = newest_serial(connection, journal.serial)
        rows = _rows(connection, queue_ids)
        for queue_id in queue_ids:
            why = _obstacle(spool, queue_id, row=rows.get(queue_id), asked=asked, is_badmail=is_badmail)
            if why:
                refused[queue_id] = why
            elif queue_id not in refused:
                words[queue_id] = _note(journal, rows[queue_id], asked=asked)
        changer = _Changer(spool, connection)
        came: dict[QueueId, State | Wished | SpoolError] = {**refused}
        if words:
            journal.sync()
            came |= {queue_id: changer.apply(queue_id, word) for queue_id, word in words.items()}
            set_applied(connection, COMMAND_JOURNAL, number=journal.last)
    changer.clear_badmail()
    return [Decision(queue_id=queue_id, came_of_it=came[queue_id]) for queue_id in queue_ids]


def _note(journal: Journal, row: _Row, *, asked: Outcome) -> Word:
    word = Word(outcome=asked, claim=row.claim, is_wish=row.claim_epoch is not None)
    reply = str(HELD_BY_THE_OPERATOR) if asked is Outcome.HELD else BY_THE_OPERATOR
    details = {"claim": word.claim, "wish": word.is_wish, "sha256": row.sha256.hex(), "reply": reply}
    journal.note(asked, row.queue_id, details=details)
    return word


def _obstacle(
    spool: Spool, queue_id: QueueId, *, row: _Row | None, asked: Outcome, is_badmail: bool
) -> SpoolError | None:
    if row is None:
        return NotFound(f"no message {queue_id}")
    why = objection(asked, _standing(row), is_badmail=is_badmail)
    # Validate died between the file and the row: its next start completes the move, and only then is there one truth.
    if not why and row.state == State.STAGED and spool.layout.badmail_message(queue_id).exists():
        why = "is on its way to Badmail: that is completed when validate starts"
    return ForbiddenTransition(f"message {queue_id} {why}") if why else None


def _unreadable(spool: Spool, queue_ids: Sequence[QueueId]) -> dict[QueueId, SpoolError]:
    """The damaged messages among these whose bytes are not what was admitted, now that they are read once more."""
    with spool.index.read() as connection:
        rows = _rows(connection, queue_ids)
    damaged = {queue_id: to_stored(row, spool.layout) for queue_id, row in rows.items() if row.state == State.DAMAGED}
    checked = {queue_id: _what_is_wrong(spool, stored) for queue_id, stored in damaged.items()}
    return {queue_id: Damaged(queue_id, f"{what}, still") for queue_id, what in checked.items() if what}


def _what_is_wrong(spool: Spool, stored: Stored | None) -> str | None:
    if stored is None:
        return "the spool does not hold its bytes"
    try:
        for _ in pieces(spool, stored):
            pass
    except Damaged as error:
        return error.what
    return None


def _rows(connection: Connection, queue_ids: Sequence[QueueId]) -> dict[QueueId, _Row]:
    query = select_messages().where(models.messages.c.queue_id.in_(queue_ids))
    return {QueueId(row.queue_id): row for row in connection.execute(query)}


def _standing(row: _Row) -> Standing:
    return Standing(
        state=State(row.state),
        claim=row.claim,
        is_claimed=row.claim_epoch is not None,
        wish=Outcome(row.wish) if row.wish else None,
        replay_id=QueueId(row.replay_id) if row.replay_id else None,
    )


class _Changer:
    """Changes rows by the operator's words, within one transaction; what is left on disk goes after it."""

    def __init__(self, spool: Spool, connection: Connection) -> None:
        self._spool = spool
        self._connection = connection
        self._now: datetime = spool.now()
        self._left_badmail: list[QueueId] = []

    def apply(self, queue_id: QueueId, word: Word) -> State | Wished:
        """Do what follows from a word, which is in the journal; answers what came of it."""
        row = _rows(self._connection, [queue_id]).get(queue_id)
        if row is None:
            return Wished(None)
        followed = follow(word, _standing(row))
        match followed:
            case Wished(wish=wish):
                self._wish(row, wish)
                return followed
            case None:
                return State(row.state)
            case trigger:
                return self._move(row, trigger)

    def clear_badmail(self) -> None:
        """Remove the files of what left Badmail; call after the commit."""
        if self._left_badmail:
            unlink_badmail(self._spool, self._left_badmail)

    def _wish(self, row: _Row, wish: Outcome | None) -> None:
        table = models.messages
        self._connection.execute(update(table).where(table.c.queue_id == row.queue_id).values(wish=wish))
        event = WishNoted(queue_id=row.queue_id, account=row.account, wish=wish or "nothing")
        emit(self._connection, [event], now=self._now)

    def _move(self, row: _Row, trigger: Trigger) -> State:
        was = State(row.state)
        values: dict[str, object] = {}
        if trigger is Trigger.HELD:
            values = {"reason": reason_json(HELD_BY_THE_OPERATOR), "next_attempt_at": None}
        elif trigger is Trigger.RELEASED or trigger is Trigger.REQUEUED:
            values = {**ANEW, "reason": self._objection(row)}
        following = move(self._connection, row.queue_id, state=was, trigger=trigger, now=self._now, values=values)
        if following is None:
            raise AssertionError(f"{row.queue_id} changed within a transaction")
        if was is State.BADMAIL:
            self._left_badmail.append(QueueId(row.queue_id))
        events: list[Event] = [
            StateChanged(queue_id=row.queue_id, account=row.account, trigger=trigger, was=was, now=following)
        ]
        if was is State.HELD and following is State.STAGED and row.possible_duplicate:
            events.append(PossibleDuplicate(queue_id=row.queue_id, account=row.account))
        emit(self._connection, events, now=self._now)
        return following

    def _objection(self, row: _Row) -> dict[str, object] | None:
        """What fetch had against the message: validate takes a reason in the row for that, and for nothing else."""
        stored = to_stored(row, self._spool.layout)
        try:
            found = parse_block(injected_block(self._spool, stored)) if stored else None
        except Damaged:
            # Validate finds that too, and says so.
            return None
        return reason_json(parse_objection(found)) if found else None


def _chunks(queue_ids: Iterable[QueueId]) -> Iterator[list[QueueId]]:
    left = iter(queue_ids)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk
