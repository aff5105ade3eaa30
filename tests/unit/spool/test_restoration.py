"""A rebuilt index says of each message what the lost one said, and nothing that was finished begins again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from spool import models
from spool.admission import Admission
from spool.claims import Outbox
from spool.envelope import Reason, Receipt, Uidl
from spool.errors import ForbiddenTransition
from spool.journal import Outcome, read_journal
from spool.layout import Stage
from spool.ledger import Ledger
from spool.opening import Spool, take_stage
from spool.queue_id import new_queue_id
from spool.replay import begin_replay, finish_replays
from spool.retention import compact
from spool.staging import open_journal
from spool.states import State
from tests.support.attempts import submitting
from tests.support.by_hand import discard
from tests.support.dropping import NO_FILES, put_no_file, refused
from tests.support.rebuilding import (
    REASON,
    bytes_of,
    collect_submitted,
    fetching,
    rebuilt,
    refuse_staged,
    segments,
    submit,
)
from tests.support.spools import (
    LETTER,
    START,
    admit,
    arrival,
    letters,
    logged,
    make_ready,
    make_spool,
    message,
    passed,
    queue_ids,
    staging,
)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = make_spool(tmp_path)
    yield made
    made.close()


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


def test_a_damaged_message_may_be_fetched_again(spool: Spool) -> None:
    """Where the provider still has it, that is the message; a ledger entry would have it deleted there."""
    [one] = letters(1)
    admit(spool, one)
    [path] = segments(spool.layout)
    path.write_bytes(path.read_bytes().replace(b"Number 1.", b"Number x."))
    with rebuilt(spool) as (after, _):
        assert Ledger(after).entries("sales") == []


def test_a_damaged_record_of_a_submitted_message_is_never_deleted_unread(spool: Spool) -> None:
    """It was had, but its content cannot be compared any more with what the provider shows."""
    [queue_id] = make_ready(spool, *letters(1))
    submit(spool, "a")
    [path] = segments(spool.layout)
    path.write_bytes(path.read_bytes().replace(b"Number 1.", b"Number x."))
    with rebuilt(spool) as (after, result):
        assert (result.states, result.problems) == ({State.SUBMITTED: 1}, ())
        assert message(after, queue_id).state is State.SUBMITTED
        assert [(entry.uidl, entry.identity) for entry in Ledger(after).entries("sales")] == [(Uidl(b"u1"), None)]


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


def test_what_was_had_outlives_its_segment_also_where_its_badmail_file_was_edited(spool: Spool) -> None:
    """The segment that goes after the first rebuild has to leave its entries to the second."""
    admit(spool, arrival())
    refuse_staged(spool)
    [file] = spool.layout.badmail.iterdir()
    file.write_bytes(file.read_bytes() + b"more\r\n")
    with rebuilt(spool) as (again, _):
        collect_submitted(again)
        with rebuilt(again) as (last, _):
            assert len(Ledger(last).entries("sales")) == 1


def test_a_replay_that_is_on_its_way_is_not_replayed_again(tmp_path: Path) -> None:
    """Its file in Pickup bears the new queue id; a second replay would be delivered beside it."""
    spool = make_spool(tmp_path)
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    with rebuilt(spool) as (after, _):
        row = message(after, queue_id)
        assert (row.state, row.replay_id) == (State.BADMAIL, child)
        with pytest.raises(ForbiddenTransition, match=child):
            begin_replay(after, queue_id)


@pytest.mark.parametrize("name", ["{}.eml", "copy-{}.eml", "copy.eml"])
def test_a_copy_of_a_badmail_file_in_pickup_is_no_replay_on_its_way(tmp_path: Path, name: str) -> None:
    """A file that a replay wrote has another queue id for its whole name; this one is taken like any other."""
    spool = make_spool(tmp_path)
    queue_id = refused(spool)
    shutil.copy(spool.layout.badmail_message(queue_id), spool.layout.pickup / name.format(queue_id))
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).replay_id is None


def test_a_file_in_pickup_with_a_queue_id_within_its_name_is_no_replay_on_its_way(tmp_path: Path) -> None:
    """The replay would be written again for want of its file, and be delivered beside this one."""
    spool = make_spool(tmp_path)
    queue_id = refused(spool)
    shutil.copy(spool.layout.badmail_message(queue_id), spool.layout.pickup / f"copy-{new_queue_id()}.eml")
    with rebuilt(spool) as (after, _):
        assert finish_replays(after) == 0
        assert message(after, queue_id).replay_id is None


def test_a_discard_that_was_only_wished_is_carried_out_with_an_event(spool: Spool) -> None:
    """I7. The index is lost while submit had the message in hand."""
    [queue_id] = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        outbox.claim(1)
        discard(spool, queue_id)
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is State.DISCARDED
        [event] = [event for event in logged(after) if event.queue_id == queue_id]
        assert event.text == "discarded: ready became discarded"


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("has_record", [True, False])
def test_what_stands_in_the_place_of_a_badmail_file_is_told_of_and_loses_nothing(
    spool: Spool, kind: str, has_record: bool
) -> None:
    """A rebuild neither waits for it nor ends there; the message counts as Badmail while anything of it is known."""
    [receipt] = admit(spool, arrival())
    refuse_staged(spool)
    if not has_record:
        collect_submitted(spool)
    path = spool.layout.badmail_message(receipt.queue_id)
    path.unlink()
    put_no_file(path, kind)
    with rebuilt(spool) as (after, result):
        assert any(path.name in problem for problem in result.problems)
        assert queue_ids(after) == [receipt.queue_id] * has_record
        assert not has_record or message(after, receipt.queue_id).state is State.BADMAIL


def test_a_copy_with_a_longer_name_is_not_taken_for_the_message(spool: Spool) -> None:
    """Else a message on its way would be Badmail without a file, and soon thrown away."""
    [queue_id] = make_ready(spool, arrival())
    (spool.layout.badmail / f"copy-{queue_id}.eml").write_bytes(LETTER)
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is State.STAGED
