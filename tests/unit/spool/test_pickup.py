"""Pickup's claims: a file is taken once, whatever moment the process dies at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spool.badmail import BadmailFile
from spool.dropped import list_dropped
from spool.envelope import NO_UIDL, Arrival, Origin, Reason
from spool.errors import SpoolFailed
from spool.journal import Outcome
from spool.layout import Stage
from spool.message_file import digest
from spool.opening import Spool, take_stage
from spool.pickup import Claim, Inbox, put_into_pickup
from spool.queue_id import QueueId, new_queue_id
from spool.replay import begin_replay
from spool.states import State
from tests.support.dropping import FILE, drop, refused
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import START, logged, make_spool, message, queue_ids

NO = Reason(stage="pickup", text="no recipient")


@contextmanager
def inbox(spool: Spool) -> Iterator[Inbox]:
    with take_stage(spool, Stage.PICKUP) as tenure:
        opened = Inbox(spool, tenure)
        yield opened
        opened.close()


def claim(spool: Spool, opened: Inbox) -> Claim:
    (file,) = list_dropped(spool.layout.pickup)
    (claimed,) = opened.claim({new_queue_id(): file})
    return claimed


def to_arrival(claimed: Claim, *, replays: QueueId | None = None) -> Arrival:
    content = claimed.path.read_bytes()
    return Arrival(
        origin=Origin(queue_id=claimed.queue_id, account="", uidl=NO_UIDL, peer="", fetched_at=START),
        digest=digest(content),
        content=content,
        recipients=("sales@corp.example",),
        replays=replays,
    )


def to_badmail(claimed: Claim) -> BadmailFile:
    one = to_arrival(claimed)
    return BadmailFile(
        origin=one.origin,
        octets=one.digest.octets,
        sha256=one.digest.sha256,
        sender=None,
        recipients=(),
        reason=NO,
    )


def claims(spool: Spool) -> list[Path]:
    return list(spool.layout.claims.iterdir())


def test_a_claim_is_a_rename_and_both_directories_are_synced(tmp_path: Path) -> None:
    """Were the rename not durable, a power cut after the commit would show the file in Pickup again."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    drop(spool)
    with inbox(spool) as opened:
        disk.steps.clear()
        claimed = claim(spool, opened)
        assert disk.steps == [f"rename x.eml {claimed.queue_id}", "sync .claim/", "sync Pickup/"]
    assert claims(spool) == [spool.layout.pickup_claim(claimed.queue_id)]


def test_a_file_that_is_gone_is_not_claimed(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    path = drop(spool)
    (file,) = list_dropped(spool.layout.pickup)
    path.unlink()
    with inbox(spool) as opened:
        assert opened.claim({new_queue_id(): file}) == []


def test_a_file_that_changed_since_it_was_looked_at_goes_back(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    path = drop(spool)
    (file,) = list_dropped(spool.layout.pickup)
    path.write_bytes(FILE + b"more")
    with inbox(spool) as opened:
        assert opened.claim({new_queue_id(): file}) == []
    assert path.read_bytes() == FILE + b"more"
    assert claims(spool) == []


def test_giving_back_replaces_no_other_file(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    path = drop(spool)
    with inbox(spool) as opened:
        claimed = claim(spool, opened)
        path.write_bytes(b"newer")
        opened.give_back(claimed)
    assert path.read_bytes() == b"newer"
    assert spool.layout.pickup_message(claimed.queue_id).read_bytes() == FILE


def test_a_claim_goes_only_after_its_message_is_in_custody(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    drop(spool)
    with inbox(spool) as opened:
        claimed = claim(spool, opened)
        disk.steps.clear()
        opened.admit([to_arrival(claimed)], extra=[])
    sync = next(place for place, step in enumerate(disk.steps) if step.startswith("sync pickup-"))
    assert disk.steps.index(f"unlink {claimed.queue_id}") > sync
    assert message(spool, claimed.queue_id).state is State.STAGED
    assert claims(spool) == []


def test_a_refused_claim_is_in_badmail_before_its_line_and_its_row(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    drop(spool)
    with inbox(spool) as opened:
        claimed = claim(spool, opened)
        disk.steps.clear()
        opened.refuse(to_badmail(claimed), content=[claimed.path.read_bytes()], replays=None, extra=[])
    wanted = ["sync Badmail/", "write pickup.journal", "sync pickup.journal", f"unlink {claimed.queue_id}"]
    assert [step for step in disk.steps if step in wanted] == wanted
    row = message(spool, claimed.queue_id)
    assert (row.state, row.reason) == (State.BADMAIL, NO)


def test_a_replay_moves_the_replaced_message_and_unlinks_its_file(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    queue_id = refused(spool)
    drop(spool)
    with inbox(spool) as opened:
        claimed = claim(spool, opened)
        opened.admit([to_arrival(claimed, replays=queue_id)], extra=[])
    row = message(spool, queue_id)
    assert (row.state, row.replay_id) == (State.REPLAYED, claimed.queue_id)
    assert not spool.layout.badmail_message(queue_id).exists()


def test_a_leftover_claim_without_row_or_line_is_copied_in_again_under_its_id(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    drop(spool)
    with take_stage(spool, Stage.PICKUP) as tenure:
        claimed = claim(spool, Inbox(spool, tenure))
    with inbox(spool) as opened:
        assert [(one.queue_id, one.path) for one in opened.leftovers()] == [(claimed.queue_id, claimed.path)]


def test_a_leftover_claim_with_a_row_is_unlinked(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    drop(spool)
    with inbox(spool) as opened:
        claimed = claim(spool, opened)
        opened.admit([to_arrival(claimed)], extra=[])
    claimed.path.write_bytes(FILE)
    with inbox(spool) as opened:
        assert opened.leftovers() == []
    assert claims(spool) == []


def test_a_leftover_claim_with_a_journal_line_is_unlinked(tmp_path: Path) -> None:
    """The row was pruned: what became of the message is known all the same."""
    spool = make_spool(tmp_path)
    queue_id = new_queue_id()
    spool.layout.pickup_claim(queue_id).write_bytes(FILE)
    with inbox(spool) as opened:
        opened.journal.note(Outcome.DISCARDED, queue_id, details={})
        assert opened.leftovers() == []
    assert claims(spool) == []


def test_a_leftover_claim_whose_badmail_file_is_whole_is_completed(tmp_path: Path) -> None:
    """A Badmail file whose pickup claim is live belongs to pickup, which alone completes the move."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    drop(spool)
    with take_stage(spool, Stage.PICKUP) as tenure:
        opened = Inbox(spool, tenure)
        claimed = claim(spool, opened)
        disk.fail(next_journal_step(disk, spool, claimed), lasting=True)
        with pytest.raises(SpoolFailed):
            opened.refuse(to_badmail(claimed), content=[FILE], replays=None, extra=[])
    disk.mend()
    assert spool.layout.badmail_message(claimed.queue_id).exists()
    assert queue_ids(spool) == []
    with inbox(spool) as opened:
        assert opened.leftovers() == []
    assert message(spool, claimed.queue_id).state is State.BADMAIL
    assert [one.name for one in logged(spool)].count("Refused") == 1
    assert claims(spool) == []


def next_journal_step(disk: FaultyDisk, spool: Spool, claimed: Claim) -> int:
    """How many durable steps a Badmail file takes, and one more."""
    before = len(disk.steps)
    disk.write_file(spool.layout.damaged / claimed.queue_id, [b"block", FILE])
    return len(disk.steps) - before + 1


def test_a_large_file_of_a_process_that_died_is_dropped_for_its_claim_has_the_message(tmp_path: Path) -> None:
    """Adopted by itself it would have forgotten which Badmail message it replays."""
    spool = make_spool(tmp_path)
    origin = Origin(queue_id=new_queue_id(), account="", uidl=NO_UIDL, peer="", fetched_at=START)
    with inbox(spool) as opened:
        writer = opened.admission.open_large(origin)
        writer.write(FILE)
        writer.finish()
    with inbox(spool):
        pass
    assert list(spool.layout.large.iterdir()) == []
    assert queue_ids(spool) == []


def test_a_promised_replay_that_is_refused_takes_the_place_of_its_parent(tmp_path: Path) -> None:
    """Else the message would be in Badmail twice, and the first could not be replayed any more."""
    spool = make_spool(tmp_path)
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    (file,) = list_dropped(spool.layout.pickup)
    with inbox(spool) as opened:
        (claimed,) = opened.claim({child: file})
        opened.refuse(to_badmail(claimed), content=[FILE], replays=queue_id, extra=[])
    assert message(spool, queue_id).state is State.REPLAYED
    assert message(spool, child).state is State.BADMAIL


def test_an_unreadable_claim_is_set_aside(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    drop(spool)
    with inbox(spool) as opened:
        claimed = claim(spool, opened)
        where = opened.set_aside(claimed)
    assert where.read_bytes() == FILE
    assert claims(spool) == []


def test_a_file_that_is_added_has_its_name_only_when_it_is_whole_and_durable(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    disk.steps.clear()
    path = put_into_pickup(spool, [FILE])
    aside = f"{path.name}.tmp"
    steps = [f"create {aside}", f"write {aside}", f"sync {aside}", f"rename {aside} {path.name}", "sync Pickup/"]
    assert [step for step in disk.steps if not step.startswith("unlink")] == steps
    assert path.read_bytes() == FILE


@pytest.mark.parametrize("step", range(1, 6))
def test_a_file_that_could_not_be_added_whole_leaves_nothing_that_would_be_taken(tmp_path: Path, step: int) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    disk.fail(step)
    with pytest.raises(SpoolFailed):
        put_into_pickup(spool, [FILE])
    assert list_dropped(spool.layout.pickup) == []
