"""What a search finds, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import update

from spool import models
from spool.envelope import Reason
from spool.opening import Spool
from spool.rows import reason_json
from spool.search import Search, Since, Sort, count, listing, search
from spool.states import State
from tests.support.spools import START, Clock, arrival, letters, make_ready, make_spool

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    opened = make_spool(tmp_path, clock=clock)
    yield opened
    opened.close()


def put(spool: Spool, **values: object) -> str:
    """A message that is ready, its row changed to what the test is about."""
    (queue_id,) = make_ready(spool, arrival(uidl=f"u{count(spool, Search(states=frozenset(State)))}"))
    if values:
        table = models.messages
        with spool.index.write() as connection:
            connection.execute(update(table).where(table.c.queue_id == queue_id).values(**values))
    return queue_id


def found(spool: Spool, wanted: Search) -> list[str]:
    ids: list[str] = [message.queue_id for message in search(spool, wanted)]
    assert len(ids) == count(spool, wanted) or wanted.limit is not None
    return ids


def test_by_default_what_is_not_finished_is_found_oldest_first(spool: Spool) -> None:
    first, second = put(spool), put(spool, state=State.BADMAIL)
    put(spool, state=State.SUBMITTED)
    assert found(spool, Search()) == [first, second]


def test_a_state_and_an_account_are_whole_words(spool: Spool) -> None:
    mine = put(spool, account="sales")
    put(spool, account="sales-2")
    put(spool, account="sales", state=State.HELD)
    assert found(spool, Search(states={State.READY}, account="sales")) == [mine]


@pytest.mark.parametrize(
    ("column", "text", "part"),
    [
        ("subject", "Your INVOICE of May", "invoice"),
        ("subject", "Größe und Übung", "GRÖSSE UND ü"),
        ("subject", "Cafe\u0301", "CAFÉ"),
        ("subject", "100% sure", "100%"),
        ("subject", "a_b", "a_b"),
        ("subject", r"back\slash", "K\\S"),
        ("sender", "Alice@Example.org", "alice@"),
        ("sender", "alice@example.org", "<ALICE@example.org>"),
    ],
)
def test_words_are_found_whatever_their_case(spool: Spool, column: str, text: str, part: str) -> None:
    mine = put(spool, **{column: text})
    put(spool, sender="bob@else.example")
    assert found(spool, Search(subject=part) if column == "subject" else Search(sender=part)) == [mine]


@pytest.mark.parametrize("part", ["a%b", "a_b", "%", "_", "'; DROP TABLE messages; --"])
def test_what_sql_would_read_into_words_is_not_read_into_them(spool: Spool, part: str) -> None:
    put(spool, subject="axxb", sender="axb")
    assert found(spool, Search(subject=part)) == []
    assert found(spool, Search(sender=part)) == []
    assert found(spool, Search(recipient=part)) == []
    assert found(spool, Search(reason=part)) == []


def test_the_null_reverse_path_is_found_by_its_brackets(spool: Spool) -> None:
    """An empty text would be a part of every address."""
    null = put(spool, sender="")
    put(spool, sender=None)
    put(spool, sender="a@b.example")
    assert found(spool, Search(sender="<>")) == [null]


def test_a_recipient_is_found_before_and_after_the_relay_took_the_message_for_it(spool: Spool) -> None:
    accepted = [{"recipient": "Bob@corp.example", "at": "", "reply": "for anna@corp.example"}]
    before = put(spool, recipients=["x@corp.example", "bob@corp.example"])
    after = put(spool, recipients=[], accepted=accepted, state=State.SUBMITTED)
    assert found(spool, Search(states=frozenset(State), recipient="BOB@corp")) == [before, after]
    assert found(spool, Search(states=frozenset(State), recipient="anna")) == []


def test_a_listing_shows_who_waits_for_a_message_and_who_has_it_once_it_is_submitted(spool: Spool) -> None:
    accepted = [{"recipient": f"{name}@corp.example", "at": "", "reply": ""} for name in ("a", "b")]
    put(spool, recipients=["c@corp.example"], accepted=accepted, state=State.DEFERRED)
    put(spool, recipients=[], accepted=accepted, state=State.SUBMITTED)
    everything = Search(states=frozenset(State))
    shown = [["c@corp.example"], ["a@corp.example", "b@corp.example"]]
    assert [list(listed.recipients) for listed in listing(spool, everything)] == shown
    assert [list(message.addressees) for message in search(spool, everything)] == shown


def test_two_recipients_are_not_one_text(spool: Spool) -> None:
    put(spool, recipients=["a@x.example", "b@x.example"])
    assert found(spool, Search(recipient='a@x.example", "b')) == []


REASON = Reason(stage="submit", code=550, enhanced="5.7.1", text="RCPT TO: refused as Spam")


@pytest.mark.parametrize("part", ["550", "5.7.1", "spam", "submit: 550 5.7.1 rcpt", "550 5.7.1"])
def test_a_reason_is_found_by_its_code_and_its_words(spool: Spool, part: str) -> None:
    mine = put(spool, reason=reason_json(REASON))
    put(spool, reason=reason_json(Reason(stage="submit", code=551, enhanced="5.7.13", text="no")))
    put(spool)
    assert found(spool, Search(reason=part)) == [mine]


def test_a_reason_without_codes_reads_as_it_is_shown(spool: Spool) -> None:
    reason = Reason(stage="validate", text="no usable return path")
    mine = put(spool, reason=reason_json(reason))
    assert found(spool, Search(reason=str(reason))) == [mine]


def test_age_counts_from_the_fetch_or_from_the_last_change(spool: Spool, clock: Clock) -> None:
    old = put(spool, fetched_at=models.to_ms(START - 3 * DAY))
    new = put(spool)
    assert found(spool, Search(older_than=2 * DAY)) == [old]
    assert found(spool, Search(newer_than=2 * DAY)) == [new]
    assert found(spool, Search(older_than=2 * DAY, since=Since.CHANGED)) == []
    clock.advance(3 * DAY)
    assert found(spool, Search(older_than=2 * DAY, since=Since.CHANGED)) == [old, new]


def test_each_order_is_the_one_that_it_is_called(spool: Spool) -> None:
    a = put(spool, sender="zoe@x", account="b", octets=3, attempts=1, changed_at=30)
    b = put(spool, sender=None, account="a", octets=9, attempts=5, changed_at=10)
    c = put(spool, sender="amy@x", account="c", octets=5, attempts=0, changed_at=20)
    orders = {sort: found(spool, Search(sort=sort)) for sort in Sort}
    assert orders == {
        Sort.OLDEST: [a, b, c],
        Sort.NEWEST: [c, b, a],
        Sort.LARGEST: [b, c, a],
        Sort.SENDER: [b, c, a],
        Sort.ACCOUNT: [b, a, c],
        Sort.ATTEMPTS: [b, a, c],
    }
    assert found(spool, Search(sort=Sort.NEWEST, since=Since.CHANGED)) == [a, c, b]


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("limit", [None, 0, 1, 200, 201, 250])
def test_pages_lose_nothing_and_repeat_nothing(spool: Spool, sort: Sort, limit: int | None) -> None:
    """Two hundred are the first page; most of these are equal in what they are sorted by."""
    ids = make_ready(spool, *letters(230))
    everything = found(spool, Search(sort=sort, limit=limit))
    assert len(everything) == len(set(everything)) == (230 if limit is None else min(limit, 230))
    assert set(everything) <= set(ids)


def test_nobody_waits_while_a_reader_stands_still(spool: Spool) -> None:
    """A transaction that stays open would keep the write-ahead log from being taken in."""
    make_ready(spool, *letters(250))
    standing = search(spool, Search())
    assert len(list(islice(standing, 210))) == 210
    with spool.index.write() as connection:
        connection.exec_driver_sql("UPDATE messages SET attempts = 1")
    with spool.index.read() as connection:
        busy, _, _ = connection.execution_options(begin=None).exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    assert busy == 0
    assert len(list(standing)) == 40
