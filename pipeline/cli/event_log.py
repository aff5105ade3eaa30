"""`events`: the operational log, once or as it goes on."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pipeline.catalogue import event_kinds
from pipeline.cli.naming import perhaps
from pipeline.cli.options import LevelWord
from pipeline.cli.output import rfc3339
from pipeline.cli.paging import paged
from pipeline.config.grammar import duration
from pipeline.endings import CommandFailed
from pipeline.event_lines import json_line, text_line
from pipeline.exit_codes import ExitCode
from spool import queries
from spool.event_log import is_heard_again
from spool.events import Level, LoggedEvent
from spool.opening import Spool
from stages.settings import Settings

_LOOK_SECONDS = 0.5
_SHOWN_FIRST = 20
_LOOKS_LIKE_A_TIME = re.compile(r"\d{4}-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events are asked for, as it was typed; `limit` is how many of the newest, None for all."""

    account: str | None = None
    level: LevelWord = LevelWord.INFO
    types: Sequence[str] = ()
    since: str | None = None
    limit: int | None = None


def show_events(spool: Spool, wanted: Wanted, *, settings: Settings, follow: bool, json: bool) -> None:
    """Print events, oldest first; with `follow` the last few and then each as it is written, until interrupted.

    Raises CommandFailed for an account, a type or a time that is none.
    """
    look = partial(
        queries.events,
        spool,
        account=_account(wanted.account, spool=spool, settings=settings),
        level=Level[wanted.level.name],
        names=[_kind(name) for name in wanted.types],
        since=None if wanted.since is None else _time(wanted.since, now=spool.now()),
    )
    # From before the first look on, so that nothing that happens in between is left out.
    following = Following(newest=queries.last_event(spool), said_at=spool.now())
    found = look(last=wanted.limit or (_SHOWN_FIRST if follow else None))
    with nullcontext() if follow else paged():
        _print(found, json=json)
    following.note(found)
    while follow:
        time.sleep(_LOOK_SECONDS)
        _print(following.news(look(after=following.newest), look(said_again_since=following.said_at)), json=json)


class Following:
    """What has been shown, so that each event is shown once, and what was said again not each time."""

    def __init__(self, *, newest: int, said_at: datetime) -> None:
        """`newest` is the number of the last event, and what is said again from `said_at` on is news."""
        self.newest = newest
        self.said_at = said_at
        self._counts: dict[int, int] = {}

    def note(self, shown: Iterable[LoggedEvent]) -> None:
        """Take events as shown."""
        for event in shown:
            self.newest = max(self.newest, event.event)
            self._counts[event.event] = event.count

    def news(self, new: Sequence[LoggedEvent], again: Sequence[LoggedEvent]) -> list[LoggedEvent]:
        """What is to be shown of events that are new, and of those that were said again since the last look."""
        numbers = {event.event for event in new}
        told = [event for event in again if event.event not in numbers and self._is_news(event)]
        self.note([*new, *again])
        self.said_at = max([self.said_at, *(event.newest_at for event in again)])
        return sorted([*new, *told], key=lambda event: (event.newest_at, event.event))

    def _is_news(self, event: LoggedEvent) -> bool:
        before = self._counts.get(event.event, event.count - 1)
        return any(map(is_heard_again, range(before + 1, event.count + 1)))


def _print(events: Iterable[LoggedEvent], *, json: bool) -> None:
    for event in events:
        if json:
            print(json_line(event))
        else:
            print(f"{rfc3339(event.newest_at)} {event.level.word:<8} {text_line(event)}")
    sys.stdout.flush()


def _account(name: str | None, *, spool: Spool, settings: Settings) -> str | None:
    """An account of the configuration or, though it was removed there, of the log."""
    configured = {account.name for account in settings.accounts}
    if name is None or name in configured:
        return name
    known = configured | queries.logged_accounts(spool)
    if name not in known:
        raise CommandFailed(ExitCode.USAGE, f"there is no account {name!r}{perhaps(name, sorted(known))}")
    return name


def _kind(name: str) -> str:
    known = {kind.lower(): kind for kind in event_kinds()}
    if name.lower() not in known:
        raise CommandFailed(ExitCode.USAGE, f"there is no event {name!r}{perhaps(name, known.values())}")
    return known[name.lower()]


def _time(text: str, *, now: datetime) -> datetime:
    """A moment, or how long ago."""
    try:
        if _LOOKS_LIKE_A_TIME.match(text):
            at = datetime.fromisoformat(text)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
        return now - duration(text)
    except ValueError:
        raise CommandFailed(
            ExitCode.USAGE, f"--since {text!r} is neither a duration, as 2h, nor a time, as 2026-01-01T12:00:00Z"
        ) from None
