"""With `ambiguous = "hold"` a message whose outcome is unknown is set aside, whenever that is found out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spool.claims import Outbox
from spool.ended import Claim, GivenBack
from spool.envelope import Reason
from spool.errors import SpoolFailed
from spool.journal import Outcome
from spool.opening import Spool
from spool.settlement import Settlement, Verdict, may_have_it
from spool.states import State
from tests.support.attempts import A, B, C, answered, cut_off, names, outcomes, submitting
from tests.support.faulty_disk import FaultyDisk
from tests.support.rebuilding import rebuilt
from tests.support.spools import arrival, letters, make_ready, make_spool, message

LOST = Reason(stage="submit", text="final dot: connection lost")


def lost(claim: Claim) -> GivenBack:
    return GivenBack(claim=claim, breaks={}, outcome_unknown=True, what=LOST.text)


def half_answered(spool: Spool, outbox: Outbox, *verdicts: Verdict) -> Settlement:
    """By LMTP: the reply for the last recipient did not come, the others were answered."""
    (claim,) = outbox.claim(1)
    outbox.dot(claim)
    settled = answered(spool, claim, *verdicts, Verdict.POSTPONED)
    silent = replace(settled.answers[-1], reason=LOST)
    settled = replace(settled, answers=(*settled.answers[:-1], silent), outcome_unknown=True)
    outbox.note(settled)
    return settled


def test_a_message_that_the_relay_may_have_is_not_sent_again(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    queue_id = cut_off(spool)
    with submitting(spool, holds_unknown=True) as outbox:
        assert outbox.claim(10) == []
    row = message(spool, queue_id)
    assert (row.state, row.is_claimed, row.attempts, row.next_attempt_at) == (State.HELD, False, 0, None)


def test_a_held_message_says_why_in_plain_words(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    queue_id = cut_off(spool)
    row = message(spool, queue_id)
    assert str(row.reason) == "submit: the relay may have it: final dot: connection lost"
    assert row.possible_duplicate
    assert names(spool, queue_id)[-1] == "Held"
    # That says "it is sent again", which it is not before somebody releases it.
    assert "PossibleDuplicate" not in names(spool, queue_id)


def test_a_message_whose_outcome_is_known_to_be_none_is_given_back_as_ever(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool, holds_unknown=True) as outbox:
        (claim,) = outbox.claim(1)
        outbox.settle([GivenBack(claim=claim, breaks={})])
        assert len(outbox.claim(1)) == 1
    assert message(spool, queue_id).state is State.READY


def test_the_line_is_in_the_journal_before_the_row_changes(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    queue_id = cut_off(spool)
    assert outcomes(spool) == [(queue_id, Outcome.DOT), (queue_id, Outcome.HELD)]
    assert disk.steps[-2:] == ["write submit.journal", "sync submit.journal"]


@pytest.mark.parametrize("step", range(1, 4))
@pytest.mark.parametrize("holds_unknown", [True, False])
def test_whichever_step_of_holding_fails_the_next_start_ends_it_once(
    tmp_path: Path, step: int, holds_unknown: bool
) -> None:
    """The operator may have changed his mind meanwhile: then what was not noted is sent again, and marked."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool, holds_unknown=True) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        disk.fail(step, lasting=True)
        with pytest.raises(SpoolFailed):
            outbox.settle([lost(claim)])
    disk.mend()
    assert message(spool, queue_id).state is State.READY
    was_noted = (queue_id, Outcome.HELD) in outcomes(spool)
    with submitting(spool, holds_unknown=holds_unknown) as outbox:
        assert len(outbox.claim(10)) == (0 if was_noted or holds_unknown else 1)
    assert names(spool, queue_id).count("Held") == (1 if was_noted or holds_unknown else 0)
    assert message(spool, queue_id).possible_duplicate


def test_a_hold_that_was_noted_is_applied_at_the_next_start(tmp_path: Path) -> None:
    """Killed between line and row: what a rebuild would go by must hold, whatever is configured now."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool, holds_unknown=True) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        reason = may_have_it("cut")
        outbox.journal.note(Outcome.HELD, queue_id, details={"claim": claim.number, "reply": str(reason)})
    with submitting(spool):
        pass
    row = message(spool, queue_id)
    assert (row.state, row.reason, row.possible_duplicate) == (State.HELD, reason, True)


def test_a_final_dot_without_a_result_is_held_at_the_next_start(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
    with submitting(spool, holds_unknown=True):
        pass
    row = message(spool, queue_id)
    assert row.state is State.HELD
    assert row.reason is not None
    assert row.reason.text.endswith("the process ended between the final dot and its reply")


def test_a_claim_of_another_boot_is_held_at_the_next_start(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool, boot_id="another") as outbox:
        outbox.claim(1)
    with submitting(spool, holds_unknown=True):
        pass
    row = message(spool, queue_id)
    assert row.state is State.HELD
    assert row.reason is not None
    assert "started anew" in row.reason.text


def test_a_claim_of_this_boot_without_a_final_dot_is_not_held(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    make_ready(spool, *letters(2))
    with submitting(spool) as outbox:
        outbox.claim(2)
    with submitting(spool, holds_unknown=True) as outbox:
        assert len(outbox.claim(2)) == 2


def test_an_answer_that_was_noted_decides_though_its_process_is_gone(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        outbox.note(answered(spool, claim, Verdict.ACCEPTED))
    with submitting(spool, holds_unknown=True):
        pass
    assert message(spool, queue_id).state is State.SUBMITTED


@pytest.mark.parametrize("is_killed", [False, True])
def test_of_several_recipients_only_those_are_held_that_were_neither_accepted_nor_refused(
    tmp_path: Path, is_killed: bool
) -> None:
    """RFC 2033 section 4.2: by LMTP each has its own reply, and the connection may be lost between two."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B, C])
    with submitting(spool, holds_unknown=True) as outbox:
        settled = half_answered(spool, outbox, Verdict.ACCEPTED, Verdict.REFUSED)
        if not is_killed:
            outbox.settle([settled])
    with submitting(spool, holds_unknown=True) as outbox:
        assert outbox.claim(10) == []
    row = message(spool, queue_id)
    assert (row.state, row.recipients, row.attempts, row.next_attempt_at) == (State.HELD, (C,), 1, None)
    assert [one["recipient"] for one in row.accepted] == [A]
    assert str(row.reason) == f"submit: the relay may have it: final dot: connection lost ({C})"
    assert settled.child is not None
    assert message(spool, settled.child).recipients == (B,)
    assert names(spool, queue_id)[-2:] == ["Held", "Divided"]


@pytest.mark.parametrize("step", range(1, 12))
def test_whichever_step_of_holding_a_divided_message_fails_the_next_start_ends_it_once(
    tmp_path: Path, step: int
) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B, C])
    with submitting(spool, holds_unknown=True) as outbox:
        settled = half_answered(spool, outbox, Verdict.ACCEPTED, Verdict.REFUSED)
        disk.fail(step, lasting=True)
        try:
            outbox.settle([settled])
        except SpoolFailed:
            assert message(spool, queue_id).state is State.READY
    disk.mend()
    with submitting(spool, holds_unknown=True):
        pass
    row = message(spool, queue_id)
    assert (row.state, row.recipients) == (State.HELD, (C,))
    assert (names(spool, queue_id).count("Held"), names(spool, queue_id).count("Divided")) == (1, 1)
    assert len(list(spool.layout.badmail.glob("*.eml"))) == 1


def test_a_rebuild_finds_a_held_message_held(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    queue_id = cut_off(spool)
    before = message(spool, queue_id)
    with rebuilt(spool) as (after, _):
        row = message(after, queue_id)
        assert (row.state, row.reason, row.possible_duplicate) == (State.HELD, before.reason, True)
        assert "PossibleDuplicate" not in names(after, queue_id)


def test_a_rebuild_keeps_who_accepted_a_held_message(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool, holds_unknown=True) as outbox:
        outbox.settle([half_answered(spool, outbox, Verdict.ACCEPTED)])
    with rebuilt(spool) as (after, _):
        row = message(after, queue_id)
        assert (row.state, row.recipients, row.possible_duplicate) == (State.HELD, (B,), True)
        assert [one["recipient"] for one in row.accepted] == [A]


def test_a_rebuild_marks_what_is_sent_again_after_a_lost_reply_of_several(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        outbox.settle([half_answered(spool, outbox, Verdict.ACCEPTED)])
    with rebuilt(spool) as (after, _):
        row = message(after, queue_id)
        assert (row.state, row.recipients, row.possible_duplicate) == (State.STAGED, (B,), True)
