"""What the sessions of one fetch process share, and what one session is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from spool.accounts import Accounts
from spool.ledger import Ledger
from stages.fetch.custody import Custody
from stages.fetch.plan import Rules
from stages.runner import Runtime
from stages.settings import AccountSettings, FetchSettings

_SAID_AGAIN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The process around a session. `told` is when something was last said that is said once a day at most."""

    runtime: Runtime
    custody: Custody
    accounts: Accounts
    ledger: Ledger
    random: Random
    has_room: Callable[[], bool]
    told: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def is_news(self, account: str, what: str) -> bool:
        """Whether this was not said of the account today; it is taken as said now."""
        now = self.runtime.spool.now()
        before = self.told.get((account, what))
        if before is not None and timedelta(0) <= now - before < _SAID_AGAIN_AFTER:
            return False
        self.told[account, what] = now
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One session: of which account, by which rules, within which limits.

    `ask_until` is a time of the event loop after which no further message is asked for, so that the deletions still
    become fact within the session's time. `ask_limit` bounds everything asked for, on a line that breaks; `one_by_one`
    gives up the window.
    """

    account: AccountSettings
    fetch: FetchSettings
    rules: Rules
    message_limit: int
    ask_until: float
    ask_limit: int | None = None
    one_by_one: bool = False
