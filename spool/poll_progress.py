"""How far polls have come that somebody waits for: written by fetch, read by a command.

The rows are for eyes alone, and nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from spool import models
from spool.models import to_ms
from spool.opening import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Messages and octets that came so far, and how many of them are wanted as far as is known now."""

    messages: int = 0
    of_messages: int = 0
    octets: int = 0
    of_octets: int = 0


def write_progress(spool: Spool, progress: Mapping[str, Progress]) -> None:
    """Note how far the polls of these accounts have come."""
    table = models.progress
    with spool.index.write() as connection:
        for account, one in progress.items():
            row = {
                "account": account,
                "messages": one.messages,
                "of_messages": one.of_messages,
                "octets": one.octets,
                "of_octets": one.of_octets,
                "at": spool.now_ms(),
            }
            connection.execute(insert(table).values(row).on_conflict_do_update(index_elements=["account"], set_=row))


def drop_progress(spool: Spool, account: str) -> None:
    """Forget a poll that is over."""
    with spool.index.write() as connection:
        connection.execute(delete(models.progress).where(models.progress.c.account == account))


def read_progress(spool: Spool, accounts: Iterable[str], *, since: datetime) -> Mapping[str, Progress]:
    """How far the polls of these accounts have come; what a killed process left from before `since` is not told."""
    table, wanted = models.progress, set(accounts)
    with spool.index.read() as connection:
        rows = connection.execute(select(table).where(table.c.at >= to_ms(since))).all()
    return {
        row.account: Progress(
            messages=row.messages, of_messages=row.of_messages, octets=row.octets, of_octets=row.of_octets
        )
        for row in rows
        if row.account in wanted
    }
