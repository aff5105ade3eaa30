"""A spool with a long queue, whose rows are written as they would be after a day in which the relay was away."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import insert

from spool import models
from spool.envelope import Reason
from spool.layout import Stage
from spool.models import to_ms
from spool.opening import open_spool
from spool.queue_id import new_queue_id
from spool.rows import reason_json
from spool.states import State
from tests.support.connector import Connector, account, configure
from tests.support.spools import START

_STATES = (State.READY, State.DEFERRED, State.READY, State.STAGED, State.BADMAIL)
_REASON = Reason(stage="submit", code=450, enhanced="4.2.1", text="RCPT TO: mailbox busy, try again")
_EVERY_MS = 37
_CHUNK = 10_000


def long_queue(directory: Path, messages: int) -> Connector:
    """A connector whose spool has so many messages that are not finished; it holds no bytes of them."""
    connector = configure(directory, smtp_port=25, accounts=[account("sales", 110)])
    spool = open_spool(connector.spool)
    segment = {
        "serial": 1,
        "stage": Stage.FETCH,
        "nonce": bytes(16),
        "committed_octets": 10**12,
        "status": "sealed",
        "created_at": to_ms(START),
    }
    with spool.index.write() as connection:
        connection.execute(insert(models.segments).values(segment))
        for start in range(0, messages, _CHUNK):
            connection.execute(insert(models.messages), list(_rows(range(start, min(start + _CHUNK, messages)))))
    spool.close()
    return connector


def _rows(numbers: range) -> Iterator[dict[str, object]]:
    for number in numbers:
        state, at = _STATES[number % len(_STATES)], to_ms(START) + number * _EVERY_MS
        is_filed = state is State.BADMAIL
        yield {
            "queue_id": new_queue_id(lambda at=at: at),  # type: ignore[misc]  # mypy infers no lambda with a default
            "state": state,
            "account": f"branch-{number % 200:03}",
            "uidl": f"UID{number}",
            "peer": "pop.isp.example [192.0.2.1]",
            "fetched_at": at,
            "changed_at": at,
            "segment": None if is_filed else 1,
            "offset": None if is_filed else number * 5000,
            "block_octets": None if is_filed else 400,
            "octets": 4000 + number % 900,
            "sha256": hashlib.sha256(b"%d" % number).digest(),
            "sender": f"user{number % 999}@sender.example",
            "recipients": [f"clerk{number % 300}@corp.example"],
            "accepted": [],
            "subject": f"Invoice number {number} of May",
            "eightbit": False,
            "smtputf8": False,
            "attempts": number % 4,
            "next_attempt_at": at + 3_600_000 if state is State.DEFERRED else None,
            "queued_clock": 0,
            "possible_duplicate": False,
            "claim": 0,
            "reason": reason_json(_REASON) if state in (State.DEFERRED, State.BADMAIL) else None,
        }
