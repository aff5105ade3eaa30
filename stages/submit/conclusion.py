"""Say how a claim ends, by the verdict on its transaction: settled for each recipient, given back, or tried again now.

**Invariants:** pure; clock and randomness come in. Acceptance is never lost. A message is given back, and its attempt
not counted, only where nothing was decided about any recipient, or where nobody knows what was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from spool.ended import Claim, GivenBack
from spool.envelope import Reason
from spool.settlement import Answer, Settlement, settlement
from spool.settlement import Verdict as Ruling
from stages.submit.retry import Attempt, Expired, RetryPolicy, after_postponement
from stages.submit.tallies import Breaks
from stages.submit.verdict import (
    STAGE,
    Accepted,
    Course,
    Outcome,
    Postponed,
    Refused,
    SenderRefused,
    Untouched,
    Verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The same claim is tried once more at once, in a fresh session; where there is a `reason`, with the null path."""

    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What surrounds a transaction.

    `open_clock` is how long the route has been open, in milliseconds, and `opened_at` since when it is, None while it
    is not; `acceptances` counts the messages accepted under `epoch`, the stage's present one. `holds_unknown`: a
    message that the relay may have is held, whatever else speaks against it.
    """

    now: datetime
    open_clock: int
    opened_at: datetime | None
    acceptances: int
    epoch: int
    holds_unknown: bool = False


def conclude(
    claim: Claim,
    verdict: Verdict,
    *,
    around: Circumstances,
    policy: RetryPolicy,
    uniform: Callable[[float, float], float],
) -> Settlement | GivenBack | Again:
    """Say what becomes of a claim; the verdict's outcomes stand beside the recipients that the message still has."""
    for outcome in verdict.outcomes:
        if isinstance(outcome, SenderRefused):
            return Again(reason=outcome.reason)
    has_decided = any(not isinstance(outcome, Untouched) for outcome in verdict.outcomes)
    # By LMTP one recipient may be accepted before the replies for the others are lost.
    if any(isinstance(outcome, Accepted) for outcome in verdict.outcomes) or (has_decided and not verdict.is_ambiguous):
        return _settled(claim, verdict, around=around, policy=policy, uniform=uniform)
    if verdict.course is Course.PAUSE:
        return _in_trouble(claim, verdict, around=around)
    if verdict.course is Course.FRESH_SESSION and not verdict.is_ambiguous:
        return Again()
    return GivenBack(
        claim=claim, breaks=claim.breaks, outcome_unknown=verdict.is_ambiguous, what=_reason_of(verdict).text
    )


def refuse(claim: Claim, reason: Reason, *, open_clock: int) -> Settlement:
    """Refuse a message for all its recipients."""
    answers = [_answer(recipient, Ruling.REFUSED, reason=reason) for recipient in claim.message.recipients]
    return settlement(claim.message, claim.number, answers=answers, attempt_clock=open_clock)


def breaks_of(claim: Claim, *, epoch: int) -> Breaks:
    """The breaks that were noted on a message. What an earlier process accepted since then is not known: nothing."""
    noted = claim.breaks
    acceptances = noted.get("acceptances", 0) if noted.get("epoch") == epoch else 0
    return Breaks(count=noted.get("count", 0), acceptances=acceptances)


def _in_trouble(claim: Claim, verdict: Verdict, *, around: Circumstances) -> Settlement | GivenBack:
    """Put a message that met trouble behind all others; it is refused when only ever its own transactions do."""
    breaks = breaks_of(claim, epoch=around.epoch)
    why = _reason_of(verdict)
    # A 530 for one message alone is no different from a cut: it must not hold up the others for ever.
    if verdict.is_break or (why.code or 0) >= 500:
        breaks = breaks.after_break(acceptances=around.acceptances)
    if breaks.is_refused and not (verdict.is_ambiguous and around.holds_unknown):
        text = f"it stopped the session {breaks.count} times while other mail passed; at last: {why.text}"
        reason = Reason(stage=STAGE, code=why.code, enhanced=why.enhanced, text=text)
        return refuse(claim, reason, open_clock=around.open_clock)
    return GivenBack(
        claim=claim,
        breaks={"count": breaks.count, "acceptances": breaks.acceptances, "epoch": around.epoch},
        next_attempt_at=around.now,
        outcome_unknown=verdict.is_ambiguous,
        what=why.text,
    )


def _reason_of(verdict: Verdict) -> Reason:
    return verdict.reason or Reason(stage=STAGE, text="the session broke")


def _settled(
    claim: Claim,
    verdict: Verdict,
    *,
    around: Circumstances,
    policy: RetryPolicy,
    uniform: Callable[[float, float], float],
) -> Settlement:
    message = claim.message
    attempt = Attempt(
        number=message.attempts + 1,
        made_at=around.now,
        open_time=timedelta(milliseconds=around.open_clock),
        open_time_at_first=timedelta(milliseconds=claim.queued_clock),
        reopened_at=around.opened_at,
    )
    later = after_postponement(attempt, policy, uniform=uniform)
    expired, due = (later, around.now) if isinstance(later, Expired) else (None, later.next_attempt_at)
    answers = [
        _judged(recipient, outcome, expired=expired)
        for recipient, outcome in zip(message.recipients, verdict.outcomes, strict=True)
    ]
    return settlement(
        message,
        claim.number,
        answers=answers,
        attempt_clock=around.open_clock,
        next_attempt_at=_next_attempt(verdict.outcomes, due, around=around),
        has_expired=expired is not None and any(isinstance(outcome, Postponed) for outcome in verdict.outcomes),
        outcome_unknown=verdict.is_ambiguous,
    )


def _judged(recipient: str, outcome: Outcome, *, expired: Expired | None) -> Answer:
    match outcome:
        case Accepted(reply=reply):
            reason = Reason(stage=STAGE, code=reply.code, enhanced=reply.enhanced, text=reply.text)
            return _answer(recipient, Ruling.ACCEPTED, reason=reason)
        case Refused(reason=reason):
            return _answer(recipient, Ruling.REFUSED, reason=reason)
        case Postponed(reason=reason) if expired is not None:
            text = f"expired after {expired.age.days} days; at last: {reason.text}"
            reason = Reason(stage=STAGE, code=reason.code, enhanced=reason.enhanced, text=text)
            return _answer(recipient, Ruling.REFUSED, reason=reason)
        case Postponed(reason=reason) | Untouched(reason=reason):
            return _answer(recipient, Ruling.POSTPONED, reason=reason)
        case SenderRefused():
            raise AssertionError("a refused sender is tried again with the null reverse-path")
        case _:
            assert_never(outcome)


def _next_attempt(outcomes: Sequence[Outcome], due: datetime, *, around: Circumstances) -> datetime | None:
    """When the rest goes on: at once where the relay did not ask us to wait."""
    if any(isinstance(outcome, Postponed) for outcome in outcomes):
        return due
    return around.now if any(isinstance(outcome, Untouched) for outcome in outcomes) else None


def _answer(recipient: str, verdict: Ruling, *, reason: Reason) -> Answer:
    return Answer(recipient=recipient, verdict=verdict, reason=reason)
