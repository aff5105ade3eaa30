"""Pickup and Badmail as an operator uses them: files dropped by hand, and a desk whose clocks are moved by the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from spool.disk import Disk
from spool.envelope import Arrival, Reason
from spool.layout import Stage
from spool.locks import Tenure
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId
from spool.staging import Rejected
from stages.pickup.stage import Desk, Round
from stages.settings import PickupSettings
from tests.support.spools import Clock, admit, arrival, make_spool, message, queue_ids, staging

SETTLE_SECONDS = 1.0
# What somebody may put where a file is expected; whoever opens the last one like a file waits for ever.
NO_FILES = ("link", "directory", "fifo")
REASON = Reason(stage="submit", code=550, text="refused as spam")
FILE = b"X-Sender: <ann@example.org>\r\nX-Receiver: <sales@corp.example>\r\n\r\nFrom: ann@example.org\r\n\r\nHello.\r\n"


@dataclass(slots=True)
class Seconds:
    """A monotonic clock that moves only when it is told to."""

    at: float = 100.0

    def __call__(self) -> float:
        return self.at


def settings(*, settle_seconds: float = SETTLE_SECONDS, domain: str = "corp.example") -> PickupSettings:
    """Mail for one domain alone."""
    return PickupSettings(
        settle=timedelta(seconds=settle_seconds), owner_uids=frozenset(), accept_domains=frozenset({domain})
    )


def spool_at(directory: Path, *, ahead: timedelta = timedelta(), disk: Disk | None = None) -> Spool:
    """A spool whose clock stands still, so far `ahead` of the file system's.

    Behind it (a negative `ahead`), every file looks as if it had been touched after its row was written.
    """
    return make_spool(directory, clock=Clock(datetime.now(UTC) + ahead), disk=disk)


def drop(spool: Spool, content: bytes = FILE, *, name: str = "x.eml") -> Path:
    """Put a file into Pickup."""
    path = spool.layout.pickup / name
    path.write_bytes(content)
    return path


def put_no_file(path: Path, kind: str) -> None:
    """Put there what only has the name of a message file."""
    match kind:
        case "link":
            path.symlink_to("/etc/passwd")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)


@contextmanager
def desk(spool: Spool, *, seconds: Seconds | None = None, using: PickupSettings | None = None) -> Iterator[Desk]:
    """The pickup stage's desk, resumed as at its start."""
    with take_stage(spool, Stage.PICKUP) as tenure:
        opened = open_desk(spool, tenure, seconds=seconds, using=using)
        opened.resume()
        yield opened
        opened.close()


def open_desk(
    spool: Spool,
    tenure: Tenure,
    *,
    seconds: Seconds | None = None,
    using: PickupSettings | None = None,
    min_free_octets: int = 0,
) -> Desk:
    """A desk that has not resumed yet."""
    return Desk(
        spool, tenure, settings=using or settings(), min_free_octets=min_free_octets, monotonic=seconds or Seconds()
    )


def settle(opened: Desk, seconds: Seconds, *, rounds: int = 3) -> list[Round]:
    """Look several times, a settle time apart."""
    done: list[Round] = []
    for _ in range(rounds):
        done.append(opened.work(was_rung=True))
        seconds.at += SETTLE_SECONDS
    return done


def work(spool: Spool, *, using: PickupSettings | None = None) -> None:
    """A whole life of the stage: resume, look until nothing is settling, stop."""
    seconds = Seconds()
    with desk(spool, seconds=seconds, using=using) as opened:
        settle(opened, seconds)


def refused(
    spool: Spool,
    one: Arrival | None = None,
    *,
    reason: Reason = REASON,
    sender: str | None = "alice@example.org",
    subject: str = "hello",
) -> QueueId:
    """Bring a message into Badmail, through validate."""
    (receipt,) = admit(spool, one or arrival())
    found = message(spool, receipt.queue_id)
    finding = Rejected(message=found, reason=reason, recipients=("sales@corp.example",), subject=subject, sender=sender)
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle([finding])
    return receipt.queue_id


def others(spool: Spool, *known: str) -> list[str]:
    """The messages that have a row, but for these."""
    return [queue_id for queue_id in queue_ids(spool) if queue_id not in known]
