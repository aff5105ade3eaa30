"""The fetch stage: its spool side at start and end, and the tasks that work in between.

**Invariants:** what an earlier process wrote is recovered before the first session.
**Failures:** `SpoolFailed` ends all sessions, with nothing deleted that is not in custody, and then the stage.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from spool.accounts import Accounts
from spool.admission import Admission
from spool.errors import SpoolError
from spool.journal import Journal
from spool.layout import Stage
from spool.ledger import Ledger
from spool.recovery import recover
from spool.retention import collect, compact, prune
from spool.staging import open_journal
from stages.fetch.custody import Custody
from stages.fetch.desk import Desk
from stages.fetch.events import CustodyFailed
from stages.fetch.limits import DiskRoom
from stages.fetch.polling import Polling
from stages.runner import Outcome, Runtime

TIDY_SECONDS = 60.0
PRUNE_EVERY = 60


class FetchStage:
    """The work of the fetch process."""

    def __init__(self) -> None:
        self._admission: Admission | None = None
        self._journal: Journal | None = None

    def begin(self, runtime: Runtime) -> None:
        """Recover, and let go of what is no longer needed."""
        self._admission = Admission(runtime.spool, runtime.tenure)
        self._journal = open_journal(runtime.spool, Stage.FETCH)
        recover(runtime.spool, runtime.tenure, admission=self._admission)
        self._tidy(runtime)
        self._prune(runtime)

    async def work(self, runtime: Runtime) -> Outcome:
        """Poll until the mode's end; raises SpoolError."""
        room = DiskRoom(runtime.spool, min_free_octets=runtime.settings.spool.min_free_octets)
        admission, journal = self._opened()
        custody = Custody(runtime, admission, on_write=room.look)
        desk = Desk(
            runtime=runtime,
            custody=custody,
            accounts=Accounts(runtime.spool),
            ledger=Ledger(runtime.spool, journal),
            random=Random(),
            has_room=lambda: room.has_room,
            has_room_for=lambda octets: room.has_room_for(octets + custody.octets),
            expected=room.expected,
        )
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(custody.run()), group.create_task(self._keep_tidy(runtime))]
                is_complete = await Polling(desk, room).run(group)
                for helper in helpers:
                    helper.cancel()
        except* SpoolError as failures:
            error = _first(failures)
            with suppress(SpoolError):
                await runtime.emit([CustodyFailed(error=str(error))])
            raise error from None
        return Outcome(is_complete=is_complete)

    def end(self, runtime: Runtime) -> None:
        """Seal and close."""
        admission, journal = self._opened()
        admission.close()
        journal.close()

    async def _keep_tidy(self, runtime: Runtime) -> None:
        for minute in range(1, 1 << 62):
            await asyncio.sleep(TIDY_SECONDS)
            await runtime.call(lambda: self._tidy(runtime))
            if minute % PRUNE_EVERY == 0:
                await runtime.call(lambda: self._prune(runtime))

    def _tidy(self, runtime: Runtime) -> None:
        admission, journal = self._opened()
        admission.seal_if_due()
        collect(runtime.spool, runtime.tenure, admission=admission, journal=journal)

    def _prune(self, runtime: Runtime) -> None:
        prune(runtime.spool, history=runtime.settings.spool.history)
        compact(runtime.spool, self._opened()[1], owner=Stage.FETCH)

    def _opened(self) -> tuple[Admission, Journal]:
        if self._admission is None or self._journal is None:
            raise AssertionError("the stage has not begun")
        return self._admission, self._journal


def _first(failures: BaseExceptionGroup[SpoolError]) -> SpoolError:
    found = failures.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
