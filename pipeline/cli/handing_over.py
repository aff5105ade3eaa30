"""Hand over what another fetcher had, and wait until it is in the ledger.

As `adopting` has it: a running fetch process enters it, because the ledger's journal is its own; where none runs, this
process is the fetch stage for so long, and logs in nowhere.

**Invariants:** the spool stays its owner's: root, who alone may write many a configuration, lets a process of that
user do it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline.endings import CommandFailed, report
from pipeline.exit_codes import ExitCode
from spool.accounts import Accounts
from spool.doorbell import ring
from spool.envelope import Uidl
from spool.errors import StageHeld
from spool.handover import Handover
from spool.layout import Stage
from spool.opening import Spool, open_spool, utc_now
from spool.queries import is_running
from stages.fetch.stage import FetchStage
from stages.runner import Mode, run_stage
from stages.settings import Settings

_LOOK_SECONDS = 0.1


def hand_over(settings: Settings, had: Mapping[str, Iterable[Uidl]]) -> int:
    """Enter the UIDLs of each account as had; with 0 they are in the ledger, and in its journal.

    Any other exit code is that of root's child, which has said why.
    """
    owner = _other_owner(settings.spool.directory)
    if owner is not None:
        return _as_user(owner, lambda: _hand_over(settings, had))
    _hand_over(settings, had)
    return ExitCode.OK


def _hand_over(settings: Settings, had: Mapping[str, Iterable[Uidl]]) -> None:
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
    with suppress(StageHeld):
        run_stage(Stage.FETCH, FetchStage(), settings=replace(settings, accounts=()), mode=Mode.ONCE)


def _wait(spool: Spool, requests: Iterable[int]) -> None:
    accounts = Accounts(spool)
    for request in requests:
        while True:
            # Looked at first: what was answered before the process ended is answered.
            runs = is_running(spool, Stage.FETCH)
            if accounts.outcome(request) is not None:
                break
            if not runs:
                text = "the fetch process ended before it had entered what was seen; it does when it starts again"
                raise CommandFailed(ExitCode.UNAVAILABLE, text)
            time.sleep(_LOOK_SECONDS)


def _other_owner(directory: Path) -> tuple[int, int] | None:
    """Whose the spool is, by uid and gid, where root is asked and it is another's."""
    if os.geteuid() != 0 or not directory.is_dir():
        return None
    found = directory.stat()
    return (found.st_uid, found.st_gid) if found.st_uid != 0 else None


def _as_user(owner: tuple[int, int], act: Callable[[], None]) -> int:
    """Let a process of another user act; answers its exit code."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = ExitCode.SOFTWARE
        try:
            os.setgroups([])
            os.setgid(owner[1])
            os.setuid(owner[0])
            act()
            code = ExitCode.OK
        except Exception as error:  # noqa: BLE001 - the end of a process: every error becomes its line and its code
            code = report(error, name="command", layout=None, now=utc_now())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
