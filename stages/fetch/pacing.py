"""When an account is polled again, and which hosts are left alone for a while: pure decisions.

**Invariants:** no trouble is tried again more often than once a minute, whatever the interval; no account waits longer
than a day. A refused login is repeated rarely, because providers lock accounts, and is repeated for ever, because
providers that throttle call a right password wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from stages.fetch.trouble import Trouble

FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)
LONGEST_FAULT_DELAY = timedelta(hours=6)
LOGIN_DELAYS = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(hours=12), timedelta(days=1))
# Up to so much longer, so that accounts which failed together do not come back together.
_JITTER = 0.1
# Nothing is put off for longer: what lies further ahead was noted before somebody set the clock back.
_FURTHEST = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """An account's troubles in a row: `failures` of any kind, `refusals` of its login."""

    trouble: Trouble
    failures: int
    refusals: int


def delay_after(
    failing: Failing, *, interval: timedelta, login_delay: timedelta | None, jitter: Callable[[], float]
) -> timedelta:
    """How long to wait after a failed poll; `jitter` gives numbers from 0 to 1."""
    return _delay(failing, interval=interval, login_delay=login_delay or timedelta(0)) * (1 + _JITTER * jitter())


def _delay(failing: Failing, *, interval: timedelta, login_delay: timedelta) -> timedelta:
    match failing.trouble:
        case Trouble.UNREACHABLE | Trouble.IN_USE | Trouble.TEMPORARY:
            return max(_doubled(failing.failures, LONGEST_DELAY), login_delay)
        case Trouble.TOO_SOON:
            return max(_doubled(failing.failures, LONGEST_DELAY), login_delay, interval)
        case Trouble.PERMANENT:
            return max(_doubled(failing.failures, LONGEST_FAULT_DELAY), login_delay, interval)
        case Trouble.LOGIN_REFUSED:
            step = min(max(failing.refusals, 1), len(LOGIN_DELAYS)) - 1
            return max(LOGIN_DELAYS[step], login_delay, interval)
        case Trouble.CONFIGURATION:
            return interval
        case _:
            assert_never(failing.trouble)


def _doubled(times: int, longest: timedelta) -> timedelta:
    return min(FIRST_DELAY * (1 << min(max(times - 1, 0), 16)), longest)


def is_due(at: datetime, now: datetime) -> bool:
    """Whether the time that something was put off to has come."""
    return not now < at < now + _FURTHEST


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closed:
    """A host that could not be reached: `why`, and from when on it is tried again."""

    why: str
    opens_at: datetime
    failures: int


class Hosts:
    """Which hosts could not be reached: their accounts wait together, and a few of them try for all."""

    def __init__(self, *, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._closed: dict[str, _Closed] = {}

    def why_closed(self, host: str, now: datetime) -> str | None:
        """Why this host is left alone at this time; None where it is not."""
        closed = self._closed.get(host)
        return None if closed is None or is_due(closed.opens_at, now) else closed.why

    def opens_at(self, host: str) -> datetime | None:
        """From when on a host that could not be reached is tried again."""
        closed = self._closed.get(host)
        return closed.opens_at if closed is not None else None

    def failed(self, host: str, why: str, *, now: datetime) -> None:
        """Note that the host was not reached; those that tried at once count as one."""
        closed = self._closed.get(host)
        if closed is not None and not is_due(closed.opens_at, now):
            return
        failures = 1 if closed is None else closed.failures + 1
        delay = _doubled(failures, LONGEST_DELAY) * (1 + _JITTER * self._jitter())
        self._closed[host] = _Closed(why=why, opens_at=now + delay, failures=failures)

    def reached(self, host: str) -> None:
        """Note that the host was reached."""
        self._closed.pop(host, None)
