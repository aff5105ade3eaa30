"""What the index has of one account."""

from __future__ import annotations

from pathlib import Path

from spool.by_account import record_of
from spool.settlement import Verdict
from spool.states import State
from tests.support.attempts import A, B, attempt, cut_off, submitting
from tests.support.by_hand import discard
from tests.support.dropping import spool_at
from tests.support.spools import START, admit, arrival, make_ready


def test_an_unknown_account_has_nothing(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    record = record_of(spool, "sales")
    assert (record.fetched, record.first_at, record.last_at, record.ledger) == (0, None, None, 0)
    assert (dict(record.states), record.unfinished) == ({}, {})
    spool.close()


def test_messages_are_counted_by_state_for_that_account_alone(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    delivered = arrival(b"Subject: 1\r\n\r\n")
    make_ready(spool, delivered, recipients=[A])
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.ACCEPTED)
    staged = arrival(b"Subject: 2\r\n\r\n", uidl="u2")
    admit(spool, staged, arrival(b"Subject: 3\r\n\r\n", account="other", uidl="u3"))
    record = record_of(spool, "sales")
    assert dict(record.states) == {State.SUBMITTED: 1, State.STAGED: 1}
    assert record.unfinished == {staged.origin.queue_id: State.STAGED}
    assert (record.fetched, record.first_at, record.last_at, record.ledger) == (2, START, START, 2)
    assert record.waiting(State.STAGED, State.READY) == (staged.origin.queue_id,)
    assert record.waiting(State.HELD) == ()
    spool.close()


def test_a_message_that_was_divided_was_fetched_once(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    make_ready(spool, arrival(), recipients=[A, B])
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.ACCEPTED, Verdict.REFUSED)
    record = record_of(spool, "sales")
    assert (record.fetched, dict(record.states)) == (1, {State.SUBMITTED: 1, State.BADMAIL: 1})
    assert len(record.waiting(State.BADMAIL)) == 1
    spool.close()


def test_what_was_thrown_away_is_not_unfinished(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    held = cut_off(spool, one=arrival())
    assert record_of(spool, "sales").waiting(State.HELD) == (held,)
    discard(spool, held)
    assert record_of(spool, "sales").unfinished == {}
    spool.close()
