"""An event as a mirror gets it."""

from __future__ import annotations

from datetime import timedelta

from spool.events import Level, LoggedEvent
from tests.support.spools import START


def event(
    text: str = "poll failed: no", *, number: int = 1, count: int = 1, level: Level = Level.WARNING
) -> LoggedEvent:
    """A failed poll of 2026-01-01; said again an hour later where `count` says so."""
    return LoggedEvent(
        event=number,
        at=START,
        level=level,
        name="PollFailed",
        account="sales",
        queue_id="",
        text=text,
        fields={"error": "no"},
        process="fetch",
        count=count,
        last_at=START + timedelta(hours=1) if count > 1 else None,
    )
