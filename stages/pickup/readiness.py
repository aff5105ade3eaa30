"""Decide which files of Pickup can be taken now: whole, quiet for the settle time, and ours to read.

**Invariants:** a file that is open for writing is never taken; where the file system cannot tell, it must have been
unchanged for 10 s at least. A file that may not be taken is reported once, not at every look.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from spool.dropped import LEASELESS_SETTLE_SECONDS, Dropped, Fit, Stamp, Unfit, Writers, inspect
from stages.pickup.events import LeftInPickup

# A file that somebody holds open without writing to it: after so long no drain waits for him any more.
WRITER_PATIENCE_SECONDS = 10.0


class Verdict(enum.StrEnum):
    """What may be done with a file that is fit to be read."""

    READY = "ready"
    SETTLING = "settling"
    HELD_OPEN = "held open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at Pickup found; `is_settling`: something may be ready soon."""

    ready: tuple[Dropped, ...]
    is_settling: bool
    events: tuple[LeftInPickup, ...]


def judge(writers: Writers, waited: float, *, settle_seconds: float) -> Verdict:
    """Decide on a file that has been unchanged for `waited` seconds."""
    if waited < settle_seconds:
        return Verdict.SETTLING
    match writers:
        case Writers.NONE:
            return Verdict.READY
        case Writers.SOME:
            return Verdict.SETTLING if waited < settle_seconds + WRITER_PATIENCE_SECONDS else Verdict.HELD_OPEN
        case Writers.UNKNOWN:
            return Verdict.READY if waited >= LEASELESS_SETTLE_SECONDS else Verdict.SETTLING
        case _:
            assert_never(writers)


class Readiness:
    """Remembers from look to look how long each file has been as it is."""

    def __init__(self, *, settle_seconds: float, owner_uids: Collection[int], monotonic: Callable[[], float]) -> None:
        """`owner_uids` come on top of the service user and root; `monotonic` is a clock in seconds."""
        self._settle_seconds = settle_seconds
        self._owner_uids = owner_uids
        self._monotonic = monotonic
        self._since: dict[Path, tuple[Stamp, float]] = {}
        self._told: dict[Path, tuple[Stamp, str]] = {}

    def look(self, files: Iterable[Dropped]) -> Look:
        """Sort the files that Pickup holds at this moment."""
        now = self._monotonic()
        present = {file.path: file for file in files}
        self._since = {path: self._unchanged_since(file, now) for path, file in present.items()}
        self._told = {path: told for path, told in self._told.items() if path in present}
        ready: list[Dropped] = []
        events: list[LeftInPickup] = []
        is_settling = False
        for file in present.values():
            verdict = self._verdict(file, now - self._since[file.path][1])
            match verdict:
                case Verdict.READY:
                    ready.append(file)
                case Verdict.SETTLING:
                    is_settling = True
                case Verdict.HELD_OPEN:
                    events += self._tell(file, "a process has it open for writing")
                case Unfit(why=why):
                    events += self._tell(file, why)
                case None:
                    pass
                case _:
                    assert_never(verdict)
        return Look(ready=tuple(ready), is_settling=is_settling, events=tuple(events))

    def _unchanged_since(self, file: Dropped, now: float) -> tuple[Stamp, float]:
        earlier = self._since.get(file.path)
        return earlier if earlier and earlier[0] == file.stamp else (file.stamp, now)

    def _verdict(self, file: Dropped, waited: float) -> Verdict | Unfit | None:
        """What to do with a file; None where it is gone."""
        if waited < self._settle_seconds:
            return Verdict.SETTLING
        fitness = inspect(file.path, owner_uids=self._owner_uids)
        if not isinstance(fitness, Fit):
            return fitness
        if fitness.stamp != file.stamp:
            return Verdict.SETTLING
        return judge(fitness.writers, waited, settle_seconds=self._settle_seconds)

    def _tell(self, file: Dropped, why: str) -> list[LeftInPickup]:
        if self._told.get(file.path) == (file.stamp, why):
            return []
        self._told[file.path] = (file.stamp, why)
        return [LeftInPickup(file=file.shown, why=why)]
