"""What happens to a spool before its index is lost, and the rebuild after that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spool.admission import Admission
from spool.claims import Outbox
from spool.content import load
from spool.envelope import Reason
from spool.layout import Layout, Stage
from spool.opening import Spool, open_spool, take_stage
from spool.rebuild import Rebuilt, rebuild
from spool.retention import collect
from spool.rows import Message
from spool.settlement import Answer, Verdict, settlement
from spool.staging import Rejected, open_journal
from tests.support.spools import (
    Clock,
    staging,
)

REASON = Reason(stage="submit", code=550, enhanced="5.7.1", text="refused as spam")
VERDICTS = {"a": Verdict.ACCEPTED, "p": Verdict.POSTPONED, "r": Verdict.REFUSED}


def submit(spool: Spool, answers: str) -> None:
    """Make one attempt at all that is due: `ap` accepts the first recipient and postpones the second."""
    with take_stage(spool, Stage.SUBMIT) as tenure:
        outbox = Outbox(spool, tenure)
        for claim in outbox.claim(1000):
            outbox.dot(claim)
            said = [
                Answer(recipient=recipient, verdict=VERDICTS[letter], reason=REASON)
                for recipient, letter in zip(claim.message.recipients, answers, strict=True)
            ]
            settled = settlement(
                claim.message, claim.number, answers=said, attempt_clock=0, next_attempt_at=spool.now()
            )
            outbox.note(settled)
            outbox.settle([settled])
        outbox.close()


def refuse_staged(spool: Spool) -> None:
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle(
            [
                Rejected(message=one, reason=REASON, recipients=("sales@corp.example",), subject="", sender=None)
                for one in staged.waiting(1000)
            ]
        )


@contextmanager
def fetching(spool: Spool) -> Iterator[Admission]:
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        yield admission
        admission.close()


@contextmanager
def rebuilt(spool: Spool, *, clock: Clock | None = None) -> Iterator[tuple[Spool, Rebuilt]]:
    """Rebuild without the help of the old index."""
    spool.close()
    for path in spool.layout.root.glob("index.sqlite3*"):
        path.unlink()
    result = rebuild(spool.layout.root, now=clock or Clock())
    opened = open_spool(spool.layout.root, now=clock or Clock())
    try:
        yield opened, result
    finally:
        opened.close()


def bytes_of(spool: Spool, one: Message) -> bytes:
    assert one.stored is not None
    return load(spool, one.stored)


def segments(layout: Layout) -> list[Path]:
    return sorted(layout.segments.glob("*.seg"), key=lambda path: path.stem.rpartition("-")[2])


def collect_submitted(spool: Spool) -> None:
    with take_stage(spool, Stage.FETCH) as tenure:
        admission, journal = Admission(spool, tenure), open_journal(spool, Stage.FETCH)
        assert collect(spool, tenure, admission=admission, journal=journal) == 1
        journal.close()
