"""Locks and epochs: one process for each stage, and no claim outlives its epoch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spool.errors import StageHeld
from spool.layout import Stage
from spool.locks import RUN, begin_tenure, end_tenure, hold, hold_all_stages, holder
from spool.opening import take_stage
from tests.support.spools import START, make_spool

HOLD = """
import sys
from pathlib import Path
from spool.layout import Stage
from spool.opening import open_spool, take_stage
with take_stage(open_spool(Path(sys.argv[1])), Stage.SUBMIT):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(directory: Path) -> subprocess.Popen[bytes]:
    """Another process that holds the submit stage until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_stage_that_another_process_holds_is_refused_with_its_pid(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    with start_holder(spool.layout.root) as process:
        with (
            pytest.raises(StageHeld, match=f"submit is held by process {process.pid}"),
            take_stage(spool, Stage.SUBMIT),
        ):
            pass
        process.communicate()


def test_other_stages_are_free_meanwhile(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    with take_stage(spool, Stage.SUBMIT), take_stage(spool, Stage.FETCH) as tenure:
        assert tenure.epoch == 1


def test_a_killed_holder_leaves_the_stage_free_and_its_epoch_void(tmp_path: Path) -> None:
    """The kernel drops the lock; the epoch rises, which voids all older claims."""
    spool = make_spool(tmp_path)
    with start_holder(spool.layout.root) as process:
        process.kill()
    with take_stage(spool, Stage.SUBMIT) as tenure:
        assert tenure.epoch == 2


def test_each_taking_raises_the_epoch(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    epochs = []
    for _ in range(3):
        with take_stage(spool, Stage.FETCH) as tenure:
            epochs.append(tenure.epoch)
    assert epochs == [1, 2, 3]


def test_a_tenure_that_was_overtaken_is_refused_inside_a_transaction(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    first = begin_tenure(spool.index, Stage.SUBMIT, now=START)
    second = begin_tenure(spool.index, Stage.SUBMIT, now=START)
    with spool.index.write() as connection:
        second.check(connection)
        with pytest.raises(StageHeld) as caught:
            first.check(connection)
    assert caught.value.pid == os.getpid()


def test_a_clean_end_of_an_older_tenure_does_not_end_the_present_one(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    first = begin_tenure(spool.index, Stage.SUBMIT, now=START)
    second = begin_tenure(spool.index, Stage.SUBMIT, now=START)
    end_tenure(spool.index, first, now=START)
    with spool.index.read() as connection:
        row = connection.exec_driver_sql("SELECT epoch, pid, stopped_at FROM stages").one()
    assert tuple(row) == (second.epoch, os.getpid(), None)


def test_the_holder_is_named_while_it_holds_and_not_after(tmp_path: Path) -> None:
    layout = make_spool(tmp_path).layout
    with hold(layout, RUN):
        assert holder(layout, RUN) == os.getpid()
    assert holder(layout, RUN) is None


def test_holding_all_stages_waits_for_none(tmp_path: Path) -> None:
    """`spool rebuild` and `db upgrade` must not run beside any."""
    spool = make_spool(tmp_path)
    with hold(spool.layout, Stage.PICKUP), pytest.raises(StageHeld, match="pickup"), hold_all_stages(spool.layout):
        pass
    with hold_all_stages(spool.layout), pytest.raises(StageHeld), hold(spool.layout, Stage.FETCH):
        pass


def test_all_stages_are_free_again_when_one_of_them_was_not(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    with hold(spool.layout, Stage.PICKUP), pytest.raises(StageHeld), hold_all_stages(spool.layout):
        pass
    with hold_all_stages(spool.layout):
        pass
