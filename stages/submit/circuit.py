"""Decide when the relay is left alone: one circuit for the whole route.

    OPEN --paused--> PAUSED --probe_at reached, probe taken--> PROBING --paused--> PAUSED (twice the interval)
      ^                                                           |
      +------------------------reopened---------------------------+

Mail flows while the route is OPEN. A sick route pauses it; when the interval is over one session with one message (or
none) probes the relay. Its failure doubles the interval, its success opens the route and forgets it. Sessions that were
under way when the route paused may still fail, which changes nothing, or succeed, which opens it.

**Invariants:** a value; the functions return a new one. `now` is aware UTC and comes from the caller. The time the
route was open, by which messages age, grows only while it is OPEN and is never taken back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from spool.envelope import Reason

FIRST_PROBE_AFTER = timedelta(seconds=5)
LONGEST_PROBE_INTERVAL = timedelta(minutes=5)


class RouteState(StrEnum):
    """Whether mail flows."""

    OPEN = "open"
    PAUSED = "paused"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """What is known of the route.

    `since` is when it last opened or paused. `open_for` is how long it was open in all before `since`; the stage
    keeps it over restarts (`open_time`), so that neither an outage of the relay nor one of ours counts as age of a
    message.
    """

    state: RouteState
    since: datetime
    open_for: timedelta = timedelta()
    interval: timedelta = timedelta()
    probe_at: datetime | None = None
    reason: Reason | None = None

    @classmethod
    def opened(cls, now: datetime, *, open_for: timedelta = timedelta()) -> Circuit:
        """Begin with an open route, whose earlier open time is `open_for`."""
        return cls(state=RouteState.OPEN, since=now, open_for=open_for)

    @property
    def reopened_at(self) -> datetime | None:
        """Since when mail flows; None while it does not."""
        return self.since if self.state is RouteState.OPEN else None

    def open_time(self, now: datetime) -> timedelta:
        """Return how long the route has been open in all, up to now."""
        if self.state is not RouteState.OPEN:
            return self.open_for
        return self.open_for + max(now - self.since, timedelta())

    def may_probe(self, now: datetime) -> bool:
        """Whether the one probe is due."""
        return self.state is RouteState.PAUSED and self.probe_at is not None and now >= self.probe_at

    def probing(self) -> Circuit:
        """Note that the probe is under way: there is no second one beside it."""
        return replace(self, state=RouteState.PROBING)

    def paused(self, now: datetime, *, reason: Reason) -> Circuit:
        """Note that the route is sick."""
        match self.state:
            case RouteState.PAUSED:
                return self  # a session from before the pause: the next probe decides
            case RouteState.OPEN:
                since, interval = now, FIRST_PROBE_AFTER
            case RouteState.PROBING:
                since, interval = self.since, min(self.interval * 2, LONGEST_PROBE_INTERVAL)
            case _:
                assert_never(self.state)
        return Circuit(
            state=RouteState.PAUSED,
            since=since,
            open_for=self.open_time(now),
            interval=interval,
            probe_at=now + interval,
            reason=reason,
        )

    def reopened(self, now: datetime) -> Circuit:
        """Note that the relay took part in a transaction, or at least in the opening of a session for a probe."""
        if self.state is RouteState.OPEN:
            return self
        return Circuit.opened(now, open_for=self.open_for)
