"""Mirror events where the configuration wants them: what each process hands to the spool that it opens.

It hears of events after they are committed; what it cannot mirror is in the index all the same.

**Invariants:** it never raises and never waits. What could not be mirrored is counted; that it begins, and how much it
was when it ends, is said once each on standard error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import assert_never

from pipeline.endings import line_of, say
from pipeline.sinks import Journald, JsonLines, Sink, Syslog
from spool.events import LoggedEvent
from spool.index import Listener
from stages.settings import LogSettings, Mirror


class Mirroring:
    """Hands events to a sink; called with those of one transaction."""

    def __init__(self, sink: Sink, *, where: str) -> None:
        """`where` is the sink's name for people."""
        self._sink = sink
        self._where = where
        self.dropped = 0

    def __call__(self, events: Sequence[LoggedEvent]) -> None:
        """Mirror events, one by one."""
        for event in events:
            try:
                self._sink.take(event)
            except OSError as error:
                self._drop(error)
            else:
                self._go_on()

    def _drop(self, error: OSError) -> None:
        self.dropped += 1
        if self.dropped == 1:
            say(f"events are not mirrored to {self._where}: {line_of(error)}; `pop3connector events` has them")

    def _go_on(self) -> None:
        if self.dropped:
            say(f"events are mirrored to {self._where} again; {self.dropped} were not")
            self.dropped = 0


@contextmanager
def mirror(settings: LogSettings) -> Iterator[Listener | None]:
    """What hears of events as this configuration wants it, for the length of the block; None where nothing does."""
    sink = _sink(settings)
    if sink is None:
        yield None
        return
    try:
        yield Mirroring(sink, where=str(settings.path))
    finally:
        sink.close()


def _sink(settings: LogSettings) -> Sink | None:
    match settings.mirror:
        case Mirror.NONE:
            return None
        case Mirror.JOURNALD:
            return Journald(settings.path)
        case Mirror.SYSLOG:
            return Syslog(settings.path)
        case Mirror.FILE:
            return JsonLines(settings.path)
        case _:
            assert_never(settings.mirror)
