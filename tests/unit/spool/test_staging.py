"""Staging: staged messages leave as ready or refused, files before rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spool.badmail import read_badmail
from spool.envelope import Needs, Reason
from spool.errors import SpoolFailed
from spool.journal import Outcome, read_journal
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.rows import Message, move
from spool.staging import Finding, Passed, Rejected, Staging, Unreadable
from spool.states import State, Trigger
from tests.support.dropping import NO_FILES, put_no_file
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import (
    LETTER,
    admit,
    arrival,
    letters,
    logged,
    make_spool,
    message,
    passed,
    queue_ids,
    staging,
)

NO = Reason(stage="validate", text="no reverse-path")


def rejected(one: Message) -> Rejected:
    return Rejected(message=one, reason=NO, recipients=("sales@corp.example",), subject="hello")


def settle(spool: Spool, *findings: Finding, queued_clock: int = 0) -> None:
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle(findings, queued_clock=queued_clock)


def one_staged(spool: Spool) -> Message:
    (receipt,) = admit(spool, arrival())
    return message(spool, receipt.queue_id)


def outcomes(spool: Spool) -> list[Outcome]:
    return [line.outcome for line in read_journal(spool.layout.journal(Stage.VALIDATE)).lines]


def test_the_oldest_wait_first(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    batch = letters(3)
    admit(spool, *reversed(batch))
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        assert [one.queue_id for one in staged.waiting(2)] == [one.origin.queue_id for one in batch[:2]]


def test_a_passed_message_is_ready_with_its_envelope(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    one = one_staged(spool)
    finding = Passed(
        message=one, sender="", recipients=("a@b.example", "c@d.example"), subject="s", needs=Needs(eightbit=True)
    )
    settle(spool, finding, queued_clock=77)
    row = message(spool, one.queue_id)
    assert (row.state, row.sender, row.recipients) == (State.READY, "", ("a@b.example", "c@d.example"))
    assert (row.subject, row.needs) == ("s", Needs(eightbit=True))
    with spool.index.read() as connection:
        assert connection.exec_driver_sql("SELECT queued_clock FROM messages").scalar() == 77


def test_a_refused_message_is_whole_in_badmail_with_its_reason(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    one = one_staged(spool)
    settle(spool, rejected(one))
    row = message(spool, one.queue_id)
    assert (row.state, row.reason) == (State.BADMAIL, NO)
    file = read_badmail(spool, one.queue_id)
    assert file is not None
    assert (file.reason, file.recipients, file.sha256) == (NO, ("sales@corp.example",), one.sha256)
    assert spool.layout.badmail_message(one.queue_id).read_bytes()[file.end :] == LETTER


def test_the_file_and_the_line_are_synced_before_the_row_says_so(tmp_path: Path) -> None:
    """Badmail, section 6: write .tmp, fsync, rename, fsync directory, journal line, commit."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    one = one_staged(spool)
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        disk.steps.clear()
        staged.settle([rejected(one)])
    name = f"{one.queue_id}.eml"
    assert disk.steps == [
        f"unlink {name}.tmp",
        f"create {name}.tmp",
        *[f"write {name}.tmp"] * 2,
        f"sync {name}.tmp",
        f"rename {name}.tmp {name}",
        "sync Badmail/",
        "write validate.journal",
        "sync validate.journal",
    ]


@pytest.mark.parametrize("step", range(1, 20))
def test_whichever_step_fails_the_next_start_ends_the_move_once(tmp_path: Path, step: int) -> None:
    """The message is staged or refused, never neither and never both."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    ids = [receipt.queue_id for receipt in admit(spool, *letters(2))]
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        disk.fail(step, lasting=True)
        findings = [rejected(one) for one in staged.waiting(10)]
        try:
            staged.settle(findings)
        except SpoolFailed:
            assert {message(spool, one).state for one in ids} == {State.STAGED}
    disk.mend()
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        filed = {one for one in ids if spool.layout.badmail_message(message(spool, one).queue_id).exists()}
        assert {one for one in ids if message(spool, one).state is State.BADMAIL} == filed
        staged.settle([rejected(one) for one in staged.waiting(10)])
    assert [message(spool, one).state for one in ids] == [State.BADMAIL] * 2
    assert [one.name for one in logged(spool)].count("Refused") == 2


def test_a_file_of_a_killed_validate_is_taken_at_its_word(tmp_path: Path) -> None:
    """The reason is the one that it gives; the row has none yet."""
    spool = make_spool(tmp_path)
    one = one_staged(spool)
    settle(spool, rejected(one))
    with spool.index.write() as connection:
        connection.exec_driver_sql("UPDATE messages SET state = 'staged', reason = NULL")
    settle(spool)
    row = message(spool, one.queue_id)
    assert (row.state, row.reason, row.recipients) == (State.BADMAIL, NO, ("sales@corp.example",))


def test_a_message_that_an_operator_held_meanwhile_stays_held(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    one = one_staged(spool)
    with spool.index.write() as connection:
        move(connection, one.queue_id, state=State.STAGED, trigger=Trigger.HELD, now=spool.now())
    settle(spool, rejected(one))
    assert message(spool, one.queue_id).state is State.HELD
    assert not spool.layout.badmail_message(one.queue_id).exists()
    assert outcomes(spool) == []


def test_an_unreadable_message_waits_for_the_operator_and_stops_no_other(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    bad, good = (message(spool, receipt.queue_id) for receipt in admit(spool, *letters(2)))
    settle(spool, Unreadable(message=bad, what="cut"), passed(good))
    assert [message(spool, one).state for one in queue_ids(spool)] == [State.DAMAGED, State.READY]
    assert outcomes(spool) == [Outcome.DAMAGED]
    assert "FoundDamaged" in [one.name for one in logged(spool)]


def test_a_refused_message_whose_bytes_are_gone_is_damaged_not_refused(tmp_path: Path) -> None:
    """Badmail would hold a file that is not the message."""
    spool = make_spool(tmp_path)
    one = one_staged(spool)
    spool.layout.segment(Stage.FETCH, 1).unlink()
    settle(spool, rejected(one))
    assert message(spool, one.queue_id).state is State.DAMAGED
    assert not spool.layout.badmail_message(one.queue_id).exists()


def test_every_exit_has_its_line_and_its_event(tmp_path: Path) -> None:
    """I7."""
    spool = make_spool(tmp_path)
    one = one_staged(spool)
    settle(spool, rejected(one))
    (line,) = read_journal(spool.layout.journal(Stage.VALIDATE)).lines
    assert (line.outcome, line.queue_id) == (Outcome.BADMAIL, one.queue_id)
    assert line.details == {
        "recipients": ["sales@corp.example"],
        "sha256": one.sha256.hex(),
        "reply": str(NO),
    }
    assert [event.name for event in logged(spool) if event.queue_id == one.queue_id] == ["Admitted", "Refused"]


def test_a_line_names_the_highest_segment_at_its_time(tmp_path: Path) -> None:
    """A line may go when every file on disk is younger: validate must not name the segment that it began with."""
    spool = make_spool(tmp_path)
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        admit(spool, arrival(uidl="u1"))
        admit(spool, arrival(uidl="u2"))
        staged.settle([rejected(staged.waiting(1)[0])])
    (line,) = read_journal(spool.layout.journal(Stage.VALIDATE)).lines
    assert line.serial == 2


def test_a_journal_with_a_damaged_line_is_kept_for_the_operator(tmp_path: Path) -> None:
    """It is written anew at the start, without what cannot be read; damage is never dropped in silence."""
    spool = make_spool(tmp_path)
    settle(spool, rejected(one_staged(spool)))
    path = spool.layout.journal(Stage.VALIDATE)
    damaged = path.read_bytes().replace(b"badmail", b"bedmail")
    path.write_bytes(damaged)
    settle(spool)
    (copy,) = spool.layout.damaged.iterdir()
    assert copy.read_bytes() == damaged
    assert "RecordUnreadable" in [event.name for event in logged(spool)]
    settle(spool)
    assert len(list(spool.layout.damaged.iterdir())) == 1


def test_a_second_holder_voids_the_first(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    one = one_staged(spool)
    with take_stage(spool, Stage.VALIDATE) as tenure:
        staged = Staging(spool, tenure)
        with spool.index.write() as connection:
            connection.exec_driver_sql("UPDATE stages SET epoch = epoch + 1 WHERE stage = 'validate'")
        with pytest.raises(Exception, match="validate is held"):
            staged.settle([passed(one)])
        staged.close()
    assert message(spool, one.queue_id).state is State.STAGED


def test_what_validate_saw_of_the_header_is_in_the_row(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    first, second = (message(spool, one.queue_id) for one in admit(spool, *letters(2)))
    settle(spool, replace(passed(first), message_id="1@a"), replace(rejected(second), message_id="2@a"))
    found = [message(spool, one.queue_id) for one in (first, second)]
    assert [(one.subject, one.message_id) for one in found] == [("hello", "1@a"), ("hello", "2@a")]


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_only_has_the_name_of_a_staged_message_in_badmail_is_no_unfinished_move(tmp_path: Path, kind: str) -> None:
    spool = make_spool(tmp_path)
    (receipt,) = admit(spool, arrival())
    put_no_file(spool.layout.badmail_message(receipt.queue_id), kind)
    settle(spool)
    assert message(spool, receipt.queue_id).state is State.STAGED
