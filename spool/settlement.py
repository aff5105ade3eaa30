"""What the relay answered for a message, and what follows from it: the values, their journal lines, their rows.

**Invariants:** mixed answers divide a message: the line that names the refused recipients and the new queue id is
synced before the Badmail file of that id is written, and one transaction notes the accepted recipients, enters the
child and lets the rest go on.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert

from spool import models
from spool.envelope import Reason
from spool.events import Divided, Event, Held, PossibleDuplicate, Postponed, Refused, StateChanged, Submitted, emit
from spool.journal import Line, Outcome
from spool.message_file import timestamp
from spool.models import from_ms, to_ms
from spool.queue_id import QueueId, new_queue_id
from spool.rows import ANEW, Message, badmail_row, move, reason_json
from spool.states import State, Trigger, next_state


class Verdict(enum.StrEnum):
    """What an answer means for one recipient."""

    ACCEPTED = "accepted"
    POSTPONED = "postponed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The verdict on one recipient, with the reply that led to it."""

    recipient: str
    verdict: Verdict
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of one attempt: an answer for every recipient that the message still had.

    `next_attempt_at` says when postponed recipients are due; `attempt_clock` is the route's open clock at the attempt,
    in milliseconds; `has_expired` says that refused means "given up"; `outcome_unknown` says that some of the postponed
    may have been accepted, and marks a possible duplicate; `held` is the reason for which all postponed ones are set
    aside, None where they go on. `child` is the queue id of the refused recipients where others go on. `by_hand` is
    what the operator's wish makes of it: REQUEUED or DISCARDED.
    """

    message: Message
    claim: int
    answers: tuple[Answer, ...]
    attempt_clock: int
    next_attempt_at: datetime | None = None
    has_expired: bool = False
    outcome_unknown: bool = False
    held: Reason | None = None
    child: QueueId | None = None
    by_hand: Trigger | None = None

    def having(self, verdict: Verdict) -> tuple[Answer, ...]:
        """The answers of one kind."""
        return tuple(answer for answer in self.answers if answer.verdict is verdict)


def settlement(
    message: Message,
    claim: int,
    *,
    answers: Sequence[Answer],
    attempt_clock: int,
    next_attempt_at: datetime | None = None,
    has_expired: bool = False,
    outcome_unknown: bool = False,
) -> Settlement:
    """Make a settlement, with a queue id for the refused recipients where the message divides."""
    kinds = {answer.verdict for answer in answers}
    divides = Verdict.REFUSED in kinds and len(kinds) > 1
    return Settlement(
        message=message,
        claim=claim,
        answers=tuple(answers),
        attempt_clock=attempt_clock,
        next_attempt_at=next_attempt_at,
        has_expired=has_expired,
        outcome_unknown=outcome_unknown,
        child=new_queue_id() if divides else None,
    )


def may_have_it(what: str) -> Reason:
    """Why a message is held whose outcome is unknown; `what` came instead of a reply."""
    return Reason(stage="submit", text=f"the relay may have it: {what}")


def unknown_reason(settled: Settlement) -> Reason:
    """Why a message is held of which some recipients got an answer and others none."""
    # What has a code was answered.
    silent = [answer for answer in settled.having(Verdict.POSTPONED) if answer.reason.code is None]
    named = ", ".join(answer.recipient for answer in silent)
    return may_have_it(f"{silent[0].reason.text} ({named})" if silent else "a reply did not come")


def journal_entry(settled: Settlement) -> tuple[Outcome, Mapping[str, object]]:
    """The line that remembers a settlement until its rows are committed, and for `spool rebuild` after that."""
    kinds = {answer.verdict for answer in settled.answers}
    outcome = Outcome.MOVED if settled.child else Outcome.SUBMITTED if kinds == {Verdict.ACCEPTED} else Outcome.RESULT
    return (
        outcome,
        {
            "claim": settled.claim,
            "sha256": settled.message.sha256.hex(),
            "answers": [[one.recipient, one.verdict, reason_json(one.reason)] for one in settled.answers],
            "clock": settled.attempt_clock,
            "next": to_ms(settled.next_attempt_at) if settled.next_attempt_at else None,
            "expired": settled.has_expired,
            "unknown": settled.outcome_unknown,
            "child": settled.child,
        },
    )


def from_line(message: Message, line: Line) -> Settlement:
    """Read a settlement back from its line."""
    details = line.details
    next_at = details["next"]
    return Settlement(
        message=message,
        claim=_integer(details["claim"]),
        answers=answers_of(line),
        attempt_clock=_integer(details["clock"]),
        next_attempt_at=from_ms(_integer(next_at)) if next_at is not None else None,
        has_expired=bool(details["expired"]),
        outcome_unknown=bool(details.get("unknown")),
        child=QueueId(str(details["child"])) if details["child"] else None,
    )


def answers_of(line: Line) -> tuple[Answer, ...]:
    """The answers that a SUBMITTED, RESULT or MOVED line holds."""
    found = line.details.get("answers", ())
    if not isinstance(found, list):
        return ()
    return tuple(
        Answer(recipient=recipient, verdict=Verdict(verdict), reason=Reason(**reason))
        for recipient, verdict, reason in found
    )


def apply(connection: Connection, settled: Settlement, *, now: datetime) -> None:
    """Write a settlement into the rows, compare-and-set; what is no longer as it was claimed stays as it is."""
    message = settled.message
    accepted = settled.having(Verdict.ACCEPTED)
    trigger, left = _what_happens(settled)
    why = settled.held if trigger is Trigger.HELD and settled.held else (left or accepted)[0].reason
    values = {
        "claim_epoch": None,
        "wish": None,
        "recipients": [answer.recipient for answer in left],
        "accepted": [*message.accepted, *(accepted_json(answer, now) for answer in accepted)],
        "reason": reason_json(why),
        "attempts": message.attempts + 1,
        "attempt_clock": settled.attempt_clock,
        "next_attempt_at": to_ms(settled.next_attempt_at) if settled.next_attempt_at and not settled.held else None,
        "breaks": None,
    }
    if settled.outcome_unknown:
        values["possible_duplicate"] = True
    is_ours = models.messages.c.claim == settled.claim
    if not move(
        connection, message.queue_id, state=message.state, trigger=trigger, now=now, values=values, where=[is_ours]
    ):
        return
    events: list[Event] = [_event(settled, trigger, why=why)]
    if settled.outcome_unknown and trigger is Trigger.POSTPONED:
        events.append(PossibleDuplicate(queue_id=message.queue_id, account=message.account))
    if settled.child:
        events += _enter_child(connection, settled, now=now)
    if settled.by_hand is Trigger.REQUEUED:
        events += requeue(connection, message, was=State.DEFERRED, now=now)
    emit(connection, events, now=now)


def requeue(connection: Connection, message: Message, *, was: State, now: datetime) -> list[Event]:
    """Send a message back to validate at the end of its claim; answers the events that tell of it."""
    trigger = Trigger.REQUEUED
    following = move(connection, message.queue_id, state=was, trigger=trigger, now=now, values=ANEW)
    if following is None:
        return []
    return [StateChanged(queue_id=message.queue_id, account=message.account, trigger=trigger, was=was, now=following)]


def _what_happens(settled: Settlement) -> tuple[Trigger, tuple[Answer, ...]]:
    """What the answers are for the message, and those of the recipients that it still has after them."""
    refused, rest = settled.having(Verdict.REFUSED), settled.having(Verdict.POSTPONED)
    left = rest if settled.child else tuple(one for one in settled.answers if one.verdict is not Verdict.ACCEPTED)
    if not left:
        return Trigger.ACCEPTED, ()
    if settled.by_hand is Trigger.DISCARDED:
        return Trigger.DISCARDED, left
    if rest:
        return (Trigger.HELD if settled.held else Trigger.POSTPONED), rest
    return (Trigger.EXPIRED if settled.has_expired else Trigger.REFUSED), refused


def _event(settled: Settlement, trigger: Trigger, *, why: Reason) -> Event:
    message = settled.message
    queue_id, account = message.queue_id, message.account
    if trigger is Trigger.ACCEPTED:
        return Submitted(queue_id=queue_id, account=account, reply=str(why))
    if trigger is Trigger.HELD and settled.outcome_unknown:
        return Held(queue_id=queue_id, account=account, reason=str(why))
    if trigger in (Trigger.HELD, Trigger.DISCARDED):
        following = next_state(message.state, trigger)
        return StateChanged(queue_id=queue_id, account=account, trigger=trigger, was=message.state, now=following)
    if trigger is Trigger.POSTPONED:
        due = timestamp(settled.next_attempt_at) if settled.next_attempt_at else "now"
        return Postponed(queue_id=queue_id, account=account, reason=str(why), next_attempt_at=due)
    return Refused(queue_id=queue_id, account=account, reason=str(why))


def _enter_child(connection: Connection, settled: Settlement, *, now: datetime) -> list[Event]:
    message = settled.message
    child = settled.child
    refused = settled.having(Verdict.REFUSED)
    if child is None:
        return []
    known = {
        "account": message.account,
        "uidl": message.uidl.encoded,
        "peer": message.peer,
        "fetched_at": to_ms(message.fetched_at),
        "octets": message.octets,
        "sha256": message.sha256,
        "sender": message.sender,
        "subject": message.subject,
        "message_id": message.message_id,
        "parent": message.queue_id,
    }
    recipients = [answer.recipient for answer in refused]
    row = badmail_row(known, queue_id=child, reason=refused[0].reason, recipients=recipients, now=now)
    connection.execute(insert(models.messages).values(row))
    named = ", ".join(recipients)
    return [
        Divided(queue_id=message.queue_id, account=message.account, recipients=named, child=child),
        Refused(queue_id=child, account=message.account, reason=str(refused[0].reason)),
    ]


def accepted_apart(message: Message, answers: Sequence[Answer], *, now: datetime) -> dict[str, object]:
    """The recipients of a row that goes on after these answers: the accepted ones are noted, the others stay."""
    accepted = [answer for answer in answers if answer.verdict is Verdict.ACCEPTED]
    return {
        "recipients": [answer.recipient for answer in answers if answer.verdict is not Verdict.ACCEPTED],
        "accepted": [*message.accepted, *(accepted_json(answer, now) for answer in accepted)],
    }


def accepted_json(answer: Answer, now: datetime) -> dict[str, object]:
    """An acceptance as it stands among the accepted recipients of a message."""
    return {"recipient": answer.recipient, "at": timestamp(now), "reply": str(answer.reason)}


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"not an integer: {value!r}")
    return value
