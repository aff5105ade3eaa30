"""The index made anew from the files says what the lost one said, and nothing that was finished begins again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from spool import models
from spool.admission import BATCH_MESSAGES, Admission
from spool.claims import Outbox
from spool.content import load
from spool.envelope import Reason, Receipt, Uidl
from spool.errors import IndexLost, SpoolFailed, SpoolUnusable, StageHeld
from spool.journal import Outcome, read_journal
from spool.layout import Layout, Stage
from spool.ledger import Ledger
from spool.locks import RUN, hold
from spool.message_file import arrival_fields, block
from spool.opening import Spool, open_spool, take_stage
from spool.queue_id import new_queue_id
from spool.rebuild import Rebuilt, rebuild
from spool.retention import collect, compact
from spool.rows import Message
from spool.segments import LARGE_OCTETS, SegmentWriter, read_nonce
from spool.settlement import Answer, Verdict, settlement
from spool.staging import Rejected, open_journal
from spool.states import State
from spool.verify import verify
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import (
    LETTER,
    START,
    Clock,
    admit,
    arrival,
    letters,
    logged,
    make_ready,
    make_spool,
    message,
    passed,
    staging,
)

REASON = Reason(stage="submit", code=550, enhanced="5.7.1", text="refused as spam")
VERDICTS = {"a": Verdict.ACCEPTED, "p": Verdict.POSTPONED, "r": Verdict.REFUSED}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = make_spool(tmp_path)
    yield made
    made.close()


def submit(spool: Spool, answers: str) -> None:
    """Make one attempt at all that is due: `ap` accepts the first recipient and postpones the second."""
    with take_stage(spool, Stage.SUBMIT) as tenure:
        outbox = Outbox(spool, tenure)
        for claim in outbox.claim(1000):
            outbox.dot(claim)
            said = [
                Answer(recipient=recipient, verdict=VERDICTS[letter], reason=REASON)
                for recipient, letter in zip(claim.message.recipients, answers, strict=True)
            ]
            settled = settlement(
                claim.message, claim.number, answers=said, attempt_clock=0, next_attempt_at=spool.now()
            )
            outbox.note(settled)
            outbox.settle([settled])
        outbox.close()


def refuse_staged(spool: Spool) -> None:
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle(
            [
                Rejected(message=one, reason=REASON, recipients=("sales@corp.example",), subject="", sender=None)
                for one in staged.waiting(1000)
            ]
        )


@contextmanager
def fetching(spool: Spool) -> Iterator[Admission]:
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        yield admission
        admission.close()


@contextmanager
def rebuilt(spool: Spool, *, clock: Clock | None = None) -> Iterator[tuple[Spool, Rebuilt]]:
    """Rebuild without the help of the old index."""
    spool.close()
    for path in spool.layout.root.glob("index.sqlite3*"):
        path.unlink()
    result = rebuild(spool.layout.root, now=clock or Clock())
    opened = open_spool(spool.layout.root, now=clock or Clock())
    try:
        yield opened, result
    finally:
        opened.close()


def bytes_of(spool: Spool, one: Message) -> bytes:
    assert one.stored is not None
    return load(spool, one.stored)


def segments(layout: Layout) -> list[Path]:
    return sorted(layout.segments.glob("*.seg"), key=lambda path: path.stem.rpartition("-")[2])


def test_a_staged_message_is_staged_with_all_that_was_known_of_it(spool: Spool) -> None:
    [receipt] = admit(spool, replace(arrival(), objection=Reason(stage="fetch", text="too large")))
    before = message(spool, receipt.queue_id)
    with rebuilt(spool) as (after, result):
        assert result.states == {State.STAGED: 1}
        found = message(after, receipt.queue_id)
        assert replace(found, stored=None) == replace(before, stored=None)
        assert bytes_of(after, found) == bytes_of(spool, before)


def test_a_pickup_message_keeps_its_envelope(spool: Spool) -> None:
    one = replace(arrival(account=""), sender="bob@example.org", recipients=("sales@corp.example",))
    with take_stage(spool, Stage.PICKUP) as tenure:
        admission = Admission(spool, tenure)
        [receipt] = admission.admit([one])
        admission.close()
    with rebuilt(spool) as (after, _):
        found = message(after, receipt.queue_id)
        assert (found.sender, found.recipients) == ("bob@example.org", ("sales@corp.example",))


def test_a_pickup_message_is_not_in_the_ledger(spool: Spool) -> None:
    """The ledger is of maildrops; two equal files in Pickup are two messages."""
    with take_stage(spool, Stage.PICKUP) as tenure:
        admission = Admission(spool, tenure)
        admission.admit([arrival(account="", uidl=""), arrival(account="", uidl="", copy=2)])
        admission.close()
    with rebuilt(spool) as (_, result):
        assert (result.messages, result.ledger_entries) == (2, 0)


def test_a_ready_message_is_staged_again(spool: Spool) -> None:
    """Its envelope is derived from it once more."""
    [queue_id] = make_ready(spool, arrival())
    with rebuilt(spool) as (after, _):
        found = message(after, queue_id)
        assert (found.state, found.sender, found.recipients) == (State.STAGED, None, ())


def test_a_submitted_message_is_not_sent_again(spool: Spool) -> None:
    [queue_id] = make_ready(spool, arrival())
    submit(spool, "a")
    with rebuilt(spool) as (after, _):
        found = message(after, queue_id)
        assert (found.state, len(found.accepted)) == (State.SUBMITTED, 1)


def test_what_was_accepted_of_a_deferred_message_is_not_sent_again(spool: Spool) -> None:
    [queue_id] = make_ready(spool, arrival(), recipients=["a@corp.example", "b@corp.example"])
    submit(spool, "ap")
    with rebuilt(spool) as (after, _):
        found = message(after, queue_id)
        assert (found.state, found.recipients, found.attempts) == (State.STAGED, ("b@corp.example",), 1)
        assert [one["recipient"] for one in found.accepted] == ["a@corp.example"]


def test_old_answers_do_not_speak_for_claims_made_after_a_rebuild(spool: Spool) -> None:
    """A process that dies after the rebuild, with the message claimed anew, must not settle it by the old answer."""
    [queue_id] = make_ready(spool, arrival())
    submit(spool, "p")
    with rebuilt(spool) as (after, _):
        with take_stage(after, Stage.VALIDATE) as tenure, staging(after, tenure) as staged:
            staged.settle([passed(one) for one in staged.waiting(10)])
        with take_stage(after, Stage.SUBMIT) as tenure:
            outbox = Outbox(after, tenure)
            assert [claim.message.queue_id for claim in outbox.claim(10)] == [queue_id]
            outbox.close()
        with take_stage(after, Stage.SUBMIT) as tenure:
            Outbox(after, tenure).close()
        found = message(after, queue_id)
        assert (found.state, found.attempts) == (State.READY, 1)


def test_an_attempt_without_an_answer_makes_a_possible_duplicate(spool: Spool) -> None:
    [queue_id] = make_ready(spool, arrival())
    with take_stage(spool, Stage.SUBMIT) as tenure:
        outbox = Outbox(spool, tenure)
        [claim] = outbox.claim(1)
        outbox.dot(claim)
        outbox.close()
    with rebuilt(spool) as (after, _):
        found = message(after, queue_id)
        assert (found.state, found.possible_duplicate) == (State.STAGED, True)
        assert "PossibleDuplicate" in [event.name for event in logged(after) if event.queue_id == queue_id]


def test_a_refused_message_is_in_badmail_as_its_file_says(spool: Spool) -> None:
    [receipt] = admit(spool, arrival())
    refuse_staged(spool)
    with rebuilt(spool) as (after, _):
        found = message(after, receipt.queue_id)
        assert (found.state, found.reason, found.recipients) == (State.BADMAIL, REASON, ("sales@corp.example",))


def test_a_badmail_message_outlives_its_segment(spool: Spool) -> None:
    [receipt] = admit(spool, arrival())
    refuse_staged(spool)
    segments(spool.layout)[0].unlink()
    with rebuilt(spool) as (after, _):
        found = message(after, receipt.queue_id)
        assert (found.state, found.account, found.uidl) == (State.BADMAIL, "sales", Uidl(b"u1"))


def test_an_edited_badmail_file_is_the_truth(spool: Spool) -> None:
    [receipt] = admit(spool, arrival())
    refuse_staged(spool)
    path = spool.layout.badmail_message(receipt.queue_id)
    path.write_bytes(path.read_bytes() + b"edited\r\n")
    with rebuilt(spool) as (after, _):
        found = message(after, receipt.queue_id)
        assert found.octets == len(LETTER) + len(b"edited\r\n")


def test_a_badmail_file_that_lost_its_block_is_still_badmail(spool: Spool) -> None:
    """As a discarded message its file would be cleared away as a leftover."""
    [receipt] = admit(spool, arrival())
    refuse_staged(spool)
    spool.layout.badmail_message(receipt.queue_id).write_bytes(b"Subject: edited\r\n\r\n")
    with rebuilt(spool) as (after, _):
        found = message(after, receipt.queue_id)
        assert (found.state, found.reason) == (State.BADMAIL, REASON)


def test_a_file_missing_from_badmail_is_discarded_with_a_line_and_an_event(spool: Spool) -> None:
    """I7: no message ends without an event and a journal line."""
    [receipt] = admit(spool, arrival())
    refuse_staged(spool)
    spool.layout.badmail_message(receipt.queue_id).unlink()
    with rebuilt(spool) as (after, _):
        assert message(after, receipt.queue_id).state is State.DISCARDED
        assert "StateChanged" in [event.name for event in logged(after)]
        lines = read_journal(after.layout.journal(Stage.PICKUP)).lines
        assert [(line.outcome, line.queue_id) for line in lines] == [(Outcome.DISCARDED, receipt.queue_id)]


def test_a_divided_message_stays_divided(spool: Spool) -> None:
    [queue_id] = make_ready(spool, arrival(), recipients=["a@corp.example", "b@corp.example", "c@corp.example"])
    submit(spool, "apr")
    with rebuilt(spool) as (after, result):
        assert result.states == {State.STAGED: 1, State.BADMAIL: 1}
        assert message(after, queue_id).recipients == ("b@corp.example",)
        [child] = after.layout.badmail.iterdir()
        found = message(after, child.stem)
        assert (found.parent, found.recipients) == (queue_id, ("c@corp.example",))


def test_a_replayed_message_is_not_replayed_again(spool: Spool) -> None:
    [receipt] = admit(spool, arrival())
    refuse_staged(spool)
    with take_stage(spool, Stage.PICKUP) as tenure:
        admission = Admission(spool, tenure, journal=open_journal(spool, Stage.PICKUP))
        [new] = admission.admit([replace(arrival(account=""), replays=receipt.queue_id)])
        admission.close()
    with rebuilt(spool) as (after, _):
        # Its file is still there, as after a crash before the unlink; whoever owns Badmail clears it by this row.
        assert message(after, receipt.queue_id).state is State.REPLAYED
        assert message(after, receipt.queue_id).replay_id == new.queue_id
        assert message(after, new.queue_id).state is State.STAGED


def test_what_was_had_is_not_fetched_again(spool: Spool) -> None:
    one = arrival()
    admit(spool, one)
    with rebuilt(spool) as (after, _), fetching(after) as admission:
        [receipt] = admission.admit([replace(one, origin=replace(one.origin, queue_id=new_queue_id()))])
        assert receipt == Receipt(queue_id=one.origin.queue_id, is_new=False)


def collect_submitted(spool: Spool) -> None:
    with take_stage(spool, Stage.FETCH) as tenure:
        admission, journal = Admission(spool, tenure), open_journal(spool, Stage.FETCH)
        assert collect(spool, tenure, admission=admission, journal=journal) == 1
        journal.close()


def test_what_was_had_outlives_its_segment(spool: Spool) -> None:
    one = arrival()
    make_ready(spool, one)
    submit(spool, "a")
    collect_submitted(spool)
    with rebuilt(spool) as (after, result):
        assert result.ledger_entries == 1
        [entry] = Ledger(after).entries("sales")
        assert (entry.uidl, entry.identity, entry.header) == (one.origin.uidl, one.digest.identity, one.digest.header)


def test_ledger_lines_do_not_go_while_a_rebuilt_ledger_needs_them(spool: Spool) -> None:
    """Lines go by the number of their entry: the entry keeps it."""
    make_ready(spool, *letters(1))
    submit(spool, "a")
    collect_submitted(spool)
    admit(spool, arrival(b"another", uidl="another"))
    with rebuilt(spool) as (after, _), take_stage(after, Stage.FETCH):
        journal = open_journal(after, Stage.FETCH)
        compact(after, journal, owner=Stage.FETCH)
        journal.close()
        assert [line.outcome for line in read_journal(journal.path).lines] == [Outcome.LEDGER]


def test_a_large_message_is_found_again(spool: Spool) -> None:
    content = b"Subject: large\r\n\r\n" + b"x" * LARGE_OCTETS
    one = arrival(content)
    with fetching(spool) as admission:
        writer = admission.open_large(one.origin)
        writer.write(content)
        digest, place = writer.finish()
        admission.admit([replace(one, digest=digest, content=place)])
    with rebuilt(spool) as (after, _):
        assert bytes_of(after, message(after, one.origin.queue_id)) == content
        assert verify(after).problems == ()


def test_a_damaged_message_is_told_of_and_the_others_go_on(spool: Spool) -> None:
    first, second = letters(2)
    admit(spool, first, second)
    [path] = segments(spool.layout)
    path.write_bytes(path.read_bytes().replace(b"Number 1.", b"Number x."))
    with rebuilt(spool) as (after, result):
        assert result.states == {State.DAMAGED: 1, State.STAGED: 1}
        assert message(after, first.origin.queue_id).state is State.DAMAGED
        assert any(first.origin.queue_id in problem for problem in result.problems)


def test_a_damaged_message_may_be_fetched_again(spool: Spool) -> None:
    """Where the provider still has it, that is the message; a ledger entry would have it deleted there."""
    [one] = letters(1)
    admit(spool, one)
    [path] = segments(spool.layout)
    path.write_bytes(path.read_bytes().replace(b"Number 1.", b"Number x."))
    with rebuilt(spool) as (after, _):
        assert Ledger(after).entries("sales") == []


def test_octets_that_are_no_record_are_kept_aside(spool: Spool) -> None:
    """Their segment will be collected when no other message in it is needed."""
    first, second = letters(2)
    admit(spool, first, second)
    [path] = segments(spool.layout)
    octets = bytearray(path.read_bytes())
    nonce = read_nonce(path) or b""
    octets[octets.index(nonce + first.origin.queue_id.encode()) + len(nonce)] ^= 1
    path.write_bytes(octets)
    with rebuilt(spool) as (after, result):
        assert result.states == {State.STAGED: 1}
        [kept] = after.layout.damaged.iterdir()
        assert b"Number 1." in kept.read_bytes()
        assert kept.name in result.problems[0]


def test_a_segment_whose_nonce_is_lost_is_kept_aside(spool: Spool) -> None:
    admit(spool, *letters(1))
    [path] = segments(spool.layout)
    path.write_bytes(path.read_bytes().replace(read_nonce(path) or b"", b"x" * 16))
    with rebuilt(spool) as (after, result):
        assert result.messages == 0
        assert b"Number 1." in next(after.layout.damaged.iterdir()).read_bytes()


def test_an_imitation_of_our_framing_is_not_taken_for_a_record(spool: Spool) -> None:
    """A sender who has seen one of our segments cannot know the nonce of the next."""
    admit(spool, *letters(1))
    seen = segments(spool.layout)[0].read_bytes()
    [forged] = admit(spool, arrival(b"Subject: forged\r\n\r\n" + seen, uidl="forged"))
    segments(spool.layout)[0].unlink()
    with rebuilt(spool) as (after, result):
        assert result.states == {State.STAGED: 1}
        assert message(after, forged.queue_id).octets == len(b"Subject: forged\r\n\r\n" + seen)


def test_of_several_records_the_newest_whole_one_stands_for_the_message(spool: Spool) -> None:
    one = arrival()
    admit(spool, one)
    record = (one.origin.queue_id, block(arrival_fields(one)), LETTER)
    for serial in (2, 3):
        writer = SegmentWriter(spool.layout.segment(Stage.FETCH, serial), bytes(15) + bytes([serial]), disk=spool.disk)
        writer.append([record])
        writer.close()
    newest = spool.layout.segment(Stage.FETCH, 3)
    newest.write_bytes(newest.read_bytes().replace(b"Hello.", b"Hallo."))
    with rebuilt(spool) as (after, result):
        assert result.states == {State.STAGED: 1}
        assert bytes_of(after, message(after, one.origin.queue_id)) == one.content


def test_a_dead_copy_under_another_queue_id_is_no_second_message(spool: Spool) -> None:
    """A batch that was appended and whose commit failed, then was fetched again (I4)."""
    one = arrival()
    [queue_id] = make_ready(spool, one)
    submit(spool, "a")
    again = replace(one, origin=replace(one.origin, queue_id=new_queue_id(), fetched_at=START - timedelta(hours=1)))
    with fetching(spool) as admission:
        # The constraint refuses its row; its bytes stay in the segment.
        assert [receipt.is_new for receipt in admission.admit([again])] == [False]
    with rebuilt(spool) as (after, result):
        assert result.states == {State.SUBMITTED: 1}
        assert message(after, queue_id).state is State.SUBMITTED


def test_the_same_content_months_later_is_a_message_of_its_own(spool: Spool) -> None:
    """The ledger forgets 30 days after a maildrop stopped showing a UIDL: it may have been admitted again since."""
    one = arrival()
    make_ready(spool, one)
    submit(spool, "a")
    with spool.index.write() as connection:
        connection.execute(delete(models.ledger))
    later = replace(one.origin, queue_id=new_queue_id(), fetched_at=START + timedelta(days=60))
    admit(spool, replace(one, origin=later))
    with rebuilt(spool) as (_, result):
        assert result.states == {State.SUBMITTED: 1, State.STAGED: 1}


def test_what_may_not_be_on_disk_is_copied_and_synced(spool: Spool) -> None:
    """After a failed sync the page cache shows what a power cut would take, and nobody knows what was committed."""
    admit(spool, *letters(BATCH_MESSAGES + 10))
    [first] = segments(spool.layout)
    with rebuilt(spool) as (after, _):
        [same, copies] = segments(after.layout)
        assert same == first
        with after.index.read() as connection:
            by_file = connection.execute(select(models.messages.c.segment)).scalars().all()
        assert (by_file.count(1), by_file.count(2)) == (10, BATCH_MESSAGES)
        assert copies.stat().st_size > 0


def test_no_serial_is_given_twice(spool: Spool) -> None:
    """A journal line stays as long as a segment on disk may hold a record of its message, and serials tell."""
    admit(spool, *letters(1))
    [path] = segments(spool.layout)
    path.rename(spool.layout.segment(Stage.FETCH, 41))
    with rebuilt(spool) as (after, _), fetching(after) as admission:
        admission.admit([arrival(b"new", uidl="new")])
        assert [one.name for one in segments(after.layout)][-1] == "fetch-0000000043.seg"


def test_a_journal_remembers_serials_whose_segments_are_gone(spool: Spool) -> None:
    make_ready(spool, *letters(1))
    submit(spool, "a")
    collect_submitted(spool)
    with rebuilt(spool) as (after, _), fetching(after) as admission:
        admission.admit([arrival(b"new", uidl="new")])
        assert [one.name for one in segments(after.layout)] == ["fetch-0000000002.seg"]


def test_a_rebuilt_index_is_not_older_than_the_journals(spool: Spool) -> None:
    make_ready(spool, *letters(3))
    submit(spool, "a")
    with rebuilt(spool) as (after, _):
        for stage in Stage:
            with take_stage(after, stage):
                pass
        assert verify(after).problems == ()


def test_a_rebuild_may_be_repeated(spool: Spool) -> None:
    make_ready(spool, *letters(3))
    submit(spool, "a")
    admit(spool, arrival(b"waits", uidl="waits"))
    with rebuilt(spool) as (_, first):
        pass
    second = rebuild(spool.layout.root, now=Clock())
    assert (second.states, second.ledger_entries) == (first.states, first.ledger_entries)


def test_the_old_index_is_kept_with_its_log(spool: Spool) -> None:
    admit(spool, arrival())
    old = spool.layout.index
    result = rebuild(spool.layout.root, now=Clock())
    assert result.kept == old.with_name("index.sqlite3.before-rebuild-20260101T000000Z")
    assert result.kept.exists()
    # The old connections are still open, so their log was not taken in: it must lie beside its own database.
    assert result.kept.with_name(result.kept.name + "-wal").exists()
    assert not old.with_name(old.name + "-wal").exists()


def test_a_rebuild_leaves_one_event(spool: Spool) -> None:
    admit(spool, *letters(2))
    with rebuilt(spool) as (after, _):
        assert [event.text for event in logged(after)] == ["the index was rebuilt: 2 messages, 2 ledger entries"]


def test_a_rebuild_is_refused_while_a_stage_works(spool: Spool) -> None:
    with take_stage(spool, Stage.SUBMIT), pytest.raises(StageHeld, match=f"submit is held by process {os.getpid()}"):
        rebuild(spool.layout.root)


def test_a_rebuild_is_refused_while_the_supervisor_runs(spool: Spool) -> None:
    with hold(spool.layout, RUN), pytest.raises(StageHeld, match="run is held"):
        rebuild(spool.layout.root)


def test_a_directory_that_is_no_spool_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusable, match="is not a spool"):
        rebuild(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_journal_line_is_told_of(spool: Spool) -> None:
    make_ready(spool, *letters(2))
    submit(spool, "a")
    path = spool.layout.journal(Stage.SUBMIT)
    path.write_bytes(path.read_bytes().replace(b"submitted", b"submitteD", 1))
    with rebuilt(spool) as (_, result):
        assert result.problems == ("journal/submit.journal: line 3 is damaged",)


def test_what_rebuild_does_not_know_it_leaves_and_tells(spool: Spool) -> None:
    (spool.layout.segments / "notes.txt").write_text("mine")
    admit(spool, arrival())
    with rebuilt(spool) as (after, result):
        assert result.problems == ("segments/notes.txt is not a segment",)
        assert (after.layout.segments / "notes.txt").exists()


def test_a_rebuild_that_fails_at_any_step_can_be_run_again(spool: Spool, tmp_path: Path) -> None:
    """Until the new index has its name the stages have the old one, or are told to rebuild."""
    ids = make_ready(spool, *letters(3))
    submit(spool, "a")
    [waits] = admit(spool, arrival(b"waits", uidl="waits"))
    spool.close()
    for step in count(1):
        root = tmp_path / f"step{step}"
        shutil.copytree(spool.layout.root, root)
        disk = FaultyDisk()
        disk.fail(step, lasting=True)
        with suppress(SpoolFailed):
            rebuild(root, disk=disk, now=Clock())
            break
        with suppress(IndexLost):
            open_spool(root).close()
        rebuild(root, now=Clock())
        after = open_spool(root, now=Clock())
        assert {message(after, known).state for known in ids} == {State.SUBMITTED}
        assert bytes_of(after, message(after, waits.queue_id)) == b"waits"
        assert verify(after).ok
        after.close()
    assert step > 20
