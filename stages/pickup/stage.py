"""The pickup stage: take in the files that operators drop into Pickup, and watch Badmail for what they do there.

**Invariants:** what an earlier process had claimed is in before any new file is looked at; Badmail is looked at before
Pickup, so that an edited message and its dropped copy are seen in that order.
**Failures:** `SpoolFailed` and `StageHeld` end the stage; no file is lost by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from spool.admission import BATCH_MESSAGES, BATCH_OCTETS
from spool.badmail_changes import BadmailChanges
from spool.badmail_scan import BadmailScan
from spool.dropped import Dropped, list_dropped
from spool.events import emit
from spool.layout import Stage
from spool.locks import Tenure
from spool.opening import Spool
from spool.pickup import Inbox
from spool.replay import finish_replays
from spool.retention import collect, compact
from spool.segments import LARGE_OCTETS
from spool.staging import spool_failures
from stages.pickup.intake import Intake
from stages.pickup.readiness import Readiness
from stages.runner import Mode, Outcome, Runtime
from stages.settings import PickupSettings, Settings

COLLECT_EVERY_SECONDS = 60.0
COMPACT_EVERY_SECONDS = 3600.0
# Replays whose command died are rare; a ring shows them at once.
REPLAYS_EVERY_SECONDS = 10.0
_SHORTEST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round came to: messages in custody or in Badmail, and whether something may be ready soon."""

    taken: int
    is_settling: bool


class PickupStage:
    """Takes files as they become ready; woken by `badmail replay`, else it looks now and then."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` is a clock in seconds."""
        self._monotonic = monotonic
        self._open: Desk | None = None

    def begin(self, runtime: Runtime) -> None:
        """Take in what an earlier process had claimed."""
        self._open = Desk(
            runtime.spool,
            runtime.tenure,
            settings=runtime.settings.pickup,
            min_free_octets=runtime.settings.spool.min_free_octets,
            monotonic=self._monotonic,
        )
        if self._open.resume():
            runtime.ring(Stage.VALIDATE)

    async def work(self, runtime: Runtime) -> Outcome:
        """Take files until told to stop; once or in a drain until none can be taken and none is settling."""
        desk, settings = self._desk, runtime.settings
        was_rung = True
        while not runtime.stopping.is_set():
            if runtime.settings is not settings:
                is_concerned = _parts_of(runtime.settings) != _parts_of(settings)
                settings = runtime.settings
                if is_concerned:
                    await runtime.call(partial(self._begin_anew, runtime))
                    desk = self._desk
            done = await runtime.call(partial(desk.work, was_rung=was_rung))
            if done.taken:
                runtime.ring(Stage.VALIDATE)
            elif runtime.mode is not Mode.RUN and not done.is_settling:
                break
            was_rung = not done.taken and await runtime.wait(_seconds_between_looks(settings.pickup))
        return Outcome(is_complete=True)

    def end(self, runtime: Runtime) -> None:
        """Seal the active segment and close the journal."""
        if self._open is not None:
            self._open.close()

    def _begin_anew(self, runtime: Runtime) -> None:
        """Work by changed settings as after a restart: each file has to be quiet for the settle time once more."""
        self._desk.close()
        self._open = None
        self.begin(runtime)

    @property
    def _desk(self) -> Desk:
        if self._open is None:
            raise AssertionError("the stage has not begun")
        return self._open


class Desk:
    """All that pickup does, round by round; for the spool's thread."""

    def __init__(
        self,
        spool: Spool,
        tenure: Tenure,
        *,
        settings: PickupSettings,
        min_free_octets: int,
        monotonic: Callable[[], float],
    ) -> None:
        """Recover, and open what the stage owns; raises SpoolFailed."""
        self._spool = spool
        self._tenure = tenure
        self._min_free_octets = min_free_octets
        self._monotonic = monotonic
        self._inbox = Inbox(spool, tenure)
        self._intake = Intake(spool, self._inbox, accept_domains=settings.accept_domains, has_room=self._has_room)
        settle_seconds = settings.settle.total_seconds()
        self._readiness = Readiness(
            settle_seconds=settle_seconds,
            owner_uids=settings.owner_uids,
            monotonic=monotonic,
            has_room=self._has_room,
        )
        changes = BadmailChanges(
            spool,
            tenure,
            journal=self._inbox.journal,
            may_receive=lambda recipient: recipient.rpartition("@")[2].lower() in settings.accept_domains,
        )
        self._scan = BadmailScan(spool, changes=changes, settle_seconds=settle_seconds, monotonic=monotonic)
        self._replays_at = self._collect_at = self._compact_at = monotonic()

    def resume(self) -> int:
        """Take in what an earlier process had claimed; answers how many messages came of it."""
        return self._intake.resume()

    def work(self, *, was_rung: bool) -> Round:
        """One round: replays, Badmail, Pickup, and now and then the housekeeping. Raises SpoolFailed."""
        if was_rung or self._monotonic() >= self._replays_at:
            finish_replays(self._spool)
            self._replays_at = self._monotonic() + REPLAYS_EVERY_SECONDS
        is_doubtful = self._scan.look()
        with spool_failures("Pickup"):
            look = self._readiness.look(list_dropped(self._spool.layout.pickup))
        if look.events:
            with self._spool.index.write() as connection:
                emit(connection, look.events, now=self._spool.now())
        taken = sum(self._intake.take(batch) for batch in batches(look.ready))
        self._keep_house()
        # A file that was ready and is not taken now was changed or removed meanwhile: look again.
        return Round(taken=taken, is_settling=is_doubtful or look.is_settling or bool(look.ready))

    def close(self) -> None:
        """Seal the active segment and close the journal."""
        self._inbox.close()

    def _has_room(self, octets: int) -> bool:
        """Whether a file can be copied in; small ones always, so that replays go out of a disk that is nearly full."""
        return octets <= LARGE_OCTETS or octets <= self._spool.free_octets() - self._min_free_octets

    def _keep_house(self) -> None:
        now = self._monotonic()
        if now >= self._collect_at:
            self._inbox.admission.seal_if_due()
            collect(self._spool, self._tenure, admission=self._inbox.admission, journal=self._inbox.journal)
            self._collect_at = now + COLLECT_EVERY_SECONDS
        if now >= self._compact_at:
            compact(self._spool, self._inbox.journal, owner=Stage.PICKUP)
            self._compact_at = now + COMPACT_EVERY_SECONDS


def _parts_of(settings: Settings) -> tuple[object, ...]:
    """What of the settings a desk is made of."""
    return settings.pickup, settings.spool


def _seconds_between_looks(settings: PickupSettings) -> float:
    return min(max(settings.settle.total_seconds() / 2, _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)


def batches(files: Sequence[Dropped]) -> Iterator[list[Dropped]]:
    """Divide files into batches of at most 256 files and about 8 MiB."""
    batch: list[Dropped] = []
    octets = 0
    for file in files:
        if batch and (len(batch) == BATCH_MESSAGES or octets + file.stamp.octets > BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append(file)
        octets += file.stamp.octets
    if batch:
        yield batch
