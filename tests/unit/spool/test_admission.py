"""Admission: no receipt before the bytes are synced and the row is committed, whatever fails."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select, text

from spool import models
from spool.admission import SEAL_AGE, Admission
from spool.badmail import write_badmail
from spool.content import load
from spool.envelope import Arrival, Reason, Receipt
from spool.errors import SpoolFailed, StageHeld
from spool.files import segment_rows
from spool.journal import Outcome, read_journal
from spool.layout import Stage
from spool.ledger import Ledger
from spool.locks import begin_tenure
from spool.opening import Spool, take_stage
from spool.recovery import recover
from spool.rows import find_message
from spool.segments import HEADER_OCTETS
from spool.staging import Rejected, Staging, open_journal
from spool.states import State
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import LETTER, Clock, admit, arrival, letters, logged, make_spool, message, queue_ids


@contextmanager
def admitting(spool: Spool, stage: Stage = Stage.FETCH) -> Iterator[Admission]:
    with take_stage(spool, stage) as tenure:
        admission = Admission(spool, tenure)
        yield admission
        admission.close()


def committed(spool: Spool) -> list[str]:
    with spool.index.read() as connection:
        return sorted(connection.execute(select(models.messages.c.queue_id)).scalars())


def stored(spool: Spool, queue_id: str) -> bytes:
    found = message(spool, queue_id).stored
    assert found is not None
    return load(spool, found)


def test_receipts_come_in_the_order_of_the_batch_and_each_message_is_staged(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    batch = letters(5)
    receipts = admit(spool, *batch)
    assert receipts == [Receipt(queue_id=one.origin.queue_id, is_new=True) for one in batch]
    assert {message(spool, one).state for one in queue_ids(spool)} == {State.STAGED}


def test_a_receipt_stands_for_the_very_bytes(tmp_path: Path) -> None:
    """I2, and nothing is parsed on the way: any octets."""
    spool = make_spool(tmp_path)
    bodies = [bytes(range(256)), b"", b"\r\n", b"no line end", b"\n.\n" * 100]
    receipts = admit(spool, *(arrival(body, uidl=f"u{number}") for number, body in enumerate(bodies)))
    assert [stored(spool, receipt.queue_id) for receipt in receipts] == bodies


def test_what_is_known_at_fetch_time_is_in_the_row(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    one = replace(
        arrival(), sender="", recipients=("a@corp.example",), objection=Reason(stage="fetch", text="too large")
    )
    (receipt,) = admit(spool, one)
    row = message(spool, receipt.queue_id)
    assert (row.account, row.uidl, row.peer, row.fetched_at) == (
        one.origin.account,
        one.origin.uidl,
        one.origin.peer,
        one.origin.fetched_at,
    )
    assert (row.octets, row.sha256) == (one.digest.octets, one.digest.sha256)
    assert (row.sender, row.recipients, row.reason) == ("", ("a@corp.example",), one.objection)


def test_a_batch_is_written_and_synced_before_its_rows_are_committed_and_once(tmp_path: Path) -> None:
    """Section 6, Admission: one sync, one commit, then receipts."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    with admitting(spool) as admission:
        admission.admit(letters(1, prefix="first"))
        disk.steps.clear()
        with noting_commits(disk):
            admission.admit(letters(3))
    assert disk.steps[:3] == ["write fetch-0000000001.seg", "sync fetch-0000000001.seg", "commit"]


def test_a_new_segment_has_its_name_synced_before_anything_in_it_is_committed(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    with admitting(spool) as admission, noting_commits(disk):
        disk.steps.clear()
        admission.admit(letters(1))
        assert disk.steps == [
            "commit",
            "create fetch-0000000001.seg",
            "write fetch-0000000001.seg",
            "sync segments/",
            "write fetch-0000000001.seg",
            "sync fetch-0000000001.seg",
            "commit",
        ]


@contextmanager
def noting_commits(disk: FaultyDisk) -> Iterator[None]:
    """Put the indexes' commits among the disk's steps."""

    def committing(_: object) -> None:
        disk.steps.append("commit")

    event.listen(Engine, "commit", committing)
    yield
    event.remove(Engine, "commit", committing)


def test_the_committed_length_covers_what_has_rows_and_no_more(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    with admitting(spool) as admission:
        admission.admit(letters(2))
        (row,) = segment_rows(spool, stage=Stage.FETCH)
        path = spool.layout.segment(Stage.FETCH, row.serial)
        assert row.committed_octets == path.stat().st_size > HEADER_OCTETS


STEPS = range(1, 12)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_once_costs_a_segment_and_no_mail(tmp_path: Path, step: int, error: int) -> None:
    """The batch goes to a new segment; the failed one is never written or synced again."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    with admitting(spool) as admission:
        disk.steps.clear()
        disk.fail(step, error=error)
        batches = [letters(2, prefix="a"), letters(2, prefix="b"), letters(2, prefix="c")]
        receipts = [receipt for batch in batches for receipt in admission.admit(batch)]
        failed = disk.steps[step - 1].split(" ")[1] if step <= len(disk.steps) else None
        assert all(step_.split(" ")[1] != failed for step_ in disk.steps[step:] if failed and failed.endswith("seg"))
    assert [receipt.queue_id for receipt in receipts] == committed(spool)
    assert [stored(spool, receipt.queue_id) for receipt in receipts] == [
        one.content for batch in batches for one in batch
    ]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_stays_broken_gives_no_receipt_without_a_row_and_no_mail_is_lost_or_doubled(
    tmp_path: Path, step: int, error: int
) -> None:
    """I1. What had no receipt is still at the provider: it comes again, after a restart, and is admitted once."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    batches = [letters(2, prefix="a"), letters(2, prefix="b"), letters(2, prefix="c")]
    receipts: list[Receipt] = []
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        disk.fail(step, error=error, lasting=True)
        for batch in batches:
            try:
                receipts += admission.admit(batch)
            except SpoolFailed:
                break
    assert [receipt.queue_id for receipt in receipts] == committed(spool)
    disk.mend()
    had = {receipt.queue_id for receipt in receipts}
    again = [fetched_again(one) for batch in batches for one in batch if one.origin.queue_id not in had]
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        recover(spool, tenure, admission=admission)
        receipts += admission.admit(again) if again else []
        admission.close()
    assert sorted(stored(spool, queue_id) for queue_id in committed(spool)) == sorted(
        one.content for batch in batches for one in batch if isinstance(one.content, bytes)
    )
    assert {receipt.queue_id for receipt in receipts} <= set(committed(spool))


def fetched_again(one: Arrival) -> Arrival:
    """The same message out of the next session: under a queue id of its own."""
    assert isinstance(one.content, bytes)
    return arrival(one.content, uidl=one.origin.uidl.encoded)


def test_an_abandoned_segment_is_told_of_and_sealed(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    with admitting(spool) as admission:
        admission.admit(letters(1, prefix="a"))
        disk.fail(2)
        admission.admit(letters(1, prefix="b"))
        assert [row.status for row in segment_rows(spool)] == ["sealed", "active"]
    told = [one for one in logged(spool) if one.name == "SegmentAbandoned"]
    assert [one.fields["file"] for one in told] == ["fetch-0000000001.seg"]


def test_a_segment_that_could_not_be_begun_is_told_of_too(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    with admitting(spool) as admission:
        disk.fail(3)
        admission.admit(letters(1))
        assert [row.status for row in segment_rows(spool)] == ["sealed", "active"]
    assert "SegmentAbandoned" in [one.name for one in logged(spool)]


def test_an_index_that_refuses_gives_no_receipt_and_the_same_batch_is_taken_later(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    batch = letters(2)
    with admitting(spool) as admission:
        with refusing(spool, "messages"), pytest.raises(SpoolFailed):
            admission.admit(batch)
        assert committed(spool) == []
        assert [receipt.is_new for receipt in admission.admit(batch)] == [True, True]


@contextmanager
def refusing(spool: Spool, table: str) -> Iterator[None]:
    """Let the database itself refuse each new row of a table, as a full disk does."""
    with spool.index.write() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO gone"))
    yield
    with spool.index.write() as connection:
        connection.execute(text(f"ALTER TABLE gone RENAME TO {table}"))


def test_what_the_ledger_shows_gets_a_receipt_of_the_first_one_and_no_second_row(tmp_path: Path) -> None:
    """A crash between commit and DELE: the message is only deleted."""
    spool = make_spool(tmp_path)
    (first,) = admit(spool, arrival())
    (second,) = admit(spool, arrival())
    assert second == Receipt(queue_id=first.queue_id, is_new=False)
    assert committed(spool) == [first.queue_id]


def test_one_old_message_in_a_batch_costs_the_others_nothing(tmp_path: Path) -> None:
    """A batch refused by a constraint is committed one by one."""
    spool = make_spool(tmp_path)
    first, *others = letters(3)
    admit(spool, first)
    receipts = admit(spool, others[0], fetched_again(first), others[1])
    assert [receipt.is_new for receipt in receipts] == [True, False, True]
    assert receipts[1].queue_id == first.origin.queue_id
    assert len(committed(spool)) == 3


@pytest.mark.parametrize(
    "other",
    [
        arrival(uidl="u2"),
        arrival(account="info"),
        arrival(copy=2),
        arrival(LETTER + b"more\r\n"),
    ],
    ids=["UIDL", "account", "copy", "content"],
)
def test_any_part_of_the_identity_makes_another_message(tmp_path: Path, other: Arrival) -> None:
    """I4: k equal messages in one listing are k messages; and servers reuse UIDLs."""
    spool = make_spool(tmp_path)
    assert [receipt.is_new for receipt in (*admit(spool, arrival()), *admit(spool, other))] == [True, True]
    assert len(committed(spool)) == 2


def test_a_read_mark_makes_no_other_message(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    admit(spool, arrival())
    (receipt,) = admit(spool, arrival(b"Status: RO\r\n" + LETTER))
    assert not receipt.is_new


def test_a_queue_id_that_another_message_has_is_refused_as_our_fault(tmp_path: Path) -> None:
    """A receipt for it would delete a message that we do not hold."""
    spool = make_spool(tmp_path)
    (first,) = admit(spool, arrival())
    with admitting(spool) as admission, pytest.raises(SpoolFailed, match="ledger does not show"):
        admission.admit([arrival(b"other", queue_id=first.queue_id)])


def test_the_ledger_knows_what_fetch_admitted_and_nothing_of_pickup(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    one = arrival()
    with admitting(spool, Stage.PICKUP) as admission:
        admission.admit([arrival(account="")])
    admit(spool, one)
    assert Ledger(spool).entries("") == []
    (entry,) = Ledger(spool).entries("sales")
    assert (entry.uidl, entry.identity, entry.header) == (one.origin.uidl, one.digest.identity, one.digest.header)


def test_each_admission_has_its_event(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    batch = letters(3)
    admit(spool, *batch)
    told = [one.queue_id for one in logged(spool) if one.name == "Admitted"]
    assert told == [one.origin.queue_id for one in batch]


def test_a_large_message_is_admitted_from_its_own_file(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    origin = arrival().origin
    with admitting(spool) as admission:
        writer = admission.open_large(origin)
        for chunk in (b"Subject: x\r\n\r\n", b"a" * 2_000_000):
            writer.write(chunk)
        known, place = writer.finish()
        receipts = admission.admit([Arrival(origin=origin, digest=known, content=place), *letters(1)])
    assert [receipt.is_new for receipt in receipts] == [True, True]
    assert stored(spool, origin.queue_id) == b"Subject: x\r\n\r\n" + b"a" * 2_000_000
    (row,) = segment_rows(spool, models.segments.c.queue_id.is_not(None))
    assert (row.queue_id, row.status) == (origin.queue_id, "sealed")


def test_a_segment_is_sealed_after_five_minutes_and_the_next_batch_begins_another(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    with admitting(spool) as admission:
        admission.admit(letters(1, prefix="a"))
        assert not admission.seal_if_due()
        clock.advance(SEAL_AGE)
        admission.admit(letters(1, prefix="b"))
        assert [row.status for row in segment_rows(spool)] == ["sealed", "active"]
        clock.advance(SEAL_AGE)
        assert admission.seal_if_due()
        assert [row.status for row in segment_rows(spool)] == ["sealed", "sealed"]


def test_a_clock_that_goes_back_seals_too(tmp_path: Path) -> None:
    """Else a segment could stay open for as long as the clock was wrong."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    with admitting(spool) as admission:
        admission.admit(letters(1))
        clock.advance(timedelta(days=-1))
        assert admission.seal_if_due()


def test_a_clean_stop_seals(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    admit(spool, arrival())
    assert [row.status for row in segment_rows(spool)] == ["sealed"]


def test_an_admission_of_a_dead_epoch_commits_nothing(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    tenure = begin_tenure(spool.index, Stage.FETCH, now=spool.now())
    admission = Admission(spool, tenure)
    admission.admit(letters(1, prefix="a"))
    begin_tenure(spool.index, Stage.FETCH, now=spool.now())
    with pytest.raises(StageHeld):
        admission.admit(letters(1, prefix="b"))
    assert len(committed(spool)) == 1


def refused(spool: Spool) -> str:
    """A message in Badmail."""
    (receipt,) = admit(spool, arrival())
    with take_stage(spool, Stage.VALIDATE) as tenure:
        staging = Staging(spool, tenure)
        (one,) = staging.waiting(1)
        staging.settle(
            [Rejected(message=one, reason=Reason(stage="validate", text="no"), recipients=("a@b.example",), subject="")]
        )
        staging.close()
    return receipt.queue_id


def replay(spool: Spool, parent: str, of: Callable[[Arrival], Arrival] = lambda one: one) -> Arrival:
    child = of(replace(arrival(account=""), sender="a@b.example", recipients=("c@d.example",)))
    with take_stage(spool, Stage.PICKUP) as tenure:
        journal = open_journal(spool, Stage.PICKUP)
        admission = Admission(spool, tenure, journal=journal)
        with spool.index.read() as connection:
            replays = find_message(connection, parent, layout=spool.layout).queue_id
        child = replace(child, replays=replays)
        admission.admit([child])
        admission.close()
        journal.close()
    return child


def test_a_replay_and_its_admission_are_one_transaction(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    parent = refused(spool)
    child = replay(spool, parent).origin.queue_id
    before = message(spool, parent)
    assert (before.state, before.replay_id, message(spool, child).state) == (State.REPLAYED, child, State.STAGED)
    (line,) = read_journal(spool.layout.journal(Stage.PICKUP)).lines
    assert (line.outcome, line.queue_id, line.details["child"]) == (Outcome.REPLAYED, parent, child)


def test_a_replay_of_what_is_no_longer_in_badmail_is_an_ordinary_message(tmp_path: Path) -> None:
    """An operator may have thrown it away meanwhile; the file that was dropped is mail all the same."""
    spool = make_spool(tmp_path)
    parent = refused(spool)
    first = replay(spool, parent).origin.queue_id
    second = replay(spool, parent).origin.queue_id
    assert message(spool, parent).replay_id == first
    assert message(spool, second).state is State.STAGED


def test_a_badmail_file_holds_the_message_and_its_reason(tmp_path: Path) -> None:
    """Whole, so that it can be dropped into Pickup as it is."""
    spool = make_spool(tmp_path)
    (receipt,) = admit(spool, arrival())
    write_badmail(spool, message(spool, receipt.queue_id), reason=Reason(stage="validate", text="no"))
    octets = spool.layout.badmail_message(receipt.queue_id).read_bytes()
    assert octets.endswith(b"\r\n" + LETTER)
    assert b"X-POP3Connector-Reason: validate: no\r\n" in octets
