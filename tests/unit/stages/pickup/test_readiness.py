"""When a file of Pickup may be taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spool.dropped import LEASELESS_SETTLE_SECONDS, Writers, list_dropped
from stages.pickup.readiness import (
    CHANGE_PATIENCE_SECONDS,
    READY_AT_MOST,
    WRITER_PATIENCE_SECONDS,
    Look,
    Readiness,
    Verdict,
    judge,
)
from tests.support.dropping import Seconds

SETTLE = 2.0


class Watcher:
    """A Readiness over one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seconds = Seconds()
        self.room_octets = 1_000
        self.readiness = Readiness(
            settle_seconds=SETTLE,
            owner_uids=(),
            monotonic=self.seconds,
            has_room=lambda octets: octets <= self.room_octets,
        )

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
    assert [event.why for event in look.events] == [
        "a process has it open for writing: it is taken once that is closed"
    ]
    assert again.events == ()
    assert names(watcher.look()) == ["x.eml"]


def test_a_file_that_may_not_be_taken_is_told_of_once_until_it_is_gone(watcher: Watcher) -> None:
    link = watcher.directory / "x.eml"
    link.symlink_to("/nowhere")
    watcher.look()
    assert len(watcher.look(later=SETTLE).events) == 1
    assert watcher.look(later=SETTLE) == Look(ready=(), is_settling=False, events=())
    link.unlink()
    watcher.look()
    link.symlink_to("/nowhere/else")
    watcher.look()
    assert len(watcher.look(later=SETTLE).events) == 1


def grow(watcher: Watcher, file: Path, *, seconds: float) -> list[Look]:
    """Write on and on to a file, and look in between."""
    looks = []
    for _ in range(round(seconds)):
        with file.open("ab") as writer:
            writer.write(b"more")
        looks.append(watcher.look(later=1))
    return looks


def test_a_file_that_grows_and_grows_is_said_once_and_no_drain_waits_for_it(watcher: Watcher) -> None:
    looks = grow(watcher, watcher.directory / "x.eml", seconds=CHANGE_PATIENCE_SECONDS + 30)
    assert [event.why for look in looks for event in look.events] == [
        "it is still being written to: it is taken once that has ended"
    ]
    assert looks[0].is_settling
    assert not looks[-1].is_settling


def test_a_file_that_grew_for_long_is_taken_once_it_is_quiet(watcher: Watcher) -> None:
    grow(watcher, watcher.directory / "x.eml", seconds=CHANGE_PATIENCE_SECONDS + 30)
    assert names(watcher.look(later=SETTLE)) == ["x.eml"]


def test_a_file_that_was_quiet_for_long_settles_anew_when_it_is_changed(watcher: Watcher) -> None:
    """A `chown` that somebody was told to do is no writing."""
    file = watcher.directory / "x.eml"
    file.write_bytes(b"x" * (watcher.room_octets + 1))
    watcher.look()
    watcher.look(later=2 * CHANGE_PATIENCE_SECONDS)
    file.write_bytes(b"hello")
    assert watcher.look(later=1) == Look(ready=(), is_settling=True, events=())


def test_what_is_said_of_a_file_is_not_said_again_when_it_is_touched(watcher: Watcher, tmp_path: Path) -> None:
    file = watcher.directory / "x.eml"
    file.write_bytes(b"hello")
    (watcher.directory / "second").hardlink_to(file)
    watcher.look()
    assert len(watcher.look(later=SETTLE).events) == 1
    file.chmod(0o640)
    watcher.look()
    assert watcher.look(later=SETTLE).events == ()


def test_a_file_for_which_there_is_no_room_waits_for_it_and_it_is_said_once(watcher: Watcher) -> None:
    (watcher.directory / "x.eml").write_bytes(b"x" * (watcher.room_octets + 1))
    watcher.look()
    assert [event.why for event in watcher.look(later=SETTLE).events] == [
        "the disk has no room for its 1001 octets: make some, or remove it"
    ]
    assert watcher.look(later=SETTLE) == Look(ready=(), is_settling=False, events=())
    watcher.room_octets += 1
    assert names(watcher.look()) == ["x.eml"]


def test_of_very_many_files_some_are_taken_at_a_time_and_the_others_soon(watcher: Watcher) -> None:
    """A stop would wait for all of them, and so would validate."""
    for number in range(READY_AT_MOST + 1):
        (watcher.directory / f"{number:05}.eml").touch()
    watcher.look()
    look = watcher.look(later=SETTLE)
    assert (len(look.ready), look.is_settling) == (READY_AT_MOST, True)
    for file in look.ready:
        file.path.unlink()
    assert names(watcher.look()) == [f"{READY_AT_MOST:05}.eml"]
