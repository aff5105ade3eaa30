"""Doorbells: a ring wakes who listens, and is never needed for correctness."""

from __future__ import annotations

import select
from pathlib import Path

from spool.doorbell import Doorbell, ring
from spool.layout import Stage
from tests.support.spools import make_spool


def has_rung(bell: Doorbell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_a_ring_wakes_the_stage_until_it_is_silenced(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    bell = Doorbell(spool, Stage.SUBMIT)
    assert not has_rung(bell)
    assert ring(spool, Stage.SUBMIT)
    assert has_rung(bell)
    bell.silence()
    assert not has_rung(bell)
    bell.close()


def test_the_bells_of_stages_are_apart(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    bells = [Doorbell(spool, Stage.SUBMIT), Doorbell(spool, Stage.VALIDATE)]
    ring(spool, Stage.VALIDATE)
    assert [has_rung(bell) for bell in bells] == [False, True]
    for bell in bells:
        bell.close()


def test_ringing_where_nobody_listens_says_so(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    assert not ring(spool, Stage.SUBMIT)
    Doorbell(spool, Stage.SUBMIT).close()
    assert not ring(spool, Stage.SUBMIT)


def test_ringing_never_waits_for_who_does_not_look(tmp_path: Path) -> None:
    """A FIFO holds 64 KiB; a full one has rung already."""
    spool = make_spool(tmp_path)
    bell = Doorbell(spool, Stage.SUBMIT)
    assert all(ring(spool, Stage.SUBMIT) for _ in range(70_000))
    bell.silence()
    assert not has_rung(bell)
    bell.close()
