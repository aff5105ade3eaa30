"""Decide which files of Pickup can be taken now: whole, quiet for the settle time, and ours to read.

**Invariants:** a file that is open for writing is never taken; where the file system cannot tell, it must have been
unchanged for 10 s at least. A file that is not taken is reported once for each reason, not at every look.
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
# The same of a file that is never quiet. A slow copy is no trouble, so it is given more time.
CHANGE_PATIENCE_SECONDS = 60.0

# So many at one look: the stages behind begin to work meanwhile, and a stop is heard.
READY_AT_MOST = 2_048


class Verdict(enum.StrEnum):
    """What may be done with a file that is fit to be read."""

    READY = "ready"
    SETTLING = "settling"
    HELD_OPEN = "held open"
    CHANGING = "changing"
    NO_ROOM = "no room"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A file as it is, since when it is so, and since when it has not been quiet for the settle time."""

    stamp: Stamp
    since: float
    restless_since: float


class Readiness:
    """Remembers from look to look how long each file has been as it is."""

    def __init__(
        self,
        *,
        settle_seconds: float,
        owner_uids: Collection[int],
        monotonic: Callable[[], float],
        has_room: Callable[[int], bool],
    ) -> None:
        """`owner_uids` come on top of the service user and root; `monotonic` is a clock in seconds.

        `has_room` says whether a file of so many octets fits on the disk.
        """
        self._settle_seconds = settle_seconds
        self._owner_uids = owner_uids
        self._monotonic = monotonic
        self._has_room = has_room
        self._seen: dict[Path, _Seen] = {}
        self._told: dict[Path, tuple[int, int, str]] = {}

    def look(self, files: Iterable[Dropped]) -> Look:
        """Sort the files that Pickup holds at this moment."""
        now = self._monotonic()
        present = {file.path: file for file in files}
        self._seen = {path: self._seen_now(file, now) for path, file in present.items()}
        self._told = {path: told for path, told in self._told.items() if path in present}
        ready: list[Dropped] = []
        events: list[LeftInPickup] = []
        is_settling = False
        for file in present.values():
            if len(ready) == READY_AT_MOST:
                is_settling = True
                break
            verdict = self._verdict(file, self._seen[file.path], now=now)
            match verdict:
                case Verdict.READY:
                    ready.append(file)
                case Verdict.SETTLING:
                    is_settling = True
                case Verdict.HELD_OPEN:
                    events += self._tell(file, "a process has it open for writing: it is taken once that is closed")
                case Verdict.CHANGING:
                    events += self._tell(file, "it is still being written to: it is taken once that has ended")
                case Verdict.NO_ROOM:
                    octets = file.stamp.octets
                    events += self._tell(file, f"the disk has no room for its {octets} octets: make some, or remove it")
                case Unfit(why=why):
                    events += self._tell(file, why)
                case None:
                    pass
                case _:
                    assert_never(verdict)
        return Look(ready=tuple(ready), is_settling=is_settling, events=tuple(events))

    def _seen_now(self, file: Dropped, now: float) -> _Seen:
        earlier = self._seen.get(file.path)
        if earlier and earlier.stamp == file.stamp:
            return earlier
        was_restless = earlier is not None and now - earlier.since < self._settle_seconds
        return _Seen(
            stamp=file.stamp, since=now, restless_since=earlier.restless_since if earlier and was_restless else now
        )

    def _verdict(self, file: Dropped, seen: _Seen, *, now: float) -> Verdict | Unfit | None:
        """What to do with a file; None where it is gone."""
        waited = now - seen.since
        is_patient = now - seen.restless_since < self._settle_seconds + CHANGE_PATIENCE_SECONDS
        if waited < self._settle_seconds and is_patient:
            return Verdict.SETTLING
        fitness = inspect(file.path, owner_uids=self._owner_uids)
        if not isinstance(fitness, Fit):
            return fitness
        if waited < self._settle_seconds:
            return Verdict.CHANGING
        if fitness.stamp != file.stamp:
            return Verdict.SETTLING
        verdict = judge(fitness.writers, waited, settle_seconds=self._settle_seconds)
        return Verdict.NO_ROOM if verdict is Verdict.READY and not self._has_room(file.stamp.octets) else verdict

    def _tell(self, file: Dropped, why: str) -> list[LeftInPickup]:
        """The event that says why a file is left; none where that was said of it before."""
        told = (file.stamp.device, file.stamp.inode, why)
        if self._told.get(file.path) == told:
            return []
        self._told[file.path] = told
        return [LeftInPickup(file=file.shown, why=why)]
