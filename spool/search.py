"""Find messages: what is looked for as a value, and the messages that it fits, page by page.

Words are found as a person means them: whatever their case, anywhere in the text, and `%` and `_` are themselves.

**Invariants:** which messages fit, and in which order, is one consistent look; their rows are read page by page, and
none is shown that has left the states meanwhile. No transaction is open while the caller holds a message: a pager that
stands still for an hour keeps no write-ahead log from being taken in.
**Failures:** `SpoolFailed`.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, Text, bindparam, case, exists, func, or_, select, type_coerce

from spool import models
from spool.envelope import Reason
from spool.folding import FOLDED, folded
from spool.models import from_ms, to_ms
from spool.opening import Spool
from spool.queue_id import TIME_CHARACTERS, QueueId
from spool.rows import Message, select_messages, to_message
from spool.states import FINAL, State

WAITING = frozenset(State) - FINAL
# The first page is the screen that somebody waits for.
_FIRST_PAGE = 200
_PAGE = 5000
_REPLY_CODE = re.compile(r"[2-5][0-9]{2}")
# RFC 3463 section 2.
_ENHANCED_CODE = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


class Sort(enum.StrEnum):
    """What comes first."""

    OLDEST = "oldest"
    NEWEST = "newest"
    LARGEST = "largest"
    SENDER = "sender"
    ACCOUNT = "account"
    ATTEMPTS = "attempts"
    """Those that were tried most often."""


class Since(enum.StrEnum):
    """What the age of a message counts from, and what old and new mean."""

    FETCHED = "fetched"
    CHANGED = "changed"
    """Its last change: of a message in Badmail, when it was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for; what is None does not matter.

    `account` is a whole name; `sender`, `recipient`, `subject` and `reason` are parts of a text, the sender `<>` is the
    null reverse-path. A reason such as `550` or `5.7.1` is that code of the server, or part of the text.
    """

    states: Collection[State] = WAITING
    account: str | None = None
    sender: str | None = None
    recipient: str | None = None
    subject: str | None = None
    reason: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None
    since: Since = Since.FETCHED
    sort: Sort = Sort.OLDEST
    limit: int | None = None


class Listed(NamedTuple):
    """What a listing shows of a message: the columns as they are, the values worked out where they are asked for."""

    queue_id: str
    state: str
    account: str
    uidl: str
    octets: int
    sender: str | None
    recipients_json: str
    subject: str
    fetched_ms: int
    changed_ms: int
    attempts: int
    next_attempt_ms: int | None
    reason_json: str | None

    @property
    def recipients(self) -> Sequence[str]:
        """Those that still wait for it; of a submitted message those that have it."""
        return _recipients(self.recipients_json)

    @property
    def fetched_at(self) -> datetime:
        """When it came."""
        return from_ms(self.fetched_ms)

    @property
    def changed_at(self) -> datetime:
        """When its state changed last."""
        return from_ms(self.changed_ms)

    @property
    def next_attempt_at(self) -> datetime | None:
        """When it is due; None where it is, or waits for something else."""
        return None if self.next_attempt_ms is None else from_ms(self.next_attempt_ms)

    @property
    def reason(self) -> Reason | None:
        """Why it is where it is."""
        return _reason(self.reason_json)


def search(spool: Spool, wanted: Search) -> Iterator[Message]:
    """The messages that fit, in their order, read as the caller takes them."""
    return (to_message(row, spool.layout) for row in _rows(spool, select_messages(), wanted=wanted))


def listing(spool: Spool, wanted: Search) -> Iterator[Listed]:
    """The same for a listing: a hundred thousand of these are made in the time of ten thousand messages."""
    return map(Listed._make, _rows(spool, select(*_LISTED), wanted=wanted))


def count(spool: Spool, wanted: Search) -> int:
    """How many messages fit, whatever the limit."""
    query = select(func.count()).select_from(models.messages).where(*_conditions(spool, wanted))
    with spool.index.read() as connection:
        return connection.execute(query).scalar_one()


def with_prefix(
    spool: Spool, prefix: str, *, at_most: int, states: Collection[State] = frozenset(State), from_the_end: bool = False
) -> list[QueueId]:
    """The first queue ids, or the last ones, that begin so and are in these states, in their order or against it."""
    queue_id = models.messages.c.queue_id
    # Behind every character of a queue id.
    query = select(queue_id).where(queue_id >= prefix, queue_id < f"{prefix}~").limit(at_most)
    query = query.order_by(queue_id.desc() if from_the_end else queue_id)
    if set(states) != set(State):
        query = query.where(models.messages.c.state.in_(sorted(states)))
    with spool.index.read() as connection:
        return [QueueId(found) for found in connection.execute(query).scalars()]


def with_tail(spool: Spool, tail: str, *, at_most: int) -> list[QueueId]:
    """The queue ids with these random characters, whatever their time."""
    queue_id = models.messages.c.queue_id
    query = select(queue_id).where(func.substr(queue_id, TIME_CHARACTERS + 1) == tail).limit(at_most)
    with spool.index.read() as connection:
        return [QueueId(found) for found in connection.execute(query).scalars()]


def _rows(spool: Spool, query: Select[Any], *, wanted: Search) -> Iterator[Row[Any]]:
    """Read the rows of all that fit, page by page; they begin with queue id and state."""
    columns = models.messages.c
    page_of = select(func.json_each(bindparam("page")).table_valued("value").c.value)
    query = query.where(columns.queue_id.in_(page_of))
    states = frozenset(wanted.states)
    queue_ids, size = _queue_ids(spool, wanted), _FIRST_PAGE
    while queue_ids:
        page, queue_ids = queue_ids[:size], queue_ids[size:]
        with spool.index.read() as connection:
            found = connection.execute(query, {"page": json.dumps(page)}).all()
        # Not a condition of the query: SQLite would rather go through all of a state, page after page.
        rows = {row[0]: row for row in found if row[1] in states}
        yield from (rows[queue_id] for queue_id in page if queue_id in rows)
        size = _PAGE


def _queue_ids(spool: Spool, wanted: Search) -> Sequence[str]:
    queue_id, key = models.messages.c.queue_id, _sort_key(wanted)
    order = (key.desc(), queue_id.desc()) if wanted.sort in _DESCENDING else (key, queue_id)
    query = select(queue_id).where(*_conditions(spool, wanted)).order_by(*order).limit(wanted.limit)
    with spool.index.read() as connection:
        return connection.execute(query).scalars().all()


_DESCENDING = frozenset({Sort.NEWEST, Sort.LARGEST, Sort.ATTEMPTS})


def _sort_key(wanted: Search) -> ColumnElement[Any]:
    columns = models.messages.c
    match wanted.sort:
        case Sort.OLDEST | Sort.NEWEST:
            # Queue ids sort by birth, and the index has them in order.
            return columns.queue_id if wanted.since is Since.FETCHED else columns.changed_at
        case Sort.LARGEST:
            return columns.octets
        case Sort.SENDER:
            return func.coalesce(columns.sender, "")
        case Sort.ACCOUNT:
            return columns.account
        case Sort.ATTEMPTS:
            return columns.attempts


_c = models.messages.c
_accepted = func.json_each(_c.accepted).table_valued("value", name="accepted_one")
_took_it = select(func.json_group_array(func.json_extract(_accepted.c.value, "$.recipient"))).select_from(_accepted)
_addressees = case((_c.state == State.SUBMITTED, _took_it.scalar_subquery()), else_=type_coerce(_c.recipients, Text))
# JSON as text: in a long queue few texts are different ones.
_LISTED = (
    *(_c.queue_id, _c.state, _c.account, _c.uidl, _c.octets, _c.sender, _addressees, _c.subject),
    *(_c.fetched_at, _c.changed_at, _c.attempts, _c.next_attempt_at, type_coerce(_c.reason, Text)),
)


@lru_cache(maxsize=1024)
def _recipients(text: str) -> Sequence[str]:
    return tuple(json.loads(text))


@lru_cache(maxsize=1024)
def _reason(text: str | None) -> Reason | None:
    return Reason(**json.loads(text)) if text else None


def _conditions(spool: Spool, wanted: Search) -> Iterator[ColumnElement[bool]]:
    columns = models.messages.c
    at = columns.fetched_at if wanted.since is Since.FETCHED else columns.changed_at
    if set(wanted.states) != set(State):
        yield columns.state.in_(sorted(wanted.states))
    if wanted.account is not None:
        yield columns.account == wanted.account
    if wanted.sender is not None:
        yield columns.sender == "" if wanted.sender == "<>" else _contains(columns.sender, _bare(wanted.sender))
    if wanted.recipient is not None:
        yield _has_recipient(_bare(wanted.recipient))
    if wanted.subject is not None:
        yield _contains(columns.subject, wanted.subject)
    if wanted.reason is not None:
        yield _has_reason(wanted.reason)
    if wanted.older_than is not None:
        yield at <= to_ms(spool.now() - wanted.older_than)
    if wanted.newer_than is not None:
        yield at > to_ms(spool.now() - wanted.newer_than)


def _contains(text: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    return func.instr(getattr(func, FOLDED)(text), folded(part)) > 0


def _bare(address: str) -> str:
    """An address that was copied with its angle brackets."""
    return address.removeprefix("<").removesuffix(">")


def _has_recipient(part: str) -> ColumnElement[bool]:
    """Whether somebody is or was to have it: those who have it already stand in `accepted`."""
    waiting = func.json_each(models.messages.c.recipients).table_valued("value", name="waiting")
    done = func.json_each(models.messages.c.accepted).table_valued("value", name="done")
    return or_(
        exists().where(_contains(waiting.c.value, part)).select_from(waiting),
        exists().where(_contains(func.json_extract(done.c.value, "$.recipient"), part)).select_from(done),
    )


def _has_reason(part: str) -> ColumnElement[bool]:
    def said(member: str) -> ColumnElement[Any]:
        return func.json_extract(models.messages.c.reason, f"$.{member}")

    if _REPLY_CODE.fullmatch(part):
        return or_(said("code") == int(part), _contains(said("text"), part))
    if _ENHANCED_CODE.fullmatch(part):
        return or_(said("enhanced") == part, _contains(said("text"), part))
    # As a `Reason` stands on one line.
    codes = [func.coalesce(said(member).concat(" "), "") for member in ("code", "enhanced")]
    return _contains(said("stage").concat(": ").concat(codes[0]).concat(codes[1]).concat(said("text")), part)
