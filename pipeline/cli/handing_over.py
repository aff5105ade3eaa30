"""Hand over what another fetcher had, and wait until it is in the ledger.

As `adopting` has it: a running fetch process enters it, because the ledger's journal is its own; where none runs, this
process is the fetch stage for so long, and logs in nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool.accounts import Accounts
from spool.doorbell import ring
from spool.envelope import Uidl
from spool.errors import StageHeld
from spool.handover import Handover
from spool.layout import Stage
from spool.opening import Spool, open_spool
from spool.queries import is_running
from stages.runner import Mode, run_stage
from stages.settings import Settings

_LOOK_SECONDS = 0.1


def hand_over(settings: Settings, had: Mapping[str, Iterable[Uidl]]) -> None:
    """Enter the UIDLs of each account as had; when this returns they are in the ledger, and in its journal."""
    spool = open_spool(settings.spool.directory)
    try:
        handover = Handover(spool)
        requests = [request for name, uidls in had.items() for request in handover.ask(name, uidls)]
        if requests and not is_running(spool, Stage.FETCH):
            _enter(settings)
        ring(spool, Stage.FETCH)
        _wait(spool, requests)
    finally:
        spool.close()


def _enter(settings: Settings) -> None:
    """Be the fetch stage of no account; one that has begun meanwhile does it as well."""
    from stages.fetch.stage import FetchStage  # noqa: PLC0415 - a stage

    with suppress(StageHeld):
        run_stage(Stage.FETCH, FetchStage(), settings=replace(settings, accounts=()), mode=Mode.ONCE)


def _wait(spool: Spool, requests: Iterable[int]) -> None:
    accounts = Accounts(spool)
    for request in requests:
        while accounts.outcome(request) is None:
            if not is_running(spool, Stage.FETCH):
                text = "the fetch process ended before it had entered what was seen; it does when it starts again"
                raise CommandFailed(ExitCode.UNAVAILABLE, text)
            time.sleep(_LOOK_SECONDS)
