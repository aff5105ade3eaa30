"""`run --drain`: everything that can move now is moved through, then all stages end.

The stages end from upstream to downstream: fetch and pickup by themselves, validate when nothing is staged and nobody
is left who stages, submit when nothing is left that could move now. Each question is asked of the index only after
the stage that could change its answer has ended, so no message can slip between two looks.

**Invariants:** as `pipeline.supervisor`: `locks/run` is held, no index is open at a fork.
**Failures:** `SpoolError` before anything was started, `StageHeld` naming the stage and the pid among them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.children import Children, Death, StageMain
from pipeline.events import StageDied
from pipeline.exit_codes import ExitCode
from pipeline.process import run_stage_process
from pipeline.scheduling import NEEDS_SOMEBODY, exit_code_for, how_it_ended
from pipeline.supervisor import in_charge, note
from spool import queries
from spool.accounts import Accounts
from spool.events import Admitted, Refused, Submitted
from spool.layout import Stage
from spool.opening import Spool
from spool.queries import open_for_reading
from spool.route import Route
from stages.pickup.events import TakenFromPickup
from stages.runner import Mode
from stages.settings import Settings

RESTARTS = 3
LOOK_SECONDS = 0.1
_UPSTREAM = frozenset({Stage.FETCH, Stage.PICKUP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a drain did, in messages; `queued`, `left` are what is there at its end."""

    fetched: int
    picked_up: int
    delivered: int
    badmail: int
    queued: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How a drain ended; `troubles` say what failed, one line for each account and for the relay.

    `was_stopped`: by a signal, before its end.
    """

    code: int
    summary: Summary
    troubles: tuple[str, ...] = ()
    was_stopped: bool = False


def drain(settings: Settings, *, main: StageMain = run_stage_process) -> Drained:
    """Poll every account and move everything through; raises SpoolError where nothing could be started."""
    with in_charge(settings):
        before = _prepare(settings.spool.directory)
        with Children(settings, main) as children:
            work = _Drain(settings, children)
            code = work.run()
        summary = _summary(settings.spool.directory, after=before)
        troubles = _troubles(settings)
    if code == ExitCode.OK and summary.queued:
        code = ExitCode.TEMPORARY
    return Drained(code=code, summary=summary, troubles=troubles, was_stopped=work.was_stopped)


class _Ended(Exception):
    """The drain cannot go on: somebody stopped it, or a stage cannot be kept running."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Drain:
    """How far the drain has come."""

    def __init__(self, settings: Settings, children: Children) -> None:
        self._settings = settings
        self._children = children
        self._told_to_stop: set[Stage] = set()
        self._deaths = dict.fromkeys(Stage, 0)
        self._code: int = ExitCode.OK
        self.was_stopped = False

    def run(self) -> int:
        try:
            for stage in Stage:
                self._children.start(stage, Mode.DRAIN)
            self._wait_until(lambda: not self._children.running & _UPSTREAM, seconds=None)
            self._wait_until(lambda: not self._has_staged())
            self._stop(Stage.VALIDATE)
            self._wait_until(lambda: not self._can_move())
            self._stop(Stage.SUBMIT)
        except _Ended as end:
            return end.code
        return self._code

    def _wait_until(self, is_done: Callable[[], bool], *, seconds: float | None = LOOK_SECONDS) -> None:
        while not is_done():
            if self._children.wait(seconds) is not None:
                self.was_stopped = True
                raise _Ended(ExitCode.TEMPORARY)
            for death in self._children.reap():
                self._take(death)

    def _stop(self, stage: Stage) -> None:
        self._told_to_stop.add(stage)
        self._children.tell_to_stop(self._children.running & {stage})
        self._wait_until(lambda: stage not in self._children.running, seconds=None)

    def _take(self, death: Death) -> None:
        stage, code = death.stage, death.code
        if stage in self._told_to_stop:
            # Between its start and its first signal handler SIGTERM ends it too, and it has done nothing yet.
            self._code = self._code or (ExitCode.OK if code == -signal.SIGTERM else exit_code_for(code))
        elif stage in _UPSTREAM and code in (ExitCode.OK, ExitCode.TEMPORARY):
            self._code = self._code or code
        else:
            self._restart(stage, code)

    def _restart(self, stage: Stage, code: int) -> None:
        self._deaths[stage] += 1
        if code in NEEDS_SOMEBODY or self._deaths[stage] > RESTARTS:
            raise _Ended(exit_code_for(code))
        note(self._settings, StageDied(stage=stage, how=how_it_ended(code), seconds=0))
        self._children.start(stage, Mode.DRAIN)

    def _has_staged(self) -> bool:
        with _looking(self._settings.spool.directory) as spool:
            return queries.work(spool).staged > 0

    def _can_move(self) -> bool:
        with _looking(self._settings.spool.directory) as spool:
            return queries.work(spool).movable > 0 and Route(spool).state().is_open


@contextmanager
def _looking(directory: Path) -> Iterator[Spool]:
    """The spool for one look: nothing of it is open when a child is forked."""
    spool = open_for_reading(directory)
    try:
        yield spool
    finally:
        spool.close()


def _prepare(directory: Path) -> int:
    """Answer the number of the last event before the drain.

    What an earlier process found out about the route is put aside, so that the drain waits for what submit finds.
    """
    with _looking(directory) as spool:
        Route(spool).begin()
        return queries.last_event(spool)


def _troubles(settings: Settings) -> tuple[str, ...]:
    with _looking(settings.spool.directory) as spool:
        states = Accounts(spool).states()
        route = Route(spool).state()
    polled = [states[account.name] for account in settings.accounts if account.enabled and account.name in states]
    failed = [f"account {state.name}: {state.last_error}" for state in polled if state.failures]
    return (*failed, *([] if route.is_open else [f"relay {settings.smtp.host}: {route.trouble}"]))


def _summary(directory: Path, *, after: int) -> Summary:
    with _looking(directory) as spool:
        work = queries.work(spool)
        return Summary(
            fetched=queries.count_events(spool, Admitted, after=after, without=TakenFromPickup),
            picked_up=queries.count_events(spool, TakenFromPickup, after=after),
            delivered=queries.count_events(spool, Submitted, after=after),
            badmail=queries.count_events(spool, Refused, after=after),
            queued=work.staged + work.queued,
            left=queries.left_at_provider(spool),
        )
