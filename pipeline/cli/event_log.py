"""`events`: the operational log, once or as it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from pipeline.cli.options import LevelWord
from pipeline.cli.output import print_json, rfc3339, shown
from spool import queries
from spool.events import Level, LoggedEvent
from spool.opening import Spool

_LOOK_SECONDS = 0.5
_SHOWN_FIRST = 20


def show_events(spool: Spool, *, account: str | None, level: LevelWord, follow: bool, json: bool) -> None:
    """Print events, oldest first; with `follow` the last few and then each as it is written, until interrupted."""
    least = Level[level.name]
    last = _SHOWN_FIRST if follow else None
    found = queries.events(spool, account=account, level=least, last=last)
    _print(found, json=json)
    seen = found[-1].event if found else 0
    while follow:
        time.sleep(_LOOK_SECONDS)
        found = queries.events(spool, after=seen, account=account, level=least)
        _print(found, json=json)
        seen = found[-1].event if found else seen


def _print(events: Iterable[LoggedEvent], *, json: bool) -> None:
    for event in events:
        if json:
            print_json(_as_json(event), indent=None)
        else:
            whom = "".join(f"{shown(name)} " for name in (event.account, event.queue_id) if name)
            print(f"{rfc3339(event.at)} {event.level.word:<8} {event.name} {whom}{shown(event.text)}")
    sys.stdout.flush()


def _as_json(event: LoggedEvent) -> dict[str, object]:
    return {
        "event": event.event,
        "at": rfc3339(event.at),
        "level": event.level.word,
        "name": event.name,
        "account": event.account or None,
        "queue_id": event.queue_id or None,
        "text": event.text,
        "fields": event.fields,
    }
