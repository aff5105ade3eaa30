"""When a file of Pickup may be taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spool.dropped import LEASELESS_SETTLE_SECONDS, Writers, list_dropped
from stages.pickup.readiness import WRITER_PATIENCE_SECONDS, Look, Readiness, Verdict, judge
from tests.support.dropping import Seconds

SETTLE = 2.0


class Watcher:
    """A Readiness over one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seconds = Seconds()
        self.readiness = Readiness(settle_seconds=SETTLE, owner_uids=(), monotonic=self.seconds)

    def look(self, *, later: float = 0) -> Look:
        self.seconds.at += later
        return self.readiness.look(list_dropped(self.directory))


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    return Watcher(tmp_path)


def names(look: Look) -> list[str]:
    return [file.path.name for file in look.ready]


@pytest.mark.parametrize(
    ("writers", "waited", "verdict"),
    [
        (Writers.NONE, SETTLE - 0.1, Verdict.SETTLING),
        (Writers.NONE, SETTLE, Verdict.READY),
        (Writers.SOME, SETTLE, Verdict.SETTLING),
        (Writers.SOME, SETTLE + WRITER_PATIENCE_SECONDS, Verdict.HELD_OPEN),
        (Writers.UNKNOWN, SETTLE, Verdict.SETTLING),
        (Writers.UNKNOWN, LEASELESS_SETTLE_SECONDS, Verdict.READY),
    ],
)
def test_the_settle_time_and_the_writers_decide(writers: Writers, waited: float, verdict: Verdict) -> None:
    """Where leases do not work, settle is at least 10 s."""
    assert judge(writers, waited, settle_seconds=SETTLE) is verdict


def test_a_longer_settle_time_counts_also_where_leases_do_not_work() -> None:
    assert judge(Writers.UNKNOWN, LEASELESS_SETTLE_SECONDS + 1, settle_seconds=60) is Verdict.SETTLING


def test_a_file_is_ready_when_it_did_not_change_for_the_settle_time(watcher: Watcher) -> None:
    (watcher.directory / "x.eml").write_bytes(b"hello")
    assert watcher.look().is_settling
    assert names(watcher.look(later=SETTLE)) == ["x.eml"]


def test_a_change_begins_the_settle_time_anew(watcher: Watcher) -> None:
    file = watcher.directory / "x.eml"
    file.write_bytes(b"hello")
    watcher.look()
    file.write_bytes(b"hello, world")
    assert watcher.look(later=SETTLE).is_settling
    assert names(watcher.look(later=SETTLE)) == ["x.eml"]


def test_an_old_modification_time_proves_nothing(watcher: Watcher) -> None:
    """`cp -p` sets it while it is not clear that all is copied."""
    file = watcher.directory / "x.eml"
    file.write_bytes(b"hello")
    os.utime(file, (0, 0))
    assert watcher.look().is_settling


def test_a_file_that_is_open_for_writing_is_not_ready(watcher: Watcher) -> None:
    with (watcher.directory / "x.eml").open("wb") as file:
        file.write(b"hello")
        file.flush()
        watcher.look()
        look = watcher.look(later=SETTLE)
    assert (names(look), look.is_settling) == ([], True)


def test_nobody_waits_for_a_writer_that_does_not_end_and_it_is_said_once(watcher: Watcher) -> None:
    with (watcher.directory / "x.eml").open("wb"):
        watcher.look()
        look = watcher.look(later=SETTLE + WRITER_PATIENCE_SECONDS)
        again = watcher.look(later=1)
    assert not look.is_settling
    assert [event.why for event in look.events] == ["a process has it open for writing"]
    assert again.events == ()
    assert names(watcher.look()) == ["x.eml"]


def test_a_file_that_may_not_be_taken_is_told_of_once_until_it_changes(watcher: Watcher) -> None:
    link = watcher.directory / "x.eml"
    link.symlink_to("/nowhere")
    watcher.look()
    assert len(watcher.look(later=SETTLE).events) == 1
    assert watcher.look(later=SETTLE) == Look(ready=(), is_settling=False, events=())
    link.unlink()
    link.symlink_to("/nowhere/else")
    watcher.look()
    assert len(watcher.look(later=SETTLE).events) == 1
