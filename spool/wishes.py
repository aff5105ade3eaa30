"""What the operator's word does to a message: the rules, for the command that notes it, for submit and for a rebuild.

A message that submit has in hand stays there: its final dot may be on its way. What the operator decides about it is
noted as a wish, the last one counts, and it takes effect when the claim ends:

    how the claim ends                 held        requeued    discarded
    accepted by all that were left     submitted   submitted   submitted
    refused, or expired                badmail     badmail     discarded
    postponed, or given back           held        staged      discarded
    set aside: nobody knows            held        held        discarded
    found damaged                      damaged     damaged     discarded

Who has accepted it stays noted. Where some are left and others were refused, those are a Badmail message of their own,
unless all of it is discarded. A ready message that is given back is due at once when it was to be requeued. A hold
makes of an outcome that nobody knows what `submit.ambiguous = "hold"` does.

**Invariants:** pure; acceptance wins over every wish, a discard over all else. The operator's words stand in one
journal, so the last of them is known without asking a clock or a claim; against the holds of submit, which stand in
another, each counts by the claim at which it was said.
**Failures:** none.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import assert_never

from spool.envelope import Reason
from spool.journal import Line, Outcome
from spool.queue_id import QueueId
from spool.rows import Message
from spool.states import TRANSITIONS, State, Trigger

TRIGGERS = {
    Outcome.HELD: Trigger.HELD,
    Outcome.RELEASED: Trigger.RELEASED,
    Outcome.REQUEUED: Trigger.REQUEUED,
    Outcome.DISCARDED: Trigger.DISCARDED,
}
BY_THE_OPERATOR = "by the operator"
HELD_BY_THE_OPERATOR = Reason(stage="spool", text="held by the operator")


class End(enum.Enum):
    """How a claim ends, as far as wishes care."""

    ACCEPTED = "accepted by all that were left"
    REFUSED = "refused, nobody is left"
    GOES_ON = "postponed or given back"
    SET_ASIDE = "held, because the relay may have it"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What the operator said of a message at a claim of it: as a wish where the claim was live."""

    outcome: Outcome
    claim: int
    is_wish: bool

    @property
    def ended_claim(self) -> int:
        """The highest claim that had ended when this was said: a hold by submit at a higher one came after it."""
        return self.claim - 1 if self.is_wish else self.claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a message stands when the operator speaks."""

    state: State
    claim: int = 0
    is_claimed: bool = False
    wish: Outcome | None = None
    replay_id: QueueId | None = None


def standing_of(message: Message) -> Standing:
    """How a message stands that was read from the index."""
    return Standing(state=message.state, is_claimed=message.is_claimed, wish=message.wish, replay_id=message.replay_id)


@dataclass(frozen=True, slots=True)
class Wished:
    """What is to be when the claim ends; None: whatever comes of it."""

    wish: Outcome | None


def effect(end: End, wish: Outcome) -> Trigger | None:
    """What a wish makes of the end of a claim; None where that stays as it is."""
    if end is End.ACCEPTED:
        return None
    if wish is Outcome.DISCARDED:
        return Trigger.DISCARDED
    return TRIGGERS[wish] if end is End.GOES_ON else None


def follow(word: Word, now: Standing) -> Trigger | Wished | None:
    """What a word in the journal does to the message as it stands; None where it came too late.

    That is not always how it stood when the word was said: the command may have died before the row changed.
    """
    if now.is_claimed:
        return Wished(None if word.outcome is Outcome.RELEASED else word.outcome)
    trigger = TRIGGERS[word.outcome]
    if (now.state, trigger) not in TRANSITIONS or (now.state is State.BADMAIL and now.replay_id):
        return None
    match trigger:
        case Trigger.RELEASED | Trigger.REQUEUED if now.state is State.HELD:
            is_meant = not word.is_wish and word.claim == now.claim
        case Trigger.REQUEUED if now.state is State.DAMAGED:
            is_meant = not word.is_wish
        case _:
            is_meant = True
    return trigger if is_meant else None


def objection(asked: Outcome, now: Standing, *, is_badmail: bool) -> str | None:
    """Why something cannot be done, as the end of a sentence that begins with the message; None where it can.

    `is_badmail` says that a message of Badmail is meant, not one of the queue.
    """
    if is_badmail or now.state.is_final:
        return not_in_badmail(now)
    if now.is_claimed and (now.wish or asked is not Outcome.RELEASED):
        return None
    if now.state is State.BADMAIL:
        return not_in_badmail(now) or "is in Badmail: `badmail replay` sends it again, `badmail rm` discards it"
    return None if (now.state, TRIGGERS[asked]) in TRANSITIONS else f"is {now.state}: {_only(asked)}"


def not_in_badmail(now: Standing) -> str | None:
    """Where a message is that is not in Badmail, or on its way out, as the end of such a sentence; else None."""
    match now.state:
        case State.SUBMITTED:
            return "was submitted: the relay has it"
        case State.REPLAYED:
            return f"was replayed as {now.replay_id}"
        case State.DISCARDED:
            return "was discarded"
        case State.STAGED | State.READY | State.DEFERRED | State.HELD | State.DAMAGED:
            return f"is not in Badmail: it is {now.state}, see `spool show`"
        case State.BADMAIL:
            return f"was replayed before, as {now.replay_id}" if now.replay_id else None
        case _:
            assert_never(now.state)


def operators_word(line: Line) -> Word | None:
    """A line as the operator's word; None where a stage wrote it.

    A stage's hold ends a claim, and a stage's discard is a file that was gone.
    """
    is_operators = line.outcome in (Outcome.RELEASED, Outcome.REQUEUED) or (
        line.outcome in TRIGGERS and "wish" in line.details
    )
    return word_of(line) if is_operators else None


def word_of(line: Line) -> Word:
    """A line of the commands' journal as the operator's word."""
    claim = line.details.get("claim")
    return Word(
        outcome=line.outcome,
        claim=claim if isinstance(claim, int) else 0,
        is_wish=bool(line.details.get("wish")),
    )


def _only(asked: Outcome) -> str:
    """Which messages of the queue it can be done to."""
    states = [state for state, trigger in TRANSITIONS if trigger is TRIGGERS[asked] and state is not State.BADMAIL]
    *others, last = [str(state) for state in states]
    those = f"{', '.join(others)} and {last}" if others else last
    return f"only {those} messages can be {asked}"
