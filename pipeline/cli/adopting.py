"""`accounts adopt`: mark what a maildrop holds as had.

A running fetch process does it, because the ledger's journal is its own; where none runs, this process is the fetch
stage for that one account and that one session.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.cli.naming import account_named
from pipeline.cli.running import await_outcomes
from pipeline.exit_codes import ExitCode
from pipeline.process import run_stage_process
from spool.accounts import Accounts, Outcome
from spool.doorbell import ring
from spool.layout import Stage
from spool.opening import open_spool
from spool.queries import is_running
from stages.runner import Mode
from stages.settings import Settings


def adopt(settings: Settings, name: str) -> int:
    """Mark as had what the account's maildrop holds and nobody had; nothing is fetched and nothing deleted."""
    account = account_named(settings, name)
    spool = open_spool(settings.spool.directory)
    try:
        accounts = Accounts(spool)
        requests = accounts.ask([name], adopts=True)
        if is_running(spool, Stage.FETCH):
            ring(spool, Stage.FETCH)
        else:
            alone = replace(settings, accounts=(replace(account, enabled=True),))
            code = run_stage_process(Stage.FETCH, alone, mode=Mode.ONCE)
            if accounts.outcome(requests[0]) is None:
                accounts.answer(requests[0], Outcome(text="given up", has_failed=True))
                return code
        return ExitCode.TEMPORARY if await_outcomes(spool, requests) else ExitCode.OK
    finally:
        spool.close()
