"""Be the process of one stage: run it to its end, and say with which exit code it ended.

**Invariants:** an error ends in one line on standard error and an exit code; `stage NAME`
imports no other stage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from pipeline.endings import report
from pipeline.exit_codes import ExitCode
from pipeline.mirroring import mirror
from spool.layout import Layout, Stage
from spool.opening import utc_now
from stages.runner import Follow, Mode, StageWork, run_stage
from stages.settings import OAuth2Client, Settings

MakeWork = Callable[[Stage], StageWork]


def stage_work(stage: Stage) -> StageWork:
    """Make the work of a stage."""
    match stage:
        case Stage.FETCH:
            from stages.fetch.stage import FetchStage  # noqa: PLC0415 - a process imports the stage that it is

            return FetchStage()
        case Stage.VALIDATE:
            from stages.validate.stage import ValidateStage  # noqa: PLC0415 - as above

            return ValidateStage()
        case Stage.SUBMIT:
            from stages.submit.stage import SubmitStage  # noqa: PLC0415 - as above

            return SubmitStage()
        case Stage.PICKUP:
            from stages.pickup.stage import PickupStage  # noqa: PLC0415 - as above

            return PickupStage()
        case _:
            assert_never(stage)


def import_stages(settings: Settings) -> None:
    """Import every stage's modules, so that a stage that is forked later is of the same version as its supervisor."""
    for stage in Stage:
        stage_work(stage)
    sources = [settings.smtp.oauth2, *(account.oauth2 for account in settings.accounts)]
    if any(isinstance(source, OAuth2Client) for source in sources):
        import stages.oauth.keeper  # noqa: F401, PLC0415 - only for who needs it


def run_stage_process(
    stage: Stage,
    settings: Settings,
    *,
    mode: Mode,
    lifeline: int | None = None,
    follow: Follow | None = None,
    make_work: MakeWork = stage_work,
) -> ExitCode:
    """Run a stage until its work ends; for `lifeline` and `follow` see `stages.runner.run_stage`."""
    try:
        with mirror(settings.log) as listener:
            outcome = run_stage(
                stage,
                make_work(stage),
                settings=settings,
                mode=mode,
                lifeline=lifeline,
                on_events=listener,
                follow=follow,
            )
    except Exception as error:  # noqa: BLE001 - the end of a process: every error becomes its line and its code
        return report(error, name=stage, layout=Layout(settings.spool.directory), now=utc_now())
    return ExitCode.OK if outcome.is_complete or mode is Mode.RUN else ExitCode.TEMPORARY
