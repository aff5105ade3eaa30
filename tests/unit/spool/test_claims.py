"""Claims: each attempt ends once, and a killed process leaves nothing sent twice that was known to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from spool.badmail import read_badmail
from spool.ended import GivenBack, Unreadable
from spool.errors import StageHeld
from spool.journal import Outcome, read_journal
from spool.layout import Stage
from spool.opening import Spool
from spool.rows import move
from spool.settlement import Verdict
from spool.states import State, Trigger
from tests.support.attempts import (
    DUE,
    LATER,
    OK,
    SPAM,
    A,
    B,
    C,
    answered,
    attempt,
    names,
    one_attempt,
    outcomes,
    submitting,
)
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import (
    Clock,
    admit,
    arrival,
    letters,
    make_ready,
    make_spool,
    message,
    queue_ids,
)


def test_what_is_claimed_is_not_claimed_again(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    ids = make_ready(spool, *letters(3))
    with submitting(spool) as outbox:
        assert [claim.message.queue_id for claim in outbox.claim(2)] == ids[:2]
        assert [claim.message.queue_id for claim in outbox.claim(2)] == ids[2:]
        assert outbox.claim(2) == []


def test_fresh_and_deferred_messages_take_turns(tmp_path: Path) -> None:
    """Old trouble never starves new mail (section 9), nor new mail old trouble."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    old = make_ready(spool, *letters(3, prefix="old"))
    with submitting(spool) as outbox:
        for _ in old:
            attempt(spool, outbox, Verdict.POSTPONED)
        fresh = make_ready(spool, *letters(3, prefix="new"))
        clock.advance(DUE)
        order = [claim.message.queue_id for claim in outbox.claim(6)]
    assert order == [fresh[0], old[0], fresh[1], old[1], fresh[2], old[2]]


def test_a_deferred_message_is_claimed_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    make_ready(spool, arrival())
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.POSTPONED)
        assert outbox.claim(1) == []
        assert outbox.next_due_at() == clock() + DUE
        clock.advance(DUE)
        assert len(outbox.claim(1)) == 1
        assert outbox.next_due_at() is None


def test_an_accepted_message_is_submitted(tmp_path: Path) -> None:
    spool, queue_id, _ = one_attempt(tmp_path, Verdict.ACCEPTED, Verdict.ACCEPTED)
    row = message(spool, queue_id)
    assert (row.state, row.reason, row.attempts, row.is_claimed) == (State.SUBMITTED, OK, 1, False)
    assert [one["recipient"] for one in row.accepted] == [A, B]
    assert names(spool, queue_id)[-1] == "Submitted"
    assert outcomes(spool) == [(queue_id, Outcome.DOT), (queue_id, Outcome.SUBMITTED)]


def test_a_postponed_message_waits_with_the_reply(tmp_path: Path) -> None:
    spool, queue_id, _ = one_attempt(tmp_path, Verdict.POSTPONED)
    row = message(spool, queue_id)
    assert (row.state, row.reason, row.recipients) == (State.DEFERRED, LATER, (A,))
    assert row.next_attempt_at == spool.now() + DUE
    assert names(spool, queue_id)[-1] == "Postponed"


def test_a_refused_message_is_in_badmail_with_the_reply(tmp_path: Path) -> None:
    """Never dropped, never bounced."""
    spool, queue_id, _ = one_attempt(tmp_path, Verdict.REFUSED, Verdict.REFUSED)
    row = message(spool, queue_id)
    assert (row.state, row.reason, row.recipients) == (State.BADMAIL, SPAM, (A, B))
    file = read_badmail(spool, row.queue_id)
    assert file is not None
    assert (file.reason, file.sender, file.recipients) == (SPAM, "alice@example.org", (A, B))
    assert outcomes(spool)[-1] == (queue_id, Outcome.BADMAIL)
    assert names(spool, queue_id)[-1] == "Refused"


def test_an_expired_message_is_in_badmail(tmp_path: Path) -> None:
    spool, queue_id, _ = one_attempt(tmp_path, Verdict.REFUSED, has_expired=True)
    assert message(spool, queue_id).state is State.BADMAIL


@pytest.mark.parametrize(
    ("verdicts", "state", "left", "accepted"),
    [
        ((Verdict.ACCEPTED, Verdict.REFUSED, Verdict.POSTPONED), State.DEFERRED, (C,), [A]),
        ((Verdict.ACCEPTED, Verdict.REFUSED), State.SUBMITTED, (), [A]),
        ((Verdict.POSTPONED, Verdict.REFUSED), State.DEFERRED, (A,), []),
    ],
)
def test_mixed_answers_divide_a_message(
    tmp_path: Path, verdicts: Sequence[Verdict], state: State, left: tuple[str, ...], accepted: list[str]
) -> None:
    """The refused recipients become a Badmail message that names its parent; the others go on."""
    spool, queue_id, settled = one_attempt(tmp_path, *verdicts)
    assert settled.child is not None
    row, child = message(spool, queue_id), message(spool, settled.child)
    assert (row.state, row.recipients, [one["recipient"] for one in row.accepted]) == (state, left, accepted)
    assert (child.state, child.recipients, child.parent, child.reason) == (State.BADMAIL, (B,), queue_id, SPAM)
    file = read_badmail(spool, settled.child)
    assert file is not None
    assert (file.parent, file.recipients, file.sha256) == (queue_id, (B,), row.sha256)
    assert "Divided" in names(spool, queue_id)


def test_accepted_and_postponed_recipients_need_no_child(tmp_path: Path) -> None:
    spool, queue_id, settled = one_attempt(tmp_path, Verdict.ACCEPTED, Verdict.POSTPONED)
    row = message(spool, queue_id)
    assert settled.child is None
    assert (row.state, row.recipients) == (State.DEFERRED, (B,))
    assert len(queue_ids(spool)) == 1


def test_acceptances_of_several_attempts_add_up(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.ACCEPTED, Verdict.POSTPONED)
        clock.advance(DUE)
        attempt(spool, outbox, Verdict.ACCEPTED)
    row = message(spool, queue_id)
    assert (row.state, [one["recipient"] for one in row.accepted], row.attempts) == (State.SUBMITTED, [A, B], 2)


def test_a_claim_that_was_given_back_counts_no_attempt_and_keeps_its_place(tmp_path: Path) -> None:
    """The route was sick: no message is to blame."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.settle([GivenBack(claim=claim, breaks={"cut": 1})])
        row = message(spool, queue_id)
        assert (row.state, row.attempts, row.possible_duplicate) == (State.READY, 0, False)
        (again,) = outbox.claim(1)
    assert (again.number, again.breaks) == (claim.number + 1, {"cut": 1})


def test_a_claim_that_was_given_back_may_go_behind_the_others(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    first, second = make_ready(spool, *letters(2))
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.settle([GivenBack(claim=claim, breaks={}, next_attempt_at=spool.now())])
        assert [one.message.queue_id for one in outbox.claim(2)] == [second, first]


def test_an_unknown_outcome_marks_a_possible_duplicate(tmp_path: Path) -> None:
    """The connection broke between the final dot and the reply."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        outbox.settle([GivenBack(claim=claim, breaks={}, outcome_unknown=True)])
        attempt(spool, outbox, Verdict.ACCEPTED)
    assert message(spool, queue_id).possible_duplicate
    assert names(spool, queue_id).count("PossibleDuplicate") == 1


def test_what_is_left_of_a_message_whose_other_replies_were_lost_is_marked(tmp_path: Path) -> None:
    """By LMTP one recipient may have been accepted before the connection was cut."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        settled = replace(answered(spool, claim, Verdict.ACCEPTED, Verdict.POSTPONED), outcome_unknown=True)
        outbox.note(settled)
        outbox.settle([settled])
    row = message(spool, queue_id)
    assert (row.state, row.recipients, row.possible_duplicate) == (State.DEFERRED, (B,), True)
    assert names(spool, queue_id)[-1] == "PossibleDuplicate"


def test_an_unreadable_message_waits_for_the_operator(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    bad, good = make_ready(spool, *letters(2))
    with submitting(spool) as outbox:
        claim, _ = outbox.claim(2)
        outbox.settle([Unreadable(claim=claim, what="cut")])
    assert message(spool, bad).state is State.DAMAGED
    assert message(spool, good).state is State.READY
    assert outcomes(spool) == [(bad, Outcome.DAMAGED)]
    assert names(spool, bad)[-1] == "FoundDamaged"


def test_a_divided_message_whose_bytes_are_gone_keeps_who_was_accepted(tmp_path: Path) -> None:
    """Sent again after its repair, it must not reach them twice."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    spool.layout.segment(Stage.FETCH, 1).unlink()
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.ACCEPTED, Verdict.REFUSED)
    row = message(spool, queue_id)
    assert (row.state, row.recipients, [one["recipient"] for one in row.accepted]) == (State.DAMAGED, (B,), [A])


def test_a_refused_message_whose_bytes_are_gone_is_damaged(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    spool.layout.segment(Stage.FETCH, 1).unlink()
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.REFUSED)
    assert message(spool, queue_id).state is State.DAMAGED
    assert list(spool.layout.badmail.iterdir()) == []


def test_the_answers_are_synced_before_the_badmail_file_and_its_line_before_the_row(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        disk.steps.clear()
        outbox.dot(claim)
        settled = answered(spool, claim, Verdict.ACCEPTED, Verdict.REFUSED)
        outbox.note(settled)
        outbox.settle([settled])
    name = f"{settled.child}.eml"
    assert disk.steps == [
        "write submit.journal",
        "write submit.journal",
        "sync submit.journal",
        f"unlink {name}.tmp",
        f"create {name}.tmp",
        *[f"write {name}.tmp"] * 2,
        f"sync {name}.tmp",
        f"rename {name}.tmp {name}",
        "sync Badmail/",
        "write submit.journal",
        "sync submit.journal",
    ]


def test_a_group_is_synced_once(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    make_ready(spool, *letters(64))
    with submitting(spool) as outbox:
        settled = [answered(spool, claim, Verdict.ACCEPTED) for claim in outbox.claim(64)]
        disk.steps.clear()
        for one in settled:
            outbox.note(one)
        outbox.settle(settled)
    assert disk.steps.count("sync submit.journal") == 1
    assert disk.steps[-1] == "sync submit.journal"


def test_what_an_operator_changed_under_a_claim_stays_as_the_operator_left_it(tmp_path: Path) -> None:
    """Compare-and-set."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        with spool.index.write() as connection:
            move(connection, queue_id, state=State.READY, trigger=Trigger.HELD, now=spool.now())
        settled = answered(spool, claim, Verdict.POSTPONED)
        outbox.note(settled)
        outbox.settle([settled])
    assert message(spool, queue_id).state is State.HELD
    assert "Postponed" not in names(spool, queue_id)


def test_an_answer_to_an_older_claim_changes_nothing(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.settle([GivenBack(claim=claim, breaks={})])
        outbox.claim(1)
        late = answered(spool, claim, Verdict.POSTPONED)
        outbox.note(late)
        outbox.settle([late])
    assert message(spool, queue_id).state is State.READY
    assert message(spool, queue_id).is_claimed


def test_a_holder_of_a_dead_epoch_settles_nothing(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        with spool.index.write() as connection:
            connection.exec_driver_sql("UPDATE stages SET epoch = epoch + 1 WHERE stage = 'submit'")
        settled = answered(spool, claim, Verdict.ACCEPTED)
        outbox.note(settled)
        with pytest.raises(StageHeld):
            outbox.settle([settled])
        with pytest.raises(StageHeld):
            outbox.claim(1)
    assert message(spool, queue_id).state is State.READY


def test_the_index_says_no_line_is_applied_whose_row_still_waits(tmp_path: Path) -> None:
    """A line that is applied may be compacted away."""
    spool = make_spool(tmp_path)
    make_ready(spool, *letters(2))
    with submitting(spool) as outbox:
        first, second = outbox.claim(2)
        waiting, done = answered(spool, first, Verdict.ACCEPTED), answered(spool, second, Verdict.ACCEPTED)
        outbox.note(waiting)
        outbox.note(done)
        outbox.settle([done])
        assert applied(spool) == 0
        outbox.settle([waiting])
        assert applied(spool) == 2


def applied(spool: Spool) -> object:
    with spool.index.read() as connection:
        return connection.exec_driver_sql("SELECT applied FROM journals WHERE owner = 'submit'").scalar()


def test_a_line_names_the_highest_segment_at_its_time(tmp_path: Path) -> None:
    """A line may go when every file on disk is younger: so submit must not name the segment that it began with."""
    spool = make_spool(tmp_path)
    with submitting(spool) as outbox:
        make_ready(spool, arrival(uidl="u1"))
        make_ready(spool, arrival(uidl="u2"))
        attempt(spool, outbox, Verdict.ACCEPTED)
    assert {line.serial for line in read_journal(spool.layout.journal(Stage.SUBMIT)).lines} == {2}


def test_a_staged_message_is_not_claimed(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    admit(spool, arrival())
    with submitting(spool) as outbox:
        assert outbox.claim(1) == []
        assert outbox.next_due_at() is None
