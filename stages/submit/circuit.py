"""Decide when the relay is left alone: one circuit for the whole route.

    PAUSED --probe_at reached, probe taken--> PROBING --reopened--> OPEN
      ^                                         |                    |
      +--------------paused (later)-------------+                    |
      +--------------paused (probe at once)--------------------------+

Mail flows while the route is OPEN. Trouble pauses it, and that is a suspicion: one session with one message (or none)
probes the relay at once. When that fails too the route is sick, and each further failure doubles the interval; success
opens the route and forgets it. Sessions that were under way when the route paused may still fail, which changes
nothing, or succeed, which opens it.

**Invariants:** a value; the functions return a new one. `now` is aware UTC and comes from the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

FIRST_INTERVAL = timedelta(seconds=5)
LONGEST_INTERVAL = timedelta(minutes=5)


class Flow(StrEnum):
    """Whether mail flows."""

    OPEN = "open"
    PAUSED = "paused"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """What is known of the route: `probe_at` matters while it is paused, `interval` since a probe failed."""

    flow: Flow
    probe_at: datetime
    interval: timedelta = timedelta()

    @classmethod
    def unknown(cls, now: datetime) -> Circuit:
        """Begin with a route of which nothing is known: a probe at once."""
        return cls(flow=Flow.PAUSED, probe_at=now)

    @property
    def is_sick(self) -> bool:
        """Whether a probe has failed since mail last flowed."""
        return self.interval > timedelta()

    def may_probe(self, now: datetime) -> bool:
        """Whether the one probe is due; a clock that was set back delays it by no more than an interval."""
        return self.flow is Flow.PAUSED and not now < self.probe_at <= now + LONGEST_INTERVAL

    def probing(self) -> Circuit:
        """Note that the probe is under way: there is no second one beside it."""
        return replace(self, flow=Flow.PROBING)

    def paused(self, now: datetime) -> Circuit:
        """Note trouble with the route."""
        match self.flow:
            case Flow.OPEN:
                return Circuit.unknown(now)
            case Flow.PAUSED:
                return self  # a session from before the pause: the probe decides
            case Flow.PROBING:
                interval = min(max(self.interval * 2, FIRST_INTERVAL), LONGEST_INTERVAL)
                return Circuit(flow=Flow.PAUSED, probe_at=now + interval, interval=interval)
            case _:
                assert_never(self.flow)

    def reopened(self) -> Circuit:
        """Note that the relay took part in a transaction, or at least in the opening of a session for a probe."""
        return Circuit(flow=Flow.OPEN, probe_at=self.probe_at)
