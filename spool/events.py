"""The operational log: what an operator may care about, as records in the index.

An event is a frozen record with a name, a level, a docstring (its meaning, for the catalogue) and fields; each names
its account or queue id. The events of the spool itself stand here; stages and pipeline define theirs. Text from outside
is made safe before it enters an event.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from sqlalchemy import Connection, insert, select

from spool import models
from spool.models import from_ms, to_ms

# Account, name of the event, and its reason where it has one.
Topic = tuple[str, str, str]


class Level(enum.IntEnum):
    """How much an event asks for attention."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50

    @property
    def word(self) -> str:
        """The level as people write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have; `says` is the line for people, a template over the fields."""

    level: ClassVar[Level] = Level.INFO
    says: ClassVar[str]
    account: str = ""
    queue_id: str = ""

    @property
    def topic(self) -> Topic:
        """What the event is about, as far as it is said once a day at most."""
        return self.account, type(self).__name__, str(getattr(self, "reason", ""))

    @property
    def text(self) -> str:
        """The line for people."""
        return self.says.format_map({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(Event):
    """A message is in custody: its bytes are synced and its row is committed. It may be deleted at the provider."""

    says: ClassVar[str] = "in custody, {octets} octets, UIDL {uidl}"
    octets: int
    uidl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered(Event):
    """A message whose bytes a killed process had written but not committed was taken into custody at start."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "recovered from {file}, {octets} octets"
    file: str
    octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated(Event):
    """A message has its envelope and waits for submission."""

    says: ClassVar[str] = "ready, from <{sender}>"
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A message went to Badmail; `badmail show` has the whole reason, `badmail replay` sends it again."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "to Badmail: {reason}"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Event):
    """The relay accepted a message for all its recipients."""

    says: ClassVar[str] = "submitted: {reply}"
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed(Event):
    """The relay said "later"; the message is tried again when due."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "deferred to {next_attempt_at}: {reason}"
    reason: str
    next_attempt_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided(Event):
    """Some recipients were refused: they became a Badmail message of their own, the others go on."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "divided: {recipients} went to Badmail as {child}"
    recipients: str
    child: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleDuplicate(Event):
    """The final dot left and no reply to it was noted: this message may reach its recipients twice."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "possible duplicate: the outcome of an attempt is not known; it is sent again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Event):
    """The relay may have this message, nobody knows. Look there: `spool release` sends it again, `spool rm` ends it."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "held: {reason}"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed(Event):
    """A Badmail message went through Pickup under a new queue id."""

    says: ClassVar[str] = "replayed as {child}"
    child: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """The operator changed the state of a message: by a command, or by his hand in Badmail."""

    says: ClassVar[str] = "{trigger}: {was} became {now}"
    trigger: str
    was: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDamaged(Event):
    """The bytes of a message are missing or wrong; it waits for the operator. The provider's copy may be gone."""

    level: ClassVar[Level] = Level.CRITICAL
    says: ClassVar[str] = "damaged: {what}"
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordUnreadable(Event):
    """Octets in a spool file that are no record: a torn tail after a crash, or damage."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{file}: octets {start} to {end} are not a record"
    file: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentAbandoned(Event):
    """Writing to a segment failed; it is never written again and the batch goes to a new one."""

    level: ClassVar[Level] = Level.ERROR
    says: ClassVar[str] = "{file} abandoned: {error}"
    file: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadmailEdited(Event):
    """A Badmail file was changed by hand; the file is the truth and was read again."""

    says: ClassVar[str] = "the Badmail file was edited and read again"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadmailFound(Event):
    """A file that nobody knew was found in Badmail and entered under a new queue id."""

    says: ClassVar[str] = "{file} found in Badmail and entered"
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolWarning(Event):
    """The spool works, but the place it lies on gives less than it should."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{what}"
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRebuilt(Event):
    """The index was made anew from the files; the old one is kept. What the files do not tell starts afresh."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "the index was rebuilt: {messages} messages, {ledger_entries} ledger entries"
    messages: int
    ledger_entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """An event as it is read back."""

    event: int
    at: datetime
    level: Level
    name: str
    account: str
    queue_id: str
    text: str
    fields: dict[str, object]


def emit(connection: Connection, events: Iterable[Event], *, now: datetime) -> None:
    """Write events, in the caller's transaction."""
    rows = [_row(event, to_ms(now)) for event in events]
    if rows:
        connection.execute(insert(models.events), rows)


def last_said(connection: Connection, kinds: Iterable[type[Event]], *, since: datetime) -> Mapping[Topic, datetime]:
    """When each topic of these kinds of events was last spoken of, as far as it was since then."""
    table = models.events
    names = [kind.__name__ for kind in kinds]
    query = select(table.c.at, table.c.account, table.c.name, table.c.fields)
    rows = connection.execute(query.where(table.c.at >= to_ms(since), table.c.name.in_(names)).order_by(table.c.event))
    return {(row.account, row.name, str(row.fields.get("reason", ""))): from_ms(row.at) for row in rows}


def read_events(
    connection: Connection,
    *,
    after: int = 0,
    account: str | None = None,
    level: Level = Level.DEBUG,
    queue_id: str | None = None,
    last: int | None = None,
) -> Sequence[LoggedEvent]:
    """Read events in order: behind number `after`, of an account, of a level or worse, of a message, the `last` few."""
    table = models.events
    query = select(table).where(table.c.event > after, table.c.level >= level)
    if account is not None:
        query = query.where(table.c.account == account)
    if queue_id is not None:
        query = query.where(table.c.queue_id == queue_id)
    if last is None:
        rows = connection.execute(query.order_by(table.c.event)).all()
    else:
        rows = connection.execute(query.order_by(table.c.event.desc()).limit(last)).all()[::-1]
    return [
        LoggedEvent(
            event=row.event,
            at=from_ms(row.at),
            level=Level(row.level),
            name=row.name,
            account=row.account,
            queue_id=row.queue_id,
            text=row.text,
            fields=row.fields,
        )
        for row in rows
    ]


def _row(event: Event, at: int) -> dict[str, object]:
    fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    return {
        "at": at,
        "level": int(event.level),
        "name": type(event).__name__,
        "account": fields.pop("account"),
        "queue_id": fields.pop("queue_id"),
        "text": event.text,
        "fields": fields,
    }
