"""Hold, release, requeue, discard: a line, then the row; who comes next carries out what a killed command noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from spool import models
from spool.by_hand import change, finish_by_hand
from spool.ended import GivenBack, Unreadable
from spool.envelope import Arrival, Reason
from spool.errors import Damaged, ForbiddenTransition, NotFound, SpoolFailed
from spool.journal import Outcome, read_journal
from spool.layout import COMMAND_JOURNAL, Stage
from spool.locks import COMMANDS, hold
from spool.opening import Spool, require_current_index, take_stage
from spool.queue_id import QueueId
from spool.replay import begin_replay
from spool.rows import Message
from spool.settlement import Verdict
from spool.staging import Rejected, open_journal
from spool.states import State
from spool.verify import verify
from spool.wishes import Wished
from tests.support.attempts import A, B, answered, attempt, cut_off, names, submitting
from tests.support.by_hand import decide, discard, hold_back, release, requeue
from tests.support.dropping import refused
from tests.support.faulty_disk import FaultyDisk
from tests.support.rebuilding import collect_submitted, rebuilt
from tests.support.spools import admit, arrival, letters, make_ready, make_spool, message, passed, staging

Change = Callable[[Spool, QueueId], State | Wished]
REQUEUED = Outcome.REQUEUED


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def spool(tmp_path: Path, disk: FaultyDisk) -> Iterator[Spool]:
    opened = make_spool(tmp_path, disk=disk)
    yield opened
    opened.close()


def make(spool: Spool, state: State, one: Arrival | None = None) -> QueueId:
    """A message in that state, which nobody has in hand."""
    one = one or arrival()
    match state:
        case State.STAGED:
            admit(spool, one)
        case State.HELD:
            cut_off(spool, one=one)
        case State.DAMAGED:
            make_ready(spool, one)
            with submitting(spool) as outbox:
                outbox.settle([Unreadable(claim=claim, what="cut") for claim in outbox.claim(1)])
        case _:
            make_ready(spool, one, recipients=[A, B])
            if state is State.DEFERRED:
                with submitting(spool) as outbox:
                    attempt(spool, outbox, Verdict.ACCEPTED, Verdict.POSTPONED)
    assert message(spool, one.origin.queue_id).state is state
    return one.origin.queue_id


def noted(spool: Spool) -> list[tuple[str, Outcome, object]]:
    lines = read_journal(spool.layout.journal(COMMAND_JOURNAL)).lines
    return [(line.queue_id, line.outcome, line.details["claim"]) for line in lines]


def note_and_die(spool: Spool, queue_id: QueueId, outcome: Outcome, *, claim: int = 1) -> None:
    """What a command leaves that is killed between its line and its row."""
    with hold(spool.layout, COMMANDS):
        journal = open_journal(spool, COMMAND_JOURNAL)
        journal.note(outcome, queue_id, details={"claim": claim, "wish": False})
        journal.sync()
        journal.close()


def validate_all(spool: Spool) -> list[Message]:
    """Pass what is staged, as validate does: it keeps an envelope that is there."""
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        waiting = list(staged.waiting(10))
        staged.settle([replace(passed(one), recipients=one.recipients) for one in waiting])
        return waiting


def cut_off_again(spool: Spool, *, holds_unknown: bool = True) -> None:
    with submitting(spool, holds_unknown=holds_unknown) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        outbox.settle([GivenBack(claim=claim, breaks={}, outcome_unknown=True)])


def test_a_released_message_is_looked_at_again_with_its_envelope(spool: Spool) -> None:
    queue_id = cut_off(spool, A, B)
    release(spool, queue_id)
    row = message(spool, queue_id)
    assert (row.state, row.sender, row.recipients) == (State.STAGED, "alice@example.org", (A, B))
    # Validate would take it for an objection, and send the message to Badmail.
    assert row.reason is None


def test_a_released_message_is_a_possible_duplicate_from_then_on(spool: Spool) -> None:
    queue_id = cut_off(spool)
    release(spool, queue_id)
    assert names(spool, queue_id)[-2:] == ["StateChanged", "PossibleDuplicate"]
    validate_all(spool)
    with submitting(spool, holds_unknown=True) as outbox:
        attempt(spool, outbox, Verdict.ACCEPTED)
    row = message(spool, queue_id)
    assert (row.state, row.possible_duplicate) == (State.SUBMITTED, True)


def test_who_accepted_a_released_message_is_not_sent_to_again(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool, holds_unknown=True) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        settled = replace(answered(spool, claim, Verdict.ACCEPTED, Verdict.POSTPONED), outcome_unknown=True)
        outbox.note(settled)
        outbox.settle([settled])
    release(spool, queue_id)
    (staged,) = validate_all(spool)
    assert staged.recipients == (B,)
    with submitting(spool) as outbox:
        assert [one.message.recipients for one in outbox.claim(1)] == [(B,)]
    assert [one["recipient"] for one in message(spool, queue_id).accepted] == [A]


def test_a_release_names_the_claim_at_which_the_message_was_held(spool: Spool) -> None:
    queue_id = cut_off(spool)
    release(spool, queue_id)
    assert noted(spool) == [(queue_id, Outcome.RELEASED, 1)]


def test_the_line_is_synced_before_the_row_changes(spool: Spool, disk: FaultyDisk) -> None:
    queue_id = cut_off(spool)
    disk.steps.clear()
    release(spool, queue_id)
    assert disk.steps[-2:] == ["write command.journal", "sync command.journal"]


@pytest.mark.parametrize("step", range(1, 9))
@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (State.HELD, release, State.STAGED),
        (State.HELD, requeue, State.STAGED),
        (State.HELD, discard, State.DISCARDED),
        (State.STAGED, hold_back, State.HELD),
        (State.STAGED, discard, State.DISCARDED),
        (State.READY, hold_back, State.HELD),
        (State.READY, discard, State.DISCARDED),
        (State.DEFERRED, hold_back, State.HELD),
        (State.DEFERRED, requeue, State.STAGED),
        (State.DEFERRED, discard, State.DISCARDED),
    ],
)
def test_whichever_step_fails_index_and_files_agree_after_the_next_look(
    spool: Spool, disk: FaultyDisk, before: State, change: Change, after: State, step: int
) -> None:
    queue_id = make(spool, before)
    disk.fail(step, lasting=True)
    try:
        change(spool, queue_id)
    except SpoolFailed:
        assert message(spool, queue_id).state is before
    disk.mend()
    finish_by_hand(spool)
    found = message(spool, queue_id).state
    assert found is (after if noted(spool) else before)
    with rebuilt(spool) as (again, _):
        state = message(again, queue_id).state
        assert state is (State.STAGED if found in (State.READY, State.DEFERRED) else found)


@pytest.mark.parametrize(("outcome", "state"), [(Outcome.RELEASED, State.STAGED), (Outcome.DISCARDED, State.DISCARDED)])
def test_what_a_killed_command_noted_is_carried_out_once(spool: Spool, outcome: Outcome, state: State) -> None:
    queue_id = cut_off(spool)
    note_and_die(spool, queue_id, outcome)
    require_current_index(spool)
    for _ in range(2):
        finish_by_hand(spool)
    assert message(spool, queue_id).state is state
    assert names(spool, queue_id).count("StateChanged") == 1


def test_the_next_command_carries_out_what_a_killed_one_noted(spool: Spool) -> None:
    first, second = (cut_off(spool, one=one) for one in letters(2))
    note_and_die(spool, first, Outcome.RELEASED)
    release(spool, second)
    assert [message(spool, one).state for one in (first, second)] == [State.STAGED, State.STAGED]


def test_a_command_that_is_refused_still_carries_out_what_a_killed_one_noted(spool: Spool) -> None:
    """Typed again, the command finds its message released, and leaves it so."""
    queue_id = cut_off(spool)
    note_and_die(spool, queue_id, Outcome.RELEASED)
    with pytest.raises(ForbiddenTransition):
        release(spool, queue_id)
    assert message(spool, queue_id).state is State.STAGED


def test_a_line_says_nothing_of_a_later_hold(spool: Spool) -> None:
    """A release that was never applied must not let go what was held after it."""
    queue_id = cut_off(spool)
    release(spool, queue_id)
    validate_all(spool)
    cut_off_again(spool)
    note_and_die(spool, queue_id, Outcome.RELEASED, claim=1)
    finish_by_hand(spool)
    assert message(spool, queue_id).state is State.HELD


def test_nothing_is_carried_out_while_a_command_is_at_work(spool: Spool) -> None:
    queue_id = cut_off(spool)
    note_and_die(spool, queue_id, Outcome.RELEASED)
    with hold(spool.layout, COMMANDS):
        finish_by_hand(spool)
    assert message(spool, queue_id).state is State.HELD


def test_only_what_is_held_can_be_released(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    with pytest.raises(ForbiddenTransition, match=f"{queue_id} is ready: only held messages can be released"):
        release(spool, queue_id)
    assert noted(spool) == []


def test_nobody_can_release_a_message_that_is_not_there(spool: Spool) -> None:
    with pytest.raises(NotFound):
        release(spool, QueueId("0" * 18))


def test_the_octets_of_a_discarded_message_go_with_their_segment(spool: Spool) -> None:
    discard(spool, cut_off(spool))
    collect_submitted(spool)
    assert list(spool.layout.segments.iterdir()) == []
    assert verify(spool).ok


def test_lines_go_when_nothing_can_ask_for_them(spool: Spool) -> None:
    queue_id = cut_off(spool)
    discard(spool, queue_id)
    finish_by_hand(spool)
    assert noted(spool) != []
    collect_submitted(spool)
    finish_by_hand(spool)
    assert noted(spool) == []
    require_current_index(spool)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("is_released", [True, False])
def test_a_rebuild_knows_which_hold_was_released(spool: Spool, times: int, is_released: bool) -> None:
    """The two journals have no common order, and no clock may be asked."""
    queue_id = cut_off(spool)
    for _ in range(times - 1):
        release(spool, queue_id)
        validate_all(spool)
        cut_off_again(spool)
    if is_released:
        release(spool, queue_id)
    with rebuilt(spool) as (after, _):
        row = message(after, queue_id)
        assert (row.state, row.possible_duplicate) == (State.STAGED if is_released else State.HELD, True)


def test_a_hold_after_a_rebuild_is_later_than_every_release_before_it(spool: Spool) -> None:
    queue_id = cut_off(spool)
    release(spool, queue_id)
    with rebuilt(spool) as (after, _):
        validate_all(after)
        cut_off_again(after)
        assert message(after, queue_id).state is State.HELD
        with rebuilt(after) as (again, _):
            assert message(again, queue_id).state is State.HELD


def test_a_message_that_was_released_keeps_its_place_in_the_journals_of_others(spool: Spool) -> None:
    """Two messages, one command's journal: each line is about its own."""
    first, second = (cut_off(spool, one=one) for one in letters(2))
    release(spool, first)
    discard(spool, second)
    assert noted(spool) == [(first, Outcome.RELEASED, 1), (second, Outcome.DISCARDED, 1)]
    assert [message(spool, one).state for one in (first, second)] == [State.STAGED, State.DISCARDED]


def test_a_released_message_begins_its_lifetime_anew(spool: Spool) -> None:
    """Hours may have passed until somebody looked: it must not expire for that."""
    queue_id = cut_off(spool)
    release(spool, queue_id)
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        clock = timedelta(days=9) // timedelta(milliseconds=1)
        staged.settle([passed(one) for one in staged.waiting(10)], queued_clock=clock)
    with submitting(spool) as outbox:
        assert [one.queued_clock for one in outbox.claim(1)] == [clock]
    assert message(spool, queue_id).attempts == 0


def test_other_messages_are_not_touched(spool: Spool) -> None:
    queue_id = cut_off(spool)
    others = make_ready(spool, *letters(2))
    release(spool, queue_id)
    assert {message(spool, one).state for one in others} == {State.READY}


@pytest.mark.parametrize("state", [State.STAGED, State.READY, State.DEFERRED])
def test_a_message_that_is_held_goes_nowhere_until_it_is_released(spool: Spool, state: State) -> None:
    queue_id = make(spool, state)
    assert hold_back(spool, queue_id) is State.HELD
    assert validate_all(spool) == []
    with submitting(spool) as outbox:
        assert outbox.claim(10) == []
    row = message(spool, queue_id)
    assert (row.state, str(row.reason), row.next_attempt_at) == (State.HELD, "spool: held by the operator", None)
    assert names(spool, queue_id)[-1] == "StateChanged"
    assert release(spool, queue_id) is State.STAGED
    assert not message(spool, queue_id).possible_duplicate
    assert "PossibleDuplicate" not in names(spool, queue_id)


def test_hold_and_release_again_and_again_agree_with_the_files(spool: Spool) -> None:
    """A second hold stands at the same claim as the release before it, and is not undone by that."""
    queue_id = make(spool, State.DEFERRED)
    with ExitStack() as stack:
        for change, state in ((hold_back, State.HELD), (release, State.STAGED)) * 3:
            assert change(spool, queue_id) is state
            spool = stack.enter_context(rebuilt(spool))[0]
            assert message(spool, queue_id).state is state


def test_a_hold_by_the_operator_and_one_by_submit_are_both_ended_by_a_release(spool: Spool) -> None:
    queue_id = cut_off(spool)
    release(spool, queue_id)
    hold_back(spool, queue_id)
    release(spool, queue_id)
    validate_all(spool)
    cut_off_again(spool)
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is State.HELD
        release(after, queue_id)
        with rebuilt(after) as (again, _):
            assert message(again, queue_id).state is State.STAGED


@pytest.mark.parametrize(("change", "state"), [(hold_back, State.HELD), (discard, State.DISCARDED)])
@pytest.mark.parametrize("is_refused", [False, True])
def test_what_validate_has_in_hand_meanwhile_stays_as_the_operator_wants_it(
    spool: Spool, change: Change, state: State, is_refused: bool
) -> None:
    """It needs no claim: what it decided is compared and set."""
    queue_id = make(spool, State.STAGED)
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        (waiting,) = staged.waiting(10)
        change(spool, queue_id)
        staged.settle([_refusal(waiting) if is_refused else passed(waiting)])
    assert message(spool, queue_id).state is state
    assert list(spool.layout.badmail.iterdir()) == []
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is state


def _refusal(waiting: Message) -> Rejected:
    reason = Reason(stage="validate", text="no usable return path")
    return Rejected(message=waiting, reason=reason, recipients=(), subject="")


def test_a_message_on_its_way_to_badmail_is_left_to_validate(spool: Spool, disk: FaultyDisk) -> None:
    """Killed between the file and the row: held now, it would be in two places."""
    queue_id = make(spool, State.STAGED)
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        (waiting,) = staged.waiting(10)
        disk.fail(7, lasting=True)
        with pytest.raises(SpoolFailed):
            staged.settle([_refusal(waiting)])
        disk.mend()
    assert spool.layout.badmail_message(queue_id).exists()
    for act in (hold_back, discard):
        with pytest.raises(ForbiddenTransition, match="is on its way to Badmail"):
            act(spool, queue_id)
    validate_all(spool)
    assert message(spool, queue_id).state is State.BADMAIL


def test_a_requeued_message_is_tried_now_and_begins_anew(spool: Spool) -> None:
    queue_id = make(spool, State.DEFERRED)
    with submitting(spool) as outbox:
        assert outbox.claim(10) == []
    assert requeue(spool, queue_id) is State.STAGED
    row = message(spool, queue_id)
    assert (row.reason, row.next_attempt_at, row.attempts) == (None, None, 1)
    validate_all(spool)
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(10)
    assert (claim.breaks, claim.message.recipients) == ({}, (B,))
    assert [one["recipient"] for one in message(spool, queue_id).accepted] == [A]


def test_what_broke_sessions_is_requeued_without_that_mark(spool: Spool) -> None:
    queue_id = make(spool, State.DEFERRED)
    table = models.messages
    with spool.index.write() as connection:
        connection.execute(update(table).values(breaks={"count": 2, "acceptances": 1, "epoch": 1}))
    requeue(spool, queue_id)
    validate_all(spool)
    with submitting(spool) as outbox:
        assert [claim.breaks for claim in outbox.claim(10)] == [{}]


def test_a_damaged_message_is_requeued_only_when_its_bytes_are_whole_again(spool: Spool) -> None:
    queue_id = make(spool, State.DAMAGED)
    (segment,) = spool.layout.segments.glob("*.seg")
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b"Hello.", b"Jello."))
    with pytest.raises(Damaged, match="differ from its SHA-256, still"):
        requeue(spool, queue_id)
    assert (message(spool, queue_id).state, noted(spool)) == (State.DAMAGED, [])
    segment.write_bytes(whole)
    assert requeue(spool, queue_id) is State.STAGED
    assert [one.queue_id for one in validate_all(spool)] == [queue_id]


def test_a_damaged_message_without_bytes_cannot_be_requeued(spool: Spool) -> None:
    queue_id = make(spool, State.DAMAGED)
    (segment,) = spool.layout.segments.glob("*.seg")
    segment.unlink()
    with pytest.raises(Damaged, match="is missing, still"):
        requeue(spool, queue_id)
    assert discard(spool, queue_id) is State.DISCARDED


@pytest.mark.parametrize("state", [State.STAGED, State.READY, State.DEFERRED, State.HELD, State.DAMAGED])
def test_what_is_discarded_is_neither_sent_nor_found_again(spool: Spool, state: State) -> None:
    queue_id = make(spool, state)
    assert discard(spool, queue_id) is State.DISCARDED
    assert validate_all(spool) == []
    with submitting(spool) as outbox:
        assert outbox.claim(10) == []
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is State.DISCARDED


def test_what_fetch_had_against_a_message_is_not_forgotten_while_it_is_held(spool: Spool) -> None:
    """Oversize that goes straight into Badmail: the reason in the row is what validate goes by."""
    objection = Reason(stage="fetch", text="over the limit")
    queue_id = make(spool, State.STAGED, replace(arrival(), objection=objection))
    for back in (release, requeue):
        hold_back(spool, queue_id)
        assert message(spool, queue_id).reason != objection
        back(spool, queue_id)
        assert message(spool, queue_id).reason == objection


def test_a_badmail_message_is_discarded_with_its_file(spool: Spool) -> None:
    queue_id = refused(spool)
    assert decide(spool, queue_id, Outcome.DISCARDED, is_badmail=True) is State.DISCARDED
    assert list(spool.layout.badmail.iterdir()) == []
    assert verify(spool).ok
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is State.DISCARDED


@pytest.mark.parametrize("step", range(1, 11))
def test_whichever_step_of_discarding_badmail_fails_it_is_done_wholly_or_not(
    spool: Spool, disk: FaultyDisk, step: int
) -> None:
    queue_id = refused(spool)
    disk.fail(step, lasting=True)
    with suppress(SpoolFailed):
        decide(spool, queue_id, Outcome.DISCARDED, is_badmail=True)
    disk.mend()
    finish_by_hand(spool)
    state = message(spool, queue_id).state
    assert state is (State.DISCARDED if noted(spool) else State.BADMAIL)
    assert spool.layout.badmail_message(queue_id).exists() or state is State.DISCARDED
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is state


def test_a_message_of_badmail_and_one_of_the_queue_are_not_mixed_up(spool: Spool) -> None:
    queue_id, ready = refused(spool), make(spool, State.READY, arrival(uidl="other"))
    with pytest.raises(ForbiddenTransition, match="is in Badmail: `badmail replay` sends it again"):
        discard(spool, queue_id)
    with pytest.raises(ForbiddenTransition, match="is not in Badmail: it is ready"):
        decide(spool, ready, Outcome.DISCARDED, is_badmail=True)
    assert (message(spool, queue_id).state, message(spool, ready).state) == (State.BADMAIL, State.READY)


def test_a_message_whose_replay_is_on_its_way_cannot_be_discarded(spool: Spool) -> None:
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    with pytest.raises(ForbiddenTransition, match=f"was replayed before, as {child}"):
        decide(spool, queue_id, Outcome.DISCARDED, is_badmail=True)
    assert spool.layout.badmail_message(queue_id).exists()


def test_one_of_many_keeps_none_of_the_others_back(spool: Spool) -> None:
    first, second, third = (make(spool, State.DEFERRED, one) for one in letters(3))
    hold_back(spool, second)
    release(spool, second)
    unknown = QueueId("0" * 18)
    came = {one.queue_id: one.came_of_it for one in change(spool, [first, unknown, second, third], asked=REQUEUED)}
    assert (came[first], came[third]) == (State.STAGED, State.STAGED)
    assert isinstance(came[unknown], NotFound)
    assert isinstance(came[second], ForbiddenTransition)


def test_many_are_synced_together_and_one_that_is_named_twice_is_one(spool: Spool, disk: FaultyDisk) -> None:
    ids = make_ready(spool, *letters(150))
    disk.steps.clear()
    found = list(change(spool, [*ids, ids[0]], asked=Outcome.HELD))
    assert [one.queue_id for one in found] == ids
    assert {one.came_of_it for one in found} == {State.HELD}
    assert disk.steps.count("sync command.journal") == 2


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Outcome.HELD, State.HELD), (Outcome.REQUEUED, State.STAGED), (Outcome.DISCARDED, State.DISCARDED)],
)
@pytest.mark.parametrize("is_claimed", [False, True])
def test_what_a_killed_command_noted_of_a_message_that_went_on_is_carried_out(
    spool: Spool, outcome: Outcome, state: State, is_claimed: bool
) -> None:
    """Between its line and its row nobody kept submit from taking the message: then it is a wish."""
    queue_id = make(spool, State.DEFERRED)
    note_and_die(spool, queue_id, outcome)
    with submitting(spool) as outbox:
        with spool.index.write() as connection:
            connection.execute(update(models.messages).values(next_attempt_at=None))
        (claim,) = outbox.claim(1)
        if not is_claimed:
            outbox.settle([GivenBack(claim=claim, breaks={})])
        finish_by_hand(spool)
        if is_claimed:
            assert message(spool, queue_id).wish is outcome
            outbox.settle([GivenBack(claim=claim, breaks={})])
    row = message(spool, queue_id)
    assert (row.state, row.wish) == (state, None)
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is state
