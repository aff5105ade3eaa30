"""The verbose log: whole lines of several processes, rotated, and never in the way of mail."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from spool.disk import Disk
from spool.layout import Layout
from spool.locks import LOG, hold
from spool.service_log import FILES, ServiceLog
from tests.support.faulty_disk import FaultyDisk
from tests.support.processes import ROOT

WRITERS = 4
LINES = 3000
WRITE = """
import sys
from pathlib import Path
from spool.disk import Disk
from spool.layout import Layout
from spool.service_log import ServiceLog

log = ServiceLog(Layout(Path(sys.argv[1])), Disk(), max_octets=20_000, files=1000)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    log.write(f"{sys.argv[2]} {number} " + "x" * (number % 200) + " end")
sys.exit(log.trouble or 0)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for directory in layout.directories:
        directory.mkdir(exist_ok=True)
    return layout


def files(layout: Layout) -> list[Path]:
    """All files of the log, the newest first."""
    older = (layout.older_service_log(number) for number in itertools.count(1))
    return [layout.service_log, *itertools.takewhile(Path.exists, older)]


def lines(layout: Layout) -> list[str]:
    """All lines that are kept, in the order in which they were written."""
    return [line for file in reversed(files(layout)) for line in file.read_text().splitlines()]


def writing(layout: Layout, writer: int) -> subprocess.Popen[bytes]:
    """A process that writes lines when it is told to."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, str(layout.root), str(writer), str(LINES)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_lines_are_appended_to_a_file_for_its_owner_alone(layout: Layout) -> None:
    for run in ("one", "two"):
        log = ServiceLog(layout, Disk())
        log.write(run)
        log.close()
    assert layout.service_log.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(layout.service_log.stat().st_mode) == 0o600


def test_each_line_is_one_write(layout: Layout) -> None:
    """What one process writes at once nobody else can come between (write(2), O_APPEND)."""
    disk = FaultyDisk()
    log = ServiceLog(layout, disk)
    for number in range(3):
        log.write(f"line {number}")
    assert disk.steps == ["open pop3service.log", *["write pop3service.log"] * 3]
    log.close()


def test_a_full_file_becomes_the_older_one_and_the_oldest_goes(layout: Layout) -> None:
    log = ServiceLog(layout, Disk(), max_octets=10)
    for number in range(20):
        log.write(f"number {number:02}")  # 10 octets: each fills its file
    log.close()
    assert len(files(layout)) == FILES
    assert lines(layout) == [f"number {number}" for number in range(20 - FILES, 20)]


def test_another_process_goes_on_in_the_new_file(layout: Layout) -> None:
    first, second = (ServiceLog(layout, Disk(), max_octets=10) for _ in range(2))
    first.write("of first 1")
    second.write("of second 1")
    first.write("of first 2")
    assert layout.service_log.read_text() == "of first 2\n"
    assert lines(layout) == ["of first 1", "of second 1", "of first 2"]
    for log in (first, second):
        log.close()


@pytest.mark.parametrize("goes", ["removed", "moved"])
def test_a_file_that_somebody_takes_away_is_made_anew(layout: Layout, goes: str) -> None:
    """Administrators do, and so does logrotate."""
    log = ServiceLog(layout, Disk())
    log.write("before")
    if goes == "removed":
        layout.service_log.unlink()
    else:
        layout.service_log.rename(layout.logs / "kept")
    log.write("after")
    log.close()
    assert layout.service_log.read_text() == "after\n"


def test_while_another_process_rotates_lines_go_on(layout: Layout) -> None:
    """Nobody waits: a line in the full file is as good."""
    log = ServiceLog(layout, Disk(), max_octets=10)
    log.write("number one")
    with hold(layout, LOG):
        log.write("number two")
    log.write("number three")
    log.close()
    assert [file.read_text() for file in files(layout)] == ["number three\n", "number one\nnumber two\n"]


def test_no_line_of_several_processes_is_lost_or_torn_by_rotation(layout: Layout) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(writing(layout, writer)) for writer in range(WRITERS)]
        for one in writers:
            assert one.stdout is not None
            assert one.stdout.readline() == b"ready\n"
        for one in writers:
            assert one.stdin is not None
            one.stdin.write(b"go\n")
            one.stdin.flush()
        assert [one.wait(60) for one in writers] == [0] * WRITERS
    expected = {f"{writer} {number} {'x' * (number % 200)} end" for writer in range(WRITERS) for number in range(LINES)}
    found = lines(layout)
    assert len(found) == len(expected)
    assert set(found) == expected
    assert len(files(layout)) > 20


def test_a_full_disk_drops_lines_and_disturbs_nobody(layout: Layout) -> None:
    disk = FaultyDisk()
    log = ServiceLog(layout, disk)
    log.write("one")
    disk.fail(1, error=errno.ENOSPC, lasting=True)
    log.write("dropped")
    log.write("dropped")
    assert log.trouble == os.strerror(errno.ENOSPC)
    disk.mend()
    log.write("two")
    log.write("three")
    log.close()
    kept = layout.service_log.read_text().splitlines()
    # Half of what was dropped may be there, on a line of its own.
    assert [line for line in kept if "drop" not in line] == ["one", "two", "three"]


def test_a_symbolic_link_is_not_followed(layout: Layout) -> None:
    target = layout.root / "elsewhere"
    target.write_text("")
    layout.service_log.symlink_to(target)
    log = ServiceLog(layout, Disk())
    log.write("one")
    log.close()
    assert log.trouble == os.strerror(errno.ELOOP)
    assert target.read_text() == ""


def test_a_log_that_cannot_be_rotated_is_told_of_and_nothing_is_raised(layout: Layout) -> None:
    disk = FaultyDisk()
    log = ServiceLog(layout, disk, max_octets=10)
    log.write("number one")
    disk.fail(1, error=errno.EACCES)
    log.write("number two")
    assert log.trouble == os.strerror(errno.EACCES)
    log.close()
