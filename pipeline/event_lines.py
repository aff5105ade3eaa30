"""An event as one line: of JSON, as `events --json` and the mirror have it, and of text, as people and syslog read it.

**Invariants:** the names of JSON fields are a contract: none changes or goes. A line is one line of printable
characters, whatever is in the event.
"""

from __future__ import annotations

import json

from pipeline.cli.output import rfc3339, shown
from spool.events import LoggedEvent


def as_object(event: LoggedEvent) -> dict[str, object]:
    """An event as JSON has it."""
    return {
        "event": event.event,
        "at": rfc3339(event.at),
        "level": event.level.word,
        "name": event.name,
        "account": event.account or None,
        "queue_id": event.queue_id or None,
        "process": event.process,
        "text": event.text,
        "count": event.count,
        "last_at": rfc3339(event.last_at),
        "fields": event.fields,
    }


def json_line(event: LoggedEvent) -> str:
    """One object, without a line end; ASCII."""
    return json.dumps(as_object(event))


def text_line(event: LoggedEvent) -> str:
    """Name, whom it is about, text, and how often it was said; without time and level, which each log has its way."""
    about = [shown(name) for name in (event.account, event.queue_id) if name]
    times = [f"({event.count} times since {rfc3339(event.at)})"] if event.count > 1 else []
    return " ".join([event.name, *about, shown(event.text), *times])
