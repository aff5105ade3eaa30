"""What a person types for an account or a message, and what may have been meant where there is no such thing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool.opening import Spool
from spool.queue_id import ALPHABET, LENGTH, TIME_CHARACTERS, QueueId
from spool.search import Search, count, with_prefix, with_tail
from spool.states import State
from stages.settings import AccountSettings, Settings

# As many characters tell two messages apart that came a quarter of an hour apart.
SHORTEST_PREFIX = 6
_NAMED_AT_MOST = 3
_COMPARED_AT_MOST = 1000
# Crockford's base 32 leaves these out because people take them for others.
_MISREAD = str.maketrans("oil", "011")


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


def known_account(spool: Spool, name: str, *, settings: Settings) -> str:
    """The name of an account that there is, or was: messages of it are in the spool. Raises CommandFailed as above."""
    if count(spool, Search(states=frozenset(State), account=name, limit=1)):
        return name
    return account_named(settings, name).name


def message_named(spool: Spool, text: str) -> QueueId:
    """The one message whose queue id is this or begins so; raises CommandFailed, naming the one that may be meant."""
    wanted = typed_queue_id(text)
    found = with_prefix(spool, wanted, at_most=_NAMED_AT_MOST + 1)
    if len(found) == 1:
        return found[0]
    if found:
        more = ", ..." if len(found) > _NAMED_AT_MOST else ""
        named = ", ".join(found[:_NAMED_AT_MOST])
        raise CommandFailed(ExitCode.USAGE, f"more than one message begins with {wanted}: {named}{more}")
    raise CommandFailed(ExitCode.DATA, f"no message {wanted}{perhaps(wanted, _like(spool, wanted))}")


def typed_queue_id(text: str) -> str:
    """A queue id or the beginning of one, as the index has it; raises CommandFailed where it cannot be one.

    For whoever names many: nothing is done to the first of them before the last is known to be one.
    """
    wanted = text.strip().lower().translate(_MISREAD)
    if not wanted or len(wanted) > LENGTH or not set(ALPHABET).issuperset(wanted):
        raise CommandFailed(ExitCode.USAGE, f"not a queue id: {text!r}")
    if len(wanted) < SHORTEST_PREFIX:
        raise CommandFailed(ExitCode.USAGE, f"not a queue id: {text!r}; type {SHORTEST_PREFIX} characters at least")
    return wanted


def _like(spool: Spool, wanted: str) -> Iterable[str]:
    """The queue ids that somebody may have meant who typed one character wrong, cut to what was typed."""
    if len(wanted) == LENGTH:
        head, tail = wanted[:TIME_CHARACTERS], wanted[TIME_CHARACTERS:]
        yield from with_tail(spool, tail, at_most=_COMPARED_AT_MOST)
    else:
        head = wanted[: SHORTEST_PREFIX - 1]
    for queue_id in with_prefix(spool, head, at_most=_COMPARED_AT_MOST):
        yield queue_id[: len(wanted)]


def perhaps(typed: str, known: Iterable[str]) -> str:
    """The end of a sentence that asks for the one known name which may have been meant; empty where none is like it."""
    meant = difflib.get_close_matches(typed, known, n=1)
    return f": {meant[0]!r} perhaps?" if meant else ""
