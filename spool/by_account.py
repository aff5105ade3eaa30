"""What the index has of one account: its messages by state, and how much of its maildrop we have had.

**Invariants:** one consistent look; nothing is changed. Finished messages are forgotten after `spool.history`, so that
the numbers are those of what is listed still.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from spool import models
from spool.models import from_ms
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.states import FINAL, State


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord:
    """The messages of an account, and the entries of its ledger.

    `fetched` counts what was admitted from the maildrop, between `first_at` and `last_at`; a message that was divided
    is one. `unfinished` are those that no state has ended for, Badmail among them, oldest first.
    """

    states: Mapping[State, int]
    fetched: int
    first_at: datetime | None
    last_at: datetime | None
    unfinished: Mapping[QueueId, State]
    ledger: int

    def waiting(self, *states: State) -> tuple[QueueId, ...]:
        """The messages in these states."""
        return tuple(queue_id for queue_id, state in self.unfinished.items() if state in states)


def record_of(spool: Spool, account: str) -> AccountRecord:
    """Look up one account, which may be unknown."""
    table, ledger = models.messages, models.ledger
    ours = table.c.account == account
    whole = select(func.count(), func.min(table.c.fetched_at), func.max(table.c.fetched_at))
    with spool.index.read() as connection:
        counted = connection.execute(select(table.c.state, func.count()).where(ours).group_by(table.c.state)).all()
        fetched, first, last = connection.execute(whole.where(ours, table.c.parent.is_(None))).one()
        unfinished = connection.execute(
            select(table.c.queue_id, table.c.state).where(ours, table.c.state.not_in(FINAL)).order_by(table.c.queue_id)
        ).all()
        had = connection.execute(
            select(func.count()).select_from(ledger).where(ledger.c.account == account)
        ).scalar_one()
    return AccountRecord(
        states=Counter({State(state): count for state, count in counted}),
        fetched=fetched,
        first_at=None if first is None else from_ms(first),
        last_at=None if last is None else from_ms(last),
        unfinished={QueueId(queue_id): State(state) for queue_id, state in unfinished},
        ledger=had,
    )
