"""What a process writes into the verbose log: whose lines, and in which form."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from spool.events import VerboseLogFailed
from spool.layout import Stage
from spool.opening import Spool
from spool.verbosity import EVERYBODY, RELAY, Verbosity
from stages.verbose_log import VerboseLog
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import Clock, make_spool

ALL = Verbosity(wishes={EVERYBODY: True})


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, disk: FaultyDisk, clock: Clock) -> Iterator[Spool]:
    opened = make_spool(tmp_path, clock=clock, disk=disk)
    yield opened
    opened.close()


@pytest.fixture
def log(spool: Spool) -> Iterator[VerboseLog]:
    made = VerboseLog(spool, Stage.FETCH)
    yield made
    made.close()


def written(spool: Spool) -> list[str]:
    file = spool.layout.service_log
    return file.read_text().splitlines() if file.exists() else []


def test_a_line_has_time_process_account_connection_side_and_what_was_said(
    log: VerboseLog, spool: Spool, clock: Clock
) -> None:
    log.heed(ALL)
    clock.advance(timedelta(milliseconds=1234))
    sales, relay = log.account("sales isp"), log.relay()
    sales.begin()
    sales.said("USER sales")
    sales.heard("+OK")
    relay.begin()
    relay.note("closed")
    process = f"fetch[{os.getpid()}]"
    assert written(spool) == [
        f"2026-01-01T00:00:01.234Z {process} sales isp #1 > USER sales",
        f"2026-01-01T00:00:01.234Z {process} sales isp #1 < +OK",
        f"2026-01-01T00:00:01.234Z {process} relay #2 * closed",
    ]


def test_nothing_is_written_and_no_file_made_before_it_is_wished(log: VerboseLog, spool: Spool) -> None:
    for dialogue in (log.account("sales"), log.relay()):
        dialogue.begin()
        dialogue.said("QUIT")
    assert not spool.layout.service_log.exists()


@pytest.mark.parametrize(("name", "who"), [("sales", ["sales"]), (RELAY, ["relay"]), (EVERYBODY, ["sales", "relay"])])
def test_those_are_written_of_whom_it_is_wished(log: VerboseLog, spool: Spool, name: str, who: list[str]) -> None:
    log.heed(Verbosity(wishes={name: True}))
    for dialogue in (log.account("sales"), log.relay()):
        dialogue.begin()
        dialogue.said("QUIT")
    assert [line.split()[2] for line in written(spool)] == who


def test_a_wish_is_heeded_in_the_middle_of_a_session(log: VerboseLog, spool: Spool) -> None:
    sales, others = log.account("sales"), log.account("info")
    for verbosity in (Verbosity(wishes={"sales": True}), Verbosity(), ALL):
        log.heed(verbosity)
        sales.said("NOOP")
        others.said("NOOP")
    assert [line.split()[2] for line in written(spool)] == ["sales", "sales", "info"]


def test_a_session_that_somebody_asked_for_is_written_whatever_is_wished(log: VerboseLog, spool: Spool) -> None:
    asked, other = log.account("sales", is_verbose=True), log.account("sales")
    log.heed(Verbosity(wishes={"sales": False}))
    asked.said("STAT")
    other.said("LIST")
    assert [line.split()[-1] for line in written(spool)] == ["STAT"]


def test_what_a_server_says_cannot_forge_a_line_nor_move_a_cursor(log: VerboseLog, spool: Spool) -> None:
    log.heed(ALL)
    log.account("sales\x1b[2J").heard("+OK \x1b[1A\r\n2026-01-01T00:00:00.000Z fetch[1] info #1 > DELE 1" + "x" * 9999)
    (line,) = written(spool)
    assert line.isprintable()
    assert len(line) < 700


def test_a_log_that_cannot_be_written_is_told_of_once(log: VerboseLog, spool: Spool, disk: FaultyDisk) -> None:
    log.heed(ALL)
    assert log.troubles() == ()
    disk.fail(1, error=errno.ENOSPC, lasting=True)
    for _ in range(3):
        log.account("sales").said("NOOP")
    disk.mend()
    expected = VerboseLogFailed(file=str(spool.layout.service_log), error="No space left on device")
    assert log.troubles() == (expected,)
    assert log.troubles() == ()
