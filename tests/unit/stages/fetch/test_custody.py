"""Group commit: what arrived during the last commit is the next batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from spool.admission import BATCH_MESSAGES, Admission
from spool.envelope import Arrival, Receipt
from spool.errors import SpoolFailed
from spool.events import Event
from spool.layout import Stage
from spool.locks import Tenure
from spool.opening import Spool, take_stage
from stages.fetch.custody import WAITING_OCTETS, Custody
from stages.runner import Mode, Runtime
from tests.support.settings import default_settings
from tests.support.spools import arrival, letters, make_spool

Result = TypeVar("Result")


class Counting(Admission):
    """Admits, and notes how many at a time; fails from the batch on that it is told."""

    def __init__(self, spool: Spool, tenure: Tenure, *, fails_at: int | None = None) -> None:
        super().__init__(spool, tenure)
        self.batches: list[int] = []
        self._fails_at = fails_at

    def admit(self, batch: Sequence[Arrival], *, extra: Iterable[Event] = ()) -> list[Receipt]:
        self.batches.append(len(batch))
        if len(self.batches) == self._fails_at:
            raise SpoolFailed("no space left")
        return super().admit(batch, extra=extra)


def with_custody(
    directory: Path,
    act: Callable[[Custody, Counting], Awaitable[Result]],
    *,
    fails_at: int | None = None,
) -> Result:
    async def run() -> Result:
        spool = make_spool(directory)
        with take_stage(spool, Stage.FETCH) as tenure:
            runtime = Runtime(default_settings(directory), spool, tenure=tenure, mode=Mode.ONCE)
            runtime.listen()
            admission = Counting(spool, tenure, fails_at=fails_at)
            custody = Custody(runtime, admission, on_write=lambda: None)
            worker = asyncio.ensure_future(custody.run())
            try:
                return await act(custody, admission)
            finally:
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)
                await runtime.call(admission.close)
                runtime.close()

    return asyncio.run(run())


def test_what_arrives_during_a_commit_is_the_next_batch(tmp_path: Path) -> None:
    async def act(custody: Custody, admission: Counting) -> list[int]:
        futures = [await custody.take(one) for one in letters(600)]
        receipts = await asyncio.gather(*futures)
        assert all(receipt.is_new for receipt in receipts)
        return admission.batches

    batches = with_custody(tmp_path, act)
    assert sum(batches) == 600
    assert len(batches) <= 4
    assert max(batches) <= BATCH_MESSAGES


def test_a_receipt_is_that_of_its_own_message(tmp_path: Path) -> None:
    async def act(custody: Custody, _: Counting) -> list[tuple[str, str]]:
        return [(one.origin.queue_id, (await (await custody.take(one))).queue_id) for one in letters(5)]

    assert all(asked == given for asked, given in with_custody(tmp_path, act))


def test_what_waits_for_its_commit_is_bounded(tmp_path: Path) -> None:
    """The line of sessions waits; memory does not grow with it."""

    async def act(custody: Custody, _: Counting) -> int:
        mib = b"x" * (1024 * 1024)
        taken: list[asyncio.Future[Receipt]] = []

        async def take(one: Arrival) -> None:
            taken.append(await custody.take(one))

        waiting = [asyncio.ensure_future(take(arrival(mib, uidl=f"u{number}"))) for number in range(40)]
        await asyncio.sleep(0)
        held = len(taken)
        await asyncio.gather(*waiting)
        await asyncio.gather(*taken)
        return held

    assert with_custody(tmp_path, act) == WAITING_OCTETS // (1024 * 1024)


def test_a_failed_commit_gives_nobody_a_receipt(tmp_path: Path) -> None:
    async def act(custody: Custody, _: Counting) -> bool:
        future = await custody.take(arrival())
        with pytest.raises(asyncio.CancelledError):
            await future
        return future.cancelled()

    assert with_custody(tmp_path, act, fails_at=1)
