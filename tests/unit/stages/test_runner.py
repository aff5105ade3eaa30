"""The runner: one process for a stage, one thread for its spool, an end in good order whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from spool.doorbell import ring
from spool.errors import StageHeld
from spool.events import SpoolWarning
from spool.layout import Stage
from spool.locks import hold
from spool.opening import open_spool
from spool.verbosity import EVERYBODY, set_verbosity
from stages.runner import Follow, Mode, Outcome, Runtime, run_stage
from tests.support.settings import default_settings
from tests.support.spools import logged


class Work:
    """A stage whose work is one coroutine."""

    def __init__(self, work: Callable[[Runtime], Awaitable[object]]) -> None:
        self.steps: list[str] = []
        self.threads: set[str] = set()
        self._work = work

    def begin(self, runtime: Runtime) -> None:
        self._note(f"begin {runtime.tenure.stage} {runtime.mode}")

    async def work(self, runtime: Runtime) -> Outcome:
        self.steps.append("work")
        return Outcome(is_complete=bool(await self._work(runtime)))

    def end(self, runtime: Runtime) -> None:
        self._note("end")

    def _note(self, step: str) -> None:
        self.steps.append(step)
        self.threads.add(threading.current_thread().name)


def run(directory: Path, work: Work, *, lifeline: int | None = None, follow: Follow | None = None) -> Outcome:
    settings = default_settings(directory)
    return run_stage(Stage.VALIDATE, work, settings=settings, mode=Mode.ONCE, lifeline=lifeline, follow=follow)


async def until_told_to_stop(runtime: Runtime) -> bool:
    async with asyncio.timeout(10):
        await runtime.stopping.wait()
    return True


def test_a_stage_begins_works_and_ends_and_its_outcome_is_returned(tmp_path: Path) -> None:
    async def work(_: Runtime) -> bool:
        return False

    stage = Work(work)
    assert run(tmp_path, stage) == Outcome(is_complete=False)
    assert stage.steps == ["begin validate once", "work", "end"]


def test_the_spool_is_used_in_one_thread_that_is_not_the_loop(tmp_path: Path) -> None:
    names: set[str] = set()

    async def work(runtime: Runtime) -> None:
        await asyncio.gather(*(runtime.call(lambda: names.add(threading.current_thread().name)) for _ in range(8)))

    stage = Work(work)
    run(tmp_path, stage)
    assert len(names | stage.threads) == 1
    assert threading.main_thread().name not in names


def test_a_stage_that_fails_still_ends_and_gives_its_lock_back(tmp_path: Path) -> None:
    async def work(_: Runtime) -> None:
        raise ValueError("broken")

    stage = Work(work)
    with pytest.raises(ValueError, match="broken"):
        run(tmp_path, stage)
    assert stage.steps[-1] == "end"
    spool = open_spool(tmp_path)
    with hold(spool.layout, Stage.VALIDATE):
        spool.close()


def test_a_stage_that_is_held_is_not_begun(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    stage = Work(until_told_to_stop)
    with hold(spool.layout, Stage.VALIDATE), pytest.raises(StageHeld):
        run(tmp_path, stage)
    assert stage.steps == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_work_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    async def work(runtime: Runtime) -> bool:
        os.kill(os.getpid(), number)
        return await until_told_to_stop(runtime)

    stage = Work(work)
    assert run(tmp_path, stage).is_complete
    assert stage.steps[-1] == "end"


def test_a_stage_whose_supervisor_is_gone_stops_as_on_sigterm(tmp_path: Path) -> None:
    """The write end of the lifeline closes with the process that held it."""
    lifeline, supervisor = os.pipe()

    async def work(runtime: Runtime) -> bool:
        os.close(supervisor)
        return await until_told_to_stop(runtime)

    try:
        assert run(tmp_path, Work(work), lifeline=lifeline).is_complete
    finally:
        os.close(lifeline)


def test_settings_that_are_renewed_end_a_wait_and_are_there(tmp_path: Path) -> None:
    other = default_settings(tmp_path / "other")

    async def follow(runtime: Runtime) -> None:
        runtime.renew(other)

    async def work(runtime: Runtime) -> bool:
        before = runtime.settings
        async with asyncio.timeout(10):
            return await runtime.wait(None) and before is not other and runtime.settings is other

    assert run(tmp_path, Work(work), follow=follow).is_complete


def test_who_renews_the_settings_ends_with_the_work(tmp_path: Path) -> None:
    seen: list[str] = []

    async def follow(_: Runtime) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def work(_: Runtime) -> bool:
        await asyncio.sleep(0)
        return True

    stage = Work(work)
    assert run(tmp_path, stage, follow=follow).is_complete
    assert seen == ["cancelled"]
    assert stage.steps[-1] == "end"


@pytest.mark.parametrize("culprit", ["work", "follow"])
def test_an_error_beside_who_renews_the_settings_is_the_stages_own(tmp_path: Path, culprit: str) -> None:
    """Whoever reports it knows errors, not groups of them; nothing that fails is kept quiet."""

    async def follow(_: Runtime) -> None:
        if culprit == "follow":
            raise ValueError("broken")

    async def work(_: Runtime) -> None:
        if culprit == "work":
            raise ValueError("broken")
        await asyncio.Event().wait()

    stage = Work(work)
    with pytest.raises(ValueError, match="broken"):
        run(tmp_path, stage, follow=follow)
    assert stage.steps[-1] == "end"


def test_the_doorbell_ends_a_wait(tmp_path: Path) -> None:
    async def work(runtime: Runtime) -> bool:
        ring(runtime.spool, Stage.VALIDATE)
        async with asyncio.timeout(10):
            return await runtime.wait(None)

    assert run(tmp_path, Work(work)).is_complete


def test_a_ring_before_the_wait_is_not_lost(tmp_path: Path) -> None:
    """Work that came between the last look and the wait must be looked at."""

    async def work(runtime: Runtime) -> bool:
        ring(runtime.spool, Stage.VALIDATE)
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            return await runtime.wait(None)

    assert run(tmp_path, Work(work)).is_complete


def test_a_wait_without_a_ring_ends_when_its_time_is_up(tmp_path: Path) -> None:
    async def work(runtime: Runtime) -> bool:
        return await runtime.wait(0)

    assert not run(tmp_path, Work(work)).is_complete


def test_a_call_that_began_is_finished_though_its_caller_is_cancelled(tmp_path: Path) -> None:
    """Cancellation leaves the spool valid: no durable step is abandoned in the middle."""
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def step() -> None:
        begun.set()
        may_end.wait(10)
        done.append("done")

    async def work(runtime: Runtime) -> None:
        caller = asyncio.ensure_future(runtime.call(step))
        await asyncio.to_thread(begun.wait, 10)
        caller.cancel()
        await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert done == ["done"]

    run(tmp_path, Work(work))


def test_events_of_their_own_are_written(tmp_path: Path) -> None:
    async def work(runtime: Runtime) -> None:
        await runtime.emit([])
        await runtime.emit([SpoolWarning(what="the disk is slow")])

    run(tmp_path, Work(work))
    spool = open_spool(tmp_path)
    assert "the disk is slow" in [event.text for event in logged(spool)]
    spool.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - the log tells nobody when it is switched
            await asyncio.sleep(0.005)


def test_a_stage_heeds_from_its_start_what_was_wished_of_the_verbose_log(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    set_verbosity(spool, "sales", is_verbose=True)
    spool.close()

    async def work(runtime: Runtime) -> bool:
        return runtime.verbose_log.account("sales").is_on and not runtime.verbose_log.account("info").is_on

    assert run(tmp_path, Work(work)).is_complete


@pytest.mark.parametrize("rings", [True, False])
def test_a_running_stage_heeds_it_when_somebody_rings_and_without_that_soon(tmp_path: Path, rings: bool) -> None:
    async def work(runtime: Runtime) -> bool:
        sales = runtime.verbose_log.account("sales")
        for is_verbose in (True, False):
            set_verbosity(runtime.spool, EVERYBODY, is_verbose=is_verbose)
            if rings:
                ring(runtime.spool, Stage.VALIDATE)
            await until(lambda is_verbose=is_verbose: sales.is_on is is_verbose)  # type: ignore[misc]
        return True

    assert run(tmp_path, Work(work)).is_complete


def test_a_verbose_log_that_cannot_be_written_becomes_one_event_and_the_work_goes_on(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    set_verbosity(spool, EVERYBODY, is_verbose=True)
    spool.layout.service_log.mkdir()

    async def work(runtime: Runtime) -> bool:
        def is_told() -> bool:
            runtime.verbose_log.account("sales").said("NOOP")
            return "VerboseLogFailed" in [event.name for event in logged(spool)]

        ring(runtime.spool, Stage.VALIDATE)
        await until(is_told)
        runtime.verbose_log.account("sales").said("NOOP")
        await runtime.look_at_verbosity()
        return True

    assert run(tmp_path, Work(work)).is_complete
    assert [event.text for event in logged(spool) if event.name == "VerboseLogFailed"] == [
        f"{spool.layout.service_log} cannot be written: Is a directory"
    ]
    spool.close()
