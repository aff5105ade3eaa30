"""What the operator decides about a message that submit has in hand takes effect when the claim ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from spool.claims import Outbox
from spool.ended import Claim, Ended, GivenBack, Unreadable
from spool.errors import ForbiddenTransition, SpoolFailed
from spool.journal import Outcome, read_journal
from spool.layout import COMMAND_JOURNAL
from spool.opening import Spool, require_current_index
from spool.queue_id import QueueId
from spool.settlement import Settlement, Verdict
from spool.states import State
from spool.verify import verify
from spool.wishes import Wished
from tests.support.attempts import A, B, answered, names, outcomes, submitting
from tests.support.by_hand import discard, hold_back, release, requeue
from tests.support.faulty_disk import FaultyDisk
from tests.support.rebuilding import rebuilt
from tests.support.spools import arrival, make_ready, make_spool, message

ACCEPTED, POSTPONED, REFUSED = Verdict.ACCEPTED, Verdict.POSTPONED, Verdict.REFUSED
Finish = Callable[[Spool, Outbox, Claim], Ended]
Change = Callable[[Spool, QueueId], State | Wished]
GOES_ON = {State.STAGED, State.READY, State.DEFERRED}


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def spool(tmp_path: Path, disk: FaultyDisk) -> Iterator[Spool]:
    opened = make_spool(tmp_path, disk=disk)
    yield opened
    opened.close()


def answers(*verdicts: Verdict) -> Finish:
    """The relay answers so, and it is noted."""

    def finish(spool: Spool, outbox: Outbox, claim: Claim) -> Settlement:
        outbox.dot(claim)
        settled = answered(spool, claim, *verdicts)
        outbox.note(settled)
        return settled

    return finish


def given_back(_: Spool, __: Outbox, claim: Claim) -> GivenBack:
    return GivenBack(claim=claim, breaks={"count": 1, "acceptances": 0, "epoch": 1})


def lost(_: Spool, outbox: Outbox, claim: Claim) -> GivenBack:
    outbox.dot(claim)
    return GivenBack(claim=claim, breaks={}, outcome_unknown=True, what="connection lost")


def damaged(_: Spool, __: Outbox, claim: Claim) -> Unreadable:
    return Unreadable(claim=claim, what="cut")


ENDS: dict[str, tuple[Finish, State, State, State]] = {
    "accepted": (answers(ACCEPTED, ACCEPTED), State.SUBMITTED, State.SUBMITTED, State.SUBMITTED),
    "refused": (answers(REFUSED, REFUSED), State.BADMAIL, State.BADMAIL, State.DISCARDED),
    "postponed": (answers(POSTPONED, POSTPONED), State.HELD, State.STAGED, State.DISCARDED),
    "accepted by one": (answers(ACCEPTED, POSTPONED), State.HELD, State.STAGED, State.DISCARDED),
    "refused for one": (answers(POSTPONED, REFUSED), State.HELD, State.STAGED, State.DISCARDED),
    "accepted and refused": (answers(ACCEPTED, REFUSED), State.SUBMITTED, State.SUBMITTED, State.DISCARDED),
    "given back": (given_back, State.HELD, State.READY, State.DISCARDED),
    "unknown": (lost, State.HELD, State.READY, State.DISCARDED),
    "damaged": (damaged, State.DAMAGED, State.DAMAGED, State.DISCARDED),
}
WISHES: dict[str, tuple[int, Change]] = {"hold": (1, hold_back), "requeue": (2, requeue), "discard": (3, discard)}
every_end = pytest.mark.parametrize("end", ENDS)
every_wish = pytest.mark.parametrize("wish", WISHES)


def expected(end: str, wish: str) -> State:
    row = ENDS[end]
    state = row[WISHES[wish][0]]
    assert isinstance(state, State)
    return state


def wished(spool: Spool, outbox: Outbox, wish: str) -> Claim:
    """A message in submit's hands about which the operator has decided."""
    (claim,) = outbox.claim(1)
    came = WISHES[wish][1](spool, claim.message.queue_id)
    assert isinstance(came, Wished)
    assert message(spool, claim.message.queue_id).state is State.READY
    return claim


def check(spool: Spool, queue_id: QueueId, *, end: str, wish: str) -> None:
    """The message is where the table says, with its index and without."""
    state = expected(end, wish)
    row = message(spool, queue_id)
    assert (row.state, row.is_claimed, row.wish) == (state, False, None)
    require_current_index(spool)
    with rebuilt(spool) as (after, _):
        again = message(after, queue_id)
        if state is State.DAMAGED:
            # Its bytes are whole: the test says otherwise.
            return
        assert again.state is (State.STAGED if state in GOES_ON else state)
        assert [one["recipient"] for one in again.accepted] == [one["recipient"] for one in row.accepted]
        assert again.possible_duplicate >= row.possible_duplicate


@every_end
@every_wish
def test_the_end_of_the_claim_and_the_wish_decide(spool: Spool, end: str, wish: str) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, wish)
        outbox.settle([ENDS[end][0](spool, outbox, claim)])
    assert verify(spool).ok
    check(spool, queue_id, end=end, wish=wish)


@every_end
@every_wish
def test_the_same_where_submit_died_before_it_settled(spool: Spool, end: str, wish: str) -> None:
    """Damage is found anew then, and what was given back without a dot is as if it had never been tried."""
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, wish)
        ENDS[end][0](spool, outbox, claim)
    with submitting(spool):
        pass
    check(spool, queue_id, end="given back" if end == "damaged" else end, wish=wish)


@pytest.mark.parametrize("end", [end for end in ENDS if end != "damaged"])
@every_wish
def test_a_wish_about_the_claim_of_a_dead_process_is_heeded_when_submit_starts(
    spool: Spool, end: str, wish: str
) -> None:
    """Nobody but submit can tell from its journal what became of the attempt."""
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        ENDS[end][0](spool, outbox, claim)
    assert isinstance(WISHES[wish][1](spool, queue_id), Wished)
    with submitting(spool):
        pass
    check(spool, queue_id, end=end, wish=wish)


@every_end
@every_wish
def test_and_the_files_alone_say_the_same_before_submit_starts_again(spool: Spool, end: str, wish: str) -> None:
    """The index is lost while the wish is only noted: nothing is sent that was to be held or thrown away."""
    if end in ("accepted", "damaged"):
        return
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, wish)
        ENDS[end][0](spool, outbox, claim)
    with rebuilt(spool) as (after, _):
        state = message(after, queue_id).state
        assert state is {"hold": State.HELD, "requeue": State.STAGED, "discard": State.DISCARDED}[wish]


@pytest.mark.parametrize("step", range(1, 13))
@pytest.mark.parametrize("end", ["refused", "refused for one", "unknown"])
@every_wish
def test_whichever_step_of_settling_fails_the_next_start_ends_it_once(
    spool: Spool, disk: FaultyDisk, end: str, wish: str, step: int
) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, wish)
        ended = ENDS[end][0](spool, outbox, claim)
        disk.fail(step, lasting=True)
        with suppress(SpoolFailed):
            outbox.settle([ended])
    disk.mend()
    with submitting(spool):
        pass
    assert message(spool, queue_id).state is expected(end, wish)
    told = names(spool, queue_id)
    assert all(told.count(name) <= 1 for name in ("StateChanged", "Held", "Divided", "Refused", "Postponed"))
    is_filed = end not in ("postponed", "unknown") and wish != "discard"
    assert len(list(spool.layout.badmail.glob("*.eml"))) == is_filed
    assert verify(spool).ok


def test_a_wish_is_noted_in_the_journal_and_told(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        outbox.claim(1)
        discard(spool, queue_id)
    (line,) = read_journal(spool.layout.journal(COMMAND_JOURNAL)).lines
    assert (line.outcome, line.details["claim"], line.details["wish"]) == (Outcome.DISCARDED, 1, True)
    assert message(spool, queue_id).wish is Outcome.DISCARDED
    assert names(spool, queue_id)[-1] == "WishNoted"


def test_a_discarded_message_does_not_divide(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, "discard")
        outbox.settle([answers(ACCEPTED, REFUSED)(spool, outbox, claim)])
    row = message(spool, queue_id)
    assert ([one["recipient"] for one in row.accepted], row.recipients) == ([A], (B,))
    assert list(spool.layout.badmail.iterdir()) == []
    assert (queue_id, Outcome.DISCARDED) in outcomes(spool)


@pytest.mark.parametrize("is_rebuilt", [False, True])
@pytest.mark.parametrize(("rest", "state"), [(POSTPONED, State.DISCARDED), (ACCEPTED, State.SUBMITTED)])
def test_refused_recipients_that_are_in_badmail_already_stay_there(
    spool: Spool, disk: FaultyDisk, rest: Verdict, state: State, is_rebuilt: bool
) -> None:
    """Submit died between their file and the rows, and the operator spoke after that."""
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        settled = answers(rest, REFUSED)(spool, outbox, claim)
        disk.fail(9, lasting=True)
        with pytest.raises(SpoolFailed):
            outbox.settle([settled])
    disk.mend()
    (file,) = spool.layout.badmail.glob("*.eml")
    discard(spool, queue_id)
    if is_rebuilt:
        with rebuilt(spool) as (after, _):
            found = [message(after, one).state for one in (queue_id, file.stem)]
    else:
        with submitting(spool):
            pass
        found = [message(spool, one).state for one in (queue_id, file.stem)]
    assert found == [state, State.BADMAIL]


def test_a_refused_message_whose_file_was_written_already_is_discarded_with_it(spool: Spool, disk: FaultyDisk) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        settled = answers(REFUSED, REFUSED)(spool, outbox, claim)
        disk.fail(9, lasting=True)
        with pytest.raises(SpoolFailed):
            outbox.settle([settled])
    disk.mend()
    assert spool.layout.badmail_message(queue_id).exists()
    discard(spool, queue_id)
    with submitting(spool):
        pass
    assert message(spool, queue_id).state is State.DISCARDED
    assert list(spool.layout.badmail.iterdir()) == []


def test_the_last_wish_counts(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        for change in (discard, requeue, hold_back):
            change(spool, queue_id)
        outbox.settle([given_back(spool, outbox, claim)])
    check(spool, queue_id, end="given back", wish="hold")


def test_a_wish_can_be_taken_back(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        discard(spool, queue_id)
        assert release(spool, queue_id) == Wished(None)
        with pytest.raises(ForbiddenTransition, match="only held messages can be released"):
            release(spool, queue_id)
        outbox.settle([given_back(spool, outbox, claim)])
        assert len(outbox.claim(1)) == 1
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is State.STAGED


def test_a_wish_is_for_one_claim(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, "requeue")
        outbox.settle([given_back(spool, outbox, claim)])
        (again,) = outbox.claim(1)
        outbox.settle([answers(POSTPONED, POSTPONED)(spool, outbox, again)])
    assert message(spool, queue_id).state is State.DEFERRED


@pytest.mark.parametrize(
    ("end", "wish", "is_late"),
    [
        ("accepted", "discard", True),
        ("accepted", "hold", True),
        ("refused", "hold", True),
        ("refused", "requeue", True),
        ("damaged", "requeue", True),
        ("refused", "discard", False),
        ("postponed", "hold", False),
        ("unknown", "hold", False),
        ("given back", "requeue", False),
    ],
)
def test_a_wish_that_came_too_late_is_told_of(spool: Spool, end: str, wish: str, is_late: bool) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, wish)
        outbox.settle([ENDS[end][0](spool, outbox, claim)])
    assert ("WishCameTooLate" in names(spool, queue_id)) is is_late


def test_a_hold_of_what_the_relay_may_have_says_so(spool: Spool) -> None:
    """As with `submit.ambiguous = "hold"`: whoever releases it must know that it may arrive twice."""
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, "hold")
        outbox.settle([lost(spool, outbox, claim)])
    row = message(spool, queue_id)
    assert (str(row.reason), row.possible_duplicate) == ("submit: the relay may have it: connection lost", True)
    assert names(spool, queue_id)[-1] == "Held"


def test_a_hold_of_what_was_not_sent_is_no_possible_duplicate(spool: Spool) -> None:
    """Also where submit dies between the line of the hold and the row."""
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, "hold")
        outbox.journal.note(
            Outcome.HELD,
            queue_id,
            details={"claim": claim.number, "reply": "spool: held by the operator", "unknown": False},
        )
    with submitting(spool):
        pass
    row = message(spool, queue_id)
    assert (row.state, str(row.reason), row.possible_duplicate) == (State.HELD, "spool: held by the operator", False)
    assert "Held" not in names(spool, queue_id)


def test_a_message_that_is_to_be_held_where_nobody_knows_is_not_requeued(spool: Spool) -> None:
    """The operator did not know yet that the relay may have it."""
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool, holds_unknown=True) as outbox:
        claim = wished(spool, outbox, "requeue")
        outbox.settle([lost(spool, outbox, claim)])
    assert message(spool, queue_id).state is State.HELD
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is State.HELD


def test_a_discard_that_submit_noted_holds_whatever_is_wished_after_it(spool: Spool, disk: FaultyDisk) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, "discard")
        outbox.journal.note(Outcome.DISCARDED, queue_id, details={"claim": claim.number, "reply": "by the operator"})
    hold_back(spool, queue_id)
    with submitting(spool):
        pass
    assert message(spool, queue_id).state is State.DISCARDED
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is State.DISCARDED


def test_requeued_messages_are_told_of_so_that_validate_is_rung(spool: Spool) -> None:
    make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        claim = wished(spool, outbox, "requeue")
        assert outbox.settle([answers(POSTPONED, POSTPONED)(spool, outbox, claim)])


def test_nobody_else_is_touched_by_a_wish(spool: Spool) -> None:
    first, second = make_ready(spool, arrival(uidl="1"), arrival(b"Subject: 2\r\n\r\n", uidl="2"), recipients=[A])
    with submitting(spool) as outbox:
        one, other = outbox.claim(2)
        discard(spool, first)
        assert outbox.wished([first, second]) == {first}
        outbox.settle([given_back(spool, outbox, one), given_back(spool, outbox, other)])
    assert [message(spool, queue_id).state for queue_id in (first, second)] == [State.DISCARDED, State.READY]
