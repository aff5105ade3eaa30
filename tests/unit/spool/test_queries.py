"""The read side: what is counted, and who may look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from spool import queries
from spool.claims import Outbox
from spool.doorbell import Doorbell
from spool.errors import IndexLost, NoSpool, NotFound, PermissionRefused, SpoolUnusable
from spool.events import Admitted, Replayed, SpoolWarning, emit
from spool.layout import Layout, Stage
from spool.opening import Spool, take_stage
from spool.queries import open_for_reading
from spool.states import State
from tests.support.spools import START, Clock, admit, arrival, letters, make_ready, make_spool, queue_ids


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    opened = make_spool(tmp_path, clock=clock)
    yield opened
    opened.close()


def test_looking_never_makes_a_spool(tmp_path: Path) -> None:
    with pytest.raises(NoSpool, match="no spool"):
        open_for_reading(tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


def test_an_empty_directory_is_no_spool_yet(tmp_path: Path) -> None:
    """Packages make the directory; nothing is lost where nothing was."""
    with pytest.raises(NoSpool, match="no spool"):
        open_for_reading(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_spool_without_its_index_is_a_lost_one(spool: Spool) -> None:
    spool.layout.index.unlink()
    with pytest.raises(IndexLost):
        open_for_reading(spool.layout.root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_only_the_owner_looks(spool: Spool) -> None:
    """SQLite would leave a -shm file of the wrong user behind, and the stages could not open it."""
    os.chown(spool.layout.root, 12345, -1)
    with pytest.raises(PermissionRefused, match="12345"):
        open_for_reading(spool.layout.root)


def test_an_index_of_another_schema_is_refused_with_the_command_that_mends_it(spool: Spool) -> None:
    with spool.index.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SpoolUnusable, match="db upgrade"):
        open_for_reading(spool.layout.root)
    open_for_reading(spool.layout.root, any_revision=True).close()


def test_messages_are_listed_oldest_first_without_the_finished_ones(spool: Spool) -> None:
    batch = letters(3)
    admit(spool, *batch)
    with spool.index.write() as connection:
        query = "UPDATE messages SET state = 'submitted' WHERE queue_id = ?"
        connection.exec_driver_sql(query, (batch[1].origin.queue_id,))
    waiting = [batch[0].origin.queue_id, batch[2].origin.queue_id]
    assert [message.queue_id for message in queries.messages(spool)] == waiting


def test_an_unknown_message_is_not_found(spool: Spool) -> None:
    with pytest.raises(NotFound):
        queries.message(spool, "0" * 18)


def test_totals_name_every_state(spool: Spool) -> None:
    admit(spool, arrival())
    totals = queries.totals(spool)
    assert set(totals) == set(State)
    assert (totals[State.STAGED].messages, totals[State.STAGED].oldest_at) == (1, START)
    assert (totals[State.READY].messages, totals[State.READY].oldest_at) == (0, None)


def test_a_message_that_is_due_later_cannot_move_now(spool: Spool, clock: Clock) -> None:
    (queue_id, _) = make_ready(spool, *letters(2))
    due = int((clock() + timedelta(minutes=1)).timestamp() * 1000)
    with spool.index.write() as connection:
        query = "UPDATE messages SET state = 'deferred', next_attempt_at = ? WHERE queue_id = ?"
        connection.exec_driver_sql(query, (due, queue_id))
    assert (queries.work(spool).queued, queries.work(spool).movable) == (2, 1)
    clock.advance(timedelta(minutes=1))
    assert queries.work(spool).movable == 2


def test_a_message_under_way_can_still_move(spool: Spool) -> None:
    """A drain that saw only what is due would stop submit in the middle of its last messages."""
    make_ready(spool, arrival())
    with take_stage(spool, Stage.SUBMIT) as tenure:
        outbox = Outbox(spool, tenure)
        outbox.claim(1)
        assert queries.work(spool).movable == 1
        outbox.close()


def test_a_stage_runs_while_its_doorbell_hangs(spool: Spool) -> None:
    assert not queries.is_running(spool, Stage.FETCH)
    bell = Doorbell(spool, Stage.FETCH)
    assert queries.is_running(spool, Stage.FETCH)
    bell.close()
    assert not queries.is_running(spool, Stage.FETCH)


def test_looking_whether_a_stage_runs_does_not_keep_it_from_starting(spool: Spool) -> None:
    queries.stage_records(spool)
    with take_stage(spool, Stage.FETCH):
        queries.stage_records(spool)


def test_a_stage_is_told_with_its_times(spool: Spool) -> None:
    with take_stage(spool, Stage.FETCH):
        pass
    fetch, *others = queries.stage_records(spool)
    assert (fetch.stage, fetch.pid, fetch.started_at, fetch.stopped_at) == (Stage.FETCH, None, START, START)
    assert [record.started_at for record in others] == [None] * 3


def test_events_are_counted_by_kind(spool: Spool) -> None:
    admit(spool, arrival())
    before = queries.last_event(spool)
    with spool.index.write() as connection:
        emit(connection, [Replayed(child="a"), SpoolWarning(what="b"), Replayed(child="c")], now=START)
    assert queries.count_events(spool, Replayed, after=before) == 2
    assert queries.count_events(spool, Admitted, after=before) == 0


def test_events_are_counted_without_messages_that_have_another(spool: Spool) -> None:
    """What pickup admitted is not what fetch admitted, and each event alone looks the same."""
    admit(spool, *letters(3))
    with spool.index.write() as connection:
        emit(connection, [Replayed(queue_id=queue_ids(spool)[1], child="a")], now=START)
    assert queries.count_events(spool, Admitted, after=0, without=Replayed) == 2


def test_files_are_counted_with_their_octets(spool: Spool) -> None:
    admit(spool, arrival())
    files = queries.files(spool)
    segments = Layout(spool.layout.root).segments
    assert (files.segments, files.segment_octets) == (1, sum(path.stat().st_size for path in segments.iterdir()))
    assert files.index_octets >= spool.layout.index.stat().st_size


def test_files_of_pickup_that_are_ignored_for_their_names_are_counted(spool: Spool) -> None:
    """Whoever dropped them waits for mail that nobody sends; our own folder in there is none of them."""
    for name in ("a.eml", "b.EML", "c.txt", "d.eml.tmp", ".e.eml"):
        (spool.layout.pickup / name).touch()
    assert queries.ignored_in_pickup(spool) == 4


def test_the_quick_totals_are_those_of_the_slow_ones_without_octets(spool: Spool) -> None:
    make_ready(spool, *letters(3))
    admit(spool, arrival(uidl="other"))
    slow, quick = queries.totals(spool), queries.quick_totals(spool)
    assert quick == {state: replace(total, octets=0) for state, total in slow.items()}


def test_totals_by_account_and_ages_count_the_same_messages(spool: Spool, clock: Clock) -> None:
    make_ready(spool, *letters(3))
    admit(spool, arrival(account="office"))
    clock.advance(timedelta(hours=2))
    assert [(one.account, one.waiting) for one in queries.totals_by_account(spool)] == [("office", 1), ("sales", 3)]
    assert [age.messages for age in queries.ages(spool)] == [0, 0, 4, 0, 0, 0]
