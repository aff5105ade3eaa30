"""Spools for tests: made in a temporary directory, with a clock that stands still until it is moved."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from spool import models
from spool.admission import Admission
from spool.disk import Disk
from spool.envelope import Arrival, Needs, Origin, Receipt, Uidl
from spool.events import LoggedEvent, read_events
from spool.layout import Stage
from spool.locks import Tenure
from spool.message_file import digest
from spool.opening import Spool, open_spool, take_stage
from spool.queue_id import QueueId, new_queue_id
from spool.rows import Message, find_message
from spool.staging import Passed, Staging

START = datetime(2026, 1, 1, tzinfo=UTC)
LETTER = b"From: alice@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"
_births = itertools.count(1_767_225_600_000)


@dataclass(slots=True)
class Clock:
    """A clock that moves only when it is told to."""

    at: datetime = field(default=START)

    def __call__(self) -> datetime:
        return self.at

    def advance(self, by: timedelta) -> None:
        self.at += by


def make_spool(directory: Path, *, clock: Clock | None = None, disk: Disk | None = None) -> Spool:
    """Open, or create, the spool in `directory`."""
    return open_spool(directory / "spool", disk=disk, now=clock or Clock())


def next_queue_id() -> QueueId:
    """A queue id that sorts behind all earlier ones."""
    return new_queue_id(lambda: next(_births))


def arrival(
    content: bytes = LETTER, *, uidl: str = "u1", account: str = "sales", copy: int = 1, queue_id: QueueId | None = None
) -> Arrival:
    """A message as fetch hands it over."""
    origin = Origin(
        queue_id=queue_id or next_queue_id(),
        account=account,
        uidl=Uidl(uidl.encode("ascii")),
        peer="pop.isp.example [192.0.2.1]",
        fetched_at=START,
        copy=copy,
    )
    return Arrival(origin=origin, digest=digest(content), content=content)


def letters(count: int, *, prefix: str = "u") -> list[Arrival]:
    """Different messages, in the order of their queue ids."""
    return [
        arrival(b"Subject: %d\r\n\r\nNumber %d.\r\n" % (number, number), uidl=f"{prefix}{number}")
        for number in range(1, count + 1)
    ]


def admit(spool: Spool, *batch: Arrival) -> list[Receipt]:
    """Admit messages as fetch does, in a tenure of its own."""
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        receipts = admission.admit(batch)
        admission.close()
    return receipts


def make_ready(spool: Spool, *batch: Arrival, recipients: Sequence[str] = ("sales@corp.example",)) -> list[QueueId]:
    """Admit messages and pass them through validate."""
    ids = [receipt.queue_id for receipt in admit(spool, *batch)]
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle([passed(message, recipients=recipients) for message in staged.waiting(1000)])
    return ids


def make_large_ready(spool: Spool, *contents: bytes) -> list[QueueId]:
    """Take large messages into custody as fetch does, and pass them through validate."""
    known = [arrival(content, uidl=f"large{number}") for number, content in enumerate(contents)]
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        for one, content in zip(known, contents, strict=True):
            writer = admission.open_large(one.origin)
            writer.write(content)
            digested, place = writer.finish()
            admission.admit([replace(one, content=place, digest=digested)])
        admission.close()
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle([passed(message) for message in staged.waiting(1000)])
    return [one.origin.queue_id for one in known]


def passed(message: Message, *, recipients: Sequence[str] = ("sales@corp.example",)) -> Passed:
    """The finding on a message that may be submitted."""
    return Passed(
        message=message,
        sender="alice@example.org",
        recipients=tuple(recipients),
        subject="hello",
        needs=Needs(),
    )


@contextmanager
def staging(spool: Spool, tenure: Tenure) -> Iterator[Staging]:
    """Validate's view of the spool."""
    opened = Staging(spool, tenure)
    try:
        yield opened
    finally:
        opened.close()


def message(spool: Spool, queue_id: str) -> Message:
    """The row of a message."""
    with spool.index.read() as connection:
        return find_message(connection, queue_id, layout=spool.layout)


def queue_ids(spool: Spool) -> list[str]:
    """All messages that have a row."""
    with spool.index.read() as connection:
        return list(
            connection.execute(select(models.messages.c.queue_id).order_by(models.messages.c.queue_id)).scalars()
        )


def logged(spool: Spool) -> Sequence[LoggedEvent]:
    """All events so far."""
    with spool.index.read() as connection:
        return read_events(connection)
