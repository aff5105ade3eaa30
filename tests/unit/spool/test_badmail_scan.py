"""Badmail as the operator changes it: edited, removed, put there; and what is none of pickup's business."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from spool.badmail import read_badmail
from spool.badmail_changes import BadmailChanges
from spool.badmail_scan import LOOK_SECONDS, BadmailScan, Finding, Known, judge
from spool.dropped import Stamp
from spool.errors import SpoolFailed
from spool.journal import Outcome, read_journal
from spool.layout import Stage
from spool.message_file import PREFIX, digest
from spool.opening import Spool, take_stage
from spool.pickup import Inbox
from spool.queue_id import QueueId, new_queue_id
from spool.replay import begin_replay
from spool.states import State
from tests.support.by_hand import decide
from tests.support.dropping import NO_FILES, Seconds, others, put_no_file, refused, spool_at
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import LETTER, admit, arrival, logged, make_ready, message, queue_ids

SETTLE = 1.0
NEW = b"From: bob@example.org\r\n\r\nFound in a drawer.\r\n"


@dataclass(slots=True)
class Watch:
    """A scan and its clock."""

    scan: BadmailScan
    seconds: Seconds

    def look(self, *, later: float = 0) -> bool:
        self.seconds.at += later
        return self.scan.look()

    def look_twice(self) -> None:
        self.look(later=LOOK_SECONDS)
        self.look(later=SETTLE)


@contextmanager
def watching(
    spool: Spool, *, settle_seconds: float = SETTLE, changing: type[BadmailChanges] = BadmailChanges
) -> Iterator[Watch]:
    seconds = Seconds()
    with take_stage(spool, Stage.PICKUP) as tenure:
        inbox = Inbox(spool, tenure)
        changes = changing(
            spool, tenure, journal=inbox.journal, may_receive=lambda recipient: recipient.endswith("@corp.example")
        )
        yield Watch(BadmailScan(spool, changes=changes, settle_seconds=settle_seconds, monotonic=seconds), seconds)
        inbox.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Its clock is behind: whatever is done to a file is later than the row."""
    return spool_at(tmp_path, ahead=timedelta(minutes=-1))


def names(spool: Spool) -> list[str]:
    return [event.name for event in logged(spool)]


def edit(spool: Spool, queue_id: QueueId, old: bytes, new: bytes) -> None:
    path = spool.layout.badmail_message(queue_id)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def stamp(changed_ms: int) -> Stamp:
    return Stamp(device=1, inode=2, octets=3, modified_ns=0, changed_ns=changed_ms * 1_000_000)


def known(state: State, *, changed_at: int = 1000, is_on_its_way: bool = False) -> Known:
    return Known(state=state, changed_at=changed_at, is_on_its_way=is_on_its_way)


EARLIER, LATER = stamp(999), stamp(1001)


@pytest.mark.parametrize(
    ("file", "row", "read", "has_live_kin", "finding"),
    [
        (EARLIER, known(State.BADMAIL), None, False, Finding.AS_KNOWN),
        (LATER, known(State.BADMAIL), None, False, Finding.EDITED),
        (LATER, known(State.BADMAIL), LATER, False, Finding.AS_KNOWN),
        (LATER, known(State.BADMAIL), EARLIER, False, Finding.EDITED),
        (EARLIER, known(State.BADMAIL), LATER, False, Finding.EDITED),
        (None, known(State.BADMAIL), None, False, Finding.MISSING),
        (None, known(State.BADMAIL, is_on_its_way=True), None, False, Finding.NOT_OURS),
        (EARLIER, None, None, False, Finding.UNKNOWN),
        (EARLIER, None, None, True, Finding.NOT_OURS),
        (LATER, known(State.STAGED), None, False, Finding.NOT_OURS),
        (LATER, known(State.READY), None, False, Finding.NOT_OURS),
        (LATER, known(State.DEFERRED), None, False, Finding.NOT_OURS),
        (LATER, known(State.HELD), None, False, Finding.NOT_OURS),
        (LATER, known(State.DAMAGED), None, False, Finding.NOT_OURS),
        (EARLIER, known(State.REPLAYED), None, False, Finding.LEFT_OVER),
        (EARLIER, known(State.DISCARDED), None, False, Finding.LEFT_OVER),
        (EARLIER, known(State.SUBMITTED), None, False, Finding.LEFT_OVER),
        (LATER, known(State.REPLAYED), None, False, Finding.UNKNOWN),
        (LATER, known(State.DISCARDED), None, False, Finding.UNKNOWN),
    ],
)
def test_file_and_row_decide(
    file: Stamp | None, row: Known | None, read: Stamp | None, has_live_kin: bool, finding: Finding
) -> None:
    """The rules of Badmail, one by one; a file that was put back later than its row ended is never thrown away."""
    assert judge(file, row, read=read, has_live_kin=has_live_kin) is finding


def test_an_edited_envelope_is_read_again(spool: Spool) -> None:
    queue_id = refused(spool)
    with watching(spool) as watch:
        watch.look_twice()
        edit(spool, queue_id, b"<alice@example.org>", b"<carol@example.org>")
        watch.look_twice()
    assert message(spool, queue_id).sender == "carol@example.org"
    assert "BadmailEdited" in names(spool)


def test_an_edited_message_has_the_length_and_hash_of_the_file(spool: Spool) -> None:
    queue_id = refused(spool)
    edit(spool, queue_id, LETTER, NEW)
    with watching(spool) as watch:
        watch.look_twice()
    row = message(spool, queue_id)
    assert (row.octets, row.sha256) == (len(NEW), digest(NEW).sha256)


def test_an_edited_reason_is_read_again(spool: Spool) -> None:
    queue_id = refused(spool)
    edit(spool, queue_id, b"refused as spam", b"kept for the lawyers")
    with watching(spool) as watch:
        watch.look_twice()
    assert str(message(spool, queue_id).reason) == "submit: 550 kept for the lawyers"


def test_a_file_that_lost_its_block_keeps_the_envelope_of_its_row(spool: Spool) -> None:
    queue_id = refused(spool)
    spool.layout.badmail_message(queue_id).write_bytes(NEW)
    with watching(spool) as watch:
        watch.look_twice()
    row = message(spool, queue_id)
    assert (row.sender, row.recipients, row.octets) == ("alice@example.org", ("sales@corp.example",), len(NEW))


def test_a_touched_file_is_no_edit(spool: Spool) -> None:
    queue_id = refused(spool)
    spool.layout.badmail_message(queue_id).touch()
    with watching(spool) as watch:
        watch.look_twice()
    assert "BadmailEdited" not in names(spool)


def test_nothing_is_decided_at_the_first_look(spool: Spool) -> None:
    queue_id = refused(spool)
    spool.layout.badmail_message(queue_id).unlink()
    with watching(spool) as watch:
        assert watch.look()
        assert message(spool, queue_id).state is State.BADMAIL
        assert not watch.look(later=SETTLE)
    assert message(spool, queue_id).state is State.DISCARDED


def test_without_a_settle_time_there_are_two_looks_all_the_same(spool: Spool) -> None:
    queue_id = refused(spool)
    spool.layout.badmail_message(queue_id).unlink()
    with watching(spool, settle_seconds=0) as watch:
        watch.look()
        assert message(spool, queue_id).state is State.BADMAIL
        watch.look()
    assert message(spool, queue_id).state is State.DISCARDED


def test_a_missing_file_means_discarded_with_a_line_and_an_event(spool: Spool) -> None:
    queue_id = refused(spool)
    spool.layout.badmail_message(queue_id).unlink()
    with watching(spool) as watch:
        watch.look_twice()
    lines = read_journal(spool.layout.journal(Stage.PICKUP)).lines
    assert [(line.outcome, line.queue_id) for line in lines] == [(Outcome.DISCARDED, queue_id)]
    assert "StateChanged" in names(spool)


def test_a_file_that_comes_back_in_time_is_kept(spool: Spool) -> None:
    """Editors replace a file by writing another and renaming it."""
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    aside = path.with_name("aside")
    with watching(spool) as watch:
        path.rename(aside)
        watch.look()
        aside.rename(path)
        watch.look(later=SETTLE)
        watch.look_twice()
    assert message(spool, queue_id).state is State.BADMAIL


def test_a_file_that_is_put_back_after_it_was_discarded_is_entered_again(spool: Spool) -> None:
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    aside = path.with_name("aside")
    with watching(spool) as watch:
        path.rename(aside)
        watch.look_twice()
        aside.rename(path)
        watch.look_twice()
    (again,) = others(spool, queue_id)
    assert message(spool, again).state is State.BADMAIL
    assert message(spool, again).sha256 == message(spool, queue_id).sha256


def test_an_unknown_file_is_entered_under_a_new_queue_id_that_becomes_its_name(spool: Spool) -> None:
    path = spool.layout.badmail / "drawer.eml"
    path.write_bytes(NEW)
    with watching(spool) as watch:
        watch.look_twice()
    (queue_id,) = map(QueueId, queue_ids(spool))
    assert (message(spool, queue_id).state, message(spool, queue_id).octets) == (State.BADMAIL, len(NEW))
    filed = read_badmail(spool, queue_id)
    assert filed is not None
    assert spool.layout.badmail_message(queue_id).read_bytes()[filed.end :] == NEW
    assert not path.exists()
    assert "BadmailFound" in names(spool)


def test_an_unknown_file_names_only_recipients_that_may_get_mail(spool: Spool) -> None:
    """Its first lines may have been written by a sender, and a replay would believe them."""
    block = (
        b"X-Receiver: <sales@corp.example>\r\nX-Receiver: <victim@elsewhere.example>\r\nX-EndOfInjectedXHeaders: 0\r\n"
    )
    (spool.layout.badmail / "drawer.eml").write_bytes(block + NEW)
    with watching(spool) as watch:
        watch.look_twice()
    (queue_id,) = queue_ids(spool)
    assert message(spool, queue_id).recipients == ("sales@corp.example",)


@pytest.mark.parametrize("step", range(1, 12))
def test_an_unknown_file_is_entered_once_whatever_step_the_process_dies_at(tmp_path: Path, step: int) -> None:
    disk = FaultyDisk()
    spool = spool_at(tmp_path, ahead=timedelta(minutes=-1), disk=disk)
    (spool.layout.badmail / "drawer.eml").write_bytes(NEW)
    try:
        with watching(spool) as watch:
            watch.look()
            disk.fail(step, lasting=True)
            watch.look(later=SETTLE)
            disk.mend()
    except SpoolFailed:
        disk.mend()
    with watching(spool) as watch:
        watch.look_twice()
    (queue_id,) = queue_ids(spool)
    assert message(spool, queue_id).sha256 == digest(NEW).sha256
    assert [path.name for path in spool.layout.badmail.glob("*.eml")] == [f"{queue_id}.eml"]


def test_a_file_whose_row_is_live_is_left_to_its_stage(spool: Spool) -> None:
    """Validate wrote it and died: it completes the move at its start."""
    (receipt,) = admit(spool, arrival())
    path = spool.layout.badmail_message(receipt.queue_id)
    path.write_bytes(NEW)
    with watching(spool) as watch:
        watch.look_twice()
    assert queue_ids(spool) == [receipt.queue_id]
    assert path.exists()


def test_a_file_whose_parent_is_live_is_left_to_its_stage(spool: Spool) -> None:
    """Submit divided a message and died before the commit."""
    (parent,) = make_ready(spool, arrival())
    path = spool.layout.badmail_message(new_queue_id())
    path.write_bytes(f"{PREFIX}Parent: {parent}\r\nX-EndOfInjectedXHeaders: 0\r\n".encode() + NEW)
    with watching(spool) as watch:
        watch.look_twice()
    assert queue_ids(spool) == [parent]
    assert path.exists()


def test_a_file_whose_pickup_claim_is_live_is_left_alone(spool: Spool) -> None:
    queue_id = new_queue_id()
    spool.layout.pickup_claim(queue_id).write_bytes(NEW)
    spool.layout.badmail_message(queue_id).write_bytes(NEW)
    with watching(spool) as watch:
        watch.look_twice()
    assert queue_ids(spool) == []


def test_a_message_whose_replay_is_on_its_way_is_not_discarded_with_its_file(spool: Spool) -> None:
    queue_id = refused(spool)
    begin_replay(spool, queue_id)
    spool.layout.badmail_message(queue_id).unlink()
    with watching(spool) as watch:
        watch.look_twice()
    assert message(spool, queue_id).state is State.BADMAIL


def test_a_file_left_over_by_a_replay_is_unlinked(tmp_path: Path) -> None:
    """`replayed` unlinks after the commit; a crash in between leaves the file."""
    spool = spool_at(tmp_path, ahead=timedelta(minutes=1))
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    with watching(spool) as watch:
        path.rename(path.with_name("aside"))
        watch.look_twice()
        assert message(spool, queue_id).state is State.DISCARDED
        path.with_name("aside").rename(path)
        watch.look_twice()
    assert not path.exists()
    assert queue_ids(spool) == [queue_id]


def test_what_is_no_regular_file_is_told_of_once_and_left(spool: Spool) -> None:
    (spool.layout.badmail / "link.eml").symlink_to("/nowhere")
    with watching(spool) as watch:
        watch.look_twice()
        assert not watch.look(later=LOOK_SECONDS)
        watch.look(later=SETTLE)
    assert names(spool).count("SpoolWarning") == 1
    assert queue_ids(spool) == []


def test_other_names_are_ignored(spool: Spool) -> None:
    for name in ("x.eml.tmp", ".x.eml", "notes.txt"):
        (spool.layout.badmail / name).write_bytes(NEW)
    with watching(spool) as watch:
        assert not watch.look(later=LOOK_SECONDS)
    assert queue_ids(spool) == []


def test_a_file_that_is_open_for_writing_is_not_entered_yet(spool: Spool) -> None:
    with watching(spool) as watch:
        with (spool.layout.badmail / "drawer.eml").open("wb") as file:
            file.write(NEW)
            file.flush()
            watch.look_twice()
            assert queue_ids(spool) == []
        watch.look_twice()
    assert len(queue_ids(spool)) == 1


def test_a_change_inside_a_file_is_seen_after_ten_seconds_at_most(spool: Spool) -> None:
    """It does not show in the directory, and looking at thousands of files every second would cost too much."""
    queue_id = refused(spool)
    with watching(spool) as watch:
        watch.look_twice()
        edit(spool, queue_id, b"<alice@example.org>", b"<carol@example.org>")
        assert not watch.look()
        assert watch.look(later=LOOK_SECONDS)
        watch.look(later=SETTLE)
    assert message(spool, queue_id).sender == "carol@example.org"


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("is_known", [True, False])
def test_whatever_stands_in_the_place_of_a_file_is_left_and_told_of_once(
    spool: Spool, kind: str, is_known: bool
) -> None:
    """Whoever opened the FIFO as a file would wait for ever; its name is a queue id, so its kin is asked for."""
    queue_id = refused(spool) if is_known else new_queue_id()
    path = spool.layout.badmail_message(queue_id)
    path.unlink(missing_ok=True)
    put_no_file(path, kind)
    with watching(spool) as watch:
        watch.look_twice()
        watch.look_twice()
    assert names(spool).count("SpoolWarning") == 1
    assert [message(spool, one).state for one in queue_ids(spool)] == [State.BADMAIL] * is_known


def test_a_file_that_is_put_right_again_is_read_again(spool: Spool) -> None:
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    whole = path.read_bytes()
    path.unlink()
    path.mkdir()
    with watching(spool) as watch:
        watch.look_twice()
        path.rmdir()
        path.write_bytes(whole.replace(b"<alice@example.org>", b"<carol@example.org>"))
        watch.look_twice()
    assert message(spool, queue_id).sender == "carol@example.org"


class TooLate(BadmailChanges):
    """Comes when the operator has just removed the file."""

    def read_again(self, queue_id: QueueId) -> None:
        self._path(queue_id).unlink()
        super().read_again(queue_id)

    def enter(self, path: Path) -> None:
        path.unlink()
        super().enter(path)


def test_a_file_that_vanishes_between_look_and_reading_ends_nothing(spool: Spool) -> None:
    queue_id = refused(spool)
    edit(spool, queue_id, b"alice", b"carol")
    (spool.layout.badmail / "drawer.eml").write_bytes(NEW)
    with watching(spool, changing=TooLate) as watch:
        watch.look_twice()
        watch.look_twice()
    assert message(spool, queue_id).state is State.DISCARDED
    assert queue_ids(spool) == [queue_id]
    assert "SpoolWarning" not in names(spool)


def test_a_block_that_does_not_end_is_no_block(spool: Spool) -> None:
    """64 KiB are looked at: what has more lines in front is a message that begins with them."""
    queue_id = refused(spool)
    huge = b"X-Receiver: <%s@corp.example>\r\n" % (b"x" * 100) * 1000
    spool.layout.badmail_message(queue_id).write_bytes(huge + b"X-EndOfInjectedXHeaders: 1\r\n" + NEW)
    with watching(spool) as watch:
        watch.look_twice()
    row = message(spool, queue_id)
    assert (row.recipients, row.octets) == (("sales@corp.example",), len(huge) + 28 + len(NEW))


def test_a_large_file_is_read_piece_by_piece(spool: Spool) -> None:
    """A gigabyte of holes costs no memory; a smaller one is enough to see that it is not read at once."""
    path = spool.layout.badmail / "large.eml"
    with path.open("wb") as file:
        file.write(NEW)
        file.truncate(64 * 1024 * 1024)
    tracemalloc.start()
    with watching(spool) as watch:
        watch.look_twice()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (queue_id,) = queue_ids(spool)
    assert message(spool, queue_id).octets == 64 * 1024 * 1024
    assert peak < 8 * 1024 * 1024


def test_a_file_that_is_renamed_is_the_old_message_gone_and_a_new_one(spool: Spool) -> None:
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    path.rename(path.with_name("keep this.eml"))
    with watching(spool) as watch:
        watch.look_twice()
    (again,) = others(spool, queue_id)
    assert (message(spool, queue_id).state, message(spool, again).state) == (State.DISCARDED, State.BADMAIL)
    assert message(spool, again).sha256 == message(spool, queue_id).sha256


def test_a_message_that_was_discarded_by_a_command_leaves_nothing_to_find(spool: Spool) -> None:
    queue_id = refused(spool)
    with watching(spool) as watch:
        watch.look()
        decide(spool, queue_id, Outcome.DISCARDED, is_badmail=True)
        watch.look_twice()
    assert names(spool).count("StateChanged") == 1
    assert queue_ids(spool) == [queue_id]
