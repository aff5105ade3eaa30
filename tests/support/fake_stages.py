"""Stages without work, for tests of what runs them."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.process import run_stage_process
from spool.layout import Stage
from stages.runner import Follow, Mode, Outcome, Runtime, StageWork
from stages.settings import Settings

UPSTREAM = (Stage.FETCH, Stage.PICKUP)
Work = Callable[[Runtime], Outcome]


class FakeStage:
    """Holds its stage and does `work` once, in the spool thread; then it ends as a stage of its mode does."""

    def __init__(self, work: Work | None = None) -> None:
        self._work = work

    def begin(self, runtime: Runtime) -> None:
        """Nothing to open."""

    async def work(self, runtime: Runtime) -> Outcome:
        work = self._work
        outcome = Outcome(is_complete=True) if work is None else await runtime.call(lambda: work(runtime))
        if runtime.mode is Mode.RUN or (runtime.mode is Mode.DRAIN and runtime.tenure.stage not in UPSTREAM):
            await runtime.stopping.wait()
        return outcome

    def end(self, runtime: Runtime) -> None:
        """Nothing to close."""


class FakeMain:
    """A stage process whose stages are fakes; `works` says what some of them do."""

    def __init__(self, **works: Work) -> None:
        self._works = works

    def __call__(self, stage: Stage, settings: Settings, *, mode: Mode, lifeline: int, follow: Follow | None) -> int:
        return run_stage_process(stage, settings, mode=mode, lifeline=lifeline, follow=follow, make_work=self._make)

    def _make(self, stage: Stage) -> StageWork:
        return FakeStage(self._works.get(stage))
