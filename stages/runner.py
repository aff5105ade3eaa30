"""Run one stage: its lock, its spool thread, its doorbell, its end.

A stage is a class with `begin` (in the spool thread, once), `work` (a coroutine that returns when the stage has nothing
left to do in its mode, or when `runtime.stopping` is set) and `end` (in the spool thread). The runner gives it a
`Runtime`. Its settings may be replaced while it works: who keeps parts of them looks whether they are still the same
object whenever a wait has ended.

**Invariants:** every call into the spool goes through the one spool thread of the process, in order; a stage whose
supervisor is gone stops as on SIGTERM; whatever ends a stage, its lock is given back.
**Failures:** errors of the spool end the stage and reach the caller of `run_stage`, whose the exit code is.
"""

from __future__ import annotations

import asyncio
import enum
import os
import signal
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from spool.doorbell import Doorbell, ring
from spool.errors import SpoolError
from spool.events import Event, emit
from spool.index import Listener
from spool.layout import Stage
from spool.locks import Tenure
from spool.opening import Spool, open_spool, take_stage
from spool.verbosity import read_verbosity
from stages.settings import Settings
from stages.verbose_log import VerboseLog

T = TypeVar("T")

# How soon the operator's wish for a verbose log is heeded, without a ring and with many of them.
LOOK_SECONDS = 3.0
REST_SECONDS = 0.2


class Mode(enum.StrEnum):
    """How long a stage works."""

    RUN = "run"
    """Until it is told to stop."""
    ONCE = "once"
    """One round."""
    DRAIN = "drain"
    """Until nothing is left that could move now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended; `is_complete` is False where something stays undone that should be tried again."""

    is_complete: bool


class StageWork(Protocol):
    """What a stage is to its runner."""

    def begin(self, runtime: Runtime) -> None:
        """Recover, and open what the stage owns; in the spool thread."""

    async def work(self, runtime: Runtime) -> Outcome:
        """Work until there is nothing left to do in this mode, or `runtime.stopping` is set."""

    def end(self, runtime: Runtime) -> None:
        """Seal and close; in the spool thread, also after a failure of `work`."""


class Runtime:
    """What a stage works with: settings, spool, the right to act, and the ways to wait."""

    def __init__(self, settings: Settings, spool: Spool, *, tenure: Tenure, mode: Mode) -> None:
        """Made by `run_stage`, inside the event loop."""
        self.settings = settings
        self.spool = spool
        self.tenure = tenure
        self.mode = mode
        self.stopping = asyncio.Event()
        self.verbose_log = VerboseLog(spool, tenure.stage)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._bell = Doorbell(spool, tenure.stage)
        self._rung = asyncio.Event()
        self._rung_for_log = asyncio.Event()

    async def call(self, function: Callable[[], T]) -> T:
        """Call into the spool, in its thread; a call that began is waited for even when the caller is cancelled."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            with suppress(Exception):
                await future
            raise

    async def emit(self, events: Iterable[Event]) -> None:
        """Write events of their own, outside any change of state."""
        noted = list(events)

        def write() -> None:
            with self.spool.index.write() as connection:
                emit(connection, noted, now=self.spool.now())

        if noted:
            await self.call(write)

    def renew(self, settings: Settings) -> None:
        """Let the stage work by other settings, of the same spool, from its next step on."""
        self.settings = settings
        self._rung.set()

    def ring(self, stage: Stage) -> None:
        """Wake another stage."""
        ring(self.spool, stage)

    async def wait(self, seconds: float | None) -> bool:
        """Wait until somebody rings, the stage is to stop, or so many seconds have passed; True when somebody rang."""
        stop = asyncio.ensure_future(self.stopping.wait())
        rung = asyncio.ensure_future(self._rung.wait())
        try:
            await asyncio.wait({stop, rung}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            rung.cancel()
        was_rung = self._rung.is_set()
        self._rung.clear()
        return was_rung

    async def look_at_verbosity(self) -> None:
        """Heed what is wished of the verbose log now, and tell what keeps it from being written."""
        # What the spool cannot do, the stage's own work comes to.
        with suppress(SpoolError):
            self.verbose_log.heed(await self.call(lambda: read_verbosity(self.spool)))
            await self.emit(self.verbose_log.troubles())

    async def keep_looking_at_verbosity(self) -> None:
        """Look again whenever somebody rings, though not all the time, and every few seconds; until cancelled."""
        while True:
            await asyncio.sleep(REST_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._rung_for_log.wait()
            self._rung_for_log.clear()
            await self.look_at_verbosity()

    def listen(self) -> None:
        """Begin to hear the doorbell."""
        asyncio.get_running_loop().add_reader(self._bell.fileno(), self._hear)

    def close(self) -> None:
        """Stop hearing the doorbell and end the spool thread."""
        asyncio.get_running_loop().remove_reader(self._bell.fileno())
        self._bell.close()
        self._thread.shutdown(wait=True)
        self.verbose_log.close()

    def _hear(self) -> None:
        self._bell.silence()
        self._rung.set()
        self._rung_for_log.set()


Follow = Callable[[Runtime], Awaitable[None]]
"""What renews the settings of a stage while it works; cancelled at its end."""


def run_stage(
    stage: Stage,
    work: StageWork,
    *,
    settings: Settings,
    mode: Mode = Mode.RUN,
    lifeline: int | None = None,
    on_events: Listener | None = None,
    follow: Follow | None = None,
) -> Outcome:
    """Be the process of `stage` until its work ends.

    `lifeline` is a descriptor that reads as ended when the supervisor is gone; `on_events` hears of what is written.
    Raises StageHeld, SpoolError and what `work` raises.
    """
    spool = open_spool(settings.spool.directory, on_events=on_events)

    async def run(tenure: Tenure) -> Outcome:
        runtime = Runtime(settings, spool, tenure=tenure, mode=mode)
        try:
            _stop_on_signals(runtime, lifeline)
            return await _work(work, runtime, follow=follow)
        finally:
            runtime.close()

    try:
        with take_stage(spool, stage) as tenure:
            return asyncio.run(run(tenure))
    finally:
        spool.close()


def _stop_on_signals(runtime: Runtime, lifeline: int | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.stopping.set)
    if lifeline is None:
        return

    def supervisor_gone() -> None:
        loop.remove_reader(lifeline)
        runtime.stopping.set()

    os.set_blocking(lifeline, False)
    loop.add_reader(lifeline, supervisor_gone)


async def _work(work: StageWork, runtime: Runtime, *, follow: Follow | None) -> Outcome:
    await runtime.call(lambda: work.begin(runtime))
    runtime.listen()
    await runtime.look_at_verbosity()
    looking = asyncio.ensure_future(runtime.keep_looking_at_verbosity())
    try:
        if follow is None:
            return await work.work(runtime)
        return await _work_following(work, runtime, follow=follow)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await runtime.call(lambda: work.end(runtime))


async def _work_following(work: StageWork, runtime: Runtime, *, follow: Follow) -> Outcome:
    async def followed() -> None:
        await follow(runtime)

    try:
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(followed())
            outcome = await work.work(runtime)
            follower.cancel()
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from several
    return outcome
