"""`log`: whose dialogue is logged."""

from __future__ import annotations

from pipeline.cli.invocation import Invocation
from pipeline.cli.naming import account_named
from pipeline.cli.options import LogWord
from pipeline.cli.output import shown
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool.doorbell import ring
from spool.layout import Stage
from spool.opening import Spool
from spool.queries import is_running
from spool.verbosity import EVERYBODY, RELAY, Verbosity, read_verbosity, set_verbosity


def log(invocation: Invocation, wish: LogWord | None, *, account: str | None, relay: bool) -> None:
    """Switch the log for all, for one account or for the relay; without a wish, say how it stands."""
    if account is not None and relay:
        raise CommandFailed(ExitCode.USAGE, "--account and --relay exclude each other: call twice for both")
    name = RELAY if relay else EVERYBODY
    if account is not None:
        name = account_named(invocation.settings(), account).name
    with invocation.reading() as spool:
        if wish is not None:
            set_verbosity(spool, name, is_verbose=wish is LogWord.VERBOSE)
        verbosity = read_verbosity(spool)
        told = how_it_stands(verbosity) if name == EVERYBODY else _of_one(verbosity, name)
        print(shown(told))
        if wish is LogWord.VERBOSE:
            print(shown(f"written to {spool.layout.service_log}"))
        if wish is not None and not _tell_stages(spool):
            print("nothing runs now: it takes effect at the next start")


def _tell_stages(spool: Spool) -> bool:
    """Have running stages look; False where none runs."""
    runs = [stage for stage in Stage if is_running(spool, stage)]
    for stage in runs:
        ring(spool, stage)
    return bool(runs)


def how_it_stands(verbosity: Verbosity) -> str:
    """Whose dialogue is logged, in words."""
    others = ", ".join(_word(name) for name in verbosity.exceptions())
    if verbosity.is_general:
        return f"verbose: all accounts and the relay{f', but not {others}' if others else ''}"
    return f"verbose: {others}" if others else "normal"


def _of_one(verbosity: Verbosity, name: str) -> str:
    return f"{LogWord.VERBOSE if verbosity.of(name) else LogWord.NORMAL}: {_word(name)}"


def _word(name: str) -> str:
    return "the relay" if name == RELAY else name
