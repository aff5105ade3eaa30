"""How far a poll has come, for somebody who waits for it.

**Invariants:** nothing is written for a poll that nobody waits for, and for all others together once a second at most.
**Failures:** none: what cannot be written is not shown.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from spool.errors import SpoolError
from spool.poll_progress import Progress, drop_progress, write_progress
from stages.runner import Runtime

WRITE_EVERY_SECONDS = 1.0


@dataclass(slots=True)
class Count:
    """What came in a poll so far, and what is wanted as far as is known; sessions count on."""

    messages: int = 0
    of_messages: int = 0
    octets: int = 0
    of_octets: int = 0

    def expect(self, messages: int, *, octets: int) -> None:
        """A session begins to ask: so many are wanted still."""
        self.of_messages = self.messages + messages
        self.of_octets = self.octets + octets

    @property
    def so_far(self) -> Progress:
        """The count as it stands."""
        return Progress(
            messages=self.messages, of_messages=self.of_messages, octets=self.octets, of_octets=self.of_octets
        )


class Teller:
    """Writes down the counts of the polls that somebody waits for."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._counts: dict[str, Count] = {}
        self._has_some = asyncio.Event()

    def watch(self, account: str, count: Count) -> None:
        """Tell of this poll from now on."""
        self._counts[account] = count
        self._has_some.set()

    async def leave(self, account: str) -> None:
        """The poll is over."""
        if self._counts.pop(account, None) is not None:
            with suppress(SpoolError):
                await self._runtime.call(lambda: drop_progress(self._runtime.spool, account))
        if not self._counts:
            self._has_some.clear()

    async def run(self) -> None:
        """Tell, until cancelled."""
        while True:
            await self._has_some.wait()
            told = {name: count.so_far for name, count in self._counts.items()}
            with suppress(SpoolError):
                await self._runtime.call(lambda told=told: write_progress(self._runtime.spool, told))  # type: ignore[misc]
            await asyncio.sleep(WRITE_EVERY_SECONDS)
