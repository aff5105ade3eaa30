"""`run`: the four stages as processes, each started again when it dies, all stopped together.

It watches the configuration for all of them: the stages that run are sent what was changed and is right, those that are
started later begin with it.

**Invariants:** `locks/run` is held for as long as any child lives; no index is open at a fork.
**Failures:** `SpoolError` before anything was started; afterwards the exit code says it, and the child that failed
has said why.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.children import Children, Death, StageMain
from pipeline.endings import line_of, say
from pipeline.events import StageDied, StageRestarted
from pipeline.exit_codes import ExitCode
from pipeline.mirroring import mirror
from pipeline.process import run_stage_process
from pipeline.scheduling import GiveUp, History, StartAgain, after_death, how_it_ended
from pipeline.watching import Accepted, Watch, event_of, say_refusal
from spool.errors import SpoolError
from spool.event_log import SUPERVISOR
from spool.events import Event, emit
from spool.layout import Stage
from spool.locks import RUN, hold, hold_all_stages
from spool.opening import open_spool, require_current_index
from stages.runner import Mode
from stages.settings import Settings


@contextmanager
def in_charge(settings: Settings) -> Iterator[None]:
    """Be the one supervisor of a spool that can be used and of which no stage runs; raises SpoolError."""
    spool = open_spool(settings.spool.directory)
    try:
        with hold(spool.layout, RUN):
            with hold_all_stages(spool.layout):
                require_current_index(spool)
            spool.close()
            yield
    finally:
        spool.close()


def supervise(settings: Settings, *, main: StageMain = run_stage_process, watch: Watch | None = None) -> int:
    """Run all stages until SIGTERM or SIGINT; raises SpoolError where nothing could be started."""
    with in_charge(settings), Children(settings, main) as children:
        return _Supervisor(settings, children, configuration=watch).watch()


def note(settings: Settings, *events: Event) -> None:
    """Write events of the supervisor; a spool that takes none must not keep mail from moving."""
    try:
        with mirror(settings.log) as listener:
            spool = open_spool(settings.spool.directory, on_events=listener)
            try:
                with spool.index.acting_as(SUPERVISOR), spool.index.write() as connection:
                    emit(connection, events, now=spool.now())
            finally:
                spool.close()
    except SpoolError as error:
        say("; ".join([*(event.text for event in events), f"not noted: {line_of(error)}"]))


class _Supervisor:
    """Which stage is to be started when, and by which settings they work."""

    def __init__(self, settings: Settings, children: Children, *, configuration: Watch | None) -> None:
        self._settings = settings
        self._children = children
        self._configuration = configuration
        self._histories = dict.fromkeys(Stage, History())
        self._due: dict[Stage, float] = {}

    def watch(self) -> int:
        for stage in Stage:
            self._children.start(stage, Mode.RUN)
        while True:
            if self._children.wait(self._seconds_to_next_look()) is not None:
                self._children.stop()
                return ExitCode.OK
            for death in self._children.reap():
                match self._decide(death):
                    case GiveUp(code=code):
                        self._children.stop()
                        return code
                    case StartAgain(seconds=seconds):
                        self._due[death.stage] = time.monotonic() + seconds
            self._look_at_configuration()
            self._start_due()

    def _decide(self, death: Death) -> GiveUp | StartAgain:
        decision = after_death(death.code, death.lived_seconds, history=self._histories[death.stage])
        if isinstance(decision, StartAgain):
            self._histories[death.stage] = decision.history
            how = how_it_ended(death.code)
            note(self._settings, StageDied(stage=death.stage, how=how, seconds=round(decision.seconds)))
        return decision

    def _start_due(self) -> None:
        now = time.monotonic()
        for stage in [stage for stage, due in self._due.items() if due <= now]:
            del self._due[stage]
            pid = self._children.start(stage, Mode.RUN)
            note(self._settings, StageRestarted(stage=stage, pid=pid))

    def _look_at_configuration(self) -> None:
        if self._configuration is None:
            return
        if self._children.take_hangup():
            self._configuration.ask()
        news = self._configuration.look()
        if isinstance(news, Accepted):
            self._children.renew(news.settings)
        if news is not None:
            event = event_of(news, process="run")
            say_refusal(event)
            note(self._settings, event)

    def _seconds_to_next_look(self) -> float | None:
        looks = [] if self._configuration is None else [self._configuration.seconds]
        return min([*looks, *(at - time.monotonic() for at in self._due.values())], default=None)
