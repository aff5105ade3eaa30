"""What a killed submit left: settled by what the journal says, or sent again and marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from spool.errors import SpoolFailed
from spool.settlement import Verdict
from spool.states import State
from tests.support.attempts import (
    DUE,
    A,
    B,
    answered,
    attempt,
    names,
    submitting,
)
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import (
    LETTER,
    Clock,
    arrival,
    make_ready,
    make_spool,
    message,
)


def test_a_claim_of_a_killed_process_is_claimable_again(tmp_path: Path) -> None:
    """I6, and nothing was sent: no word of a duplicate."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        outbox.claim(1)
    with submitting(spool) as outbox:
        assert [claim.message.queue_id for claim in outbox.claim(1)] == [queue_id]
    assert not message(spool, queue_id).possible_duplicate


def test_a_final_dot_without_a_result_is_a_possible_duplicate(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
    with submitting(spool) as outbox:
        assert len(outbox.claim(1)) == 1
    assert message(spool, queue_id).possible_duplicate
    assert "PossibleDuplicate" in names(spool, queue_id)


def test_a_dot_of_an_earlier_attempt_says_nothing_of_this_one(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.POSTPONED)
        clock.advance(DUE)
        outbox.claim(1)
    with submitting(spool) as outbox:
        assert len(outbox.claim(1)) == 1
    assert not message(spool, queue_id).possible_duplicate


def test_a_claim_of_another_boot_without_a_result_is_a_possible_duplicate(tmp_path: Path) -> None:
    """A power cut may have taken the line that would have told of the final dot."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool, boot_id="another") as outbox:
        outbox.claim(1)
    with submitting(spool):
        pass
    assert message(spool, queue_id).possible_duplicate


@pytest.mark.parametrize(
    "verdicts",
    [
        (Verdict.ACCEPTED, Verdict.ACCEPTED),
        (Verdict.POSTPONED, Verdict.POSTPONED),
        (Verdict.REFUSED, Verdict.REFUSED),
        (Verdict.ACCEPTED, Verdict.REFUSED),
        (Verdict.ACCEPTED, Verdict.POSTPONED),
        (Verdict.REFUSED, Verdict.POSTPONED),
    ],
)
def test_a_noted_result_of_a_killed_process_is_settled_at_the_next_start(
    tmp_path: Path, verdicts: Sequence[Verdict]
) -> None:
    """As it would have been; and nothing is sent again to who accepted it."""
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool, boot_id="another") as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        settled = answered(spool, claim, *verdicts)
        outbox.note(settled)
    with submitting(spool):
        pass
    row = message(spool, queue_id)
    whole: dict[tuple[Verdict, ...], State] = {
        (Verdict.ACCEPTED, Verdict.ACCEPTED): State.SUBMITTED,
        (Verdict.REFUSED, Verdict.REFUSED): State.BADMAIL,
        (Verdict.ACCEPTED, Verdict.REFUSED): State.SUBMITTED,
    }
    assert (row.state, row.is_claimed, row.attempts) == (whole.get(tuple(verdicts), State.DEFERRED), False, 1)
    assert not row.possible_duplicate
    assert [one["recipient"] for one in row.accepted] == [
        recipient for recipient, verdict in zip([A, B], verdicts, strict=True) if verdict is Verdict.ACCEPTED
    ]
    if settled.child:
        assert message(spool, settled.child).state is State.BADMAIL
    with submitting(spool):
        pass
    assert message(spool, queue_id).attempts == 1


@pytest.mark.parametrize("step", range(1, 14))
@pytest.mark.parametrize("verdicts", [(Verdict.ACCEPTED, Verdict.REFUSED), (Verdict.REFUSED, Verdict.REFUSED)])
def test_whichever_step_of_settling_fails_the_next_start_ends_it_once(
    tmp_path: Path, verdicts: Sequence[Verdict], step: int
) -> None:
    """The answers were noted: no accepted recipient is sent to again, no refused one is lost."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        settled = answered(spool, claim, *verdicts)
        outbox.note(settled)
        disk.fail(step, lasting=True)
        try:
            outbox.settle([settled])
        except SpoolFailed:
            assert message(spool, queue_id).state is State.READY
    disk.mend()
    with submitting(spool) as outbox:
        assert outbox.claim(10) == []
    badmail = settled.child or queue_id
    assert message(spool, queue_id).state is (State.SUBMITTED if settled.child else State.BADMAIL)
    assert message(spool, badmail).state is State.BADMAIL
    (file,) = spool.layout.badmail.glob("*.eml")
    assert file.name == f"{badmail}.eml"
    assert file.read_bytes().endswith(LETTER)
    assert names(spool, badmail).count("Refused") == 1


def test_a_result_that_could_not_be_noted_leaves_a_possible_duplicate(tmp_path: Path) -> None:
    """The relay said yes and the disk was full: honest, and not lost."""
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        disk.fail(1)
        with pytest.raises(SpoolFailed):
            outbox.note(answered(spool, claim, Verdict.ACCEPTED))
    with submitting(spool):
        pass
    row = message(spool, queue_id)
    assert (row.state, row.possible_duplicate) == (State.READY, True)
