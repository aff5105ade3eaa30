"""What validate takes and leaves: staged messages in, ready or refused ones out.

No claim is needed: one process owns the stage, and what it decides is applied by compare-and-set on the state, so that
a message which an operator held or threw away in between stays as it is.

**Invariants:** a refused message is in Badmail, its file synced and its journal line too, before its row says so.
**Failures:** `SpoolFailed`; nothing of the batch has changed its state then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from spool import models
from spool.badmail import read_badmail, write_badmail
from spool.envelope import Needs, Reason
from spool.errors import Damaged, SpoolFailed
from spool.events import Event, FoundDamaged, RecordUnreadable, Refused, Validated, emit
from spool.files import newest_serial
from spool.journal import Journal, Outcome, damaged_lines
from spool.locks import Tenure
from spool.opening import Spool
from spool.rows import Message, move, reason_json, select_messages, set_applied, to_message
from spool.states import State, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A message that may be submitted, and what was found out about it."""

    message: Message
    sender: str
    recipients: tuple[str, ...]
    subject: str
    needs: Needs
    message_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A message that may not be submitted; its envelope as far as it is known."""

    message: Message
    reason: Reason
    recipients: tuple[str, ...]
    subject: str
    message_id: str = ""
    sender: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A message whose bytes are not the ones that were admitted."""

    message: Message
    what: str


Finding = Passed | Rejected | Unreadable


class Staging:
    """The staged messages, for the process that holds the validate stage. For one thread."""

    def __init__(self, spool: Spool, tenure: Tenure) -> None:
        """Open the journal and finish what an earlier holder began."""
        self._spool = spool
        self._tenure = tenure
        self.journal: Journal = open_journal(spool, tenure.stage)
        self._finish_moves()

    def waiting(self, limit: int) -> Sequence[Message]:
        """The oldest staged messages."""
        table = models.messages
        query = select_messages().where(table.c.state == State.STAGED).order_by(table.c.queue_id).limit(limit)
        with self._spool.index.read() as connection:
            return [to_message(row, self._spool.layout) for row in connection.execute(query)]

    def settle(self, findings: Sequence[Finding], *, queued_clock: int = 0, extra: Iterable[Event] = ()) -> None:
        """Apply what was found, in one transaction; `queued_clock` is the route's open clock, from which lifetime runs.

        The write lock is held while files and journal lines become durable, so that no line can tell of a move that
        then does not happen.
        """
        with spool_failures("settle"):
            self._settle(findings, self._file, queued_clock=queued_clock, extra=extra)

    def close(self) -> None:
        """Give the journal back."""
        self.journal.close()

    def _settle(
        self,
        findings: Sequence[Finding],
        file: Callable[[Finding], Finding],
        *,
        queued_clock: int = 0,
        extra: Iterable[Event] = (),
    ) -> None:
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            self.journal.serial = newest_serial(connection, self.journal.serial)
            staged = _still_staged(connection, findings)
            filed = [file(finding) for finding in findings if finding.message.queue_id in staged]
            if not all(isinstance(finding, Passed) for finding in filed):
                self.journal.sync()
            events = [self._apply(connection, finding, queued_clock=queued_clock) for finding in filed]
            emit(connection, [*events, *extra], now=self._spool.now())
            set_applied(connection, self._tenure.stage, number=self.journal.last)

    def _file(self, finding: Finding) -> Finding:
        """Bring what must be durable before the commit to disk: the Badmail file, then the journal line."""
        match finding:
            case Rejected(message=message, reason=reason):
                try:
                    # The envelope of a refused message is what we know; the operator mends it at replay.
                    write_badmail(
                        self._spool,
                        _as_filed(message, sender=finding.sender, recipients=finding.recipients),
                        reason=reason,
                    )
                except Damaged as error:
                    return self._note(Unreadable(message=message, what=error.what))
            case Passed() | Unreadable():
                pass
        return self._note(finding)

    def _note(self, finding: Finding) -> Finding:
        """Note in the journal that the message leaves the queue, where it does."""
        match finding:
            case Rejected(message=message, reason=reason):
                filed = _as_filed(message, sender=finding.sender, recipients=finding.recipients)
                note_exit(self.journal, filed, outcome=Outcome.BADMAIL, reason=reason)
            case Unreadable(message=message, what=what):
                self.journal.note(Outcome.DAMAGED, message.queue_id, details={"what": what})
            case Passed():
                pass
        return finding

    def _apply(self, connection: Connection, finding: Finding, *, queued_clock: int) -> Event:
        """Move the message, which is staged in this very transaction; answers the event that tells of it."""
        message = finding.message
        now = self._spool.now()
        values: dict[str, object]
        event: Event
        trigger: Trigger
        match finding:
            case Passed(sender=sender, recipients=recipients, needs=needs):
                trigger = Trigger.VALIDATED
                values = {
                    "sender": sender,
                    "recipients": list(recipients),
                    "subject": finding.subject,
                    "message_id": finding.message_id,
                    "eightbit": needs.eightbit,
                    "smtputf8": needs.smtputf8,
                    "overlong_line_octets": needs.overlong_line_octets,
                    "has_nul": needs.has_nul,
                    "queued_clock": queued_clock,
                }
                event = Validated(queue_id=message.queue_id, account=message.account, sender=sender)
            case Rejected(reason=reason, recipients=recipients, sender=sender_found):
                trigger = Trigger.REFUSED
                values = {
                    "sender": sender_found,
                    "recipients": list(recipients),
                    "subject": finding.subject,
                    "message_id": finding.message_id,
                    "reason": reason_json(reason),
                }
                event = Refused(queue_id=message.queue_id, account=message.account, reason=str(reason))
            case Unreadable(what=what):
                trigger = Trigger.FOUND_DAMAGED
                values = {"reason": reason_json(Reason(stage="spool", text=what))}
                event = FoundDamaged(queue_id=message.queue_id, account=message.account, what=what)
        move(connection, message.queue_id, state=State.STAGED, trigger=trigger, now=now, values=values)
        return event

    def _finish_moves(self) -> None:
        """Complete moves to Badmail whose file is whole but whose row was not committed."""
        with spool_failures("finish"):
            self._spool.disk.sync_directory(self._spool.layout.badmail)
            unfinished = [
                Rejected(
                    message=message,
                    reason=reason,
                    recipients=message.recipients,
                    subject=message.subject,
                    message_id=message.message_id,
                    sender=message.sender,
                )
                for message, reason in unfinished_moves(self._spool, State.STAGED)
            ]
            self._settle(unfinished, self._note)


def unfinished_moves(spool: Spool, *states: State) -> Iterator[tuple[Message, Reason]]:
    """Messages in `states` that have a whole Badmail file already, as the file knows them, with its reason."""
    names = [path.name.partition(".")[0] for path in spool.layout.badmail.glob("*.eml")]
    table = models.messages
    for start in range(0, len(names), 500):
        query = select_messages().where(table.c.queue_id.in_(names[start : start + 500]), table.c.state.in_(states))
        with spool.index.read() as connection:
            found = [to_message(row, spool.layout) for row in connection.execute(query)]
        for message in found:
            try:
                file = read_badmail(spool, message.queue_id)
            except OSError:
                # No file of ours: somebody put a link there, or a directory.
                continue
            if file is not None:
                yield _as_filed(message, sender=file.sender, recipients=file.recipients), file.reason


def open_journal(spool: Spool, owner: str) -> Journal:
    """Open the journal of a stage, or of the commands, for its holder; numbers go on above what the index applied."""
    with spool.index.read() as connection:
        applied = connection.execute(models.journals.select().where(models.journals.c.owner == owner)).first()
        serial = newest_serial(connection)
    with spool_failures("journal"):
        _keep_damaged_lines(spool, owner)
        journal = Journal(
            spool.layout.journal(owner), disk=spool.disk, now_ms=spool.now_ms, floor=applied.applied if applied else 0
        )
    journal.serial = serial
    return journal


def _keep_damaged_lines(spool: Spool, owner: str) -> None:
    """Set a copy aside and say so, before the journal is written anew without what cannot be read in it."""
    path = spool.layout.journal(owner)
    if not any(damaged_lines(path)):
        return
    copy = spool.layout.set_aside(f"{path.name}-{spool.now_ms()}")
    octets = path.read_bytes()
    spool.disk.write_file(copy, [octets])
    with spool.index.write() as connection:
        emit(connection, [RecordUnreadable(file=f"damaged/{copy.name}", start=0, end=len(octets))], now=spool.now())


def note_exit(journal: Journal, message: Message, *, outcome: Outcome, reason: Reason) -> int:
    """Note that a message leaves the queue."""
    details = {"recipients": list(message.recipients), "sha256": message.sha256.hex(), "reply": str(reason)}
    return journal.note(outcome, message.queue_id, details=details)


@contextmanager
def spool_failures(what: str) -> Iterator[None]:
    """Turn an OSError of a durable step into SpoolFailed, once, at the boundary of the spool."""
    try:
        yield
    except OSError as error:
        raise SpoolFailed(f"{what}: {error.strerror or error}") from error


def _still_staged(connection: Connection, findings: Sequence[Finding]) -> set[str]:
    table = models.messages
    ids = [finding.message.queue_id for finding in findings]
    query = select(table.c.queue_id).where(table.c.queue_id.in_(ids), table.c.state == State.STAGED)
    return set(connection.execute(query).scalars())


def _as_filed(message: Message, *, sender: str | None, recipients: tuple[str, ...]) -> Message:
    return replace(message, sender=sender, recipients=recipients)
