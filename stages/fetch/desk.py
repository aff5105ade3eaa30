"""What the sessions of one fetch process share, and what one session is asked to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from random import Random

from spool.accounts import Accounts, Login
from spool.event_log import was_said
from spool.ledger import Entry, Ledger
from stages.fetch.custody import Custody
from stages.fetch.events import WindowBroke
from stages.fetch.limits import Expected
from stages.fetch.plan import Rules
from stages.fetch.progress import Count
from stages.runner import Runtime
from stages.settings import AccountSettings, FetchSettings

_NO_WINDOW_FOR = timedelta(days=1)
# Some 10 ms of the spool thread.
_UIDLS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The process around a session; a `DiskRoom` tells of room, and is told what is `expected`."""

    runtime: Runtime
    custody: Custody
    accounts: Accounts
    ledger: Ledger
    random: Random
    has_room: Callable[[], bool]
    has_room_for: Callable[[int], bool]
    expected: Expected
    recalling: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def has_broken_window(self, account: str) -> bool:
        """Whether a window broke with this account in the last 24 hours, also under an earlier process."""
        spool = self.runtime.spool

        def ask() -> bool:
            now = spool.now()
            with spool.index.read() as connection:
                return was_said(connection, WindowBroke, account=account, since=now - _NO_WINDOW_FOR, until=now)

        return await self.runtime.call(ask)

    async def recall(self, account: str, take: Callable[[Sequence[Entry]], None]) -> None:
        """Give to `take`, in the spool thread, all that we have had of an account, UIDL by UIDL.

        In pieces, between which other sessions have their turn; of the entries nothing is held here. One account at a
        time: each reading holds a connection to the index, and a pool that is used up would stop the spool thread.
        """
        async with self.recalling:
            await self._recall(account, take)

    async def _recall(self, account: str, take: Callable[[Sequence[Entry]], None]) -> None:
        reading = self.ledger.by_uidl(account)

        def recall_some() -> bool:
            some = 0
            for entries in islice(reading, _UIDLS_AT_ONCE):
                take(entries)
                some += 1
            return some > 0

        try:
            while await self.runtime.call(recall_some):
                pass
        finally:
            await self.runtime.call(reading.close)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One session: of which account, by which rules, within which limits.

    `ask_until` is a time of the event loop after which no further message is asked for, so that the deletions still
    become fact within the session's time. `ask_limit` bounds everything asked for, on a line that breaks; `one_by_one`
    gives up the window. `login` is the account's last successful one. `adopts`: nothing is fetched, what the maildrop
    holds is marked as had. `is_to_end`: nothing more is asked for from now on. `is_verbose`: the dialogue is logged.
    What comes is counted in `count`.
    """

    account: AccountSettings
    fetch: FetchSettings
    rules: Rules
    message_limit: int
    ask_until: float
    ask_limit: int | None = None
    one_by_one: bool = False
    login: Login | None = None
    adopts: bool = False
    is_to_end: Callable[[], bool] = bool
    is_verbose: bool = False
    count: Count = field(default_factory=Count)
