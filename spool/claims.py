"""What submit takes and leaves: claim ready and deferred messages, note every attempt, settle what the relay answered.

A claim is (epoch of the stage's lock, number of the claim of this message); no clock decides over it. The order for
each attempt:

    claim        commit
    dot          a line in the journal, write(2), before the final dot is sent
    note         the result, write(2), before the connection's next `dot`
    settle       journal synced, Badmail files written, rows committed: in groups

**Invariants:** so a killed process leaves one attempt at most for each connection whose outcome is unknown; it is sent
again and marked a possible duplicate, or held where the operator wants that. After another boot every claim without a
result counts as unknown. A recipient that was accepted is never sent to again.
**Failures:** `SpoolFailed`; what was noted stays noted, and the next holder of the stage settles it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, true, update

from spool import models
from spool.badmail import write_badmail
from spool.envelope import Reason
from spool.errors import Damaged
from spool.events import FoundDamaged, Held, PossibleDuplicate, emit
from spool.files import newest_serial
from spool.journal import Journal, Line, Outcome, lines_by_queue_id, read_journal
from spool.layout import Stage
from spool.locks import Tenure, boot_id
from spool.models import from_ms, to_ms
from spool.opening import Spool
from spool.rows import Message, move, reason_json, select_messages, set_applied, to_message
from spool.settlement import (
    Answer,
    Settlement,
    Verdict,
    accepted_apart,
    apply,
    from_line,
    journal_entry,
    may_have_it,
    unknown_reason,
)
from spool.staging import open_journal, spool_failures
from spool.states import State, Trigger

_ENDED_EARLY = "the process ended between the final dot and its reply"
_STARTED_ANEW = "the machine was started anew, and what was noted last may be lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A message in our hands for one attempt.

    `breaks` is what the caller noted of sessions that broke in this message's transaction; `queued_clock` is the
    route's open clock when it became ready, `attempt_clock` at its last attempt, None before the first (milliseconds).
    """

    message: Message
    number: int
    breaks: Mapping[str, int]
    queued_clock: int
    attempt_clock: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack:
    """A claim that ended without a verdict on the message: the route failed, or its session broke.

    `next_attempt_at` sends it behind whatever is due by then, None leaves its place as it was; `outcome_unknown` marks
    a possible duplicate: the final dot was sent and the reply never came. `what` says in plain words what came instead
    of a reply; `held` is the reason for which the message is set aside, None where it goes on.
    """

    claim: Claim
    breaks: Mapping[str, int]
    next_attempt_at: datetime | None = None
    outcome_unknown: bool = False
    what: str = "no reply was noted"
    held: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A claim whose bytes are not the ones that were admitted; `answers` are those it had when that was found."""

    claim: Claim
    what: str
    answers: tuple[Answer, ...] = ()


Ended = Settlement | GivenBack | Unreadable


class Outbox:
    """The ready and deferred messages, for the process that holds the submit stage.

    `dot` and `note` only append to the journal and may be called from the event loop; all else is for the spool's
    thread.
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

    def settle(self, ended: Sequence[Ended]) -> None:
        """Settle claims for good, in one group; each `Settlement` was noted before."""
        with spool_failures("settle"):
            self.journal.sync()
            ended = [self._file(self._hold(one)) for one in ended]
            if any(isinstance(one, Unreadable) or one.held or _leaves_for_badmail(one) for one in ended):
                self.journal.sync()
            with self._spool.index.write() as connection:
                self._tenure.check(connection)
                for one in ended:
                    self._apply(connection, one)
                set_applied(connection, Stage.SUBMIT, number=self._applied_by(ended))
        for one in ended:
            self._noted.pop(_queue_id(one), None)

    def close(self) -> None:
        """Give the journal back."""
        self.journal.close()

    def _hold(self, one: Ended) -> Ended:
        """Decide to set a message aside whose outcome is unknown, where that is wanted."""
        if isinstance(one, Unreadable) or not one.outcome_unknown or one.held or not self.holds_unknown:
            return one
        return replace(one, held=unknown_reason(one) if isinstance(one, Settlement) else may_have_it(one.what))

    def _file(self, one: Ended) -> Ended:
        """Write the Badmail file and the line of what leaves or is held; the answers are synced already."""
        match one:
            case Unreadable():
                self.journal.note(Outcome.DAMAGED, one.claim.message.queue_id, details={"what": one.what})
            case GivenBack():
                self._note_held(one.claim.message, one.claim.number, held=one.held)
            case Settlement():
                filed = self._file_refused(one) if _leaves_for_badmail(one) else one
                if isinstance(filed, Settlement):
                    self._note_held(filed.message, filed.claim, held=filed.held)
                return filed
        return one

    def _note_held(self, message: Message, claim: int, *, held: Reason | None) -> None:
        if held is not None:
            details = {"claim": claim, "sha256": message.sha256.hex(), "reply": str(held), "unknown": True}
            self.journal.note(Outcome.HELD, message.queue_id, details=details)

    def _file_refused(self, one: Settlement) -> Ended:
        refused = one.having(Verdict.REFUSED)
        recipients = [answer.recipient for answer in refused]
        try:
            write_badmail(self._spool, one.message, reason=refused[0].reason, recipients=recipients, as_child=one.child)
        except Damaged as error:
            claim = Claim(message=one.message, number=one.claim, breaks={}, queued_clock=0, attempt_clock=None)
            return self._file(Unreadable(claim=claim, what=error.what, answers=one.answers))
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
            case GivenBack(held=Reason() as reason):
                self._set_aside(connection, one, reason=reason, now=now)
            case GivenBack():
                self._give_back(connection, one, now=now)
            case Unreadable():
                self._set_damaged(connection, one, now=now)

    def _set_damaged(self, connection: Connection, one: Unreadable, *, now: datetime) -> None:
        message = one.claim.message
        values: dict[str, object] = {
            "claim_epoch": None,
            "reason": reason_json(Reason(stage="spool", text=one.what)),
        }
        if one.answers:
            values |= accepted_apart(message, one.answers, now=now)
        trigger = Trigger.FOUND_DAMAGED
        if move(connection, message.queue_id, state=message.state, trigger=trigger, now=now, values=values):
            event = FoundDamaged(queue_id=message.queue_id, account=message.account, what=one.what)
            emit(connection, [event], now=now)

    def _set_aside(self, connection: Connection, one: GivenBack, *, reason: Reason, now: datetime) -> None:
        message = one.claim.message
        values = {
            "claim_epoch": None,
            "breaks": dict(one.breaks) or None,
            "next_attempt_at": None,
            "reason": reason_json(reason),
            "possible_duplicate": True,
        }
        is_ours = models.messages.c.claim == one.claim.number
        trigger = Trigger.HELD
        if move(
            connection, message.queue_id, state=message.state, trigger=trigger, now=now, values=values, where=[is_ours]
        ):
            held = Held(queue_id=message.queue_id, account=message.account, reason=str(reason))
            emit(connection, [held], now=now)

    def _give_back(self, connection: Connection, one: GivenBack, *, now: datetime) -> None:
        table = models.messages
        message = one.claim.message
        due = one.next_attempt_at or message.next_attempt_at
        changed = connection.execute(
            update(table)
            .where(table.c.queue_id == message.queue_id, table.c.claim == one.claim.number)
            .values(
                claim_epoch=None,
                breaks=dict(one.breaks) or None,
                next_attempt_at=to_ms(due) if due else None,
                possible_duplicate=true() if one.outcome_unknown else table.c.possible_duplicate,
            )
        )
        if changed.rowcount and one.outcome_unknown:
            emit(connection, [PossibleDuplicate(queue_id=message.queue_id, account=message.account)], now=now)

    def _applied_by(self, ended: Sequence[Ended]) -> int:
        """The highest line below which none waits for its rows."""
        settled = {_queue_id(one) for one in ended}
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
            ended.append(_as_noted(claim, ours, is_of_this_boot=row.claim_boot == boot_id()))
        self.settle(ended)


def _as_noted(claim: Claim, lines: Sequence[Line], *, is_of_this_boot: bool) -> Settlement | GivenBack:
    """How a claim ended whose process is gone, by the lines about it."""
    # It was synced before the row could say so, and a rebuild would go by it: whatever is configured now, it holds.
    holding = next((line for line in lines if line.outcome is Outcome.HELD), None)
    held = Reason.parse(str(holding.details["reply"])) if holding else None
    result = next((line for line in lines if line.outcome not in (Outcome.DOT, Outcome.HELD)), None)
    if result is not None:
        return replace(from_line(claim.message, result), held=held)
    return GivenBack(
        claim=claim,
        breaks=claim.breaks,
        outcome_unknown=bool(lines) or not is_of_this_boot,
        what=_ENDED_EARLY if lines else _STARTED_ANEW,
        held=held,
    )


def _leaves_for_badmail(one: Ended) -> bool:
    return isinstance(one, Settlement) and bool(one.having(Verdict.REFUSED))


def _queue_id(one: Ended) -> str:
    return one.message.queue_id if isinstance(one, Settlement) else one.claim.message.queue_id
