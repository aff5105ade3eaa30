"""Settle what became of claims, in groups: what ended during one commit is settled by the next.

**Invariants:** every claim that was put here is settled before `run` ends, unless the spool fails.
**Failures:** `SpoolFailed` out of `run` ends the stage; what was noted in the journal is settled by the next start.
"""

from __future__ import annotations

import asyncio
from collections import deque

from spool.claims import Outbox
from spool.ended import Ended, GivenBack
from spool.layout import Stage
from spool.settlement import Settlement, Verdict
from stages.runner import Runtime
from stages.submit.supply import Supply

GROUP_MESSAGES = 64
BACKLOG_MESSAGES = 256


class Settler:
    """Collects the ends of claims and settles them; tells the supply what may be due again."""

    def __init__(self, runtime: Runtime, outbox: Outbox, *, supply: Supply) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._supply = supply
        self._waiting: deque[Ended] = deque()
        self._is_closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._all_settled = asyncio.Event()
        self._all_settled.set()

    @property
    def is_idle(self) -> bool:
        """Whether everything is settled."""
        return self._all_settled.is_set()

    def put(self, ended: Ended) -> None:
        """Take over the end of a claim; a settlement has been noted in the journal."""
        self._waiting.append(ended)
        self._news.set()
        self._all_settled.clear()
        if len(self._waiting) >= BACKLOG_MESSAGES:
            self._room.clear()

    async def room(self) -> None:
        """Wait while more is unsettled than may be."""
        await self._room.wait()

    async def flush(self) -> None:
        """Wait until everything is settled."""
        await self._all_settled.wait()

    def close(self) -> None:
        """Settle what is here, and end."""
        self._is_closed = True
        self._news.set()

    async def run(self) -> None:
        """Settle until closed."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                await self._settle_group()
            if self._is_closed:
                return

    async def _settle_group(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(GROUP_MESSAGES, len(self._waiting)))]
        if await self._runtime.call(lambda: self._outbox.settle(group)):
            self._runtime.ring(Stage.VALIDATE)
        if not self._waiting:
            self._all_settled.set()
        if len(self._waiting) < BACKLOG_MESSAGES:
            self._room.set()
        self._supply.woken.set()
        if any(_comes_again(one) for one in group):
            self._supply.look_again()


def _comes_again(ended: Ended) -> bool:
    return isinstance(ended, GivenBack) or (isinstance(ended, Settlement) and bool(ended.having(Verdict.POSTPONED)))
