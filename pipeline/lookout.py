"""Bring together what a maildrop shows and what the spool remembers of it, changing neither.

**Invariants:** the limits and the memory are those that fetch would decide by at this moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from spool.accounts import Accounts, AccountState
from spool.errors import NoSpool
from spool.ledger import Ledger
from spool.opening import Spool, utc_now
from spool.queries import open_for_reading
from spool.route import Route, RouteState
from stages.fetch.changes import known_of, maildrop_of
from stages.fetch.limits import limit_of
from stages.fetch.outlook import Outlook, foresee
from stages.fetch.plan import Limit, Memory, Rules
from stages.fetch.visit import Sight
from stages.settings import AccountSettings, FetchSettings, Oversize


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An account, what a visit saw of it, and what fetch would do there.

    `limit` is the one in force; `outlook` is None where no listing was seen.
    """

    account: AccountSettings
    sight: Sight
    limit: Limit
    oversize: Oversize
    outlook: Outlook | None


def limit_text(limit: Limit) -> str:
    """The limit for people, and where it comes from."""
    if not limit.is_known:
        return f"not known: {limit.source}"
    return f"{'no limit' if limit.octets is None else f'{limit.octets} octets'} ({limit.source})"


@contextmanager
def reading_if_any(directory: Path) -> Iterator[Spool | None]:
    """Open the spool to look at it; None where there is none yet. Raises SpoolError."""
    try:
        spool = open_for_reading(directory)
    except NoSpool:
        yield None
        return
    try:
        yield spool
    finally:
        spool.close()


def limit_in_force(fetch: FetchSettings, spool: Spool | None) -> Limit:
    """The largest message that fetch would take now."""
    return limit_of(fetch.max_message_octets, RouteState() if spool is None else Route(spool).state())


def remembered(spool: Spool | None, account: str) -> Memory:
    """What the spool knows of an account: nothing, where there is no spool."""
    if spool is None:
        return Memory(state=AccountState(name=account), entries=(), left=())
    accounts = Accounts(spool)
    return Memory(state=accounts.state(account), entries=Ledger(spool).entries(account), left=accounts.left(account))


def forgotten(account: str) -> Memory:
    """For want of the spool: it was polled before, and what came of that is not known."""
    return Memory(state=AccountState(name=account, listed_messages=0), entries=(), left=())


def view(account: AccountSettings, sight: Sight, *, fetch: FetchSettings, memory: Memory, limit: Limit) -> View:
    """Put together what was seen and what fetch would make of it."""
    outlook = None
    if sight.listing is not None and sight.capabilities is not None:
        rules = Rules(
            leave=account.leave_on_server,
            limit=limit,
            oversize=fetch.oversize,
            can_peek=sight.capabilities.top or not sight.capabilities.was_told,
            maildrop=maildrop_of(account),
        )
        memory = replace(memory, state=known_of(memory.state, maildrop_of(account)))
        outlook = foresee(sight.listing, memory=memory, rules=rules, now=utc_now())
    return View(account=account, sight=sight, limit=limit, oversize=fetch.oversize, outlook=outlook)
