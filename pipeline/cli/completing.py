"""Complete what is typed in a shell: the scripts, and the names of accounts and messages.

A shell that wants to know runs the command with `VARIABLE` set, and typer answers in the shell's own form.

**Invariants:** it is silent: where there is no configuration, no spool or no right to look, there is just nothing to
complete. What strangers wrote is never offered: one of the shells evaluates what it gets.
"""

# ruff: noqa: PLC0415 - every command imports this module, and few complete

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.cli.help import NAME

if TYPE_CHECKING:
    from spool.states import State

VARIABLE = f"_{NAME.upper()}_COMPLETE"
_OFFERED_AT_MOST = 50
# What a shell takes for itself is quoted by whoever types it.
_BARE = re.compile(r"[\w.@+:,/=-]+")


def prepare() -> None:
    """Make typer know the shells; it does so by itself only for commands that install scripts of their own accord."""
    from typer._completion_classes import completion_init

    completion_init()


def script(shell: str) -> str:
    """What a shell (`bash`, `zsh`, `fish`) is to run once."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name=NAME, complete_var=VARIABLE, shell=shell)


def account_names(context: typer.Context, incomplete: str) -> Sequence[str]:
    """The accounts of the configuration whose names begin so, and need no quotes in a shell."""
    from pipeline.config import load
    from pipeline.config.errors import ConfigurationError

    try:
        settings = load(_config(context), os.environ)
    except (ConfigurationError, OSError):
        return ()
    # Those that are named already, where several may be.
    named = {word for value in context.params.values() if isinstance(value, list | tuple) for word in value}
    names = [account.name for account in settings.accounts if account.name not in named]
    return [name for name in names if name.startswith(incomplete) and _BARE.fullmatch(name)]


def queue_ids(context: typer.Context, incomplete: str) -> Sequence[str]:
    """The queue ids of messages that are not finished."""
    from spool.search import WAITING

    return _queue_ids(context, incomplete, states=WAITING)


def queue_ids_in_badmail(context: typer.Context, incomplete: str) -> Sequence[str]:
    """The queue ids of messages in Badmail."""
    from spool.states import State

    return _queue_ids(context, incomplete, states={State.BADMAIL})


def _queue_ids(context: typer.Context, incomplete: str, *, states: Collection[State]) -> Sequence[str]:
    from pipeline.cli.invocation import Invocation
    from pipeline.config.errors import ConfigurationError
    from spool.errors import SpoolError
    from spool.search import with_prefix

    try:
        with Invocation(config=_config(context)).reading() as spool:
            found = with_prefix(spool, incomplete, at_most=_OFFERED_AT_MOST, states=states)
            if len(found) == _OFFERED_AT_MOST:
                # A shell types what all have in common: that of the first and the last is what those between have too.
                found += with_prefix(spool, incomplete, at_most=1, states=states, from_the_end=True)
    except (ConfigurationError, SpoolError, OSError):
        return ()
    return list(dict.fromkeys(found))


def _config(context: typer.Context) -> Path | None:
    """What stands behind `--config` on the line that is being typed."""
    given = context.find_root().params.get("config")
    return Path(given) if given is not None else None
