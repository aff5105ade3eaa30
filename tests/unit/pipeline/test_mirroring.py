"""Events are mirrored as configured; what cannot be mirrored disturbs nobody."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from pipeline.mirroring import Mirroring, mirror
from spool.events import LoggedEvent, SpoolWarning, emit
from spool.opening import open_spool
from stages.settings import LogSettings, Mirror
from tests.support.mirrored import event
from tests.support.spools import START, logged


class FakeSink:
    """A sink that fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.taken: list[LoggedEvent] = []

    def take(self, event: LoggedEvent) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.taken.append(event)

    def close(self) -> None:
        pass


def test_nothing_hears_of_events_where_no_mirror_is_wanted(tmp_path: Path) -> None:
    with mirror(LogSettings(mirror=Mirror.NONE, path=tmp_path)) as listener:
        assert listener is None


def test_a_failure_is_said_once_and_so_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    sink = FakeSink(failures=3)
    mirroring = Mirroring(sink, where="syslog")
    mirroring([event(number=number) for number in range(5)])
    mirroring([event()])
    assert [one.event for one in sink.taken] == [3, 4, 1]
    assert capsys.readouterr().err.splitlines() == [
        "pop3connector: events are not mirrored to syslog: No space left on device; `pop3connector events` has them",
        "pop3connector: events are mirrored to syslog again; 3 were not",
    ]


@pytest.mark.parametrize("kind", [Mirror.JOURNALD, Mirror.SYSLOG, Mirror.FILE])
def test_a_place_that_is_not_there_keeps_nothing_from_being_committed(
    tmp_path: Path, kind: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    with mirror(LogSettings(mirror=kind, path=tmp_path / "nowhere" / "at all")) as listener:
        spool = open_spool(tmp_path / "spool", on_events=listener)
        for what in "ab":
            with spool.index.write() as connection:
                emit(connection, [SpoolWarning(what=what)], now=START)
        assert [one.text for one in logged(spool)] == ["a", "b"]
        spool.close()
    assert capsys.readouterr().err.count("not mirrored") == 1


def test_the_file_has_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with mirror(LogSettings(mirror=Mirror.FILE, path=path)) as listener:
        spool = open_spool(tmp_path / "spool", on_events=listener)
        with spool.index.write() as connection:
            emit(connection, [SpoolWarning(what="x")], now=START)
        spool.close()
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["x"]


@pytest.mark.parametrize(("kind", "start"), [(Mirror.JOURNALD, b"MESSAGE=PollFailed"), (Mirror.SYSLOG, b"<20>")])
def test_the_socket_gets_what_was_committed(tmp_path: Path, kind: Mirror, start: bytes) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        with mirror(LogSettings(mirror=kind, path=path)) as listener:
            assert listener is not None
            listener([event()])
        assert listening.recv(65536).startswith(start)
