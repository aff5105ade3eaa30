"""The life of a message: every change, by whom, in whose words; and its kin."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete, update

from spool import models
from spool.envelope import Reason
from spool.event_log import emit
from spool.finding import find
from spool.layout import Stage
from spool.life import FROM, INTO, REPLAY, REPLAYED, Life, life_of
from spool.opening import Spool
from spool.replay import begin_replay
from spool.settlement import Verdict
from stages.fetch.events import LeftOversize, MessageBroke
from tests.support.attempts import DUE, A, B, C, attempt, submitting
from tests.support.dropping import refused, spool_at, work
from tests.support.spools import Clock, arrival, make_ready, make_spool

NO = Reason(stage="validate", text="no")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path)


def life(spool: Spool, what: str, *, naming: frozenset[str] = frozenset()) -> Life:
    return life_of(spool, find(spool, what).newest[-1], naming_uidls=naming)


def told(spool: Spool, what: str) -> list[tuple[str, str]]:
    return [(change.process, change.name) for change in life(spool, what).changes]


def tried(spool: Spool, *attempts: tuple[Verdict, ...]) -> str:
    recipients = [A, B, C][: len(attempts[0])]
    (queue_id,) = make_ready(spool, arrival(), recipients=recipients)
    with submitting(spool) as outbox:
        attempt(spool, outbox, *attempts[0])
    for verdicts in attempts[1:]:
        assert isinstance(spool.now, Clock)
        spool.now.advance(DUE)
        with submitting(spool) as outbox:
            attempt(spool, outbox, *verdicts)
    return queue_id


def test_the_life_of_a_delivered_message_says_who_did_what(spool: Spool) -> None:
    queue_id = tried(spool, (Verdict.POSTPONED,), (Verdict.ACCEPTED,))
    assert told(spool, queue_id) == [
        ("fetch", "Admitted"),
        ("validate", "Validated"),
        ("submit", "Postponed"),
        ("submit", "Accepted"),
        ("submit", "Submitted"),
    ]
    assert life(spool, queue_id).changes[-2].text == f"accepted for {A}: submit: 250 2.0.0 queued"


def test_each_acceptance_stands_before_the_event_of_its_attempt(spool: Spool) -> None:
    queue_id = tried(spool, (Verdict.ACCEPTED, Verdict.POSTPONED), (Verdict.ACCEPTED,))
    assert [name for _, name in told(spool, queue_id)][2:] == ["Accepted", "Postponed", "Accepted", "Submitted"]


def test_a_divided_message_and_its_part_are_one_life(spool: Spool) -> None:
    parent = tried(spool, (Verdict.ACCEPTED, Verdict.REFUSED))
    (child,) = life(spool, parent).kin
    assert (child.relation, child.of) == (FROM, parent)
    (found,) = life(spool, child.queue_id).kin
    assert (found.queue_id, found.relation, found.of) == (parent, INTO, child.queue_id)
    assert life(spool, parent).changes == life(spool, child.queue_id).changes
    last = life(spool, parent).changes[-1]
    assert (last.process, last.queue_id, last.name) == ("submit", child.queue_id, "Refused")


def test_a_replay_and_what_it_replays_are_one_life(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    parent = refused(spool, reason=NO)
    child = begin_replay(spool, parent)
    (on_its_way,) = life(spool, parent).kin
    assert (on_its_way.queue_id, on_its_way.relation, on_its_way.message) == (child, REPLAY, None)
    work(spool)
    (found,) = life(spool, child).kin
    assert (found.queue_id, found.relation, found.of) == (parent, REPLAYED, child)
    assert told(spool, parent) == [
        ("fetch", "Admitted"),
        ("validate", "Refused"),
        ("pickup", "Replayed"),
        ("pickup", "Admitted"),
        ("pickup", "TakenFromPickup"),
    ]


def test_kin_are_found_by_events_when_the_rows_are_gone(spool: Spool) -> None:
    parent = tried(spool, (Verdict.ACCEPTED, Verdict.REFUSED))
    (child,) = life(spool, parent).kin
    with spool.index.write() as connection:
        connection.execute(delete(models.messages).where(models.messages.c.queue_id == parent))
        connection.execute(update(models.messages).values(parent=None))
    assert [kin.queue_id for kin in life(spool, parent).kin] == [child.queue_id]


def test_kin_that_name_each_other_do_not_go_on_for_ever(spool: Spool) -> None:
    """A file in Badmail may name anything as its parent."""
    one, other = make_ready(spool, arrival(uidl="u1"), arrival(uidl="u2"))
    with spool.index.write() as connection:
        table = models.messages
        connection.execute(update(table).where(table.c.queue_id == one).values(parent=other))
        connection.execute(update(table).where(table.c.queue_id == other).values(parent=one))
    assert [kin.queue_id for kin in life(spool, one).kin] == [other]


def test_what_happened_before_it_was_in_custody_is_told(spool: Spool) -> None:
    events = [
        MessageBroke(account="sales", number=1, uidl="u1", breaks=1, error="cut"),
        MessageBroke(account="other", number=1, uidl="u1", breaks=1, error="cut"),
        MessageBroke(account="sales", number=1, uidl="u10", breaks=1, error="cut"),
        LeftOversize(account="sales", uidl="u1", octets=1, limit_octets=1, limit_source="x"),
    ]
    with spool.index.acting_as(Stage.FETCH), spool.index.write() as connection:
        emit(connection, events, now=spool.now())
    (queue_id,) = make_ready(spool, arrival())
    changes = life(spool, queue_id, naming=frozenset({"MessageBroke", "LeftOversize"})).changes
    assert [(change.process, change.queue_id, change.name) for change in changes] == [
        ("fetch", "", "MessageBroke"),
        ("fetch", "", "LeftOversize"),
        ("fetch", queue_id, "Admitted"),
        ("validate", queue_id, "Validated"),
    ]


def test_the_ledger_belongs_to_the_life(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    assert life(spool, queue_id).had is not None
