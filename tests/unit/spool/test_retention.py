"""Letting go: only what nothing can ask for any more, rows before files, and lines last."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from spool import models
from spool.admission import Admission
from spool.content import load
from spool.envelope import Arrival
from spool.errors import SpoolFailed
from spool.events import Admitted, SpoolWarning, emit
from spool.files import segment_rows
from spool.journal import Journal, Outcome, read_journal
from spool.layout import Stage
from spool.ledger import Ledger
from spool.opening import Spool, take_stage
from spool.retention import LEDGER_KEPT, SURVIVORS_AT_MOST, SURVIVORS_MOVE_AFTER, collect, compact, prune
from spool.rows import move, set_applied
from spool.staging import open_journal
from spool.states import State, Trigger
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import Clock, admit, arrival, letters, logged, make_ready, make_spool, message, queue_ids


def finish(spool: Spool, *ids: str) -> None:
    """Let messages be submitted, with the line that submit writes."""
    journal = open_journal(spool, Stage.SUBMIT)
    with spool.index.write() as connection:
        for queue_id in ids:
            last = journal.note(Outcome.SUBMITTED, queue_id, details={})
            assert move(connection, queue_id, state=State.READY, trigger=Trigger.ACCEPTED, now=spool.now())
            set_applied(connection, Stage.SUBMIT, number=last)
    journal.close()


def collected(spool: Spool) -> int:
    with take_stage(spool, Stage.FETCH) as tenure:
        journal = open_journal(spool, Stage.FETCH)
        admission = Admission(spool, tenure)
        try:
            return collect(spool, tenure, admission=admission, journal=journal)
        finally:
            admission.close()
            journal.close()


def files(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.layout.segments.iterdir())


def lines(spool: Spool, owner: str = Stage.SUBMIT) -> list[tuple[Outcome, str]]:
    return [(line.outcome, line.queue_id) for line in read_journal(spool.layout.journal(owner)).lines]


def compacted(spool: Spool, owner: Stage = Stage.SUBMIT) -> None:
    journal = open_journal(spool, owner)
    compact(spool, journal, owner=owner)
    journal.close()


def test_a_segment_goes_when_none_of_its_messages_is_live(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    finish(spool, *make_ready(spool, *letters(2)))
    assert collected(spool) == 1
    assert files(spool) == []
    assert segment_rows(spool) == []
    assert {message(spool, queue_id).stored for queue_id in queue_ids(spool)} == {None}


@pytest.mark.parametrize("state", [state for state in State if state.needs_spool_bytes])
def test_a_segment_stays_while_one_of_its_messages_is_live(tmp_path: Path, state: State) -> None:
    """I2: every live row has its bytes."""
    spool = make_spool(tmp_path)
    ids = make_ready(spool, *letters(2))
    finish(spool, ids[0])
    with spool.index.write() as connection:
        connection.execute(update(models.messages).where(models.messages.c.queue_id == ids[1]).values(state=state))
    assert collected(spool) == 0
    assert len(files(spool)) == 1


def test_only_sealed_segments_are_collected(tmp_path: Path) -> None:
    """The active one is still appended to."""
    spool = make_spool(tmp_path)
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        journal = open_journal(spool, Stage.FETCH)
        admission.admit([arrival()])
        with spool.index.write() as connection:
            connection.execute(update(models.messages).values(state=State.DISCARDED))
        assert collect(spool, tenure, admission=admission, journal=journal) == 0
        admission.seal()
        assert collect(spool, tenure, admission=admission, journal=journal) == 1
        journal.close()


def test_only_the_owner_collects(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    finish(spool, *make_ready(spool, arrival()))
    with take_stage(spool, Stage.PICKUP) as tenure:
        journal = open_journal(spool, Stage.PICKUP)
        assert collect(spool, tenure, admission=Admission(spool, tenure), journal=journal) == 0
        journal.close()
    assert len(files(spool)) == 1


def test_a_large_file_goes_like_a_segment(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    origin = arrival().origin
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        writer = admission.open_large(origin)
        writer.write(b"x" * 2_000_000)
        known, place = writer.finish()
        admission.admit([Arrival(origin=origin, digest=known, content=place)])
    with spool.index.write() as connection:
        connection.execute(update(models.messages).values(state=State.DISCARDED))
    assert collected(spool) == 1
    assert list(spool.layout.large.iterdir()) == []


def test_ledger_entries_are_in_the_journal_synced_before_their_segment_goes(tmp_path: Path) -> None:
    """After the loss of the index they alone tell that the maildrop's copy was had."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    one = arrival()
    finish(spool, *make_ready(spool, one))
    disk.steps.clear()
    collected(spool)
    steps = [step for step in disk.steps if step in ("sync fetch.journal", "unlink fetch-0000000001.seg")]
    assert steps == ["sync fetch.journal", "unlink fetch-0000000001.seg"]
    (line,) = read_journal(spool.layout.journal(Stage.FETCH)).lines
    assert (line.outcome, line.queue_id) == (Outcome.LEDGER, one.origin.queue_id)
    assert (line.details["account"], line.details["uidl"]) == ("sales", "u1")
    assert line.details["identity"] == one.digest.identity.hex()
    assert line.details["header"] == one.digest.header.hex()


@pytest.mark.parametrize("step", range(1, 12))
def test_a_collection_that_broke_off_is_finished_by_the_next(tmp_path: Path, step: int) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    finish(spool, *make_ready(spool, *letters(2)))
    disk.fail(step, lasting=True)
    with pytest.raises(SpoolFailed):
        _until_it_fails(spool, disk)
    disk.mend()
    collected(spool)
    assert files(spool) == []
    assert segment_rows(spool) == []


def _until_it_fails(spool: Spool, disk: FaultyDisk) -> None:
    collected(spool)
    raise SpoolFailed("it took fewer steps")


def test_rows_keep_their_place_until_the_file_is_gone(tmp_path: Path) -> None:
    """Else a journal line could go while a file still holds its record."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    finish(spool, *make_ready(spool, arrival()))
    with take_stage(spool, Stage.FETCH) as tenure:
        journal = open_journal(spool, Stage.FETCH)
        disk.steps.clear()
        disk.fail(4, lasting=True)
        with pytest.raises(SpoolFailed):
            collect(spool, tenure, admission=Admission(spool, tenure), journal=journal)
        assert disk.steps[2:] == ["unlink fetch-0000000001.seg", "sync segments/"]
    disk.mend()
    assert {row.status for row in segment_rows(spool)} == {"marked"}
    assert [message(spool, queue_id).stored is None for queue_id in queue_ids(spool)] == [False]
    compacted(spool)
    assert len(lines(spool)) == 1


def test_the_last_survivors_of_an_old_segment_move_and_it_goes(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    batch = letters(3)
    ids = make_ready(spool, *batch)
    finish(spool, *ids[:2])
    clock.advance(SURVIVORS_MOVE_AFTER + timedelta(minutes=1))
    collected(spool)
    collected(spool)
    assert files(spool) == ["fetch-0000000002.seg"]
    survivor = message(spool, ids[2])
    assert survivor.state is State.READY
    assert survivor.stored is not None
    assert load(spool, survivor.stored) == batch[2].content


@pytest.mark.parametrize("count", [SURVIVORS_AT_MOST, SURVIVORS_AT_MOST + 1])
def test_many_survivors_stay_where_they_are(tmp_path: Path, count: int) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    make_ready(spool, *letters(count))
    clock.advance(SURVIVORS_MOVE_AFTER + timedelta(minutes=1))
    collected(spool)
    collected(spool)
    assert files(spool) == ["fetch-0000000002.seg" if count <= SURVIVORS_AT_MOST else "fetch-0000000001.seg"]


def test_a_survivor_that_cannot_be_read_stops_no_collection(tmp_path: Path) -> None:
    """Its stage will find the damage; the segment stays as it is."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    make_ready(spool, arrival())
    path = spool.layout.segment(Stage.FETCH, 1)
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    clock.advance(SURVIVORS_MOVE_AFTER + timedelta(minutes=1))
    collected(spool)
    assert path.exists()


def test_a_line_goes_when_no_file_holds_its_record(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    ids = make_ready(spool, arrival())
    finish(spool, *ids)
    compacted(spool)
    assert lines(spool) == [(Outcome.SUBMITTED, ids[0])]
    collected(spool)
    compacted(spool)
    assert lines(spool) == []


def test_a_line_stays_while_a_dead_copy_of_its_record_is_on_disk(tmp_path: Path) -> None:
    """The survivor moved; after the loss of the index its old copy would be sent again but for the line."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    first, second = make_ready(spool, *letters(2))
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        found = message(spool, first)
        assert found.stored is not None
        admission.move_here([(found, b"X-A: b\r\n", load(spool, found.stored))], serial=1)
        admission.close()
    finish(spool, first)
    collected(spool)
    assert files(spool) == ["fetch-0000000001.seg"]
    compacted(spool)
    assert lines(spool) == [(Outcome.SUBMITTED, first)]
    assert message(spool, second).stored is not None


def test_a_line_stays_while_its_badmail_file_or_claim_is_there(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    finish(spool, queue_id)
    collected(spool)
    path = spool.layout.badmail_message(queue_id)
    path.touch()
    compacted(spool)
    assert len(lines(spool)) == 1
    path.unlink()
    compacted(spool)
    assert lines(spool) == []


def test_a_line_stays_until_its_effect_is_in_the_index(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    journal = Journal(spool.layout.journal(Stage.SUBMIT), disk=spool.disk, now_ms=spool.now_ms)
    journal.note(Outcome.SUBMITTED, arrival().origin.queue_id, details={})
    compact(spool, journal, owner=Stage.SUBMIT)
    journal.close()
    assert len(lines(spool)) == 1


def test_a_ledger_line_goes_with_its_entry(tmp_path: Path) -> None:
    """30 days after a listing last showed it, and the stage starts as ever after that."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    finish(spool, *make_ready(spool, arrival()))
    collected(spool)
    (entry,) = Ledger(spool).entries("sales")
    Ledger(spool).note_listing(vanished=[entry], returned=[])
    clock.advance(LEDGER_KEPT)
    prune(spool, history=timedelta(days=30))
    compacted(spool, Stage.FETCH)
    assert len(lines(spool, Stage.FETCH)) == 1
    clock.advance(timedelta(seconds=1))
    prune(spool, history=timedelta(days=30))
    compacted(spool, Stage.FETCH)
    assert lines(spool, Stage.FETCH) == []
    with take_stage(spool, Stage.FETCH):
        pass


def test_rows_of_finished_messages_go_after_their_history(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    finished, live = make_ready(spool, arrival(uidl="u1"))[0], None
    finish(spool, finished)
    collected(spool)
    live = make_ready(spool, arrival(uidl="u2"))[0]
    clock.advance(timedelta(days=30))
    prune(spool, history=timedelta(days=30))
    assert queue_ids(spool) == [finished, live]
    clock.advance(timedelta(seconds=1))
    prune(spool, history=timedelta(days=30))
    assert queue_ids(spool) == [live]


def test_a_row_is_never_pruned_while_its_record_is_on_disk(tmp_path: Path) -> None:
    """Recovery and rebuild would take the record for a message that was never sent."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    first, _ = make_ready(spool, *letters(2))
    finish(spool, first)
    clock.advance(timedelta(days=365))
    prune(spool, history=timedelta(days=30))
    assert first in queue_ids(spool)


def test_the_ledger_outlives_the_rows_while_the_maildrop_may_show_the_message(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    finish(spool, *make_ready(spool, arrival()))
    collected(spool)
    clock.advance(timedelta(days=365))
    prune(spool, history=timedelta(days=30))
    assert queue_ids(spool) == []
    assert [receipt.is_new for receipt in admit(spool, arrival())] == [False]


def test_old_events_go_with_the_history(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    with spool.index.write() as connection:
        emit(connection, [SpoolWarning(what="x"), Admitted(queue_id="0" * 18, octets=1, uidl="")], now=clock())
    clock.advance(timedelta(days=31))
    prune(spool, history=timedelta(days=30))
    assert logged(spool) == []


def test_the_events_of_a_message_stay_as_long_as_its_row(tmp_path: Path) -> None:
    """What became of it is told from its beginning, however long it waited."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    make_ready(spool, arrival())
    clock.advance(timedelta(days=31))
    prune(spool, history=timedelta(days=30))
    assert [event.name for event in logged(spool)] == ["Admitted", "Validated"]
