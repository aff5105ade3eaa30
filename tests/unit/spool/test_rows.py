"""Rows: states move by the table alone, compare-and-set, and values come back as they went in."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from spool import models
from spool.envelope import Reason
from spool.errors import ForbiddenTransition, NotFound
from spool.opening import Spool
from spool.rows import badmail_row, find_message, move, set_applied
from spool.states import State, Trigger
from tests.support.spools import START, admit, arrival, make_spool, message, next_queue_id

NO = Reason(stage="pickup", code=None, enhanced=None, text="no recipient")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path)


def test_a_move_answers_the_new_state(spool: Spool) -> None:
    (receipt,) = admit(spool, arrival())
    with spool.index.write() as connection:
        moved = move(connection, receipt.queue_id, state=State.STAGED, trigger=Trigger.VALIDATED, now=START)
    assert moved is State.READY
    assert message(spool, receipt.queue_id).state is State.READY


def test_a_message_that_is_elsewhere_meanwhile_is_left_there(spool: Spool) -> None:
    """I5: compare and set."""
    (receipt,) = admit(spool, arrival())
    with spool.index.write() as connection:
        assert move(connection, receipt.queue_id, state=State.READY, trigger=Trigger.ACCEPTED, now=START) is None
    assert message(spool, receipt.queue_id).state is State.STAGED


def test_a_move_that_the_table_has_not_is_our_fault(spool: Spool) -> None:
    (receipt,) = admit(spool, arrival())
    with pytest.raises(ForbiddenTransition), spool.index.write() as connection:
        move(connection, receipt.queue_id, state=State.STAGED, trigger=Trigger.ACCEPTED, now=START)


def test_a_live_row_without_bytes_is_refused_by_the_database(spool: Spool) -> None:
    """I2 is a constraint too."""
    admit(spool, arrival())
    with pytest.raises(IntegrityError), spool.index.write() as connection:
        connection.execute(update(models.messages).values(segment=None))


def test_a_state_that_does_not_exist_is_refused_by_the_database(spool: Spool) -> None:
    admit(spool, arrival())
    with pytest.raises(IntegrityError), spool.index.write() as connection:
        connection.execute(update(models.messages).values(state="lost"))


def test_a_message_that_came_into_badmail_at_once_is_read_back(spool: Spool) -> None:
    queue_id = next_queue_id()
    known = {"fetched_at": models.to_ms(START), "octets": 3, "sha256": bytes(32), "sender": ""}
    row = badmail_row(known, queue_id=queue_id, reason=NO, recipients=["a@b.example"], now=START)
    with spool.index.write() as connection:
        connection.execute(insert(models.messages).values(row))
    found = message(spool, queue_id)
    assert (found.state, found.reason, found.recipients, found.sender) == (State.BADMAIL, NO, ("a@b.example",), "")
    assert (found.stored, found.fetched_at, found.parent) == (None, START, None)


def test_a_message_that_is_not_there_is_not_found(spool: Spool) -> None:
    with pytest.raises(NotFound), spool.index.read() as connection:
        find_message(connection, "01j0e5v3xk7m2q9r4s", layout=spool.layout)


def test_what_was_applied_never_goes_back(spool: Spool) -> None:
    """A lower number would make start apply lines twice."""
    with spool.index.write() as connection:
        for number in (5, 3):
            set_applied(connection, "submit", number=number)
        assert connection.exec_driver_sql("SELECT applied FROM journals").scalar() == 5
