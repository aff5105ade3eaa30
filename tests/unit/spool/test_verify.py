"""What verify tells is so, and what stages do at the same time is no false alarm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from spool import models
from spool.admission import Admission
from spool.badmail_changes import BadmailChanges
from spool.envelope import Reason
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId, new_queue_id
from spool.retention import collect, finish_collection
from spool.rows import Message
from spool.segments import HEADER_OCTETS, LARGE_OCTETS
from spool.staging import Rejected, open_journal
from spool.states import State
from spool.verify import Verification, verify
from tests.support.dropping import NO_FILES, put_no_file
from tests.support.spools import admit, arrival, letters, make_spool, staging

REASON = Reason(stage="validate", text="no usable reverse-path")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = make_spool(tmp_path)
    yield made
    made.close()


def segment(spool: Spool) -> Path:
    [path] = spool.layout.segments.glob("*.seg")
    return path


def alter(path: Path, old: bytes, new: bytes) -> None:
    octets = path.read_bytes()
    assert old in octets
    path.write_bytes(octets.replace(old, new))


def refuse(spool: Spool) -> Path:
    """A message in Badmail; answers its file."""
    admit(spool, arrival())
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle([rejected(one) for one in staged.waiting(10)])
    [file] = spool.layout.badmail.iterdir()
    return file


def rejected(message: Message) -> Rejected:
    return Rejected(message=message, reason=REASON, recipients=(), subject="", sender=None)


def only_problem(spool: Spool) -> str:
    found = verify(spool)
    assert not found.ok
    [problem] = found.problems
    return problem


def test_a_new_spool_is_sound(spool: Spool) -> None:
    assert verify(spool) == Verification(ok=True, checked=0, problems=())


def test_messages_in_spool_and_badmail_are_counted(spool: Spool) -> None:
    refuse(spool)
    admit(spool, *letters(600, prefix="more"))
    assert verify(spool) == Verification(ok=True, checked=601, problems=())


def test_a_message_whose_bytes_differ_is_told_of(spool: Spool) -> None:
    """I2."""
    [receipt, _] = admit(spool, *letters(2))
    alter(segment(spool), b"Number 1.", b"Number x.")
    assert receipt.queue_id in only_problem(spool)


def test_a_missing_segment_is_told_of(spool: Spool) -> None:
    [receipt] = admit(spool, arrival())
    segment(spool).unlink()
    found = verify(spool)
    assert "segments/fetch-0000000001.seg: is missing" in found.problems
    assert any(receipt.queue_id in problem for problem in found.problems)


def test_a_segment_that_ends_too_soon_is_told_of(spool: Spool) -> None:
    admit(spool, arrival())
    path = segment(spool)
    path.write_bytes(path.read_bytes()[:-1])
    assert any("octets are committed" in problem for problem in verify(spool).problems)


def test_damage_between_the_messages_that_are_needed_is_told_of(spool: Spool) -> None:
    """A frame is needed by a rebuild, even that of a message which is finished."""
    admit(spool, arrival())
    octets = bytearray(segment(spool).read_bytes())
    octets[HEADER_OCTETS + 16] ^= 1
    segment(spool).write_bytes(octets)
    assert f"octets {HEADER_OCTETS} to {len(octets)} are not a record" in only_problem(spool)


def test_a_damaged_header_is_told_of(spool: Spool) -> None:
    """Without it, and without a first frame, a rebuild cannot read the segment."""
    admit(spool, arrival())
    path = segment(spool)
    damaged = bytes(octet ^ 0xFF for octet in path.read_bytes()[: HEADER_OCTETS + 1])
    path.write_bytes(damaged + path.read_bytes()[HEADER_OCTETS + 1 :])
    assert any("its header is damaged" in problem for problem in verify(spool).problems)


def test_octets_beyond_what_was_committed_are_their_owners(spool: Spool) -> None:
    """I3: a torn tail waits for recovery."""
    admit(spool, arrival())
    with segment(spool).open("ab") as file:
        file.write(b"torn")
    assert verify(spool).ok


def test_a_row_that_points_beyond_what_was_committed_is_told_of(spool: Spool) -> None:
    [receipt] = admit(spool, arrival())
    with spool.index.write() as connection:
        connection.execute(update(models.segments).values(committed_octets=HEADER_OCTETS))
    assert receipt.queue_id in only_problem(spool)


@pytest.mark.parametrize("name", ["fetch-0000000009.seg", "notes.txt"])
def test_a_file_that_no_row_knows_is_told_of(spool: Spool, name: str) -> None:
    (spool.layout.segments / name).write_bytes(b"")
    assert any(name in problem for problem in verify(spool).problems)


def test_a_segment_that_was_never_created_is_no_problem(spool: Spool) -> None:
    """Its row comes first: a process may have ended in between."""
    with take_stage(spool, Stage.FETCH) as tenure:
        Admission(spool, tenure).admit([arrival()])
        segment(spool).unlink()
    with spool.index.write() as connection:
        connection.execute(delete(models.messages))
        connection.execute(update(models.segments).values(committed_octets=0))
    assert verify(spool).ok


def test_a_segment_that_is_being_collected_is_no_problem(spool: Spool) -> None:
    """It is marked, then unlinked, then forgotten: a process may end in between."""
    admit(spool, arrival())
    with spool.index.write() as connection:
        connection.execute(update(models.messages).values(state=State.DISCARDED))
        connection.execute(update(models.segments).values(status="marked"))
    segment(spool).unlink()
    assert verify(spool).ok
    finish_collection(spool, Stage.FETCH)
    assert verify(spool).ok


def test_a_large_file_without_a_row_is_its_owners(spool: Spool) -> None:
    """I3: it is durable before its row is committed."""
    one = arrival(b"x" * LARGE_OCTETS)
    with take_stage(spool, Stage.FETCH) as tenure:
        writer = Admission(spool, tenure).open_large(one.origin)
        writer.write(b"x")
        assert verify(spool).ok
        writer.finish()
        assert verify(spool).ok


def test_a_badmail_message_without_its_file_is_told_of(spool: Spool) -> None:
    file = refuse(spool)
    file.unlink()
    assert only_problem(spool) == f"Badmail/{file.name}: is missing"


def test_an_edited_badmail_file_is_no_problem(spool: Spool) -> None:
    """There the file is the truth. What was cut looks the same, so it is remarked upon."""
    file = refuse(spool)
    whole = file.read_bytes()
    assert verify(spool).remarks == ()
    for changed in (whole + b"edited", whole[:-5], whole[:-1] + b"!"):
        file.write_bytes(changed)
        found = verify(spool)
        assert found.ok
        assert [remark.partition(": it has")[0] for remark in found.remarks] == [
            f"Badmail/{file.name}: its message was edited or cut"
        ]
    file.write_bytes(b"From: alice@example.org\r\n\r\nOnly this.\r\n")
    assert verify(spool).remarks == (f"Badmail/{file.name}: it does not begin with our block any more",)


def test_an_edited_reason_in_badmail_is_not_worth_a_remark(spool: Spool) -> None:
    file = refuse(spool)
    alter(file, b"no usable reverse-path", b"kept for the lawyers")
    assert verify(spool).remarks == ()


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_in_badmail_is_told_of_and_never_waited_for(spool: Spool, kind: str) -> None:
    file = refuse(spool)
    file.unlink()
    stranger = file.with_name(f"{new_queue_id()}.eml")
    for path in (file, stranger):
        put_no_file(path, kind)
    told = verify(spool).problems
    assert len(told) == 2
    assert all(any(path.name in problem for problem in told) for path in (file, stranger))


def test_a_copy_with_a_longer_name_is_not_taken_for_the_message(spool: Spool) -> None:
    file = refuse(spool)
    file.rename(file.with_name(f"copy-{file.name}"))
    assert only_problem(spool) == f"Badmail/{file.name}: is missing"


def test_a_badmail_file_that_no_row_knows_is_told_of(spool: Spool) -> None:
    file = refuse(spool)
    name = f"{new_queue_id()}.eml"
    file.with_name(name).write_bytes(b"Subject: stranger\r\n\r\n")
    assert only_problem(spool) == f"Badmail/{name}: the index does not know it"


def test_a_badmail_file_left_behind_is_told_of(spool: Spool) -> None:
    file = refuse(spool)
    with spool.index.write() as connection:
        connection.execute(update(models.messages).values(state=State.DISCARDED))
    assert only_problem(spool) == f"Badmail/{file.name}: was left behind, its message is discarded"


def test_the_badmail_file_of_a_live_message_is_left_to_its_owner(spool: Spool) -> None:
    """The file comes first: its stage completes the move at its next start."""
    refuse(spool)
    with spool.index.write() as connection:
        connection.execute(update(models.messages).values(state=State.STAGED))
    assert verify(spool).ok


def test_the_badmail_file_of_refused_recipients_is_left_to_the_owner_of_their_parent(spool: Spool) -> None:
    file = refuse(spool)
    parent, child = file.stem, new_queue_id()
    text = file.read_bytes().replace(parent.encode(), child.encode())
    with spool.index.write() as connection:
        connection.execute(update(models.messages).values(state=State.READY))
    file.unlink()
    reason = b"X-POP3Connector-Reason"
    named = text.replace(reason, b"X-POP3Connector-Parent: " + parent.encode() + b"\r\n" + reason)
    file.with_name(f"{child}.eml").write_bytes(named)
    assert verify(spool).ok


def test_a_damaged_journal_line_is_told_of(spool: Spool) -> None:
    refuse(spool)
    alter(spool.layout.journal(Stage.VALIDATE), b"badmail", b"badmaiL")
    assert only_problem(spool) == "journal/validate.journal: line 2 is damaged"


def test_an_index_older_than_a_journal_is_told_of(spool: Spool) -> None:
    refuse(spool).unlink()
    with spool.index.write() as connection:
        connection.execute(delete(models.messages))
        connection.execute(delete(models.journals))
    assert "spool rebuild" in only_problem(spool)


def test_a_damaged_index_is_told_of(spool: Spool) -> None:
    admit(spool, *letters(200))
    spool.close()
    octets = bytearray(spool.layout.index.read_bytes())
    for start in range(40 * 4096, len(octets), 4096):
        octets[start : start + 64] = bytes(64)
    spool.layout.index.write_bytes(octets)
    found = verify(spool)
    assert not found.ok
    assert found.problems


def test_verify_changes_nothing(spool: Spool) -> None:
    refuse(spool)
    admit(spool, *letters(3))
    before = contents(spool)
    verify(spool)
    assert contents(spool) == before


def contents(spool: Spool) -> dict[str, bytes]:
    """All files but SQLite's shared memory, where a reader leaves its mark."""
    files = (path for path in spool.layout.root.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path): path.read_bytes() for path in files}


def test_verify_raises_no_false_alarm_while_stages_work(spool: Spool) -> None:
    """Messages arrive, are refused, and their segments go, while it looks."""
    is_over = threading.Event()
    found: list[Verification] = []

    def look() -> None:
        while not is_over.is_set():
            found.append(verify(spool))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        with take_stage(spool, Stage.FETCH) as fetch, take_stage(spool, Stage.VALIDATE) as validate:
            admission, journal = Admission(spool, fetch), open_journal(spool, Stage.FETCH)
            with staging(spool, validate) as staged:
                for number in range(20):
                    admission.admit(letters(20, prefix=f"round{number}-"))
                    staged.settle([rejected(one) for one in staged.waiting(15)])
                    admission.seal()
                    collect(spool, fetch, admission=admission, journal=journal)
            journal.close()
    finally:
        is_over.set()
        thread.join()
    assert {problem for one in found for problem in one.problems} == set()
    assert len(found) > 1


def test_an_edited_badmail_file_that_grew_is_no_problem(spool: Spool) -> None:
    """In Badmail the file is the truth: its length says nothing of the record that the segment still holds."""
    file = refuse(spool)
    queue_id = QueueId(file.stem)
    file.write_bytes(file.read_bytes() + b"A longer text.\r\n" * 10)
    with take_stage(spool, Stage.PICKUP) as tenure:
        journal = open_journal(spool, Stage.PICKUP)
        BadmailChanges(spool, tenure, journal=journal, may_receive=lambda _: True).read_again(queue_id)
        journal.close()
    remark = f"Badmail/{file.name}: its message was edited or cut: it has 211 octets, 51 were refused"
    assert verify(spool) == Verification(ok=True, checked=1, problems=(), remarks=(remark,))
