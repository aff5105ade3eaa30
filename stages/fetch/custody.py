"""Admit what all sessions of the process receive, in groups: what arrived during the last commit is the next batch.

**Invariants:** a receipt is handed out after the commit alone. What waits for its commit is bounded, however many the
sessions. A session need not wait for a receipt before its end.
**Failures:** `SpoolFailed` out of `run`; every receipt still waited for is cancelled then, and nothing may be deleted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from spool.admission import BATCH_MESSAGES, BATCH_OCTETS, Admission
from spool.envelope import Arrival, Origin, Reason, Receipt
from spool.errors import SpoolFailed
from spool.layout import Stage
from spool.segments import LargeWriter
from stages.runner import Runtime

_T = TypeVar("_T")

WAITING_OCTETS = 16 * 1024 * 1024
WAITING_MESSAGES = 4096


class Custody:
    """The one way of the process into the spool."""

    def __init__(self, runtime: Runtime, admission: Admission, *, on_write: Callable[[], None]) -> None:
        self._runtime = runtime
        self._admission = admission
        self._on_write = on_write
        self._waiting: deque[tuple[Arrival, asyncio.Future[Receipt]]] = deque()
        self._octets = 0
        self._committing_octets = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def octets(self) -> int:
        """What has come and is not on the disk yet."""
        return self._octets + self._committing_octets

    async def take(self, arrival: Arrival) -> asyncio.Future[Receipt]:
        """Queue an arrival, when there is room; the future is its receipt."""
        while not self._room.is_set():
            await self._room.wait()
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, receipt))
        self._octets += _octets_in_memory(arrival)
        self._judge_room()
        self._news.set()
        return receipt

    async def open_large(
        self, origin: Origin, *, objection: Reason | None, hold: Callable[[LargeWriter], None]
    ) -> None:
        """Start a large message; `hold` takes its writer even when the caller is cancelled, so that none is lost."""
        await self.in_spool(lambda: hold(self._admission.open_large(origin, objection=objection)))

    async def in_spool(self, step: Callable[[], _T]) -> _T:
        """Take a durable step in the spool thread; raises SpoolFailed."""

        def failing() -> _T:
            try:
                return step()
            except OSError as error:
                raise SpoolFailed(f"a large message: {error.strerror or error}") from error

        outcome = await self._runtime.call(failing)
        self._on_write()
        return outcome

    async def run(self) -> None:
        """Commit what arrives, batch by batch, until cancelled."""
        batch: list[tuple[Arrival, asyncio.Future[Receipt]]] = []
        try:
            while True:
                await self._news.wait()
                batch = self._next_batch()
                self._committing_octets = sum(_octets_in_memory(arrival) for arrival, _ in batch)
                receipts = await self._commit([arrival for arrival, _ in batch])
                self._committing_octets = 0
                for (_, future), receipt in zip(batch, receipts, strict=True):
                    if not future.done():
                        future.set_result(receipt)
                self._on_write()
        finally:
            for _, future in (*batch, *self._waiting):
                future.cancel()

    async def _commit(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        receipts = await self._runtime.call(lambda: self._admission.admit(arrivals))
        self._runtime.ring(Stage.VALIDATE)
        return receipts

    def _next_batch(self) -> list[tuple[Arrival, asyncio.Future[Receipt]]]:
        batch: list[tuple[Arrival, asyncio.Future[Receipt]]] = []
        octets = 0
        while self._waiting and len(batch) < BATCH_MESSAGES and octets < BATCH_OCTETS:
            batch.append(self._waiting.popleft())
            octets += _octets_in_memory(batch[-1][0])
        self._octets -= octets
        if not self._waiting:
            self._news.clear()
        self._judge_room()
        return batch

    def _judge_room(self) -> None:
        if self._octets < WAITING_OCTETS and len(self._waiting) < WAITING_MESSAGES:
            self._room.set()
        else:
            self._room.clear()


def _octets_in_memory(arrival: Arrival) -> int:
    return len(arrival.content) if isinstance(arrival.content, bytes) else 0
