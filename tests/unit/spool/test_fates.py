"""What journal lines alone say of a message: finished is only what they call finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.fates import Fate, fate
from spool.journal import Line, Outcome
from spool.queue_id import QueueId
from spool.settlement import Verdict
from spool.states import State

MESSAGE = QueueId("01kdvq0000" + "m" * 8)
CHILD = QueueId("01kdvq0001" + "c" * 8)
ACCEPTED, POSTPONED, REFUSED = Verdict.ACCEPTED, Verdict.POSTPONED, Verdict.REFUSED
_numbers = count(1)


def line(outcome: Outcome, details: Mapping[str, object] | None = None) -> Line:
    number = next(_numbers)
    return Line(number=number, at=number, serial=1, outcome=outcome, queue_id=MESSAGE, details=details or {})


def dot(claim: int) -> Line:
    return line(Outcome.DOT, {"claim": claim})


def answered(claim: int, answers: Mapping[str, Verdict], *, child: QueueId | None = None) -> Line:
    kinds = set(answers.values())
    outcome = Outcome.MOVED if child else Outcome.SUBMITTED if kinds == {ACCEPTED} else Outcome.RESULT
    reason = {"stage": "submit", "code": 250, "enhanced": None, "text": "said"}
    said = [[recipient, verdict, reason] for recipient, verdict in answers.items()]
    return line(outcome, {"claim": claim, "answers": said, "child": child})


def judge(lines: Sequence[Line], *, in_badmail: bool = False, known: Sequence[str] = ()) -> Fate:
    return fate(lines, is_in_badmail=in_badmail, is_known=lambda queue_id: queue_id in known)


def recipients_accepted(one: Fate) -> list[object]:
    return [accepted["recipient"] for accepted in one.accepted]


def test_a_message_without_lines_goes_on() -> None:
    assert judge([]) == Fate(state=State.STAGED)


def test_an_accepted_message_is_submitted() -> None:
    assert judge([dot(1), answered(1, {"a": ACCEPTED})]).state is State.SUBMITTED


def test_a_final_dot_without_an_answer_makes_a_possible_duplicate() -> None:
    found = judge([dot(1)])
    assert (found.state, found.is_possible_duplicate) == (State.STAGED, True)


def test_an_answer_to_an_earlier_claim_says_nothing_of_a_later_dot() -> None:
    assert judge([dot(1), answered(1, {"a": POSTPONED}), dot(2)]).is_possible_duplicate


def test_an_answered_dot_is_no_possible_duplicate() -> None:
    assert not judge([dot(1), answered(1, {"a": POSTPONED})]).is_possible_duplicate


def test_a_recipient_that_was_accepted_is_not_sent_to_again() -> None:
    found = judge([answered(1, {"a": ACCEPTED, "b": POSTPONED})])
    assert (found.state, found.recipients, recipients_accepted(found)) == (State.STAGED, ("b",), ["a"])


def test_acceptances_of_several_attempts_add_up() -> None:
    lines = [answered(1, {"a": ACCEPTED, "b": POSTPONED}), answered(2, {"b": ACCEPTED})]
    found = judge(lines)
    assert (found.state, recipients_accepted(found), found.attempts) == (State.SUBMITTED, ["a", "b"], 2)


def test_refused_recipients_belong_to_the_badmail_message_that_took_them_over() -> None:
    lines = [answered(1, {"a": POSTPONED, "b": REFUSED}, child=CHILD)]
    assert judge(lines, known=[CHILD]).recipients == ("a",)


def test_a_divided_message_with_nothing_left_is_submitted() -> None:
    lines = [answered(1, {"a": ACCEPTED, "b": REFUSED}, child=CHILD)]
    assert judge(lines, known=[CHILD]).state is State.SUBMITTED


def test_refused_recipients_go_on_where_their_badmail_message_was_never_written() -> None:
    """The line that names the new queue id is synced before the file: a crash in between must lose nobody."""
    found = judge([answered(1, {"a": ACCEPTED, "b": REFUSED}, child=CHILD)])
    assert (found.state, found.recipients) == (State.STAGED, ("b",))


def test_a_refused_message_without_its_badmail_file_goes_on() -> None:
    """The relay's answer is noted before the file is written: until the file is there the spool holds the message."""
    found = judge([dot(1), answered(1, {"a": REFUSED})])
    assert (found.state, found.recipients) == (State.STAGED, ("a",))


def test_a_badmail_file_is_the_truth_without_any_line() -> None:
    assert judge([], in_badmail=True).state is State.BADMAIL


def test_a_badmail_file_that_somebody_removed_is_discarded() -> None:
    assert judge([line(Outcome.BADMAIL)]).state is State.DISCARDED


def test_a_discarded_message_stays_discarded_while_its_file_still_goes() -> None:
    """Its file is unlinked after the commit."""
    assert judge([line(Outcome.BADMAIL), line(Outcome.DISCARDED)], in_badmail=True).state is State.DISCARDED


def test_a_replayed_message_names_the_one_that_went_out_in_its_place() -> None:
    found = judge([line(Outcome.BADMAIL), line(Outcome.REPLAYED, {"child": CHILD})])
    assert (found.state, found.replay_id) == (State.REPLAYED, CHILD)


@pytest.mark.parametrize(("known", "state"), [([CHILD], State.REPLAYED), ([], State.BADMAIL)])
def test_a_replay_counts_when_the_new_message_is_there(known: list[str], state: State) -> None:
    """While the Badmail file is there nothing is lost by keeping it, and all by trusting a replay nobody can find."""
    assert judge([line(Outcome.REPLAYED, {"child": CHILD})], in_badmail=True, known=known).state is state


@pytest.mark.parametrize(("last", "state"), [(Outcome.RELEASED, State.STAGED), (Outcome.REQUEUED, State.STAGED)])
def test_a_held_message_stays_held_until_it_is_released(last: Outcome, state: State) -> None:
    held = line(Outcome.HELD)
    assert judge([held]).state is State.HELD
    assert judge([held, line(last)]).state is state


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("held_at", "released_at", "state"), [(1, 1, State.STAGED), (1, 2, State.STAGED), (2, 1, State.HELD)]
)
def test_a_release_ends_the_holds_up_to_the_claim_that_it_names(
    held_at: int, released_at: int, state: State, is_first: bool
) -> None:
    """They stand in two journals, whose lines have no common order."""
    lines = [line(Outcome.HELD, {"claim": held_at}), line(Outcome.RELEASED, {"claim": released_at})]
    found = judge(lines if is_first else lines[::-1])
    assert found.state is state
    assert found.line is (lines[0] if state is State.HELD else None)


def test_a_hold_before_the_last_one_decides_nothing() -> None:
    lines = [line(Outcome.HELD, {"claim": 1}), line(Outcome.HELD, {"claim": 3}), line(Outcome.RELEASED, {"claim": 1})]
    assert judge(lines).line is lines[1]


def test_a_held_message_that_was_discarded_is_done() -> None:
    assert judge([line(Outcome.HELD, {"claim": 1}), line(Outcome.DISCARDED, {"claim": 1})]).state is State.DISCARDED


@pytest.mark.parametrize("outcome", [Outcome.HELD, Outcome.RESULT])
def test_an_outcome_that_was_noted_as_unknown_makes_a_possible_duplicate(outcome: Outcome) -> None:
    assert judge([line(outcome, {"claim": 1, "unknown": True})]).is_possible_duplicate


def test_claims_count_on_from_the_highest_that_a_line_names() -> None:
    """A new claim of an old number would be settled by the old number's answer."""
    assert judge([dot(1), answered(1, {"a": POSTPONED}), dot(7)]).claim == 7


def test_an_answer_that_names_nobody_ends_nothing() -> None:
    assert judge([line(Outcome.RESULT, {"claim": 1, "answers": []})]).state is State.STAGED


@given(
    attempts=st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from(Verdict), min_size=1), max_size=3),
    child_is_known=st.booleans(),
)
def test_nobody_of_the_last_attempt_is_lost_and_nobody_accepted_is_sent_to(
    attempts: list[dict[str, Verdict]], child_is_known: bool
) -> None:
    """Every recipient of the last attempt is accepted, goes on, or is with a Badmail message that is known."""
    lines = [
        answered(
            claim, answers, child=CHILD if REFUSED in answers.values() and len(set(answers.values())) > 1 else None
        )
        for claim, answers in enumerate(attempts, start=1)
    ]
    found = judge(lines, known=[CHILD] if child_is_known else [])
    for recipient, verdict in (attempts[-1] if attempts else {}).items():
        with_child = verdict is REFUSED and child_is_known and lines[-1].outcome is Outcome.MOVED
        assert (recipient in found.recipients) == (verdict is not ACCEPTED and not with_child)
    assert found.state is State.SUBMITTED or found.recipients or not attempts
