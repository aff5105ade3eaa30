"""The ledger: what we have had of each account, so that nothing is admitted twice and nothing is deleted on a guess.

Identity is (account, UIDL, SHA-256, copy number within a listing) (I4). An entry stays as long as the maildrop may
still show its UIDL, and 30 days longer. An entry without identity is a UIDL that was adopted or imported: its content
was never seen.

**Invariants:** an entry is written in the transaction that admits its message, or when its message was compared by
content; listings only note what they no longer show.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import TypeVar, cast

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.sqlite import insert

from spool import models
from spool.envelope import Uidl
from spool.journal import Journal, Outcome
from spool.layout import Stage
from spool.models import from_ms
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.rows import set_applied
from spool.staging import spool_failures

_T = TypeVar("_T")
_Columns = tuple[int, str, bytes | None, int, bytes | None, int | None, int, int, int | None, int | None]

_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message that we have had.

    `round` is the last round of comparing by content in which it was seen; `is_shown`: no listing missed it yet;
    `is_deletion_asked`: a DELE was sent for it, which is noted of messages without UIDL alone.
    """

    entry: int
    uidl: Uidl
    identity: bytes | None
    copy: int
    header: bytes | None
    octets: int | None
    had_at: datetime
    round: int
    is_shown: bool
    is_deletion_asked: bool = False


class Ledger:
    """The ledger of all accounts, for the fetch stage."""

    def __init__(self, spool: Spool, journal: Journal | None = None) -> None:
        """Read and write through `spool`; who notes what was compared has the fetch stage's journal."""
        self._spool = spool
        self._journal = journal

    def entries(self, account: str) -> Sequence[Entry]:
        """All that we have had of an account, oldest first; some 400 octets of memory each."""
        found = [entry for entries in self.by_uidl(account) for entry in entries]
        return sorted(found, key=lambda entry: entry.entry)

    def by_uidl(self, account: str) -> Generator[Sequence[Entry], None, None]:
        """All that we have had of an account, one UIDL after the other, oldest first under each.

        It reads while it is asked, from one state of the index; who stops before the end closes it.
        """
        table = models.ledger
        query = select(
            table.c.entry,
            table.c.uidl,
            table.c.identity,
            table.c.copy,
            table.c.header,
            table.c.octets,
            table.c.had_at,
            table.c.round,
            table.c.gone_at,
            table.c.deletion_asked_at,
        ).where(table.c.account == account)
        with self._spool.index.read() as connection:
            # In the order of an index: nothing is sorted, and nothing held.
            rows = connection.execute(query.order_by(table.c.uidl))
            for uidl, group in groupby(rows, key=itemgetter(1)):
                yield _entries(Uidl.parse(uidl), cast("Iterator[_Columns]", group))

    def note_listing(self, *, vanished: Collection[Entry], returned: Collection[Entry]) -> None:
        """Note which entries a listing no longer shows, and which it shows again."""
        if not vanished and not returned:
            return
        table = models.ledger
        with self._spool.index.write() as connection:
            for entries, gone_at in ((vanished, self._spool.now_ms()), (returned, None)):
                for chunk in _chunks([entry.entry for entry in entries]):
                    connection.execute(update(table).where(table.c.entry.in_(chunk)).values(gone_at=gone_at))

    def note_deletion(self, *, entries: Collection[Entry], queue_ids: Collection[QueueId]) -> None:
        """Note that DELE was sent for messages: for these entries, and for those that were admitted as these."""
        if not entries and not queue_ids:
            return
        table = models.ledger
        asked = {"deletion_asked_at": self._spool.now_ms()}
        with self._spool.index.write() as connection:
            for chunk in _chunks([entry.entry for entry in entries]):
                connection.execute(update(table).where(table.c.entry.in_(chunk)).values(asked))
            for admitted in _chunks(list(queue_ids)):
                connection.execute(update(table).where(table.c.queue_id.in_(admitted)).values(asked))

    def compared(self, account: str, found: Iterable[tuple[Entry, Uidl]], *, round_number: int) -> None:
        """Note that entries were found again by content, under these present UIDLs, in this round."""
        table = models.ledger
        renamed: list[int] = []
        with self._spool.index.write() as connection:
            for entry, uidl in found:
                used = connection.execute(
                    select(table.c.copy).where(
                        table.c.account == account,
                        table.c.uidl == uidl.encoded,
                        table.c.identity == entry.identity,
                        table.c.entry != entry.entry,
                    )
                ).scalars()
                copy = _free_copy(entry.copy, set(used))
                connection.execute(
                    update(table)
                    .where(table.c.entry == entry.entry)
                    .values(uidl=uidl.encoded, copy=copy, round=round_number, gone_at=None)
                )
                if uidl != entry.uidl:
                    renamed.append(entry.entry)
            self._note(connection, renamed)

    def identify(self, entry: Entry, *, identity: bytes, header: bytes, octets: int) -> None:
        """Give an adopted or imported entry the content that was now seen under its UIDL."""
        table = models.ledger
        values = {"identity": identity, "header": header, "octets": octets}
        with self._spool.index.write() as connection:
            connection.execute(update(table).where(table.c.entry == entry.entry).values(values))
            self._note(connection, [entry.entry])

    def adopt(self, account: str, uidls: Iterable[Uidl]) -> None:
        """Enter UIDLs whose content we never saw as had: they are not fetched, and never deleted unread."""
        with self._spool.index.write() as connection:
            self._enter(connection, account, uidls=[uidl.encoded for uidl in uidls])

    def take_over(self, account: str, uidls: Iterable[Uidl]) -> int:
        """Enter UIDLs that another fetcher had, those alone under which nothing was had here; answers how many."""
        named = list(dict.fromkeys(uidl.encoded for uidl in uidls if uidl))
        table = models.ledger
        with self._spool.index.write() as connection:
            known: set[str] = set()
            for chunk in _chunks(named):
                query = select(table.c.uidl).where(table.c.account == account, table.c.uidl.in_(chunk))
                known.update(connection.execute(query).scalars())
            return self._enter(connection, account, uidls=[uidl for uidl in named if uidl not in known])

    def _enter(self, connection: Connection, account: str, *, uidls: Sequence[str]) -> int:
        """Enter UIDLs without content, and tell the journal at once; answers how many."""
        if not uidls:
            return 0
        of_all = {"account": account, "identity": None, "copy": 1, "had_at": self._spool.now_ms(), "round": 0}
        table = models.ledger
        rows = [{**of_all, "uidl": uidl} for uidl in uidls]
        self._note(connection, connection.execute(insert(table).returning(table.c.entry), rows).scalars().all())
        return len(rows)

    def _note(self, connection: Connection, entries: Sequence[int]) -> None:
        """Tell the journal what no record in a segment tells: present UIDLs, and those that were never fetched."""
        if not entries:
            return
        if self._journal is None:
            raise AssertionError("entries are changed only by who has the journal")
        table = models.ledger
        with spool_failures("journal"):
            for chunk in _chunks(entries):
                for row in connection.execute(select(table).where(table.c.entry.in_(chunk))).all():
                    note_entry(self._journal, row)
            self._journal.sync()
        set_applied(connection, Stage.FETCH, number=self._journal.last)


def _entries(uidl: Uidl, rows: Iterable[_Columns]) -> Sequence[Entry]:
    entries = [
        Entry(
            entry=entry,
            uidl=uidl,
            identity=identity,
            copy=copy,
            header=header,
            octets=octets,
            had_at=from_ms(had_at),
            round=round_number,
            is_shown=gone_at is None,
            is_deletion_asked=deletion_asked_at is not None,
        )
        for entry, _, identity, copy, header, octets, had_at, round_number, gone_at, deletion_asked_at in rows
    ]
    return sorted(entries, key=lambda entry: entry.entry) if len(entries) > 1 else entries


def note_entry(journal: Journal, entry: Row[tuple[object, ...]]) -> int:
    """Write a ledger entry, a row of its table, into the journal, not yet synced, and return the line's number."""
    details = {
        "entry": entry.entry,
        "account": entry.account,
        "uidl": entry.uidl,
        "identity": entry.identity.hex() if entry.identity else None,
        "copy": entry.copy,
        "header": entry.header.hex() if entry.header else None,
        "octets": entry.octets,
        "had_at": entry.had_at,
    }
    return journal.note(Outcome.LEDGER, entry.queue_id or "", details=details)


def _free_copy(wanted: int, used: set[int]) -> int:
    while wanted in used:
        wanted += 1
    return wanted


def _chunks(names: Sequence[_T]) -> Iterable[Sequence[_T]]:
    return (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))
