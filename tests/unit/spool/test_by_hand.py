"""Release and discard: a line, then the row; what a killed command noted is carried out by whoever comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from spool.by_hand import finish_by_hand
from spool.ended import GivenBack, Unreadable
from spool.errors import ForbiddenTransition, NotFound, SpoolFailed
from spool.journal import Outcome, read_journal
from spool.layout import COMMAND_JOURNAL, Stage
from spool.locks import COMMANDS, hold
from spool.opening import Spool, require_current_index, take_stage
from spool.queue_id import QueueId
from spool.rows import Message
from spool.settlement import Verdict
from spool.staging import open_journal
from spool.states import State
from spool.verify import verify
from spool.wishes import Wished
from tests.support.attempts import A, B, answered, attempt, cut_off, names, submitting
from tests.support.by_hand import discard, release
from tests.support.faulty_disk import FaultyDisk
from tests.support.rebuilding import collect_submitted, rebuilt
from tests.support.spools import arrival, letters, make_ready, make_spool, message, passed, staging


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def spool(tmp_path: Path, disk: FaultyDisk) -> Iterator[Spool]:
    opened = make_spool(tmp_path, disk=disk)
    yield opened
    opened.close()


def noted(spool: Spool) -> list[tuple[str, Outcome, object]]:
    lines = read_journal(spool.layout.journal(COMMAND_JOURNAL)).lines
    return [(line.queue_id, line.outcome, line.details["claim"]) for line in lines]


def note_and_die(spool: Spool, queue_id: QueueId, outcome: Outcome, *, claim: int = 1) -> None:
    """What a command leaves that is killed between its line and its row."""
    with hold(spool.layout, COMMANDS):
        journal = open_journal(spool, COMMAND_JOURNAL)
        journal.note(outcome, queue_id, details={"claim": claim})
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
@pytest.mark.parametrize("change", [release, discard])
def test_whichever_step_fails_index_and_files_agree_after_the_next_look(
    spool: Spool,
    disk: FaultyDisk,
    change: Callable[[Spool, QueueId], State | Wished],
    step: int,
) -> None:
    queue_id = cut_off(spool)
    disk.fail(step, lasting=True)
    try:
        change(spool, queue_id)
    except SpoolFailed:
        assert message(spool, queue_id).state is State.HELD
    disk.mend()
    finish_by_hand(spool)
    found = message(spool, queue_id).state
    assert found is (State.HELD if not noted(spool) else State.STAGED if change is release else State.DISCARDED)
    with rebuilt(spool) as (after, _):
        assert message(after, queue_id).state is found


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


def test_a_damaged_message_can_be_discarded(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        outbox.settle([Unreadable(claim=claim, what="cut")])
    discard(spool, queue_id)
    assert message(spool, queue_id).state is State.DISCARDED


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
