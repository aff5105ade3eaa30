"""How a claim ends: what is known of it, what an earlier process noted of it, what the operator's wish makes of it.

**Invariants:** pure. What was noted of an end before a process died holds, whatever is configured or wished since: a
rebuild would go by it.
**Failures:** none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from spool.envelope import Reason
from spool.events import Event, WishCameTooLate
from spool.journal import Line, Outcome
from spool.rows import Message
from spool.settlement import Answer, Settlement, Verdict, from_line, may_have_it, unknown_reason
from spool.states import Trigger
from spool.wishes import HELD_BY_THE_OPERATOR, End, effect

_RESULTS = frozenset({Outcome.SUBMITTED, Outcome.RESULT, Outcome.MOVED})
_ENDED_EARLY = "the process ended between the final dot and its reply"
_STARTED_ANEW = "the machine was started anew, and what was noted last may be lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A message in our hands for one attempt.

    `breaks` is what the caller noted of sessions that broke in this message's transaction; `queued_clock` is the
    route's open clock when it became ready, `attempt_clock` at its last attempt, None before the first (milliseconds).
    """

    message: Message
    number: int
    breaks: Mapping[str, int]
    queued_clock: int
    attempt_clock: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack:
    """A claim that ended without a verdict on the message: the route failed, or its session broke.

    `next_attempt_at` sends it behind whatever is due by then, None leaves its place as it was; `outcome_unknown` marks
    a possible duplicate: the final dot was sent and the reply never came. `what` says in plain words what came instead
    of a reply; `held` is the reason for which the message is set aside, None where it goes on. `by_hand` is what the
    operator's wish makes of it: REQUEUED or DISCARDED.
    """

    claim: Claim
    breaks: Mapping[str, int]
    next_attempt_at: datetime | None = None
    outcome_unknown: bool = False
    what: str = "no reply was noted"
    held: Reason | None = None
    by_hand: Trigger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A claim whose bytes are not the ones that were admitted; `answers` are those it had when that was found.

    `by_hand` is DISCARDED where the operator wished that.
    """

    claim: Claim
    what: str
    answers: tuple[Answer, ...] = ()
    by_hand: Trigger | None = None


Ended = Settlement | GivenBack | Unreadable


def as_noted(claim: Claim, lines: Sequence[Line], *, is_of_this_boot: bool) -> Settlement | GivenBack:
    """How a claim ended whose process is gone, by the lines about it."""
    last = {line.outcome: line for line in lines}
    # These were synced before the row could say so, and a rebuild would go by them: whatever is configured or wished
    # now, they hold.
    holding = last.get(Outcome.HELD)
    held = Reason.parse(str(holding.details["reply"])) if holding else None
    by_hand = Trigger.DISCARDED if Outcome.DISCARDED in last else None
    result = next((line for line in lines if line.outcome in _RESULTS), None)
    if result is not None:
        return replace(from_line(claim.message, result), held=held, by_hand=by_hand)
    is_unknown = bool(holding.details.get("unknown", True)) if holding else bool(lines) or not is_of_this_boot
    return GivenBack(
        claim=claim,
        breaks=claim.breaks,
        outcome_unknown=is_unknown,
        what=_ENDED_EARLY if lines else _STARTED_ANEW,
        held=held,
        by_hand=by_hand,
    )


def heed(one: Ended, wish: Outcome | None, *, has_child: bool, holds_unknown: bool) -> Ended:
    """Decide what becomes of a claim that the operator had a wish for, or whose outcome is unknown.

    `has_child` says that the Badmail file of its refused recipients is there already; `holds_unknown` that a message
    whose outcome is unknown is held, not sent again.
    """
    if one.by_hand is Trigger.DISCARDED:
        # An earlier process had carried that out but for the row.
        wish, one = Outcome.DISCARDED, replace(one, by_hand=None)
    one = _hold(one, is_wanted=holds_unknown or wish is Outcome.HELD)
    if wish is None:
        return one
    if wish is Outcome.DISCARDED and isinstance(one, Settlement) and not has_child:
        # What is discarded does not divide.
        one = replace(one, child=None)
    match effect(_end(one), wish):
        case None:
            return one
        case Trigger.HELD if not isinstance(one, Unreadable):
            return replace(one, held=HELD_BY_THE_OPERATOR)
        case trigger:
            return replace(one, by_hand=trigger)


def too_late(ended: Sequence[Ended], wishes: Mapping[str, Outcome]) -> list[Event]:
    """Tell of wishes that the ends of their claims did not leave room for."""
    late: list[Event] = []
    for one in ended:
        message = message_of(one)
        wish = wishes.get(message.queue_id)
        is_held = not isinstance(one, Unreadable) and one.held is not None
        if wish and not one.by_hand and not (wish is Outcome.HELD and is_held):
            late.append(WishCameTooLate(queue_id=message.queue_id, account=message.account, wish=wish))
    return late


def leaves_for_badmail(one: Ended) -> bool:
    """Whether a Badmail file is to be written."""
    if not isinstance(one, Settlement) or not one.having(Verdict.REFUSED):
        return False
    return one.by_hand is not Trigger.DISCARDED or one.child is not None


def has_line(one: Ended) -> bool:
    """Whether a line was noted when it was filed."""
    if isinstance(one, Unreadable) or one.by_hand is Trigger.DISCARDED:
        return True
    return one.held is not None or leaves_for_badmail(one)


def message_of(one: Ended) -> Message:
    """The message whose claim it was."""
    return one.message if isinstance(one, Settlement) else one.claim.message


def _hold(one: Ended, *, is_wanted: bool) -> Ended:
    """Set a message aside whose outcome is unknown, where that is wanted."""
    if isinstance(one, Unreadable) or not one.outcome_unknown or one.held or not is_wanted:
        return one
    return replace(one, held=unknown_reason(one) if isinstance(one, Settlement) else may_have_it(one.what))


def _end(one: Ended) -> End:
    match one:
        case Unreadable():
            return End.DAMAGED
        case Settlement(held=Reason()) | GivenBack(held=Reason()):
            return End.SET_ASIDE
        case GivenBack():
            return End.GOES_ON
        case Settlement():
            if one.having(Verdict.POSTPONED):
                return End.GOES_ON
            return End.REFUSED if one.having(Verdict.REFUSED) and one.child is None else End.ACCEPTED
