"""The operational log: what an event is, how events are written, and how they are read back.

An event is a frozen record with a name, a level, a docstring (its meaning and, in a second paragraph, what to do about
it) and fields; each names its account or queue id. Text from outside is made safe before it enters one.

**Invariants:** an event is committed with what it tells of, or not at all. What names a message is an event of its own
each time (I7); trouble that names none, and lasts or comes again within a day, is one event with a count.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from spool import models
from spool.models import from_ms, to_ms

# The process that writes where no stage does.
COMMAND = "command"
SUPERVISOR = "run"
# The execution option under which a transaction's connection has its `Pen`.
PEN = "pen"
SAME_WITHIN = timedelta(days=1)
# What stands for a figure in a topic.
_ANY = "#"


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
    """What all events have; `says` is the line for people, a template over the fields.

    `figures` are the fields that may differ between two times that the same is said; a kind below warning can be said
    again only where it names some. `ended_by` is the kind that tells of the end of the trouble: what comes after it is
    new.
    """

    level: ClassVar[Level] = Level.INFO
    says: ClassVar[str]
    figures: ClassVar[frozenset[str]] = frozenset()
    ended_by: ClassVar[str] = ""
    account: str = ""
    queue_id: str = ""

    @property
    def topic(self) -> str | None:
        """What must be equal for the same to be said again; None where each time is an event of its own."""
        if self.queue_id or (self.level < Level.WARNING and not self.figures):
            return None
        return self.says.format_map({**self._values(), **dict.fromkeys(self.figures, _ANY)})

    @property
    def text(self) -> str:
        """The line for people."""
        return self.says.format_map(self._values())

    def _values(self) -> dict[str, object]:
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """An event as it is read back.

    `process` is who wrote it: a stage, `run` or `command`, empty where an earlier version did. `count` is how often it
    was said, `last_at` when last, None after the first time; text and fields are those of the last time.
    """

    event: int
    at: datetime
    level: Level
    name: str
    account: str
    queue_id: str
    text: str
    fields: dict[str, object]
    process: str = ""
    count: int = 1
    last_at: datetime | None = None

    @property
    def newest_at(self) -> datetime:
        """When it was said last."""
        return self.last_at or self.at


@dataclass(slots=True, kw_only=True)
class Pen:
    """Who writes in a transaction; `told` is what listeners hear of once it is committed, where there are any."""

    process: str = COMMAND
    has_listener: bool = False
    told: list[LoggedEvent] = field(default_factory=list)


def emit(connection: Connection, events: Iterable[Event], *, now: datetime) -> None:
    """Write events, in the caller's transaction; what was said in the last 24 hours is counted, not written again."""
    pen = connection.get_execution_options().get(PEN) or Pen()
    at = to_ms(now)
    rows: list[dict[str, object]] = []
    for event in events:
        row = _row(event, at=at, process=pen.process)
        if event.topic is not None:
            # The event before may have said it.
            _insert(connection, rows, pen=pen)
            rows = []
            if _say_again(connection, row, ended_by=event.ended_by, at=at, pen=pen):
                continue
        rows.append(row)
    _insert(connection, rows, pen=pen)


def is_heard_again(count: int) -> bool:
    """Whether those who listen are told that the same was said so often: at 2, and at each power of ten."""
    return count == 2 or str(count).rstrip("0") == "1"


def read_events(
    connection: Connection,
    *,
    after: int = 0,
    account: str | None = None,
    level: Level = Level.DEBUG,
    queue_id: str | None = None,
    names: Collection[str] = (),
    since: datetime | None = None,
    said_again_since: datetime | None = None,
    last: int | None = None,
) -> Sequence[LoggedEvent]:
    """Read events in the order in which they were last said.

    Those behind number `after`, of an account, of a level or worse, of a message, of these names, said `since` then,
    said not for the first time since then; the `last` few of them.
    """
    columns = models.events.c
    query = select(models.events).where(columns.event > after, columns.level >= level)
    if account is not None:
        query = query.where(columns.account == account)
    if queue_id is not None:
        query = query.where(columns.queue_id == queue_id)
    if names:
        query = query.where(columns.name.in_(names))
    if since is not None:
        query = query.where(or_(columns.at >= to_ms(since), columns.last_at >= to_ms(since)))
    if said_again_since is not None:
        query = query.where(columns.last_at >= to_ms(said_again_since))
    if last is None:
        rows = connection.execute(query.order_by(columns.event)).all()
    else:
        # Each half by its index; a row that is in both is one.
        newest = connection.execute(query.order_by(columns.event.desc()).limit(last)).all()
        again = query.where(columns.last_at.is_not(None)).order_by(columns.last_at.desc()).limit(last)
        rows = list({row.event: row for row in (*newest, *connection.execute(again).all())}.values())
    found = sorted(map(_to_event, rows), key=lambda one: (one.newest_at, one.event))
    return found if last is None else found[-last:]


def was_said(connection: Connection, kind: type[Event], *, account: str, since: datetime, until: datetime) -> bool:
    """Whether an event of this kind was written about an account between these times."""
    columns = models.events.c
    latest = func.coalesce(columns.last_at, columns.at)
    query = select(columns.event).where(columns.name == kind.__name__, columns.account == account)
    found = connection.execute(query.where(latest > to_ms(since), latest <= to_ms(until)).limit(1))
    return found.first() is not None


def _insert(connection: Connection, rows: Sequence[dict[str, object]], *, pen: Pen) -> None:
    if not rows:
        return
    connection.execute(insert(models.events), rows)
    if pen.has_listener:
        # Nobody else writes meanwhile, so that the numbers are in a row.
        highest = connection.execute(select(func.max(models.events.c.event))).scalar_one()
        table = models.events
        query = select(table).where(table.c.event > highest - len(rows)).order_by(table.c.event)
        pen.told += map(_to_event, connection.execute(query).all())


def _say_again(connection: Connection, row: Mapping[str, object], *, ended_by: str, at: int, pen: Pen) -> bool:
    """Count an event that was said before, and take the words of this time; False where it was not."""
    table = models.events
    same = (table.c.name == row["name"], table.c.account == row["account"], table.c.topic == row["topic"])
    # What lies ahead was written before somebody set the clock back.
    is_recent = (table.c.at > at - SAME_WITHIN // timedelta(milliseconds=1), table.c.at <= at)
    newest = select(table.c.event).where(*same, *is_recent).order_by(table.c.event.desc()).limit(1)
    number = connection.execute(newest).scalar()
    if number is None or _has_ended(connection, row, by=ended_by, after=number):
        return False
    kept = {name: row[name] for name in ("text", "fields", "process")}
    statement = update(table).where(table.c.event == number).values(kept | {"last_at": at, "count": table.c.count + 1})
    connection.execute(statement)
    if pen.has_listener:
        told = _to_event(connection.execute(select(table).where(table.c.event == number)).one())
        pen.told += [told] if is_heard_again(told.count) else []
    return True


def _has_ended(connection: Connection, row: Mapping[str, object], *, by: str, after: int) -> bool:
    table = models.events
    end = select(table.c.event).where(table.c.name == by, table.c.account == row["account"], table.c.event > after)
    return bool(by) and connection.execute(end.limit(1)).first() is not None


def _row(event: Event, *, at: int, process: str) -> dict[str, object]:
    fields = {one.name: getattr(event, one.name) for one in dataclasses.fields(event)}
    return {
        "at": at,
        "level": int(event.level),
        "name": type(event).__name__,
        "account": fields.pop("account"),
        "queue_id": fields.pop("queue_id"),
        "text": event.text,
        "fields": fields,
        "process": process,
        "topic": event.topic,
    }


def _to_event(row: Row[tuple[object, ...]]) -> LoggedEvent:
    return LoggedEvent(
        event=row.event,
        at=from_ms(row.at),
        level=Level(row.level),
        name=row.name,
        account=row.account,
        queue_id=row.queue_id,
        text=row.text,
        fields=row.fields,
        process=row.process,
        # `row.count` is a method of every sequence.
        count=row._mapping["count"],
        last_at=None if row.last_at is None else from_ms(row.last_at),
    )
