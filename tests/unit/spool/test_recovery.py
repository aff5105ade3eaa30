"""Recovery: what a killed process wrote and did not commit is taken into custody again, in a new place, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from spool import models
from spool.admission import Admission
from spool.content import load
from spool.disk import Disk
from spool.envelope import Arrival, Reason
from spool.errors import SpoolFailed
from spool.files import add_segment, segment_rows
from spool.journal import Journal, Outcome
from spool.layout import Stage, partial
from spool.message_file import arrival_fields, block
from spool.opening import Spool, take_stage
from spool.recovery import recover
from spool.segments import LargeWriter, SegmentWriter, large_head
from spool.states import State
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import admit, arrival, letters, logged, make_spool, message, queue_ids

NONCE = bytes(range(16))
LARGE = b"Subject: large\r\n\r\n" + b"x" * 2_000_000


def written(spool: Spool, *batch: Arrival, torn: int = 0) -> Path:
    """A segment that was appended to and synced by a process that was killed before its commit."""
    with spool.index.write() as connection:
        serial = add_segment(connection, Stage.FETCH, nonce=NONCE, at=spool.now_ms())
    path = spool.layout.segment(Stage.FETCH, serial)
    writer = SegmentWriter(path, NONCE, disk=Disk())
    writer.append(
        [
            (one.origin.queue_id, block(arrival_fields(one)), one.content)
            for one in batch
            if isinstance(one.content, bytes)
        ]
    )
    writer.close()
    if torn:
        path.write_bytes(path.read_bytes()[:-torn])
    return path


def recovered(spool: Spool) -> int:
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        count = recover(spool, tenure, admission=admission)
        admission.close()
    return count


def names(spool: Spool) -> list[str]:
    return [event.name for event in logged(spool) if event.name != "SpoolWarning"]


def test_what_was_written_and_not_committed_is_admitted_under_its_own_queue_id(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    batch = letters(3)
    written(spool, *batch)
    assert recovered(spool) == 3
    assert queue_ids(spool) == [one.origin.queue_id for one in batch]
    for one in batch:
        row = message(spool, one.origin.queue_id)
        assert row.stored is not None
        assert load(spool, row.stored) == one.content
        assert (row.account, row.uidl, row.fetched_at) == (one.origin.account, one.origin.uidl, one.origin.fetched_at)


def test_it_is_never_adopted_in_place(tmp_path: Path) -> None:
    """It may be page cache that a power cut would take: it is appended to a new segment and synced."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    old = written(spool, *letters(1))
    before = old.read_bytes()
    recovered(spool)
    (queue_id,) = queue_ids(spool)
    found = message(spool, queue_id).stored
    assert found is not None
    assert found.path != old
    assert f"sync {found.path.name}" in disk.steps
    assert old.read_bytes() == before


def test_the_old_segment_ends_sealed(tmp_path: Path) -> None:
    """Sealed segments are not recovered: the same work is not done at each start."""
    spool = make_spool(tmp_path)
    written(spool, *letters(1))
    recovered(spool)
    assert [row.status for row in segment_rows(spool)] == ["sealed", "sealed"]
    assert recovered(spool) == 0


def test_an_envelope_and_an_objection_are_recovered_with_the_message(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    objection = Reason(stage="fetch", text="too large")
    written(spool, replace(arrival(copy=2), objection=objection, sender="", recipients=("a@b.example",)))
    recovered(spool)
    (queue_id,) = queue_ids(spool)
    row = message(spool, queue_id)
    assert (row.reason, row.sender, row.recipients) == (objection, "", ("a@b.example",))
    with spool.index.read() as connection:
        assert connection.execute(select(models.ledger.c.copy)).scalar() == 2


def test_each_recovered_message_has_its_event(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    written(spool, *letters(2))
    recovered(spool)
    assert names(spool).count("Recovered") == 2


@pytest.mark.parametrize("torn", [1, 10, 100])
def test_a_torn_tail_is_skipped_and_told_of(tmp_path: Path, torn: int) -> None:
    spool = make_spool(tmp_path)
    batch = letters(2)
    written(spool, *batch, torn=torn)
    assert recovered(spool) == 1
    assert queue_ids(spool) == [batch[0].origin.queue_id]
    assert "RecordUnreadable" in names(spool)


def test_a_record_whose_message_is_not_its_own_is_skipped_and_told_of(tmp_path: Path) -> None:
    """The frame is true and the message is not: page cache that came back as zeros."""
    spool = make_spool(tmp_path)
    path = written(spool, arrival())
    path.write_bytes(path.read_bytes()[:-3] + bytes(3))
    assert recovered(spool) == 0
    assert "RecordUnreadable" in names(spool)


def test_octets_below_the_committed_length_are_left_alone(tmp_path: Path) -> None:
    """They have their rows; recovery reads only what nobody owns yet."""
    spool = make_spool(tmp_path)
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        admission.admit(letters(2))
    with spool.index.write() as connection:
        connection.execute(models.ledger.delete())
        connection.execute(models.messages.delete())
    assert recovered(spool) == 0


def test_a_queue_id_that_has_a_row_is_skipped(tmp_path: Path) -> None:
    """The same record was recovered by a start that was killed before it sealed the old segment."""
    spool = make_spool(tmp_path)
    batch = letters(2)
    admit(spool, batch[0])
    written(spool, *batch)
    assert recovered(spool) == 1
    assert len(queue_ids(spool)) == 2


def test_a_queue_id_that_has_a_journal_line_is_skipped(tmp_path: Path) -> None:
    """It left the spool already; its row may have been pruned."""
    spool = make_spool(tmp_path)
    one = arrival()
    written(spool, one)
    with take_stage(spool, Stage.FETCH) as tenure:
        journal = Journal(spool.layout.journal(Stage.SUBMIT), disk=spool.disk, now_ms=spool.now_ms)
        journal.note(Outcome.SUBMITTED, one.origin.queue_id, details={})
        assert recover(spool, tenure, admission=Admission(spool, tenure)) == 0


def test_what_was_fetched_and_admitted_again_since_is_skipped(tmp_path: Path) -> None:
    """Under another queue id, and with the same identity."""
    spool = make_spool(tmp_path)
    written(spool, arrival())
    admit(spool, arrival())
    assert recovered(spool) == 0
    assert len(queue_ids(spool)) == 1
    assert len(segment_rows(spool)) == 2


def test_one_message_in_two_uncommitted_records_is_admitted_once(tmp_path: Path) -> None:
    """Its commit failed, and the next session fetched it again."""
    spool = make_spool(tmp_path)
    written(spool, arrival(), arrival())
    assert recovered(spool) == 1
    assert len(queue_ids(spool)) == 1


def test_a_segment_row_without_a_file_is_sealed(tmp_path: Path) -> None:
    """Killed between the row and the file."""
    spool = make_spool(tmp_path)
    written(spool, arrival()).unlink()
    assert recovered(spool) == 0
    assert [row.status for row in segment_rows(spool)] == ["sealed"]


def test_a_recovery_that_failed_begins_again(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    batch = letters(2)
    written(spool, *batch)
    disk.fail(1, lasting=True)
    with pytest.raises(SpoolFailed):
        recovered(spool)
    disk.mend()
    assert recovered(spool) == 2
    assert queue_ids(spool) == [one.origin.queue_id for one in batch]


def test_a_marked_segment_is_unlinked_and_never_recovered(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    path = written(spool, arrival())
    with spool.index.write() as connection:
        connection.execute(models.segments.update().values(status="marked"))
    assert recovered(spool) == 0
    assert not path.exists()
    assert segment_rows(spool) == []


def large(spool: Spool) -> Arrival:
    """A large message whose file is whole and whose row was not committed."""
    origin = arrival().origin
    writer = LargeWriter(spool.layout.large_message(Stage.FETCH, origin.queue_id), disk=Disk(), head=large_head(origin))
    writer.write(LARGE)
    known, place = writer.finish()
    return Arrival(origin=origin, digest=known, content=place)


def test_a_large_message_without_a_row_is_admitted(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    one = large(spool)
    assert recovered(spool) == 1
    row = message(spool, one.origin.queue_id)
    assert row.stored is not None
    assert load(spool, row.stored) == LARGE
    assert row.state is State.STAGED
    name = row.stored.path.name
    assert [step for step in disk.steps if name in step or step == "sync large/"][-4:] == [
        f"overwrite {name}.tmp",
        f"sync {name}.tmp",
        f"rename {name}.tmp {name}",
        "sync large/",
    ]
    assert recovered(spool) == 0


def test_a_large_file_that_has_its_row_is_left_alone(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    admit(spool, large(spool))
    assert recovered(spool) == 0
    (queue_id,) = queue_ids(spool)
    assert spool.layout.large_message(Stage.FETCH, message(spool, queue_id).queue_id).exists()


def test_a_large_message_that_was_fetched_again_since_goes(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    one = large(spool)
    admit(spool, replace(large(spool), origin=replace(one.origin, queue_id=arrival().origin.queue_id)))
    assert recovered(spool) == 0
    assert not spool.layout.large_message(Stage.FETCH, one.origin.queue_id).exists()


def test_a_partial_large_file_goes(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    path = partial(spool.layout.large_message(Stage.FETCH, arrival().origin.queue_id))
    path.write_bytes(b"half")
    assert recovered(spool) == 0
    assert not path.exists()


@pytest.mark.parametrize("damage", ["cut", "changed", "block"])
def test_a_damaged_large_file_is_set_aside_and_told_of(tmp_path: Path, damage: str) -> None:
    """Its message may be the only copy: it is kept for the operator."""
    spool = make_spool(tmp_path)
    path = spool.layout.large_message(Stage.FETCH, large(spool).origin.queue_id)
    octets = path.read_bytes()
    path.write_bytes({"cut": octets[:-1], "changed": octets[:-1] + b"y", "block": b"?" + octets[1:]}[damage])
    assert recovered(spool) == 0
    assert not path.exists()
    assert (spool.layout.damaged / path.name).exists()
    assert "RecordUnreadable" in names(spool)


def test_files_of_other_stages_are_left_alone(tmp_path: Path) -> None:
    """I3: bytes without a row are touched by their owner's recovery alone."""
    spool = make_spool(tmp_path)
    written(spool, arrival())
    one = large(spool)
    with take_stage(spool, Stage.PICKUP) as tenure:
        assert recover(spool, tenure, admission=Admission(spool, tenure)) == 0
    assert [row.status for row in segment_rows(spool)] == ["active"]
    assert spool.layout.large_message(Stage.FETCH, one.origin.queue_id).exists()


def test_pickup_recovers_nothing_for_its_claims_hold_the_same_messages(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    with take_stage(spool, Stage.PICKUP) as tenure:
        admission = Admission(spool, tenure)
        admission.admit([arrival(account="")])
    with spool.index.write() as connection:
        connection.execute(models.messages.delete())
        connection.execute(models.segments.update().values(committed_octets=0))
    with take_stage(spool, Stage.PICKUP) as tenure:
        assert recover(spool, tenure, admission=Admission(spool, tenure)) == 0
    assert [row.status for row in segment_rows(spool)] == ["sealed"]
