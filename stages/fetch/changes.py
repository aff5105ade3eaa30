"""What a changed configuration means for the accounts that are polled: pure decisions.

A maildrop is a user at a host, as it is for two accounts of one configuration. Under another one an account keeps its
name and its ledger, and nothing else that a server taught: not its LOGIN-DELAY, not whether its sizes are right, not
its UIDLs, which are doubted (`stages.fetch.plan`).

**Invariants:** what may be the mending of a failure ends the waiting for it; what a server demanded of this maildrop
still holds.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from datetime import datetime, timedelta

from spool.accounts import AccountState, Login
from stages.settings import AccountSettings, Settings


class Change(enum.Enum):
    """How far the change of an account goes."""

    MAILDROP = "maildrop"
    """It is another maildrop under the same name."""
    LOGIN = "login"
    """The same maildrop, reached or logged in to in another way."""
    REST = "rest"
    """What is done with its mail, and how often it is polled."""


def enabled_accounts(settings: Settings) -> dict[str, AccountSettings]:
    """The accounts to poll, by name."""
    return {account.name: account for account in settings.accounts if account.enabled}


def maildrop_of(account: AccountSettings) -> str:
    """What names the account's maildrop, whatever the port."""
    return f"{account.host} {account.username}"


def change_of(was: AccountSettings, account: AccountSettings) -> Change:
    """How far the change from one to the other goes."""
    if maildrop_of(was) != maildrop_of(account):
        return Change.MAILDROP
    return Change.REST if _way_in(was) == _way_in(account) else Change.LOGIN


def _way_in(account: AccountSettings) -> tuple[object, ...]:
    return account.port, account.tls, account.trust, account.auth, account.password, account.oauth2


def login_after(login: Login | None, *, was: AccountSettings, account: AccountSettings) -> Login | None:
    """What a login taught that still holds: where only the way in has changed, when it was and the LOGIN-DELAY."""
    match change_of(was, account):
        case Change.MAILDROP:
            return None
        case Change.LOGIN if login is not None:
            return Login(at=login.at, delay_seconds=login.delay_seconds)
        case _:
            return login


def known_of(state: AccountState, maildrop: str) -> AccountState:
    """What of an account's state is true of this maildrop; what was listed last stays on record."""
    if state.maildrop in (None, maildrop):
        return state
    return replace(state, login=None, listed_messages=None, expected_messages=None, doubt_round=0, sizes_exact=None)


def forgiven(state: AccountState, *, login: Login | None, now: datetime) -> AccountState:
    """The state of an account whose failures may be mended: it is due now. That they happened stays on record."""
    return replace(state, refusals=0, login=login, next_poll_at=now)


def rescheduled(due_at: datetime, *, was: timedelta, interval: timedelta, is_failing: bool, now: datetime) -> datetime:
    """When an account is due whose interval has changed; a longer one does not put off what is tried again."""
    later = interval - was
    return max(due_at + (min(later, timedelta(0)) if is_failing else later), now)
