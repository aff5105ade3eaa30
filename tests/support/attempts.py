"""Attempts at submission for tests: claimed, answered and settled as submit does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from spool.claims import Outbox
from spool.ended import Claim, GivenBack
from spool.envelope import Arrival, Reason
from spool.journal import Outcome, read_journal
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId
from spool.settlement import Answer, Settlement, Verdict, settlement
from tests.support.spools import (
    arrival,
    logged,
    make_ready,
    make_spool,
)

A, B, C = "a@corp.example", "b@corp.example", "c@corp.example"
OK = Reason(stage="submit", code=250, enhanced="2.0.0", text="queued")
LATER = Reason(stage="submit", code=451, enhanced="4.3.0", text="later")
SPAM = Reason(stage="submit", code=550, enhanced="5.7.1", text="spam")
REASONS = {Verdict.ACCEPTED: OK, Verdict.POSTPONED: LATER, Verdict.REFUSED: SPAM}
DUE = timedelta(minutes=10)


@contextmanager
def submitting(spool: Spool, boot_id: str | None = None, *, holds_unknown: bool = False) -> Iterator[Outbox]:
    with take_stage(spool, Stage.SUBMIT) as tenure:
        held = replace(tenure, boot_id=boot_id) if boot_id else tenure
        outbox = Outbox(spool, held, holds_unknown=holds_unknown)
        try:
            yield outbox
        finally:
            outbox.close()


def answered(spool: Spool, claim: Claim, *verdicts: Verdict, has_expired: bool = False) -> Settlement:
    """The relay's answers for the recipients of a claim, in order."""
    return settlement(
        claim.message,
        claim.number,
        answers=[
            Answer(recipient=recipient, verdict=verdict, reason=REASONS[verdict])
            for recipient, verdict in zip(claim.message.recipients, verdicts, strict=True)
        ],
        attempt_clock=1000,
        next_attempt_at=spool.now() + DUE if Verdict.POSTPONED in verdicts else None,
        has_expired=has_expired,
    )


def attempt(spool: Spool, outbox: Outbox, *verdicts: Verdict, has_expired: bool = False) -> Settlement:
    """One whole attempt with the next message."""
    (claim,) = outbox.claim(1)
    outbox.dot(claim)
    settled = answered(spool, claim, *verdicts, has_expired=has_expired)
    outbox.note(settled)
    outbox.settle([settled])
    return settled


def cut_off(spool: Spool, *recipients: str, one: Arrival | None = None) -> QueueId:
    """A message that is held, because the relay may have it: its one attempt ended at the final dot."""
    (queue_id,) = make_ready(spool, one or arrival(), recipients=recipients or [A])
    with submitting(spool, holds_unknown=True) as outbox:
        (claim,) = outbox.claim(1)
        outbox.dot(claim)
        outbox.settle([GivenBack(claim=claim, breaks={}, outcome_unknown=True, what="final dot: connection lost")])
    return queue_id


def one_attempt(tmp_path: Path, *verdicts: Verdict, has_expired: bool = False) -> tuple[Spool, str, Settlement]:
    spool = make_spool(tmp_path)
    (queue_id,) = make_ready(spool, arrival(), recipients=[A, B, C][: len(verdicts)])
    with submitting(spool) as outbox:
        return spool, queue_id, attempt(spool, outbox, *verdicts, has_expired=has_expired)


def names(spool: Spool, queue_id: str) -> list[str]:
    return [event.name for event in logged(spool) if event.queue_id == queue_id]


def outcomes(spool: Spool) -> list[tuple[str, Outcome]]:
    return [(line.queue_id, line.outcome) for line in read_journal(spool.layout.journal(Stage.SUBMIT)).lines]
