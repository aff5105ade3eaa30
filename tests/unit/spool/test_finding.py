"""Messages are found by whatever is known of them, in the spool and beyond it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from spool import models
from spool.accounts import Accounts, Left, Why
from spool.envelope import Uidl
from spool.event_log import emit
from spool.finding import SHOWN_AT_MOST, Matches, find, near
from spool.layout import Stage
from spool.ledger import Ledger
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId
from spool.staging import open_journal
from stages.fetch.events import RetrievalRefused
from tests.support.spools import START, admit, arrival, letters, make_spool, message, passed, staging

NAMING = frozenset({"RetrievalRefused"})


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path)


def put(
    spool: Spool, *, uidl: str = "u1", account: str = "sales", subject: str = "hello", message_id: str = "1@example.org"
) -> QueueId:
    """A message that validate has seen."""
    (receipt,) = admit(spool, arrival(uidl=uidl, account=account))
    finding = passed(message(spool, receipt.queue_id))
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle([replace(finding, subject=subject, message_id=message_id)])
    return receipt.queue_id


def found(spool: Spool, what: str) -> list[str | None]:
    return [match.queue_id for match in find(spool, what, naming_uidls=NAMING).newest]


def forget(spool: Spool, queue_id: str, *, events: bool = False) -> None:
    """Prune the row of a message, long after it was delivered."""
    with spool.index.write() as connection:
        connection.execute(delete(models.messages).where(models.messages.c.queue_id == queue_id))
        if events:
            connection.execute(delete(models.events).where(models.events.c.queue_id == queue_id))


def test_each_thing_that_is_known_of_a_message_finds_it(spool: Spool) -> None:
    put(spool, uidl="u2", subject="other", message_id="2@example.org")
    one = put(spool, uidl="UID5-1", subject="Offer 4711 for Größe", message_id="1@example.org")
    for what in (
        one,
        one.upper(),
        f" {one}\n",
        one[:17],
        "UID5-1",
        "1@example.org",
        "<1@example.org>",
        "offer",
        "4711 OFFER",
        "größe",
        "GRÖSSE Größe"[7:],
        "ffe",
    ):
        assert found(spool, what) == [one], what


@pytest.mark.parametrize("what", ["", " ", "nothing", "0" * 18, "01j", "u", "%", "_", "offer nothing", "<>", "\x1b[2J"])
def test_what_nothing_is_like_finds_nothing(spool: Spool, what: str) -> None:
    put(spool, message_id="", subject="offer")
    assert find(spool, what, naming_uidls=NAMING) == Matches()


def test_a_uidl_is_found_as_the_listings_show_it_and_as_the_server_has_it(spool: Spool) -> None:
    (receipt,) = admit(
        spool, replace(arrival(), origin=replace(arrival().origin, uidl=Uidl(b"a b%c"), queue_id=QueueId("0" * 18)))
    )
    assert found(spool, "a%20b%25c") == found(spool, "a b%c") == [receipt.queue_id]


def test_what_names_one_thing_comes_before_what_many_have_in_common(spool: Spool) -> None:
    """UIDLs of some servers are numbers, and stand in subjects and at the beginning of queue ids."""
    put(spool, uidl="7", subject="hello")
    named = put(spool, uidl="hello", subject="7")
    assert found(spool, "hello") == [named]
    prefix = str(named)[:5]
    other = put(spool, uidl=prefix)
    assert found(spool, prefix) == [other]


def test_many_are_counted_and_the_newest_are_told(spool: Spool) -> None:
    ids = [put(spool, uidl=f"u{number}") for number in range(SHOWN_AT_MOST + 5)]
    matches = find(spool, "hello")
    assert matches.count == SHOWN_AT_MOST + 5
    assert [match.queue_id for match in matches.newest] == ids[::-1][:SHOWN_AT_MOST]


def test_a_message_without_a_row_is_found_in_the_ledger(spool: Spool) -> None:
    queue_id = put(spool)
    forget(spool, queue_id, events=True)
    for what in ("u1", queue_id, queue_id[:12]):
        (match,) = find(spool, what).newest
        assert (match.queue_id, match.account, match.uidl, match.message) == (queue_id, "sales", Uidl(b"u1"), None)
        assert match.had is not None
        assert (match.had.had_at, match.had.gone_at, match.had.is_adopted) == (START, None, False)


def test_the_ledger_knows_when_the_maildrop_no_longer_showed_it(spool: Spool) -> None:
    queue_id = put(spool)
    ledger = Ledger(spool)
    ledger.note_listing(vanished=ledger.entries("sales"), returned=())
    forget(spool, queue_id)
    (match,) = find(spool, "u1").newest
    assert match.had is not None
    assert match.had.gone_at == START


def test_an_adopted_uidl_is_found(spool: Spool) -> None:
    with take_stage(spool, Stage.FETCH):
        journal = open_journal(spool, Stage.FETCH)
        Ledger(spool, journal).adopt("sales", [Uidl(b"old-1")])
        journal.close()
    (match,) = find(spool, "old-1").newest
    assert (match.queue_id, match.had is not None and match.had.is_adopted) == (None, True)


def test_what_stays_at_the_provider_is_found(spool: Spool) -> None:
    left = Left(uidl=Uidl(b"big-1"), octets=10**9, why=Why.OVERSIZE, reported_at=START)
    Accounts(spool).leave("sales", [left])
    (match,) = find(spool, "big-1").newest
    assert (match.account, match.octets, match.left, match.at) == ("sales", 10**9, left, START)


def test_what_events_alone_tell_of_is_found(spool: Spool) -> None:
    event = RetrievalRefused(account="sales", messages=2, uidls='a"1, b\\2', reply="no")
    with spool.index.write() as connection:
        emit(connection, [event], now=START)
    assert [match.account for what in ('a"1', "b\\2") for match in find(spool, what, naming_uidls=NAMING).newest] == [
        "sales",
        "sales",
    ]
    assert found(spool, "a") == found(spool, "1") == []


def test_a_message_that_is_pruned_everywhere_but_in_the_events_is_found(spool: Spool) -> None:
    queue_id = put(spool)
    forget(spool, queue_id)
    with spool.index.write() as connection:
        connection.execute(delete(models.ledger))
    assert found(spool, queue_id) == [queue_id]


def test_a_message_with_a_row_is_not_found_again_in_the_ledger(spool: Spool) -> None:
    queue_id = put(spool)
    other = put(spool, account="other")
    assert found(spool, "u1") == [other, queue_id]
    assert find(spool, "u1").count == 2


def test_newest_is_what_came_last_wherever_it_is_known(spool: Spool) -> None:
    old = put(spool)
    forget(spool, old, events=True)
    with spool.index.write() as connection:
        connection.execute(update(models.ledger).values(had_at=models.ledger.c.had_at - 1000))
    new = put(spool, account="other")
    left = Left(uidl=Uidl(b"u1"), octets=1, why=Why.BROKEN, breaks=3, tried_at=START + timedelta(days=1))
    Accounts(spool).leave("third", [left])
    assert found(spool, "u1") == [None, new, old]


def test_what_is_near_a_mistyped_name_is_known(spool: Spool) -> None:
    admit(spool, *letters(30))
    one = put(spool, uidl="UID5823", subject="Quarterly report", message_id="abc@example.org")
    assert one in near(spool, str(one)[:-1] + "0")
    assert "UID5823" in near(spool, "UID5832")
    assert "abc@example.org" in near(spool, "<abd@example.org>")
    assert {"Quarterly", "report", "Quarterly report"} <= set(near(spool, "reprot"))
