"""What submit takes and leaves: claim ready and deferred messages, note every attempt, settle what the relay answered.

A claim is (epoch of the stage's lock, number of the claim of this message); no clock decides over it. The order for
each attempt:

    claim        commit
    dot          a line in the journal, write(2), before the final dot is sent
    note         the result, write(2), before the connection's next `dot`
    settle       journal synced, wishes heeded, Badmail files written, rows committed: in groups

**Invariants:** so a killed process leaves one attempt at most for each connection whose outcome is unknown; it is sent
again and marked a possible duplicate, or held where the operator wants that. After another boot every claim without a
result counts as unknown. A recipient that was accepted is never sent to again. The index's write lock is held from the
look at the operator's wishes to the commit, so a wish that was noted for a claim is heeded or was too late.
**Failures:** `SpoolFailed`; what was noted stays noted, and the next holder of the stage settles it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, true, update

from spool import models
from spool.badmail import unlink_badmail, write_badmail
from spool.ended import (
    Claim,
    Ended,
    GivenBack,
    Unreadable,
    as_noted,
    has_line,
    heed,
    leaves_for_badmail,
    message_of,
    too_late,
)
from spool.envelope import Reason
from spool.errors import Damaged
from spool.events import Event, FoundDamaged, Held, PossibleDuplicate, StateChanged, emit
from spool.files import newest_serial
from spool.journal import Journal, Outcome, lines_by_queue_id, read_journal
from spool.layout import Stage
from spool.locks import Tenure, boot_id
from spool.models import from_ms, to_ms
from spool.opening import Spool
from spool.rows import move, reason_json, select_messages, set_applied, to_message
from spool.settlement import (
    Settlement,
    Verdict,
    accepted_apart,
    apply,
    journal_entry,
    requeue,
)
from spool.staging import open_journal, spool_failures
from spool.states import State, Trigger
from spool.wishes import BY_THE_OPERATOR


class Outbox:
    """The ready and deferred messages, for the process that holds the submit stage.

    `dot` and `note` only append to the journal and may be called from the event loop; all else is for the spool's
    thread. A wish may send messages back to validate: ring it after the start, and where `settle` says so.
    """

    def __init__(self, spool: Spool, tenure: Tenure, *, holds_unknown: bool = False) -> None:
        """Open the journal and settle what an earlier holder left; raises SpoolFailed.

        `holds_unknown`: a message whose outcome is unknown is held, not sent again.
        """
        self._spool = spool
        self._tenure = tenure
        self.holds_unknown = holds_unknown
        self.journal: Journal = open_journal(spool, Stage.SUBMIT)
        self._noted: dict[str, int] = {}
        self._noting = threading.Lock()
        self._resume()

    def claim(self, limit: int) -> list[Claim]:
        """Claim what is due, fresh and deferred messages in turns, so that old trouble never starves new mail.

        Messages in whose hands sessions broke come when nothing else is due.
        """
        table = models.messages
        due = or_(table.c.next_attempt_at.is_(None), table.c.next_attempt_at <= self._spool.now_ms())
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            self.journal.serial = newest_serial(connection, self.journal.serial)
            sound = and_(due, table.c.breaks.is_(None))
            fresh = self._free(connection, and_(table.c.state == State.READY, sound), limit=limit)
            late = self._free(connection, and_(table.c.state == State.DEFERRED, sound), limit=limit)
            turns = [row for pair in zip_longest(fresh, late) for row in pair if row is not None][:limit]
            if len(turns) < limit:
                waiting = table.c.state.in_([State.READY, State.DEFERRED])
                broke = and_(waiting, due, table.c.breaks.is_not(None))
                turns += self._free(connection, broke, limit=limit - len(turns))
            connection.execute(
                update(table)
                .where(table.c.queue_id.in_([row.queue_id for row in turns]))
                .values(claim_epoch=self._tenure.epoch, claim=table.c.claim + 1, claim_boot=self._tenure.boot_id)
            )
        return [self._claim(row, number=row.claim + 1) for row in turns]

    def next_due_at(self) -> datetime | None:
        """When the next message is due that is not claimed; None where none waits."""
        table = models.messages
        query = (
            select(table.c.next_attempt_at)
            .where(table.c.state.in_([State.READY, State.DEFERRED]), table.c.claim_epoch.is_(None))
            .order_by(table.c.next_attempt_at)
            .limit(1)
        )
        with self._spool.index.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return self._spool.now() if row.next_attempt_at is None else from_ms(row.next_attempt_at)

    def dot(self, claim: Claim) -> None:
        """Note that the final dot of this attempt is about to leave; raises SpoolFailed."""
        with spool_failures("journal"):
            self.journal.note(Outcome.DOT, claim.message.queue_id, details={"claim": claim.number})

    def note(self, settlement: Settlement) -> None:
        """Note what the relay answered, before the connection sends its next final dot; raises SpoolFailed."""
        with spool_failures("journal"):
            outcome, details = journal_entry(settlement)
            queue_id = settlement.message.queue_id
            with self._noting:
                self._noted[queue_id] = self.journal.note(outcome, queue_id, details=details)

    def wished(self, queue_ids: Collection[str]) -> set[str]:
        """Those of these claimed messages about which the operator has decided meanwhile."""
        with self._spool.index.read() as connection:
            return set(_wishes(connection, queue_ids))

    def settle(self, ended: Sequence[Ended]) -> bool:
        """Settle claims for good, in one group; each `Settlement` was noted before. True: messages are staged again."""
        with spool_failures("settle"):
            self.journal.sync()
            with self._spool.index.write() as connection:
                self._tenure.check(connection)
                wishes = _wishes(connection, [message_of(one).queue_id for one in ended])
                filed = [self._file(self._heed(one, wishes.get(message_of(one).queue_id))) for one in ended]
                if any(has_line(one) for one in filed):
                    self.journal.sync()
                for one in filed:
                    self._apply(connection, one)
                emit(connection, too_late(filed, wishes), now=self._spool.now())
                set_applied(connection, Stage.SUBMIT, number=self._applied_by(filed))
            discarded = [message_of(one).queue_id for one in filed if one.by_hand is Trigger.DISCARDED]
            if discarded:
                # The file of a move that was under way when an earlier process died.
                unlink_badmail(self._spool, discarded)
        for one in filed:
            self._noted.pop(message_of(one).queue_id, None)
        return any(one.by_hand is Trigger.REQUEUED for one in filed)

    def close(self) -> None:
        """Give the journal back."""
        self.journal.close()

    def _heed(self, one: Ended, wish: Outcome | None) -> Ended:
        child = one.child if isinstance(one, Settlement) else None
        has_child = child is not None and self._spool.layout.badmail_message(child).exists()
        return heed(one, wish, has_child=has_child, holds_unknown=self.holds_unknown)

    def _file(self, one: Ended) -> Ended:
        """Write the Badmail file and the line of what leaves or is held; the answers are synced already."""
        if isinstance(one, Settlement) and leaves_for_badmail(one):
            one = self._file_refused(one)
        message, claim = message_of(one), one.claim if isinstance(one, Settlement) else one.claim.number
        details: dict[str, object] = {"claim": claim, "sha256": message.sha256.hex()}
        if one.by_hand is Trigger.DISCARDED:
            self.journal.note(Outcome.DISCARDED, message.queue_id, details={**details, "reply": BY_THE_OPERATOR})
        elif isinstance(one, Unreadable):
            self.journal.note(Outcome.DAMAGED, message.queue_id, details={"what": one.what})
        elif one.held:
            details |= {"reply": str(one.held), "unknown": one.outcome_unknown}
            self.journal.note(Outcome.HELD, message.queue_id, details=details)
        return one

    def _file_refused(self, one: Settlement) -> Settlement | Unreadable:
        refused = one.having(Verdict.REFUSED)
        recipients = [answer.recipient for answer in refused]
        try:
            write_badmail(self._spool, one.message, reason=refused[0].reason, recipients=recipients, as_child=one.child)
        except Damaged as error:
            claim = Claim(message=one.message, number=one.claim, breaks={}, queued_clock=0, attempt_clock=None)
            discarded = Trigger.DISCARDED if one.by_hand is Trigger.DISCARDED else None
            return Unreadable(claim=claim, what=error.what, answers=one.answers, by_hand=discarded)
        details = {
            "recipients": recipients,
            "sha256": one.message.sha256.hex(),
            "reply": str(refused[0].reason),
            "parent": one.message.queue_id if one.child else None,
        }
        self.journal.note(Outcome.BADMAIL, one.child or one.message.queue_id, details=details)
        return one

    def _apply(self, connection: Connection, one: Ended) -> None:
        now = self._spool.now()
        match one:
            case Settlement():
                apply(connection, one, now=now)
            case GivenBack(by_hand=Trigger.DISCARDED) | Unreadable(by_hand=Trigger.DISCARDED):
                self._leave(connection, one, trigger=Trigger.DISCARDED, values={}, now=now)
            case GivenBack(held=Reason() as reason):
                values: dict[str, object] = {
                    "breaks": dict(one.breaks) or None,
                    "next_attempt_at": None,
                    "reason": reason_json(reason),
                }
                self._leave(connection, one, trigger=Trigger.HELD, values=values, now=now)
            case GivenBack():
                self._give_back(connection, one, now=now)
            case Unreadable(what=what):
                values = {"reason": reason_json(Reason(stage="spool", text=what))}
                self._leave(connection, one, trigger=Trigger.FOUND_DAMAGED, values=values, now=now)

    def _leave(
        self,
        connection: Connection,
        one: GivenBack | Unreadable,
        *,
        trigger: Trigger,
        values: Mapping[str, object],
        now: datetime,
    ) -> None:
        """Let a message leave the queue that no reply decided about."""
        message = one.claim.message
        was, account = message.state, message.account
        known: dict[str, object] = {"claim_epoch": None, "wish": None}
        match one:
            case GivenBack():
                known["possible_duplicate"] = _possible_duplicate(one)
            case Unreadable(answers=answers) if answers:
                known |= accepted_apart(message, answers, now=now)
        is_ours = models.messages.c.claim == one.claim.number
        following = move(
            connection,
            message.queue_id,
            state=was,
            trigger=trigger,
            now=now,
            values={**known, **values},
            where=[is_ours],
        )
        if following is None:
            return
        event: Event = StateChanged(queue_id=message.queue_id, account=account, trigger=trigger, was=was, now=following)
        match one:
            case Unreadable(what=what) if trigger is Trigger.FOUND_DAMAGED:
                event = FoundDamaged(queue_id=message.queue_id, account=account, what=what)
            case GivenBack(held=Reason() as reason, outcome_unknown=True) if trigger is Trigger.HELD:
                event = Held(queue_id=message.queue_id, account=account, reason=str(reason))
        emit(connection, [event], now=now)

    def _give_back(self, connection: Connection, one: GivenBack, *, now: datetime) -> None:
        table = models.messages
        message = one.claim.message
        is_anew = one.by_hand is Trigger.REQUEUED
        due = one.next_attempt_at or message.next_attempt_at
        changed = connection.execute(
            update(table)
            .where(table.c.queue_id == message.queue_id, table.c.claim == one.claim.number)
            .values(
                claim_epoch=None,
                wish=None,
                breaks=None if is_anew else dict(one.breaks) or None,
                next_attempt_at=to_ms(due) if due and not is_anew else None,
                possible_duplicate=_possible_duplicate(one),
            )
        )
        if not changed.rowcount:
            return
        # A ready one is tried anew by being due.
        if is_anew and message.state is State.DEFERRED:
            emit(connection, requeue(connection, message, was=State.DEFERRED, now=now), now=now)
        if one.outcome_unknown:
            emit(connection, [PossibleDuplicate(queue_id=message.queue_id, account=message.account)], now=now)

    def _applied_by(self, ended: Sequence[Ended]) -> int:
        """The highest line below which none waits for its rows."""
        settled = {message_of(one).queue_id for one in ended}
        with self._noting:
            waiting = [number for queue_id, number in self._noted.items() if queue_id not in settled]
            return min(waiting) - 1 if waiting else self.journal.last

    def _free(
        self, connection: Connection, condition: ColumnElement[bool], *, limit: int
    ) -> Sequence[Row[tuple[object, ...]]]:
        table = models.messages
        query = select_messages().where(condition, table.c.claim_epoch.is_(None))
        return connection.execute(query.order_by(table.c.next_attempt_at, table.c.queue_id).limit(limit)).all()

    def _claim(self, row: Row[tuple[object, ...]], *, number: int) -> Claim:
        return Claim(
            message=to_message(row, self._spool.layout),
            number=number,
            breaks=row.breaks or {},
            queued_clock=row.queued_clock,
            attempt_clock=row.attempt_clock,
        )

    def _resume(self) -> None:
        """Settle or give back every claim of an earlier holder, by what the journal says of it."""
        lines = lines_by_queue_id(read_journal(self.journal.path).lines)
        with self._spool.index.read() as connection:
            rows = connection.execute(select_messages().where(models.messages.c.claim_epoch.is_not(None))).all()
        ended: list[Ended] = []
        for row in rows:
            claim = self._claim(row, number=row.claim)
            ours = [line for line in lines.get(row.queue_id, ()) if line.details.get("claim") == row.claim]
            ended.append(as_noted(claim, ours, is_of_this_boot=row.claim_boot == boot_id()))
        self.settle(ended)


def _wishes(connection: Connection, queue_ids: Collection[str]) -> dict[str, Outcome]:
    """What the operator wants of these messages when their claims end."""
    table = models.messages
    query = select(table.c.queue_id, table.c.wish).where(table.c.queue_id.in_(queue_ids), table.c.wish.is_not(None))
    return {row.queue_id: Outcome(row.wish) for row in connection.execute(query)}


def _possible_duplicate(one: GivenBack) -> ColumnElement[bool]:
    return true() if one.outcome_unknown else models.messages.c.possible_duplicate
