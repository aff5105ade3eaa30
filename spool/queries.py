"""The read side of the spool: what listings, status and the supervisor look at. Values come back, no rows.

**Invariants:** nothing here changes the spool or creates one; only its owner reads it, so that SQLite leaves no file
of another user behind.
**Failures:** `NoSpool` where there is none yet, `SpoolUnusable`, `PermissionRefused` for another user, `IndexLost`,
`NotFound`, `SpoolFailed`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import case, exists, func, or_, select

from spool import models
from spool.disk import Disk
from spool.dropped import is_message_name
from spool.errors import IndexLost, NoSpool, PermissionRefused, SpoolFailed, SpoolUnusable
from spool.events import Event, Level, LoggedEvent, read_events
from spool.index import Index, Listener, require_sqlite, schema_revision
from spool.layout import Layout, Stage
from spool.models import SCHEMA_REVISION, from_ms, to_ms
from spool.opening import Spool, utc_now
from spool.rows import Message, find_message, select_messages, to_message
from spool.states import FINAL, LIVE, State

_QUEUED = (State.READY, State.DEFERRED)
_WAITING = frozenset(State) - FINAL
_AGES = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=7))


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTotal:
    """The messages in one state; `oldest_at` is when the oldest was fetched."""

    state: State
    messages: int = 0
    octets: int = 0
    oldest_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTotal:
    """What waits of one account, and how much of it was refused; empty for what never was at a provider."""

    account: str
    waiting: int
    octets: int
    oldest_at: datetime | None
    badmail: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How many messages that wait are so old; the oldest have no limit."""

    over: timedelta
    under: timedelta | None
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a drain waits for: what is staged, and what of the queue is `movable`: due now, or under way."""

    staged: int
    queued: int
    movable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """A stage as its last holder noted it; `is_running` is looked up now."""

    stage: Stage
    is_running: bool
    pid: int | None
    started_at: datetime | None
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What the spool takes on disk; `size` is in octets."""

    segments: int
    segment_octets: int
    large: int
    large_octets: int
    index_octets: int
    free_octets: int


def open_for_reading(
    directory: Path,
    *,
    any_revision: bool = False,
    now: Callable[[], datetime] = utc_now,
    on_events: Listener | None = None,
) -> Spool:
    """Open a spool that exists, without changing it; `any_revision`: also where the index is to be upgraded.

    `on_events` hears of events that are written through it, once they are committed.
    """
    layout = Layout(directory.absolute())
    try:
        owner = layout.root.stat().st_uid
        if owner != os.geteuid():
            raise PermissionRefused(f"{layout.root} belongs to uid {owner}, this process is uid {os.geteuid()}")
        has_index = layout.index.stat().st_size > 0 if layout.index.exists() else False
        if not has_index and not any(layout.root.iterdir()):
            raise _no_spool(layout)
    except FileNotFoundError:
        raise _no_spool(layout) from None
    except PermissionError as error:
        raise PermissionRefused(f"{error.filename}: {error.strerror}; the spool must belong to its user") from error
    except OSError as error:
        raise SpoolFailed(f"{error.filename}: {error.strerror}") from error
    if not has_index:
        raise IndexLost(f"the index {layout.index} is missing or empty: run `pop3connector spool rebuild`")
    require_sqlite()
    index = Index(layout.index, on_events=on_events)
    revision = schema_revision(index)
    if revision != SCHEMA_REVISION and not any_revision:
        index.close()
        raise SpoolUnusable(f"the index is at schema {revision}, not {SCHEMA_REVISION}: run `pop3connector db upgrade`")
    return Spool(layout=layout, disk=Disk(), index=index, now=now)


def messages(spool: Spool, states: Collection[State] = _WAITING) -> Sequence[Message]:
    """The messages in these states, oldest first; by default what is not finished."""
    table = models.messages
    query = select_messages().where(table.c.state.in_(states)).order_by(table.c.queue_id)
    with spool.index.read() as connection:
        return [to_message(row, spool.layout) for row in connection.execute(query)]


def message(spool: Spool, queue_id: str) -> Message:
    """One message; raises NotFound."""
    with spool.index.read() as connection:
        return find_message(connection, queue_id, layout=spool.layout)


def totals(spool: Spool) -> Mapping[State, StateTotal]:
    """Number, octets and age of the messages in every state."""
    columns = models.messages.c
    query = select(
        columns.state, func.count(), func.coalesce(func.sum(columns.octets), 0), func.min(columns.fetched_at)
    ).group_by(columns.state)
    with spool.index.read() as connection:
        found = [
            StateTotal(state=State(state), messages=count, octets=octets, oldest_at=from_ms(oldest))
            for state, count, octets, oldest in connection.execute(query)
        ]
    return {state: StateTotal(state=state) for state in State} | {total.state: total for total in found}


def quick_totals(spool: Spool) -> Mapping[State, StateTotal]:
    """The same without octets, and of the oldest by queue id: counted from an index, for who looks every second."""
    columns = models.messages.c
    counts = select(columns.state, func.count(), func.min(columns.queue_id)).group_by(columns.state)
    with spool.index.read() as connection:
        found = connection.execute(counts).all()
        ids = [oldest for _, _, oldest in found]
        query = select(columns.queue_id, columns.fetched_at).where(columns.queue_id.in_(ids))
        fetched_at = {row[0]: from_ms(row[1]) for row in connection.execute(query)}
    totals = {
        State(state): StateTotal(state=State(state), messages=count, oldest_at=fetched_at[oldest])
        for state, count, oldest in found
    }
    return {state: totals.get(state, StateTotal(state=state)) for state in State}


def totals_by_account(spool: Spool) -> Sequence[AccountTotal]:
    """What is not finished of each account, in the order of their names."""
    columns = models.messages.c
    is_live = columns.state.in_(sorted(LIVE))
    query = (
        select(
            columns.account,
            func.count().filter(is_live),
            func.coalesce(func.sum(columns.octets).filter(is_live), 0),
            func.min(columns.fetched_at).filter(is_live),
            func.count().filter(columns.state == State.BADMAIL),
        )
        .where(columns.state.in_(sorted(_WAITING)))
        .group_by(columns.account)
        .order_by(columns.account)
    )
    with spool.index.read() as connection:
        return [
            AccountTotal(
                account=account,
                waiting=waiting,
                octets=octets,
                oldest_at=None if oldest is None else from_ms(oldest),
                badmail=badmail,
            )
            for account, waiting, octets, oldest, badmail in connection.execute(query)
        ]


def ages(spool: Spool) -> Sequence[Age]:
    """How old the messages are that wait, by when they were fetched; Badmail is not among them."""
    columns = models.messages.c
    limits = [*_AGES, None]
    borders = [to_ms(spool.now() - limit) for limit in _AGES]
    # The younger side of a border is that of the smaller number.
    place = case(*((columns.fetched_at > border, number) for number, border in enumerate(borders)), else_=len(borders))
    query = select(place, func.count()).where(columns.state.in_(sorted(LIVE))).group_by(place)
    with spool.index.read() as connection:
        found = {row[0]: row[1] for row in connection.execute(query)}
    overs = [timedelta(0), *_AGES]
    return [
        Age(over=over, under=under, messages=found.get(number, 0))
        for number, (over, under) in enumerate(zip(overs, limits, strict=True))
    ]


def work(spool: Spool) -> Work:
    """What there is to do, in one consistent look."""
    columns = models.messages.c
    due = or_(
        columns.claim_epoch.is_not(None), columns.next_attempt_at.is_(None), columns.next_attempt_at <= spool.now_ms()
    )
    count = select(func.count()).select_from(models.messages)
    with spool.index.read() as connection:
        return Work(
            staged=connection.execute(count.where(columns.state == State.STAGED)).scalar_one(),
            queued=connection.execute(count.where(columns.state.in_(_QUEUED))).scalar_one(),
            movable=connection.execute(count.where(columns.state.in_(_QUEUED), due)).scalar_one(),
        )


def stage_records(spool: Spool) -> Sequence[StageRecord]:
    """All four stages."""
    with spool.index.read() as connection:
        rows = {row.stage: row for row in connection.execute(select(models.stages))}
    records = []
    for stage in Stage:
        row = rows.get(stage)
        records.append(
            StageRecord(
                stage=stage,
                is_running=is_running(spool, stage),
                pid=row.pid if row else None,
                started_at=from_ms(row.started_at) if row and row.started_at is not None else None,
                stopped_at=from_ms(row.stopped_at) if row and row.stopped_at is not None else None,
            )
        )
    return records


def is_running(spool: Spool, stage: Stage) -> bool:
    """Whether a process has the stage's doorbell, which it loses when it dies; the lock is left alone."""
    try:
        fd = os.open(spool.layout.doorbell(stage), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise SpoolFailed(f"{error.filename}: {error.strerror}") from error
    os.close(fd)
    return True


def files(spool: Spool) -> Files:
    """What lies on disk."""
    layout = spool.layout
    segments = _sizes(layout.segments)
    large = _sizes(layout.large)
    return Files(
        segments=len(segments),
        segment_octets=sum(segments),
        large=len(large),
        large_octets=sum(large),
        index_octets=sum(_sizes(layout.root, prefix=layout.index.name)),
        free_octets=spool.free_octets(),
    )


def left_at_provider(spool: Spool) -> int:
    """How many messages stay at the provider, for their size or because their sessions broke."""
    with spool.index.read() as connection:
        return connection.execute(select(func.count()).select_from(models.left)).scalar_one()


def ignored_in_pickup(spool: Spool) -> int:
    """How many entries of Pickup are left alone for their names: they do not end in `.eml`, or begin with a dot."""
    layout = spool.layout
    with os.scandir(layout.pickup) as entries:
        return sum(entry.name != layout.claims.name and not is_message_name(entry.name) for entry in entries)


def events(
    spool: Spool,
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
    """Read the operational log; see `spool.event_log.read_events`."""
    with spool.index.read() as connection:
        return read_events(
            connection,
            after=after,
            account=account,
            level=level,
            queue_id=queue_id,
            names=names,
            since=since,
            said_again_since=said_again_since,
            last=last,
        )


def logged_accounts(spool: Spool) -> frozenset[str]:
    """The accounts that events are about."""
    with spool.index.read() as connection:
        return frozenset(connection.execute(select(models.events.c.account).distinct()).scalars()) - {""}


def last_event(spool: Spool) -> int:
    """The number of the newest event; 0 where there is none."""
    with spool.index.read() as connection:
        return connection.execute(select(func.max(models.events.c.event))).scalar() or 0


def count_events(spool: Spool, kind: type[Event], *, after: int, without: type[Event] | None = None) -> int:
    """How many events of a kind there are behind number `after`, but for messages that have one of `without` too."""
    table, other = models.events, models.events.alias()
    query = select(func.count()).select_from(table).where(table.c.event > after, table.c.name == kind.__name__)
    if without is not None:
        has_other = exists().where(other.c.queue_id == table.c.queue_id, other.c.name == without.__name__)
        query = query.where(~has_other)
    with spool.index.read() as connection:
        return connection.execute(query).scalar_one()


def _no_spool(layout: Layout) -> NoSpool:
    return NoSpool(f"there is no spool at {layout.root} yet: the first `pop3connector run` makes it")


def _sizes(directory: Path, prefix: str = "") -> list[int]:
    """The octets of each file; one that vanishes meanwhile was collected and does not count."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.is_file(follow_symlinks=False):
                try:
                    found.append(entry.stat(follow_symlinks=False).st_size)
                except FileNotFoundError:
                    continue
    return found
