"""The commands that run the pipeline: `run`, `stage`, `retrieve-now`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.cli.output import shown
from pipeline.endings import CommandFailed, say
from pipeline.exit_codes import ExitCode
from spool.accounts import Accounts
from spool.doorbell import ring
from spool.layout import Stage
from spool.opening import Spool
from spool.queries import is_running, open_for_reading
from stages.settings import Settings

_LOOK_SECONDS = 0.2


def run(settings: Settings, *, file: Path, drain: bool) -> int:
    """Run the whole pipeline, for good and by what becomes of the configuration file, or until it is drained."""
    from pipeline.draining import drain as drain_all  # noqa: PLC0415 - `retrieve-now` needs no stage
    from pipeline.process import import_stages  # noqa: PLC0415 - `retrieve-now` needs no stage
    from pipeline.supervisor import supervise  # noqa: PLC0415 - `retrieve-now` needs no stage
    from pipeline.watching import Watch  # noqa: PLC0415 - `retrieve-now` needs no stage

    import_stages(settings)
    if not drain:
        return supervise(settings, watch=Watch(file, settings))
    drained = drain_all(settings)
    summary = drained.summary
    picked_up = f"picked up {summary.picked_up}, " if summary.picked_up else ""
    print(
        f"fetched {summary.fetched}, {picked_up}delivered {summary.delivered}, to Badmail {summary.badmail}, "
        f"still queued {summary.queued}, left at the provider {summary.left}"
    )
    for trouble in drained.troubles:
        say(shown(trouble))
    return drained.code


def stage(settings: Settings, name: Stage, *, file: Path, once: bool) -> int:
    """Be one stage, by what becomes of the configuration file while it runs."""
    from pipeline.process import run_stage_process  # noqa: PLC0415 - a stage
    from pipeline.watching import Watch, follow_file  # noqa: PLC0415 - a stage
    from stages.runner import Mode  # noqa: PLC0415 - a stage

    if once:
        return run_stage_process(name, settings, mode=Mode.ONCE)
    return run_stage_process(name, settings, mode=Mode.RUN, follow=partial(follow_file, Watch(file, settings)))


def retrieve_now(settings: Settings, names: Sequence[str], *, wait: bool) -> int:
    """Ask the running fetch process for a poll at once."""
    enabled = [account.name for account in settings.accounts if account.enabled]
    for name in names:
        if name not in enabled:
            raise CommandFailed(ExitCode.USAGE, f"there is no enabled account {name!r}")
    spool = open_for_reading(settings.spool.directory)
    try:
        if not is_running(spool, Stage.FETCH):
            raise CommandFailed(ExitCode.UNAVAILABLE, "no fetch process runs")
        accounts = Accounts(spool)
        requests = accounts.ask(names)
        ring(spool, Stage.FETCH)
        if not wait:
            return ExitCode.OK
        return ExitCode.TEMPORARY if await_outcomes(spool, requests) else ExitCode.OK
    finally:
        spool.close()


def await_outcomes(spool: Spool, requests: Sequence[int]) -> bool:
    """Wait for the answer to each request and print it; answers whether any account failed."""
    accounts = Accounts(spool)
    has_failed = False
    for request in requests:
        while (outcome := accounts.outcome(request)) is None:
            if not is_running(spool, Stage.FETCH):
                raise CommandFailed(ExitCode.UNAVAILABLE, "the fetch process ended before the poll was done")
            time.sleep(_LOOK_SECONDS)
        print(shown(outcome.text), flush=True)
        has_failed = has_failed or outcome.has_failed
    return has_failed
