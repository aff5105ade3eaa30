"""What a person types for an account or a message, and what may have been meant where there is no such thing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from stages.settings import AccountSettings, Settings


def account_named(settings: Settings, name: str) -> AccountSettings:
    """The account of that name; raises CommandFailed, naming the one that may have been meant."""
    accounts = {account.name: account for account in settings.accounts}
    if name in accounts:
        return accounts[name]
    raise CommandFailed(ExitCode.USAGE, f"there is no account {name!r}{perhaps(name, accounts)}")


def enabled_account_named(settings: Settings, name: str) -> AccountSettings:
    """The same, for what is done with accounts alone that are polled."""
    account = account_named(settings, name)
    if not account.enabled:
        raise CommandFailed(ExitCode.USAGE, f"the account {name!r} is disabled: set enabled = true and try again")
    return account


def perhaps(typed: str, known: Iterable[str]) -> str:
    """The end of a sentence that asks for the one known name which may have been meant; empty where none is like it."""
    meant = difflib.get_close_matches(typed, known, n=1)
    return f": {meant[0]!r} perhaps?" if meant else ""
