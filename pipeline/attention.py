"""What somebody must look at, the worst first, each with what to do about it. Pure: health, a time and thresholds in.

A matter is critical where mail stands still or may be lost unless somebody acts, a warning where it will be so, and a
notice where somebody may want to know.

**Invariants:** an empty answer means that all is well; each matter is one line, and so is what to do.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.health import AccountHealth, Health
from pipeline.spans import in_units, span
from spool.layout import Stage
from spool.states import State

_NAME = "pop3connector"


class Gravity(enum.IntEnum):
    """How bad it is; the greater is worse."""

    NOTICE = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """From where on a figure is a warning, and from where on critical."""

    warning: float
    critical: float

    def gravity(self, figure: float) -> Gravity | None:
        """What a figure is; None below both."""
        if figure >= self.critical:
            return Gravity.CRITICAL
        return Gravity.WARNING if figure >= self.warning else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What counts as trouble: ages in seconds, free space in octets.

    Where `last_success` is None it is three and twelve intervals of each account; where `free` is None, twice the space
    at which fetch stops, and that space. Of `free` less is worse.
    """

    last_success: Limit | None = None
    queued: Limit = Limit(warning=3_600, critical=86_400)
    badmail: Limit = Limit(warning=100, critical=1_000)
    free: Limit | None = None


DEFAULTS = Thresholds()
_INTERVALS = Limit(warning=3, critical=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """One thing to look at; `account` is the one that it is about."""

    gravity: Gravity
    what: str
    mend: str
    account: str | None = None


def attention(found: Health, *, now: datetime, thresholds: Thresholds = DEFAULTS) -> Sequence[Matter]:
    """Everything that needs somebody, the worst first; matters of equal gravity keep this order."""
    matters = [
        *_of_stages(found),
        *_of_disk(found, thresholds),
        *_of_route(found, now=now, thresholds=thresholds),
        *_of_queue(found, now=now, thresholds=thresholds),
        *_of_accounts(found, now=now, thresholds=thresholds),
        *_of_pickup(found),
    ]
    return sorted(matters, key=lambda matter: matter.gravity, reverse=True)


def oldest_queued(found: Health) -> datetime | None:
    """When the oldest message was fetched that should be moving."""
    moving = (found.queue[state].oldest_at for state in (State.STAGED, State.READY, State.DEFERRED))
    return min((at for at in moving if at is not None), default=None)


def quiet_since(account: AccountHealth, found: Health) -> datetime | None:
    """Since when an account had no successful poll: for one that never had one, since fetch has been running."""
    if account.last_success_at is not None:
        return account.last_success_at
    return next((stage.started_at for stage in found.stages if stage.stage is Stage.FETCH), None)


def limit_of(account: AccountHealth, thresholds: Thresholds) -> Limit:
    """After how many seconds without a success an account is trouble."""
    if thresholds.last_success is not None:
        return thresholds.last_success
    interval = account.interval.total_seconds()
    return Limit(warning=_INTERVALS.warning * interval, critical=_INTERVALS.critical * interval)


def free_limit(found: Health, thresholds: Thresholds) -> Limit:
    """Below how many free octets there is trouble."""
    least = found.limits.min_free_octets
    return thresholds.free or Limit(warning=2 * least, critical=least)


def _of_stages(found: Health) -> Iterator[Matter]:
    stopped = [stage.stage for stage in found.stages if not stage.is_running]
    if len(stopped) == len(found.stages):
        yield _critical("no stage is running: no mail is fetched or sent", f"{_NAME} run")
        return
    for name in stopped:
        yield _critical(f"{name} is not running", f"{_NAME} events --level error; {_NAME} run")


def _of_disk(found: Health, thresholds: Thresholds) -> Iterator[Matter]:
    free, limit = found.limits.free_octets, free_limit(found, thresholds)
    # Of free space less is worse.
    gravity = Limit(warning=-limit.warning, critical=-limit.critical).gravity(-free)
    if gravity is not None:
        stops = ", and fetch stops" if free < found.limits.min_free_octets else ""
        yield Matter(
            gravity=gravity,
            what=f"{in_units(free)} are free on the disk of the spool{stops}",
            mend="make room, or set spool.min_free_space",
        )


def _of_route(found: Health, *, now: datetime, thresholds: Thresholds) -> Iterator[Matter]:
    route = found.route
    if route.closed_at is not None:
        down = now - route.closed_at
        is_long = down.total_seconds() >= thresholds.queued.warning
        yield Matter(
            gravity=Gravity.CRITICAL if is_long else Gravity.WARNING,
            what=f"the relay cannot be used since {span(down)}: {route.trouble}",
            mend=f"mend the relay, or [smtp]: {_NAME} check --connect; the mail waits",
        )
    if found.limits.warning:
        yield Matter(gravity=Gravity.NOTICE, what=found.limits.warning, mend="lower fetch.max_message_size")


def _of_queue(found: Health, *, now: datetime, thresholds: Thresholds) -> Iterator[Matter]:
    if damaged := found.queue[State.DAMAGED].messages:
        yield _critical(f"{damaged} damaged", f"{_NAME} spool ls --state damaged; {_NAME} spool verify")
    if (oldest := oldest_queued(found)) is not None:
        age = now - oldest
        if gravity := thresholds.queued.gravity(age.total_seconds()):
            what = f"the oldest queued message is {span(age)} old"
            yield Matter(gravity=gravity, what=what, mend=f"{_NAME} spool ls --limit 10")
    if gravity := thresholds.badmail.gravity(refused := found.queue[State.BADMAIL].messages):
        yield Matter(gravity=gravity, what=f"{refused} refused messages in Badmail", mend=f"{_NAME} badmail ls")
    if held := found.queue[State.HELD].messages:
        mend = f"{_NAME} spool ls --state held; {_NAME} spool release ID"
        yield Matter(gravity=Gravity.WARNING, what=f"{held} held", mend=mend)


def _of_accounts(found: Health, *, now: datetime, thresholds: Thresholds) -> Iterator[Matter]:
    for account in found.accounts:
        if account.is_enabled:
            yield from _of_polls(account, found, now=now, limit=limit_of(account, thresholds))
        if account.left:
            left = len(account.left)
            what = f"{account.name}: {left} left at the provider, for their size or because sessions broke in them"
            mend = f"{_NAME} probe {account.name}"
            yield Matter(gravity=Gravity.NOTICE, what=what, mend=mend, account=account.name)


def _of_polls(account: AccountHealth, found: Health, *, now: datetime, limit: Limit) -> Iterator[Matter]:
    since = quiet_since(account, found)
    quiet = now - since if since is not None else timedelta(0)
    gravity = limit.gravity(quiet.total_seconds()) or (Gravity.NOTICE if account.failures else None)
    if gravity is None:
        return
    said = f": {account.last_error}" if account.last_error else ""
    polls = f"{account.failures} polls failed" if account.failures != 1 else "the last poll failed"
    what = f"no successful poll for {span(quiet)}" if gravity > Gravity.NOTICE else polls
    mend = f"{_NAME} probe {account.name}"
    yield Matter(gravity=gravity, what=f"{account.name}: {what}{said}", mend=mend, account=account.name)


def _of_pickup(found: Health) -> Iterator[Matter]:
    if ignored := found.ignored_in_pickup:
        what = f"{ignored} in Pickup left alone: the name does not end in .eml, or begins with a dot"
        yield Matter(gravity=Gravity.NOTICE, what=what, mend=f"{_NAME} pickup ls; rename what is to be sent")


def _critical(what: str, mend: str) -> Matter:
    return Matter(gravity=Gravity.CRITICAL, what=what, mend=mend)
