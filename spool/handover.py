"""What another fetcher had, on its way into the ledger: UIDLs that a command hands over and the fetch stage enters.

The ledger's journal is the fetch stage's own, so a command can only ask. A list is asked for in parts, each a request
of its own: none is too large to be held, and what was entered before a stop stays entered.

**Invariants:** a part stays until it is answered; entering one twice enters nothing twice.
**Failures:** those of the index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import insert, select

from spool import models
from spool.envelope import Uidl
from spool.opening import Spool

PART = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """UIDLs of one account that wait to be entered, by the number of their request."""

    request: int
    account: str
    uidls: Sequence[Uidl]


class Handover:
    """The UIDLs of other fetchers that wait to be entered as had."""

    def __init__(self, spool: Spool) -> None:
        """Read and write through `spool`."""
        self._spool = spool

    def ask(self, account: str, uidls: Iterable[Uidl]) -> Sequence[int]:
        """Ask that these be entered as had; returns the request numbers. Whoever asks rings fetch's doorbell after it.

        The account need not be in any configuration yet.
        """
        requests: list[int] = []
        table = models.requests
        left = iter(uidls)
        while part := [uidl.encoded for uidl in islice(left, PART)]:
            row = {"account": account, "uidls": part, "asked_at": self._spool.now_ms()}
            with self._spool.index.write() as connection:
                requests.append(
                    int(connection.execute(insert(table).values(row).returning(table.c.request)).scalar_one())
                )
        return requests

    def parts(self) -> Iterator[Part]:
        """What nobody has entered yet, oldest first; each is read when it is asked for."""
        table = models.requests
        last = 0
        query = select(table.c.request, table.c.account, table.c.uidls)
        while True:
            waiting = query.where(table.c.done_at.is_(None), table.c.uidls.is_not(None), table.c.request > last)
            with self._spool.index.read() as connection:
                row = connection.execute(waiting.order_by(table.c.request).limit(1)).first()
            if row is None:
                return
            last = row.request
            yield Part(request=last, account=row.account, uidls=[Uidl.parse(uidl) for uidl in row.uidls])
