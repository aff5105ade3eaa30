"""How long `spool trace` takes among 100,000 messages, beside the start of a command that looks at nothing.

Each figure is the best of some runs, in one go on one machine. `make bench` prints them and asserts nothing of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest
from sqlalchemy import insert

from spool import models
from spool.admission import ledger_row
from spool.envelope import Place
from spool.events import Admitted, Submitted, Validated, emit
from spool.opening import open_spool
from spool.rows import message_row
from spool.states import State
from tests.support.connector import Connector, account, configure
from tests.support.spools import START, arrival

pytestmark = pytest.mark.bench

MESSAGES = 100_000
_NOWHERE = Place(offset=0, block_octets=0, octets=1)
RUNS = 5
WORDS = ("offer", "invoice", "report", "minutes", "holiday", "order", "delivery", "question")


def fill(directory: Path) -> list[str]:
    """A spool in which so many messages were delivered; answers the queue ids."""
    spool = open_spool(directory)
    ids: list[str] = []
    numbers = iter(range(MESSAGES))
    while chunk := list(itertools.islice(numbers, 5000)):
        batch = [arrival(b"x", uidl=f"UID{number}-1300000000", account=f"a{number % 500}") for number in chunk]
        rows = [
            {
                **message_row(one, place=_NOWHERE, segment=1, now=START),
                "state": State.SUBMITTED,
                "segment": None,
                "offset": None,
                "block_octets": None,
                "sender": "alice@example.org",
                "recipients": [],
                "accepted": [],
                "subject": f"{WORDS[number % len(WORDS)]} {number} of a day",
                "message_id": f"{number}.20260101@example.org",
            }
            for number, one in zip(chunk, batch, strict=True)
        ]
        ids += [one.origin.queue_id for one in batch]
        with spool.index.write() as connection:
            connection.execute(insert(models.messages), rows)
            connection.execute(insert(models.ledger), [ledger_row(one, now=START) for one in batch])
            emit(connection, _events(batch_ids=[one.origin.queue_id for one in batch]), now=START)
    spool.close()
    return ids


def _events(batch_ids: list[str]) -> Iterator[Admitted | Validated | Submitted]:
    for queue_id in batch_ids:
        yield Admitted(queue_id=queue_id, account="a1", octets=1, uidl="u")
        yield Validated(queue_id=queue_id, account="a1", sender="alice@example.org")
        yield Submitted(queue_id=queue_id, account="a1", reply="submit: 250 2.0.0 queued")


def seconds(connector: Connector, *arguments: str, code: int) -> float:
    """The best of some runs of a command."""
    took = []
    for _ in range(RUNS):
        started = perf_counter()
        assert connector.run(*arguments).returncode == code
        took.append(perf_counter() - started)
    return min(took)


def test_trace_among_100_000_messages(tmp_path: Path) -> None:
    connector = configure(tmp_path, smtp_port=9, accounts=[account("a1", 9)])
    ids = fill(connector.spool)
    number = MESSAGES // 3
    idle = seconds(connector, "db", "current", code=0)
    print(f"\n{'start of a command':<28} {idle:6.2f} s")
    for name, what, code in (
        ("queue id", ids[number], 0),
        ("beginning of a queue id", ids[number][:15], 0),
        ("UIDL", f"UID{number}-1300000000", 0),
        ("Message-ID", f"<{number}.20260101@example.org>", 0),
        ("words of one subject", f"day {number}", 0),
        ("words of 12,500 subjects", "invoice day", 0),
        ("nothing like it", f"invioce {number}", 65),
    ):
        took = seconds(connector, "spool", "trace", what, code=code)
        print(f"{name:<28} {took:6.2f} s, {took / idle:5.2f} times the start")
