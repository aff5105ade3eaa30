"""What is known of the relay, shared through the spool.

Its SIZE, for fetch; whether the route is open, and the clock that runs only while it is.

**Invariants:** the open clock never runs while the route is closed, so that an outage of the relay ages no message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from spool import models
from spool.events import Event, emit
from spool.models import from_ms, to_ms
from spool.opening import Spool

_NAME = "relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """The route as it was last noted.

    `size_octets` is None where the relay names no limit; `open_clock` is milliseconds up to `opened_at`.
    """

    size_known_at: datetime | None = None
    size_octets: int | None = None
    open_clock: int = 0
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    trouble: str | None = None

    @property
    def is_open(self) -> bool:
        """True unless the last attempt to use the route failed."""
        return self.closed_at is None

    def clock(self, now: datetime) -> int:
        """How long the route has been open in all, in milliseconds."""
        if self.opened_at is None:
            return self.open_clock
        return self.open_clock + max(0, (now - self.opened_at) // timedelta(milliseconds=1))


class Route:
    """The one route; submit writes it, all read it."""

    def __init__(self, spool: Spool) -> None:
        """Read and write through `spool`."""
        self._spool = spool

    def state(self) -> RouteState:
        """What is known of the route."""
        with self._spool.index.read() as connection:
            row = connection.execute(select(models.route).where(models.route.c.name == _NAME)).first()
        if row is None:
            return RouteState()
        return RouteState(
            size_known_at=_time(row.size_known_at),
            size_octets=row.size_octets,
            open_clock=row.open_clock,
            opened_at=_time(row.opened_at),
            closed_at=_time(row.closed_at),
            trouble=row.trouble,
        )

    def learn_size(self, size_octets: int | None) -> None:
        """Note the SIZE that the relay named, None where it names no limit (RFC 1870)."""
        self._save({"size_octets": size_octets, "size_known_at": self._spool.now_ms()})

    def open(self, events: Iterable[Event] = ()) -> None:
        """Note that the route works; its clock runs from now on, if it did not already."""
        state = self.state()
        if state.opened_at is None:
            self._save({"opened_at": self._spool.now_ms(), "closed_at": None, "trouble": None}, events)

    def close(self, trouble: str, events: Iterable[Event] = ()) -> None:
        """Note that the route is sick, and stop its clock."""
        state = self.state()
        now = self._spool.now()
        closed_at = state.closed_at or now
        clock = state.clock(now)
        self._save({"open_clock": clock, "opened_at": None, "closed_at": to_ms(closed_at), "trouble": trouble}, events)

    def begin(self) -> RouteState:
        """Forget whether the route works, at the start of the process, and return what was noted by the last one.

        A clock that was left running by a process that was killed does not count: nobody knows until when it ran.
        """
        before = self.state()
        self._save({"opened_at": None, "closed_at": None, "trouble": None})
        return before

    def stop_clock(self) -> None:
        """Stop the clock at the end of the process: nobody watches the route then."""
        state = self.state()
        if state.opened_at is not None:
            self._save({"open_clock": state.clock(self._spool.now()), "opened_at": None})

    def _save(self, values: dict[str, object], events: Iterable[Event] = ()) -> None:
        row = {"name": _NAME, "open_clock": 0, **values}
        statement = insert(models.route).values(row).on_conflict_do_update(index_elements=["name"], set_=values)
        with self._spool.index.write() as connection:
            connection.execute(statement)
            emit(connection, events, now=self._spool.now())


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)
