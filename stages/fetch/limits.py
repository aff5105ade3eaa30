"""The limits that fetching observes: the largest message, and how full the disk may be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from spool.events import Event
from spool.opening import Spool
from spool.route import RouteState
from stages.errors import TryLater
from stages.fetch.events import FetchPaused, FetchResumed
from stages.fetch.plan import Limit

TRACE_OCTETS = 4 * 1024
_ANSWER_IS_FRESH = timedelta(minutes=1)


def limit_of(configured_octets: int | None, route: RouteState) -> Limit:
    """The largest message that may be fetched: as configured, or else the relay's SIZE less room for our header."""
    if configured_octets is not None:
        return Limit(octets=configured_octets, source="fetch.max_message_size")
    if route.size_known_at is None:
        return Limit(octets=None, source="the relay was not reached yet", is_known=False)
    octets = None if route.size_octets is None else max(0, route.size_octets - TRACE_OCTETS)
    return Limit(octets=octets, source="SIZE of the relay")


def size_trap(configured_octets: int | None, relay_octets: int | None) -> str | None:
    """Warn of a limit above what the relay takes: such mail would be deleted at the provider and then be refused."""
    if configured_octets is None or relay_octets is None or configured_octets <= relay_octets - TRACE_OCTETS:
        return None
    return (
        f"fetch.max_message_size is {configured_octets} octets, and the relay takes {relay_octets} with our header: "
        'what lies between is fetched and then refused, to Badmail; set it to "auto"'
    )


def has_answered(route: RouteState, *, since: datetime) -> bool:
    """Whether the relay told its SIZE, or could not be reached, in this run; all stages start at about one time."""
    return any(at is not None and at > since - _ANSWER_IS_FRESH for at in (route.size_known_at, route.closed_at))


class DiskNearlyFull(TryLater):
    """There is no room for the rest of a message; no server is to blame."""


@dataclass(slots=True)
class Expected:
    """The octets of messages that were asked for, by any session, and have not come yet."""

    octets: int = 0


class DiskRoom:
    """Whether the disk has room for more mail. `news` are events not yet written; `expected` what was asked for."""

    def __init__(self, spool: Spool, *, min_free_octets: int) -> None:
        self.has_room = True
        self.news: list[Event] = []
        self.expected = Expected()
        self._spool = spool
        self._min_free_octets = min_free_octets
        self._free_octets = spool.free_octets()

    def require(self, min_free_octets: int) -> None:
        """Let so much be free from now on."""
        self._min_free_octets = min_free_octets

    def has_room_for(self, octets: int) -> bool:
        """Whether so much more fits beside what all sessions have asked for and not got yet."""
        return self.has_room and self._free_octets - self.expected.octets - octets >= self._min_free_octets

    def look(self) -> None:
        """Look again."""
        free = self._free_octets = self._spool.free_octets()
        had_room, self.has_room = self.has_room, free >= self._min_free_octets
        if had_room and not self.has_room:
            self.news.append(FetchPaused(free_octets=free, min_free_octets=self._min_free_octets))
        elif self.has_room and not had_room:
            self.news.append(FetchResumed(free_octets=free))
