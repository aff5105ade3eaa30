"""The operator's word as rules: the table, and what follows of a word at whatever a message stands like."""

from __future__ import annotations

import itertools

import pytest

from spool.journal import Line, Outcome
from spool.queue_id import QueueId
from spool.states import LIVE, TRANSITIONS, State, Trigger
from spool.wishes import (
    TRIGGERS,
    End,
    Standing,
    Wished,
    Word,
    effect,
    follow,
    not_in_badmail,
    objection,
    operators_word,
)

CHILD = QueueId("01kdvq0001" + "c" * 8)
ASKED = (Outcome.HELD, Outcome.RELEASED, Outcome.REQUEUED, Outcome.DISCARDED)
HELD, REQUEUED, DISCARDED = Trigger.HELD, Trigger.REQUEUED, Trigger.DISCARDED


def said(outcome: Outcome, *, claim: int = 1, is_wish: bool = False) -> Word:
    return Word(outcome=outcome, claim=claim, is_wish=is_wish)


@pytest.mark.parametrize(
    ("end", "held", "requeued", "discarded"),
    [
        (End.ACCEPTED, None, None, None),
        (End.REFUSED, None, None, DISCARDED),
        (End.GOES_ON, HELD, REQUEUED, DISCARDED),
        (End.SET_ASIDE, None, None, DISCARDED),
        (End.DAMAGED, None, None, DISCARDED),
    ],
)
def test_the_end_of_the_claim_and_the_wish_decide(
    end: End, held: Trigger | None, requeued: Trigger | None, discarded: Trigger | None
) -> None:
    """The table of the module; None is the end as it would have been."""
    wishes = (Outcome.HELD, Outcome.REQUEUED, Outcome.DISCARDED)
    assert tuple(effect(end, wish) for wish in wishes) == (held, requeued, discarded)


@pytest.mark.parametrize("asked", ASKED)
def test_whatever_is_said_of_a_message_under_a_claim_becomes_a_wish(asked: Outcome) -> None:
    now = Standing(state=State.READY, claim=3, is_claimed=True, wish=Outcome.HELD)
    for is_wish in (True, False):
        followed = follow(said(asked, is_wish=is_wish), now)
        assert followed == Wished(None if asked is Outcome.RELEASED else asked)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("asked", ASKED)
def test_what_follows_is_always_an_edge_of_the_table(asked: Outcome, state: State) -> None:
    for is_wish, claim in itertools.product((True, False), (1, 2)):
        followed = follow(said(asked, claim=claim, is_wish=is_wish), Standing(state=state, claim=2))
        assert followed is None or (followed == TRIGGERS[asked] and (state, followed) in TRANSITIONS)


@pytest.mark.parametrize("asked", [Outcome.RELEASED, Outcome.REQUEUED])
@pytest.mark.parametrize(
    ("claim", "is_wish", "is_meant"), [(2, False, True), (1, False, False), (2, True, False), (1, True, False)]
)
def test_a_hold_is_ended_only_by_what_was_said_after_it(
    asked: Outcome, claim: int, is_wish: bool, is_meant: bool
) -> None:
    """A wish was said while the claim was live, so the hold that ended the claim came after it."""
    followed = follow(said(asked, claim=claim, is_wish=is_wish), Standing(state=State.HELD, claim=2))
    assert followed is (TRIGGERS[asked] if is_meant else None)


@pytest.mark.parametrize(("is_wish", "followed"), [(False, REQUEUED), (True, None)])
def test_a_wish_to_requeue_says_nothing_of_damage_that_was_found_after_it(
    is_wish: bool, followed: Trigger | None
) -> None:
    """Only the command reads the bytes once more."""
    assert follow(said(Outcome.REQUEUED, is_wish=is_wish), Standing(state=State.DAMAGED, claim=1)) is followed


def test_a_message_whose_replay_is_on_its_way_is_not_discarded() -> None:
    now = Standing(state=State.BADMAIL, replay_id=CHILD)
    assert follow(said(Outcome.DISCARDED), now) is None
    assert objection(Outcome.DISCARDED, now, is_badmail=True) == f"was replayed before, as {CHILD}"


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("is_badmail", [True, False])
def test_an_objection_is_raised_where_nothing_would_follow_and_only_there(
    asked: Outcome, state: State, is_badmail: bool
) -> None:
    """So that no line is noted for nothing; Badmail is the business of commands of its own."""
    if is_badmail and asked is not Outcome.DISCARDED:
        return
    now = Standing(state=state, claim=1)
    is_possible = follow(said(asked), now) is not None and (state is State.BADMAIL) is is_badmail
    assert (objection(asked, now, is_badmail=is_badmail) is None) is is_possible


@pytest.mark.parametrize("asked", ASKED)
def test_under_a_claim_all_can_be_wished_and_a_wish_be_taken_back(asked: Outcome) -> None:
    claimed = Standing(state=State.DEFERRED, claim=1, is_claimed=True)
    wished = Standing(state=State.DEFERRED, claim=1, is_claimed=True, wish=Outcome.DISCARDED)
    assert objection(asked, wished, is_badmail=False) is None
    assert (objection(asked, claimed, is_badmail=False) is None) is (asked is not Outcome.RELEASED)


@pytest.mark.parametrize(
    ("state", "where"),
    [
        (State.SUBMITTED, "was submitted: the relay has it"),
        (State.REPLAYED, f"was replayed as {CHILD}"),
        (State.DISCARDED, "was discarded"),
        *((state, f"is not in Badmail: it is {state}, see `spool show`") for state in sorted(LIVE)),
    ],
)
def test_it_is_said_where_a_message_is(state: State, where: str) -> None:
    now = Standing(state=state, replay_id=CHILD if state is State.REPLAYED else None)
    assert not_in_badmail(now) == where


@pytest.mark.parametrize(
    ("asked", "state", "why"),
    [
        (Outcome.RELEASED, State.READY, "is ready: only held messages can be released"),
        (Outcome.HELD, State.HELD, "is held: only staged, ready and deferred messages can be held"),
        (Outcome.REQUEUED, State.STAGED, "is staged: only deferred, held and damaged messages can be requeued"),
        (
            Outcome.HELD,
            State.BADMAIL,
            "is in Badmail: `badmail replay` sends it again, `badmail rm` discards it",
        ),
    ],
)
def test_it_is_said_what_can_be_done_instead(asked: Outcome, state: State, why: str) -> None:
    assert objection(asked, Standing(state=state), is_badmail=False) == why


@pytest.mark.parametrize(
    ("outcome", "details", "word"),
    [
        (Outcome.HELD, {"claim": 2}, None),
        (Outcome.DISCARDED, {"claim": 2}, None),
        (Outcome.HELD, {"claim": 2, "wish": False}, said(Outcome.HELD, claim=2)),
        (Outcome.DISCARDED, {"claim": 2, "wish": True}, said(Outcome.DISCARDED, claim=2, is_wish=True)),
        (Outcome.RELEASED, {"claim": 2}, said(Outcome.RELEASED, claim=2)),
        (Outcome.REQUEUED, {}, said(Outcome.REQUEUED, claim=0)),
        (Outcome.SUBMITTED, {"claim": 2, "wish": True}, None),
    ],
)
def test_a_line_is_the_operators_word_or_a_stages(
    outcome: Outcome, details: dict[str, object], word: Word | None
) -> None:
    line = Line(number=1, at=1, serial=1, outcome=outcome, queue_id=CHILD, details=details)
    assert operators_word(line) == word
