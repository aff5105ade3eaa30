"""The ledger: what we have had, by UIDL and by content."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from spool import models
from spool.envelope import Receipt, Uidl
from spool.journal import Outcome, read_journal
from spool.layout import Stage
from spool.ledger import Entry, Ledger
from spool.opening import Spool, take_stage
from spool.staging import open_journal
from tests.support.spools import START, Clock, admit, arrival, letters, make_spool


def comparing(spool: Spool) -> Ledger:
    """The ledger as fetch has it."""
    return Ledger(spool, open_journal(spool, Stage.FETCH))


def entries(spool: Spool) -> list[Entry]:
    return list(Ledger(spool).entries("sales"))


def test_an_admitted_message_is_in_the_ledger_of_its_account_alone(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    one = arrival(copy=3)
    admit(spool, one)
    (entry,) = entries(spool)
    assert (entry.uidl, entry.identity, entry.header) == (one.origin.uidl, one.digest.identity, one.digest.header)
    assert (entry.copy, entry.octets, entry.round, entry.is_shown) == (3, one.digest.octets, 0, True)
    assert Ledger(spool).entries("info") == []


def test_the_round_of_a_comparison_is_kept_with_what_was_found_new_in_it(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    admit(spool, replace(arrival(), round=7))
    assert entries(spool)[0].round == 7


def test_entries_come_oldest_first(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    admit(spool, *letters(3))
    assert [entry.uidl.octets for entry in entries(spool)] == [b"u1", b"u2", b"u3"]


def test_entries_of_one_uidl_come_together_oldest_first(tmp_path: Path) -> None:
    """Whoever decides UIDL by UIDL need not hold the whole ledger."""
    spool = make_spool(tmp_path)
    uidls = ["b", "a", "b", "c%20", "c d", "b"]
    admit(spool, *[arrival(b"%d\r\n" % number, uidl=uidl) for number, uidl in enumerate(uidls)])
    found = {entries[0].uidl: [entry.entry for entry in entries] for entries in Ledger(spool).by_uidl("sales")}
    assert found == {Uidl(b"a"): [2], Uidl(b"b"): [1, 3, 6], Uidl(b"c%20"): [4], Uidl(b"c d"): [5]}


def test_a_ledger_that_is_not_read_to_its_end_is_let_go(tmp_path: Path) -> None:
    """A reader that stays would keep the write-ahead log from being emptied."""
    spool = make_spool(tmp_path)
    admit(spool, *letters(3))
    reading = Ledger(spool).by_uidl("sales")
    next(reading)
    reading.close()
    with spool.index.read() as connection:
        busy, _, _ = connection.execution_options(begin=None).exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    assert busy == 0


def test_an_entry_that_a_listing_misses_stays_and_may_come_back(tmp_path: Path) -> None:
    """Servers show a part of a maildrop on a bad day; never delete on a guess."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    admit(spool, *letters(2))
    ledger = Ledger(spool)
    first, second = entries(spool)
    clock.advance(timedelta(days=1))
    ledger.note_listing(vanished=[first], returned=[])
    assert [entry.is_shown for entry in entries(spool)] == [False, True]
    assert gone(spool) == [1_767_225_600_000 + 86_400_000, None]
    ledger.note_listing(vanished=[second], returned=[first])
    assert [entry.is_shown for entry in entries(spool)] == [True, False]


def gone(spool: Spool) -> list[int | None]:
    with spool.index.read() as connection:
        return list(connection.execute(select(models.ledger.c.gone_at).order_by(models.ledger.c.entry)).scalars())


def test_a_listing_of_thousands_is_noted(tmp_path: Path) -> None:
    """More than SQLite takes in one statement."""
    spool = make_spool(tmp_path)
    comparing(spool).adopt("sales", [Uidl(b"%d" % number) for number in range(40_000)])
    Ledger(spool).note_listing(vanished=entries(spool), returned=[])
    assert not any(entry.is_shown for entry in entries(spool))


def test_an_adopted_uidl_is_had_without_content(tmp_path: Path) -> None:
    """It is not fetched, and never deleted unread."""
    spool = make_spool(tmp_path)
    comparing(spool).adopt("sales", [Uidl(b"\xff old")])
    (entry,) = entries(spool)
    assert (entry.uidl.octets, entry.identity, entry.header, entry.octets) == (b"\xff old", None, None, None)


def test_an_adopted_entry_gets_the_content_that_was_seen(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    comparing(spool).adopt("sales", [Uidl(b"u1")])
    seen = arrival().digest
    comparing(spool).identify(entries(spool)[0], identity=seen.identity, header=seen.header, octets=seen.octets)
    (entry,) = entries(spool)
    assert (entry.identity, entry.header, entry.octets) == (seen.identity, seen.header, seen.octets)
    assert [receipt.is_new for receipt in admit_known(spool)] == [False]


def admit_known(spool: Spool) -> list[Receipt]:
    with spool.index.write() as connection:
        connection.exec_driver_sql("UPDATE ledger SET queue_id = '01j0e5v3xk7m2q9r4s'")
    return admit(spool, arrival())


def test_what_was_compared_by_content_gets_its_present_uidl(tmp_path: Path) -> None:
    """The server renumbered: section 6, "UIDLs are doubted"."""
    spool = make_spool(tmp_path)
    admit(spool, arrival(uidl="old"))
    (entry,) = entries(spool)
    Ledger(spool).note_listing(vanished=[entry], returned=[])
    comparing(spool).compared("sales", [(entry, Uidl(b"new"))], round_number=4)
    (entry,) = entries(spool)
    assert (entry.uidl.octets, entry.round, entry.is_shown) == (b"new", 4, True)


def test_a_new_name_of_an_entry_is_in_the_journal(tmp_path: Path) -> None:
    """The record in its segment names the old one: after the loss of the index the message would be fetched again."""
    spool = make_spool(tmp_path)
    admit(spool, arrival(uidl="old"))
    comparing(spool).compared("sales", [(entries(spool)[0], Uidl(b"new"))], round_number=4)
    (line,) = read_journal(spool.layout.journal(Stage.FETCH)).lines
    assert (line.outcome, line.details["uidl"]) == (Outcome.LEDGER, "new")
    with take_stage(spool, Stage.FETCH):
        pass


def test_equal_messages_that_meet_under_one_uidl_stay_two(tmp_path: Path) -> None:
    """I4: they differ in their copy number then."""
    spool = make_spool(tmp_path)
    admit(spool, arrival(uidl="a"), arrival(uidl="b"))
    first, second = entries(spool)
    comparing(spool).compared("sales", [(first, Uidl(b"c")), (second, Uidl(b"c"))], round_number=1)
    assert [(entry.uidl.octets, entry.copy) for entry in entries(spool)] == [(b"c", 1), (b"c", 2)]


def test_an_entry_that_is_found_under_its_own_uidl_keeps_its_copy_number(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    admit(spool, arrival(copy=1), arrival(copy=2))
    found = entries(spool)
    comparing(spool).compared("sales", [(entry, Uidl(b"u1")) for entry in found], round_number=1)
    assert [entry.copy for entry in entries(spool)] == [1, 2]


def test_the_time_of_having_is_the_clock_of_the_spool(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    comparing(spool).adopt("sales", [Uidl(b"u1")])
    with spool.index.read() as connection:
        had_at = connection.execute(select(models.ledger.c.had_at)).scalar()
    assert had_at == models.to_ms(START)


def test_an_adopted_uidl_is_in_the_journal_at_once(tmp_path: Path) -> None:
    """No record in any segment could tell a rebuild of it."""
    spool = make_spool(tmp_path)
    comparing(spool).adopt("sales", [Uidl(b"old")])
    (line,) = read_journal(spool.layout.journal(Stage.FETCH)).lines
    assert (line.outcome, line.details["uidl"]) == (Outcome.LEDGER, "old")


def test_what_another_fetcher_had_is_entered_once(tmp_path: Path) -> None:
    """SQL holds two entries without identity for different ones: no constraint would refuse the second."""
    spool = make_spool(tmp_path)
    uidls = [Uidl(b"a"), Uidl(b"b"), Uidl(b"a")]
    assert [comparing(spool).take_over("sales", uidls) for _ in range(2)] == [2, 0]
    assert [entry.uidl.octets for entry in entries(spool)] == [b"a", b"b"]


def test_what_another_fetcher_had_leaves_alone_what_we_had(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    admit(spool, arrival(uidl="a"))
    assert comparing(spool).take_over("sales", [Uidl(b"a"), Uidl(b"b")]) == 1
    assert [(entry.uidl.octets, entry.identity is None) for entry in entries(spool)] == [(b"a", False), (b"b", True)]


def test_a_uidl_is_had_by_one_account_alone(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    assert comparing(spool).take_over("info", [Uidl(b"a")]) == 1
    assert comparing(spool).take_over("sales", [Uidl(b"a")]) == 1


def test_no_uidl_is_nothing_that_was_had(tmp_path: Path) -> None:
    """Of messages without UIDL only content can say whether they were had."""
    assert comparing(make_spool(tmp_path)).take_over("sales", [Uidl(b"")]) == 0


def test_what_another_fetcher_had_is_in_the_journal_at_once(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    comparing(spool).take_over("sales", [Uidl(b"%d" % number) for number in range(1200)])
    lines = read_journal(spool.layout.journal(Stage.FETCH)).lines
    assert {line.details["uidl"] for line in lines} == {str(number) for number in range(1200)}
