"""A rebuild disturbs nobody, loses nothing on its way, and can be run again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import select

from spool import models
from spool.admission import BATCH_MESSAGES
from spool.errors import IndexLost, SpoolFailed, SpoolUnusable, StageHeld
from spool.layout import Stage
from spool.locks import RUN, hold
from spool.opening import Spool, open_spool, take_stage
from spool.rebuild import rebuild
from spool.states import State
from spool.verify import verify
from tests.support.faulty_disk import FaultyDisk
from tests.support.rebuilding import (
    bytes_of,
    rebuilt,
    segments,
    submit,
)
from tests.support.spools import (
    Clock,
    admit,
    arrival,
    letters,
    logged,
    make_ready,
    make_spool,
    message,
)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = make_spool(tmp_path)
    yield made
    made.close()


def test_what_may_not_be_on_disk_is_copied_and_synced(spool: Spool) -> None:
    """After a failed sync the page cache shows what a power cut would take, and nobody knows what was committed."""
    admit(spool, *letters(BATCH_MESSAGES + 10))
    [first] = segments(spool.layout)
    with rebuilt(spool) as (after, _):
        [same, copies] = segments(after.layout)
        assert same == first
        with after.index.read() as connection:
            by_file = connection.execute(select(models.messages.c.segment)).scalars().all()
        assert (by_file.count(1), by_file.count(2)) == (10, BATCH_MESSAGES)
        assert copies.stat().st_size > 0


def test_a_rebuilt_index_is_not_older_than_the_journals(spool: Spool) -> None:
    make_ready(spool, *letters(3))
    submit(spool, "a")
    with rebuilt(spool) as (after, _):
        for stage in Stage:
            with take_stage(after, stage):
                pass
        assert verify(after).problems == ()


def test_a_rebuild_may_be_repeated(spool: Spool) -> None:
    make_ready(spool, *letters(3))
    submit(spool, "a")
    admit(spool, arrival(b"waits", uidl="waits"))
    with rebuilt(spool) as (_, first):
        pass
    second = rebuild(spool.layout.root, now=Clock())
    assert (second.states, second.ledger_entries) == (first.states, first.ledger_entries)


def test_the_old_index_is_kept_with_its_log(spool: Spool) -> None:
    admit(spool, arrival())
    old = spool.layout.index
    result = rebuild(spool.layout.root, now=Clock())
    assert result.kept == old.with_name("index.sqlite3.before-rebuild-20260101T000000Z")
    assert result.kept.exists()
    # The old connections are still open, so their log was not taken in: it must lie beside its own database.
    assert result.kept.with_name(result.kept.name + "-wal").exists()
    assert not old.with_name(old.name + "-wal").exists()


def test_a_rebuild_leaves_one_event(spool: Spool) -> None:
    admit(spool, *letters(2))
    with rebuilt(spool) as (after, _):
        assert [event.text for event in logged(after)] == ["the index was rebuilt: 2 messages, 2 ledger entries"]


def test_a_rebuild_is_refused_while_a_stage_works(spool: Spool) -> None:
    with take_stage(spool, Stage.SUBMIT), pytest.raises(StageHeld, match=f"submit is held by process {os.getpid()}"):
        rebuild(spool.layout.root)


def test_a_rebuild_is_refused_while_the_supervisor_runs(spool: Spool) -> None:
    with hold(spool.layout, RUN), pytest.raises(StageHeld, match="run is held"):
        rebuild(spool.layout.root)


def test_a_directory_that_is_no_spool_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusable, match="is not a spool"):
        rebuild(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_rebuild_that_fails_at_any_step_can_be_run_again(spool: Spool, tmp_path: Path) -> None:
    """Until the new index has its name the stages have the old one, or are told to rebuild."""
    ids = make_ready(spool, *letters(3))
    submit(spool, "a")
    [waits] = admit(spool, arrival(b"waits", uidl="waits"))
    spool.close()
    for step in count(1):
        root = tmp_path / f"step{step}"
        shutil.copytree(spool.layout.root, root)
        disk = FaultyDisk()
        disk.fail(step, lasting=True)
        with suppress(SpoolFailed):
            rebuild(root, disk=disk, now=Clock())
            break
        with suppress(IndexLost):
            open_spool(root).close()
        rebuild(root, now=Clock())
        after = open_spool(root, now=Clock())
        assert {message(after, known).state for known in ids} == {State.SUBMITTED}
        assert bytes_of(after, message(after, waits.queue_id)) == b"waits"
        assert verify(after).ok
        after.close()
    assert step > 20
