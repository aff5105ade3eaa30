"""What of Badmail the postmaster was told, and when that was last tried.

**Invariants:** a try is committed before it is made, so that there is one a day at most, whatever becomes of the
process. What a summary tells counts as told once the relay has accepted it. A clock that was set back delays the next
try by a day at most and hastens none.
**Failures:** `SpoolFailed`, `StageHeld`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.sqlite import insert

from spool import models
from spool.events import Event, emit
from spool.locks import Tenure
from spool.models import from_ms
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.rows import Message, select_messages, to_message
from spool.states import State

EVERY = timedelta(days=1)
SHOWN_AT_MOST = 100
_NAME = "badmail"
_CHUNK = 500

IsOwn = Callable[[str | None, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What there is to tell: all that is `new`, and of what is in Badmail, `total` in all, the `messages` to be shown.

    Of these the new ones come first, the youngest on top.
    """

    new: tuple[QueueId, ...]
    total: int
    messages: tuple[Message, ...]


class Summaries:
    """Summaries of Badmail, for the process that holds the submit stage. For the spool's thread.

    `is_own` says by its reverse-path and Subject that a message is a summary that came back to us: it is shown like any
    other, and is no reason to write another one.
    """

    def __init__(self, spool: Spool, tenure: Tenure, *, is_own: IsOwn) -> None:
        self._spool = spool
        self._tenure = tenure
        self._is_own = is_own

    def begin(self) -> Digest | None:
        """Say what to tell, and note that it is tried now; None where it is not time, or nothing is new."""
        now = self._spool.now()
        with self._spool.index.read() as connection:
            tried_at = _tried_at(connection)
            is_time = tried_at is None or now - tried_at >= EVERY
            new = self._new(connection) if is_time else ()
        is_set_back = tried_at is not None and now < tried_at
        if not new and not is_set_back:
            return None
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            self._note_try(connection)
            # After a clock that went wrong the day begins anew.
            return Digest(new=new, total=_total(connection), messages=self._shown(connection)) if new else None

    def told(self, digest: Digest, events: Iterable[Event] = ()) -> None:
        """Note that the relay has accepted a summary of this."""
        table = models.messages
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            for start in range(0, len(digest.new), _CHUNK):
                ids = digest.new[start : start + _CHUNK]
                connection.execute(update(table).where(table.c.queue_id.in_(ids)).values(is_told=True))
            emit(connection, events, now=self._spool.now())

    def _new(self, connection: Connection) -> tuple[QueueId, ...]:
        """What no summary has told of; nothing where that is summaries alone."""
        columns = models.messages.c
        query = select(columns.queue_id, columns.sender, columns.subject).where(
            columns.state == State.BADMAIL, columns.is_told.is_(False)
        )
        rows = connection.execute(query).all()
        if all(self._is_own(row.sender, row.subject) for row in rows):
            return ()
        return tuple(QueueId(row.queue_id) for row in rows)

    def _note_try(self, connection: Connection) -> None:
        row = {"name": _NAME, "tried_at": self._spool.now_ms()}
        statement = insert(models.summaries).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))

    def _shown(self, connection: Connection) -> tuple[Message, ...]:
        columns = models.messages.c
        query = select_messages().where(columns.state == State.BADMAIL)
        query = query.order_by(columns.is_told, columns.changed_at.desc(), columns.queue_id.desc())
        return tuple(to_message(row, self._spool.layout) for row in connection.execute(query.limit(SHOWN_AT_MOST)))


def _tried_at(connection: Connection) -> datetime | None:
    tried_at = connection.execute(select(models.summaries.c.tried_at)).scalar()
    return None if tried_at is None else from_ms(tried_at)


def _total(connection: Connection) -> int:
    table = models.messages
    query = select(func.count()).select_from(table).where(table.c.state == State.BADMAIL)
    return connection.execute(query).scalar_one()
