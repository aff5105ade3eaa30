"""How far polls have come."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from spool.poll_progress import Progress, drop_progress, read_progress, write_progress
from tests.support.spools import START, Clock, make_spool

SOME = Progress(messages=1, of_messages=3, octets=100, of_octets=350)
MORE = Progress(messages=2, of_messages=3, octets=200, of_octets=350)
BOTH = ["sales", "info"]


def test_the_last_count_of_each_account_is_read_back(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    write_progress(spool, {"sales": SOME, "info": Progress()})
    write_progress(spool, {"sales": MORE})
    assert read_progress(spool, BOTH, since=START) == {"sales": MORE, "info": Progress()}
    assert read_progress(spool, ["info"], since=START) == {"info": Progress()}


def test_a_poll_that_is_over_is_forgotten(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    write_progress(spool, {"sales": SOME, "info": MORE})
    drop_progress(spool, "sales")
    drop_progress(spool, "sales")
    assert read_progress(spool, BOTH, since=START) == {"info": MORE}


def test_what_a_killed_process_left_is_not_told(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    write_progress(spool, {"sales": SOME})
    clock.advance(timedelta(seconds=1))
    write_progress(spool, {"info": SOME})
    assert read_progress(spool, BOTH, since=clock.at) == {"info": SOME}
