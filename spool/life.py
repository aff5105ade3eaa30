"""The life of a message: every change with its time, the process that made it and the server's words, and its kin.

Kin are the message that it was divided from, those that it was divided into, and replays in both directions, and so on
from each of them.

**Invariants:** nothing is changed; what is told is what events and rows hold, in order of time. An acceptance is told
for each recipient by its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, select

from spool import models
from spool.event_log import Level
from spool.events import Divided, FoundDamaged, Held, Postponed, Replayed, StateChanged, Submitted
from spool.finding import Had, Match, events_naming, had_of
from spool.layout import Stage
from spool.message_file import parse_timestamp
from spool.models import from_ms
from spool.opening import Spool
from spool.rows import Message, select_messages, to_message

FROM, INTO, REPLAY, REPLAYED = "divided from", "divided into", "replay of", "replayed as"
_KIN_AT_MOST = 200
_ACCEPTED = "Accepted"
_ENDS_OF_ATTEMPTS = frozenset(
    kind.__name__ for kind in (Submitted, Postponed, Held, Divided, FoundDamaged, StateChanged)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that happened to a message; `queue_id` is empty for what came before it was in custody.

    `process` is empty where an earlier version did not note it; `name` is that of the event, or `Accepted`: what the
    relay said to one recipient.
    """

    at: datetime
    process: str
    queue_id: str
    name: str
    level: Level
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """A message of the family: it is `relation` the message `of`. `message` is None where it has no row."""

    queue_id: str
    relation: str
    of: str
    message: Message | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is known of a message; `had` is what the ledger has of it."""

    match: Match
    had: Had | None
    kin: tuple[Kin, ...]
    changes: tuple[Change, ...]

    @property
    def family(self) -> frozenset[str]:
        """The queue ids of the message and its kin."""
        return frozenset({self.match.queue_id or "", *(one.queue_id for one in self.kin)}) - {""}


def life_of(spool: Spool, match: Match, *, naming_uidls: Collection[str] = ()) -> Life:
    """Tell the life of a message that was found; `naming_uidls` as in `spool.finding.find`."""
    with spool.index.read() as connection:
        family = _Family(spool, connection)
        kin = family.gather(match)
        changes = [numbered for queue_id in family.events for numbered in family.changes(queue_id)]
        if match.uidl:
            rows = events_naming(connection, match.uidl, names=naming_uidls, account=match.account)
            changes += [(row.event, _change(row)) for row in rows]
        had = match.had or _had(connection, match.queue_id)
    ordered = sorted(changes, key=lambda numbered: (numbered[1].at, numbered[0]))
    return Life(match=match, had=had, kin=tuple(kin), changes=tuple(change for _, change in ordered))


class _Family:
    """Walks from a message to its kin, and keeps what was read of each."""

    def __init__(self, spool: Spool, connection: Connection) -> None:
        self._spool = spool
        self._connection = connection
        self._messages: dict[str, Message | None] = {}
        self.events: dict[str, list[Row[tuple[object, ...]]]] = {}

    def gather(self, match: Match) -> list[Kin]:
        """Everybody but the message itself, oldest first."""
        if match.queue_id is None:
            return []
        kin: dict[str, Kin] = {}
        todo = [match.queue_id]
        self._read(match.queue_id)
        while todo and len(kin) < _KIN_AT_MOST:
            of = todo.pop()
            for queue_id, relation in self._next_to(of):
                if queue_id not in self.events:
                    self._read(queue_id)
                    message = self._messages[queue_id]
                    kin[queue_id] = Kin(queue_id=queue_id, relation=relation, of=of, message=message)
                    todo.append(queue_id)
        return [kin[queue_id] for queue_id in sorted(kin)]

    def changes(self, queue_id: str) -> Iterator[tuple[float, Change]]:
        """What happened to one of them, each with a number that rises."""
        events = self.events[queue_id]
        yield from ((row.event, _change(row)) for row in events)
        message = self._messages[queue_id]
        for accepted in message.accepted if message else ():
            change = _acceptance(queue_id, accepted)
            told = (row.event for row in events if from_ms(row.at) == change.at and row.name in _ENDS_OF_ATTEMPTS)
            # Before the event of the attempt that brought it.
            yield next(told, 0) - 0.5, change

    def _read(self, queue_id: str) -> None:
        table = models.events
        query = select(table).where(table.c.queue_id == queue_id).order_by(table.c.event)
        self.events[queue_id] = list(self._connection.execute(query))
        row = self._connection.execute(select_messages().where(models.messages.c.queue_id == queue_id)).first()
        self._messages[queue_id] = to_message(row, self._spool.layout) if row else None

    def _next_to(self, queue_id: str) -> Iterator[tuple[str, str]]:
        """Those whose relation to this one the index or the events tell."""
        message = self._messages[queue_id]
        if message and message.parent:
            yield message.parent, INTO
        columns = models.messages.c
        for child in self._connection.execute(select(columns.queue_id).where(columns.parent == queue_id)).scalars():
            yield child, FROM
        for parent in self._connection.execute(select(columns.queue_id).where(columns.replay_id == queue_id)).scalars():
            yield parent, REPLAYED
        if message and message.replay_id:
            yield message.replay_id, REPLAY
        # They outlive a row that was pruned, and tell what no row does.
        for event in self.events[queue_id]:
            if event.name in (Divided.__name__, Replayed.__name__):
                yield event.fields["child"], FROM if event.name == Divided.__name__ else REPLAY


def _change(row: Row[tuple[object, ...]]) -> Change:
    return Change(
        at=from_ms(row.last_at or row.at),
        process=row.process,
        queue_id=row.queue_id,
        name=row.name,
        level=Level(row.level),
        text=row.text,
    )


def _acceptance(queue_id: str, accepted: Mapping[str, object]) -> Change:
    return Change(
        at=parse_timestamp(str(accepted["at"])),
        process=Stage.SUBMIT,
        queue_id=queue_id,
        name=_ACCEPTED,
        level=Level.INFO,
        text=f"accepted for {accepted['recipient']}: {accepted['reply']}",
    )


def _had(connection: Connection, queue_id: str | None) -> Had | None:
    table = models.ledger
    row = connection.execute(select(table).where(table.c.queue_id == queue_id)).first() if queue_id else None
    return had_of(row) if row else None
