"""Find messages by what people know of them: a queue id or its beginning, a UIDL, a Message-ID, words of the subject.

What names one thing comes before what many things may have in common: the first of these that anything is like counts.
Found are messages that have a row, those of which the ledger or the events alone still know, and those that stay at the
provider.

**Invariants:** nothing is changed; everything but words of a subject and a UIDL of the ledger is looked up by an index.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, Text, and_, func, or_, select, type_coerce

from spool import models
from spool.accounts import Left, to_left
from spool.envelope import NO_UIDL, Uidl
from spool.models import from_ms
from spool.opening import Spool
from spool.queue_id import ALPHABET, LENGTH
from spool.rows import Message, select_messages, to_message
from spool.safe_text import safe_text

SHOWN_AT_MOST = 20
# The first characters of queue ids are those of their century.
_SHORTEST_PREFIX = 4
_NEIGHBOURS = 5
_SUBJECTS_LOOKED_AT = 2000
_BEYOND = "~"
_WORD = re.compile(r"\w{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Had:
    """A ledger entry: when we had the message, and when a listing first failed to show it.

    `is_adopted`: its UIDL was adopted or imported, and the message itself was never fetched.
    """

    had_at: datetime
    gone_at: datetime | None
    is_adopted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A message that was found; `message` is None where it has no row, and `queue_id` where it never had one.

    Then `had` or `left` says what is known, and where both are None events alone tell of it. `at` is when it came.
    """

    account: str
    uidl: Uidl
    at: datetime
    octets: int | None = None
    queue_id: str | None = None
    message: Message | None = None
    had: Had | None = None
    left: Left | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """How many messages there are, and the newest of them, newest first."""

    count: int = 0
    newest: tuple[Match, ...] = ()


def find(spool: Spool, what: str, *, naming_uidls: Collection[str] = ()) -> Matches:
    """Find messages; `naming_uidls` are the events that may be all that is known of a message at the provider."""
    bare, words = what.strip(), what.split()
    if not words:
        return Matches()
    with spool.index.read() as connection:
        search = _Search(spool, connection)
        ways: tuple[Callable[[], Matches], ...] = (
            lambda: search.queue_id(bare.lower()),
            lambda: search.uidl(bare, naming_uidls=naming_uidls),
            lambda: search.message_id(bare),
            lambda: search.prefix(bare.lower()),
            lambda: search.subject(words),
        )
        return next((found for way in ways if (found := way()).count), Matches())


def near(spool: Spool, what: str) -> list[str]:
    """What somebody may have meant who found nothing: names that stand beside it, words of the newest subjects."""
    bare = what.strip()
    columns = models.messages.c
    with spool.index.read() as connection:
        found = [
            *_beside(connection, columns.queue_id, text=bare.lower()),
            *_beside(connection, columns.uidl, text=bare),
            *_beside(connection, columns.message_id, text=_bare_message_id(bare)),
        ]
        query = select(columns.subject).order_by(columns.queue_id.desc()).limit(_SUBJECTS_LOOKED_AT)
        for subject in connection.execute(query).scalars():
            found += [subject, *_WORD.findall(subject)]
    return list(dict.fromkeys(filter(None, found)))


def events_naming(
    connection: Connection, uidl: Uidl, *, names: Collection[str], account: str | None = None
) -> Sequence[Row[tuple[object, ...]]]:
    """The rows of events about no message of ours that name this UIDL, alone or among others, oldest first."""
    table = models.events
    told = type_coerce(table.c.fields, Text)
    written = json.dumps(uidl.encoded)[1:-1]
    query = select(table).where(table.c.name.in_(names), told.contains(written, autoescape=True))
    if account is not None:
        query = query.where(table.c.account == account)
    rows = connection.execute(query.order_by(table.c.event)).all()
    return [row for row in rows if not row.queue_id and uidl.encoded in _uidls(row.fields)]


_Condition = Callable[[ColumnElement[str]], ColumnElement[bool]]


class _Search:
    """One look at the index, one way of finding after the other."""

    def __init__(self, spool: Spool, connection: Connection) -> None:
        self._spool = spool
        self._connection = connection

    def queue_id(self, text: str) -> Matches:
        if len(text) != LENGTH or not set(text) <= set(ALPHABET):
            return Matches()
        return self._known_as(lambda column: column == text)

    def prefix(self, text: str) -> Matches:
        if not _SHORTEST_PREFIX <= len(text) < LENGTH or not set(text) <= set(ALPHABET):
            return Matches()
        return self._known_as(lambda column: and_(column >= text, column < text + _BEYOND))

    def uidl(self, text: str, *, naming_uidls: Collection[str]) -> Matches:
        uidl = Uidl.parse(text)
        # As our listings show it, or as the server has it.
        forms = {uidl.encoded, Uidl(text.encode("utf-8", "surrogateescape")).encoded}
        found = self._messages(models.messages.c.uidl.in_(forms))
        ledger, left = models.ledger, models.left
        others = [
            *self._had(ledger.c.uidl.in_(forms)),
            *(_stays(row) for row in self._connection.execute(select(left).where(left.c.uidl.in_(forms)))),
        ]
        seen = {match.account for match in (*found.newest, *others)}
        told: dict[str, Match] = {}
        for form in forms:
            for row in events_naming(self._connection, Uidl.parse(form), names=naming_uidls):
                if row.account not in seen:
                    told[row.account] = Match(account=row.account, uidl=Uidl.parse(form), at=from_ms(row.at))
        return _together(found, [*others, *told.values()])

    def message_id(self, text: str) -> Matches:
        bare = _bare_message_id(text)
        # Those of which none is known have an empty one.
        return self._messages(models.messages.c.message_id == bare) if bare else Matches()

    def subject(self, words: Sequence[str]) -> Matches:
        column = models.messages.c.subject
        # SQLite's LIKE knows the two cases of ASCII alone.
        forms = [{word, word.lower(), word.upper(), word.capitalize()} for word in words]
        return self._messages(
            and_(*(or_(*(column.contains(form, autoescape=True) for form in sorted(some))) for some in forms))
        )

    def _known_as(self, is_named: _Condition) -> Matches:
        """The messages whose queue id is so: their rows, else what the ledger or the events know."""
        found = self._messages(is_named(models.messages.c.queue_id))
        if found.count:
            return found
        had = list(self._had(is_named(models.ledger.c.queue_id)))
        known = {match.queue_id for match in had}
        columns = models.events.c
        query = select(columns.queue_id, func.max(columns.account), func.min(columns.at)).group_by(columns.queue_id)
        told = [
            Match(queue_id=queue_id, account=account, uidl=NO_UIDL, at=from_ms(at))
            for queue_id, account, at in self._connection.execute(query.where(is_named(columns.queue_id)))
            if queue_id not in known
        ]
        return _together(found, [*had, *told])

    def _messages(self, condition: ColumnElement[bool]) -> Matches:
        table = models.messages
        count = self._connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()
        if not count:
            return Matches()
        query = select_messages().where(condition).order_by(table.c.queue_id.desc()).limit(SHOWN_AT_MOST)
        found = [to_message(row, self._spool.layout) for row in self._connection.execute(query)]
        return Matches(count=count, newest=tuple(map(match_of, found)))

    def _had(self, condition: ColumnElement[bool]) -> Iterator[Match]:
        """What the ledger knows of messages that have no row."""
        table = models.ledger
        has_row = table.c.queue_id.in_(select(models.messages.c.queue_id))
        query = select(table).where(condition, or_(table.c.queue_id.is_(None), ~has_row))
        for row in self._connection.execute(query):
            yield Match(
                queue_id=row.queue_id,
                account=row.account,
                uidl=Uidl.parse(row.uidl),
                octets=row.octets,
                at=from_ms(row.had_at),
                had=had_of(row),
            )


def match_of(message: Message) -> Match:
    """A message that has a row."""
    return Match(
        queue_id=message.queue_id,
        account=message.account,
        uidl=message.uidl,
        octets=message.octets,
        at=message.fetched_at,
        message=message,
    )


def had_of(row: Row[tuple[object, ...]]) -> Had:
    """A row of the ledger."""
    return Had(
        had_at=from_ms(row.had_at),
        gone_at=None if row.gone_at is None else from_ms(row.gone_at),
        is_adopted=row.queue_id is None,
    )


def _stays(row: Row[tuple[object, ...]]) -> Match:
    at = row.reported_at or row.tried_at or 0
    left = to_left(row)
    return Match(account=row.account, uidl=left.uidl, octets=left.octets, at=from_ms(at), left=left)


def _together(found: Matches, others: Sequence[Match]) -> Matches:
    newest = sorted([*found.newest, *others], key=lambda match: match.at, reverse=True)
    return Matches(count=found.count + len(others), newest=tuple(newest[:SHOWN_AT_MOST]))


def _beside(connection: Connection, column: ColumnElement[str], *, text: str) -> list[str]:
    """What stands before and behind a text in the order of an index."""
    below = select(column).where(column <= text).order_by(column.desc()).limit(_NEIGHBOURS)
    above = select(column).where(column > text).order_by(column).limit(_NEIGHBOURS)
    return [*connection.execute(below).scalars(), *connection.execute(above).scalars()]


def _bare_message_id(text: str) -> str:
    bare = text.strip().removeprefix("<").removesuffix(">")
    return safe_text(bare.encode("utf-8", "surrogateescape"))


def _uidls(fields: dict[str, object]) -> Collection[str]:
    return [*str(fields.get("uidls", "")).split(", "), str(fields.get("uidl", ""))]
