"""What the operator does to one message by hand: release what is held, discard what waits for him.

Under the lock that commands share a line is noted in their journal and synced, then the row changes. A command that
died in between has said what is to be: the next one, or validate when it starts, carries it out.

**Invariants:** a line is synced before its row changes, and takes effect once. It names the claim at which the message
stood still: submit's journal and this one have no common order, and that number tells whether a hold came before a
release or after it.
**Failures:** `NotFound`, `ForbiddenTransition` (the message is elsewhere), `StageHeld` (another command does not end),
`SpoolFailed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, select

from spool import models
from spool.errors import ForbiddenTransition, NotFound, StageHeld
from spool.events import Event, PossibleDuplicate, StateChanged, emit
from spool.files import newest_serial
from spool.journal import Journal, Line, Outcome, read_journal
from spool.layout import COMMAND_JOURNAL
from spool.locks import COMMANDS, hold
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.retention import compact
from spool.rows import move, set_applied
from spool.staging import open_journal, spool_failures
from spool.states import State, Trigger

_PATIENCE_SECONDS = 60
_TRIGGERS = {Outcome.RELEASED: Trigger.RELEASED, Outcome.DISCARDED: Trigger.DISCARDED}
# What no stage takes, so that nobody else has it in hand.
_STANDS_STILL = {Outcome.RELEASED: (State.HELD,), Outcome.DISCARDED: (State.HELD, State.DAMAGED)}


def release(spool: Spool, queue_id: QueueId) -> None:
    """Let a held message go on, as it is: validate looks at it again. Ring validate after it."""
    _change(spool, queue_id, outcome=Outcome.RELEASED)


def discard(spool: Spool, queue_id: QueueId) -> None:
    """Throw away a message that is held or damaged; its bytes go when its segment is collected."""
    _change(spool, queue_id, outcome=Outcome.DISCARDED)


def finish_by_hand(spool: Spool) -> None:
    """Carry out what a command noted before it died, and drop the lines that nothing can ask for any more.

    Does nothing while a command is at work: it does the same.
    """
    if not read_journal(spool.layout.journal(COMMAND_JOURNAL)).lines:
        return
    try:
        with hold(spool.layout, COMMANDS), _journal(spool) as journal:
            with spool.index.write() as connection:
                _apply_noted(spool, connection)
            compact(spool, journal, owner=COMMAND_JOURNAL)
    except StageHeld:
        return


def _change(spool: Spool, queue_id: QueueId, *, outcome: Outcome) -> None:
    with hold(spool.layout, COMMANDS, timeout=_PATIENCE_SECONDS), _journal(spool) as journal:
        with spool.index.write() as connection:
            _apply_noted(spool, connection)
        # The write lock is held from the look to the commit, so that no line tells of a change that does not happen.
        with spool.index.write() as connection:
            table = models.messages
            columns = select(table.c.state, table.c.claim, table.c.sha256)
            row = connection.execute(columns.where(table.c.queue_id == queue_id)).first()
            if row is None:
                raise NotFound(f"no message {queue_id}")
            if row.state not in _STANDS_STILL[outcome]:
                those = " and ".join(_STANDS_STILL[outcome])
                raise ForbiddenTransition(f"message {queue_id} is {row.state}: only {those} messages can be {outcome}")
            journal.serial = newest_serial(connection, journal.serial)
            details = {"claim": row.claim, "sha256": row.sha256.hex(), "reply": "by the operator"}
            journal.note(outcome, queue_id, details=details)
            journal.sync()
            _apply_noted(spool, connection)


@contextmanager
def _journal(spool: Spool) -> Iterator[Journal]:
    with spool_failures("journal"):
        journal = open_journal(spool, COMMAND_JOURNAL)
        try:
            yield journal
        finally:
            journal.close()


def _apply_noted(spool: Spool, connection: Connection) -> None:
    """Bring the rows up to the journal."""
    table = models.journals
    applied = connection.execute(select(table.c.applied).where(table.c.owner == COMMAND_JOURNAL)).scalar() or 0
    contents = read_journal(spool.layout.journal(COMMAND_JOURNAL))
    for line in contents.lines:
        if line.number > applied and line.outcome in _TRIGGERS:
            _apply(connection, line, now=spool.now())
    if contents.last > applied:
        set_applied(connection, COMMAND_JOURNAL, number=contents.last)


def _apply(connection: Connection, line: Line, *, now: datetime) -> None:
    table = models.messages
    row = connection.execute(select(table).where(table.c.queue_id == line.queue_id)).first()
    if row is None or row.state not in _STANDS_STILL[line.outcome] or row.claim != line.details.get("claim"):
        return
    was, trigger = State(row.state), _TRIGGERS[line.outcome]
    # Validate takes a reason in the row for an objection to the message.
    values = {"reason": None, "next_attempt_at": None} if trigger is Trigger.RELEASED else {}
    following = move(connection, line.queue_id, state=was, trigger=trigger, now=now, values=values)
    if following is None:
        return
    events: list[Event] = [
        StateChanged(queue_id=line.queue_id, account=row.account, trigger=trigger, was=was, now=following)
    ]
    if trigger is Trigger.RELEASED and row.possible_duplicate:
        events.append(PossibleDuplicate(queue_id=line.queue_id, account=row.account))
    emit(connection, events, now=now)
