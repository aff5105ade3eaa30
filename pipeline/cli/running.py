"""The commands that run the pipeline: `run`, `stage`, `retrieve-now`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.cli.naming import enabled_account_named
from pipeline.cli.output import shown
from pipeline.cli.poll_bar import PollBar, bar_for_terminal
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
    """Ask the running fetch process for a poll at once, of which the dialogue is logged."""
    named = [enabled_account_named(settings, name).name for name in dict.fromkeys(names)]
    spool = open_for_reading(settings.spool.directory)
    try:
        if not is_running(spool, Stage.FETCH):
            raise CommandFailed(ExitCode.UNAVAILABLE, "no fetch process runs")
        # Whoever waits wants a line for each.
        every = [account.name for account in settings.accounts if account.enabled]
        wanted = named or (every if wait else [])
        asked_at = spool.now()
        requests = Accounts(spool).ask(wanted, is_verbose=True, is_awaited=wait)
        ring(spool, Stage.FETCH)
        if not wait:
            return ExitCode.OK
        with bar_for_terminal(spool, dict(zip(requests, wanted, strict=False)), since=asked_at) as bar:
            has_failed = await_outcomes(spool, requests, bar=bar)
        if has_failed:
            say(shown(f"what was said to the servers is in {spool.layout.service_log}"))
        return ExitCode.TEMPORARY if has_failed else ExitCode.OK
    finally:
        spool.close()


def await_outcomes(spool: Spool, requests: Sequence[int], *, bar: PollBar | None = None) -> bool:
    """Wait for the answers to all requests, print each as it comes, and answer whether any account failed."""
    accounts = Accounts(spool)
    waiting, has_failed = list(requests), False
    while waiting:
        # Looked at first: what was answered before the process ended is answered.
        runs = is_running(spool, Stage.FETCH)
        for request, outcome in accounts.outcomes(waiting).items():
            if bar is not None:
                bar.give_way(request)
            print(shown(outcome.text), flush=True)
            waiting.remove(request)
            has_failed = has_failed or outcome.has_failed
        if waiting and not runs:
            raise CommandFailed(ExitCode.UNAVAILABLE, "the fetch process ended before the poll was done")
        if waiting:
            if bar is not None:
                bar.draw()
            time.sleep(_LOOK_SECONDS)
    return has_failed
