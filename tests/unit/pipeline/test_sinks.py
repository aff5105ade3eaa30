"""Where events are mirrored: each place gets them in its own form, and none makes anybody wait."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.event_lines import as_object
from pipeline.sinks import ROTATED_FILES, Journald, JsonLines, Sink, Syslog, journal_field
from spool.events import Level, LoggedEvent
from tests.support.mirrored import event


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(20)
        yield listening


def mirror(sink: Sink, *events: LoggedEvent) -> None:
    with closing(sink):
        for one in events:
            sink.take(one)


def fields(datagram: bytes) -> dict[str, str]:
    """The fields of a datagram whose values have no line end."""
    return dict(line.split("=", 1) for line in datagram.decode().splitlines())


def test_the_journal_gets_the_fields_of_an_event(tmp_path: Path, listener: socket.socket) -> None:
    mirror(Journald(tmp_path / "socket"), event(count=2))
    found = fields(listener.recv(65536))
    assert found.pop("SYSLOG_PID") == str(os.getpid())
    assert found == {
        "MESSAGE": "PollFailed sales poll failed: no (2 times since 2026-01-01T00:00:00Z)",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "pop3connector",
        "SYSLOG_FACILITY": "2",
        "POP3CONNECTOR_EVENT": "PollFailed",
        "POP3CONNECTOR_ACCOUNT": "sales",
        "POP3CONNECTOR_PROCESS": "fetch",
        "POP3CONNECTOR_COUNT": "2",
    }


def test_a_value_with_a_line_end_cannot_add_a_field() -> None:
    """https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: the name, a line end, 64 bits little-endian, the value."""
    assert journal_field("MESSAGE", "one\nPRIORITY=0") == b"MESSAGE\n\x0e\0\0\0\0\0\0\0one\nPRIORITY=0\n"
    assert journal_field("MESSAGE", "ä") == "MESSAGE=ä\n".encode()


@pytest.mark.parametrize(
    ("level", "priority"),
    [(Level.DEBUG, 7), (Level.INFO, 6), (Level.WARNING, 4), (Level.ERROR, 3), (Level.CRITICAL, 2)],
)
def test_the_level_is_the_severity(tmp_path: Path, listener: socket.socket, level: Level, priority: int) -> None:
    """RFC 5424 section 6.2.1."""
    mirror(Journald(tmp_path / "socket"), event(level=level))
    assert fields(listener.recv(65536))["PRIORITY"] == str(priority)
    mirror(Syslog(tmp_path / "socket"), event(level=level))
    assert listener.recv(65536).startswith(f"<{16 + priority}>".encode())


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time of this machine is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_syslog_gets_a_line_as_its_daemons_expect_it(tmp_path: Path, listener: socket.socket) -> None:
    """RFC 3164 section 4.1.2: local time, the day with a space where it has one digit."""
    mirror(Syslog(tmp_path / "socket"), event())
    line = listener.recv(65536).decode()
    assert line == f"<20>Jan  1 00:00:00 pop3connector[{os.getpid()}]: PollFailed sales poll failed: no"


@pytest.mark.parametrize("kind", [Journald, Syslog])
def test_text_from_outside_is_one_printable_line(
    tmp_path: Path, listener: socket.socket, kind: type[Journald | Syslog]
) -> None:
    mirror(kind(tmp_path / "socket"), event("two\nlines \x1b[2J\0"))
    assert b"two\\x0alines \\x1b[2J\\x00" in listener.recv(65536)


@pytest.mark.parametrize("kind", [Journald, Syslog])
def test_nobody_waits_for_a_receiver_that_does_not_read(
    tmp_path: Path, listener: socket.socket, kind: type[Journald | Syslog]
) -> None:
    with pytest.raises(BlockingIOError):
        mirror(kind(tmp_path / "socket"), *[event("x" * 400)] * 10_000)


@pytest.mark.parametrize("kind", [Journald, Syslog])
def test_a_receiver_that_was_started_anew_is_found_again(tmp_path: Path, kind: type[Journald | Syslog]) -> None:
    sink = kind(tmp_path / "socket")
    with pytest.raises(FileNotFoundError):
        sink.take(event())
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(tmp_path / "socket"))
            sink.take(event())
            assert listening.recv(65536)
        (tmp_path / "socket").unlink()
    sink.close()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def test_a_line_of_the_file_is_the_event_as_json(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonLines(path)
    sink.take(event(number=1))
    sink.take(event("größer\n", number=2, count=10))
    assert lines(path) == [as_object(event(number=1)), as_object(event("größer\n", number=2, count=10))]
    assert path.read_bytes().isascii()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_file_is_rotated_and_few_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonLines(path, rotate_octets=1)
    for number in range(1, ROTATED_FILES + 3):
        sink.take(event(number=number))
    assert not path.exists()
    kept = [lines(tmp_path / f"events.jsonl.{number}")[0]["event"] for number in range(1, ROTATED_FILES + 1)]
    assert kept == list(range(ROTATED_FILES + 2, 2, -1))
    assert len(list(tmp_path.iterdir())) == ROTATED_FILES


def test_many_who_write_and_rotate_lose_no_line_and_break_none(tmp_path: Path) -> None:
    """Each process has a sink of its own; here each thread has one, with descriptors of its own."""
    path = tmp_path / "events.jsonl"
    writers, each = 8, 100
    octets = len(json.dumps(as_object(event()))) * writers * each // (ROTATED_FILES - 1)

    def write(writer: int) -> None:
        sink = JsonLines(path, rotate_octets=octets)
        for number in range(each):
            sink.take(event(number=writer * each + number))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [line["event"] for file in tmp_path.iterdir() for line in lines(file)]
    assert sorted(map(int, map(str, found))) == list(range(writers * each))
    assert len(list(tmp_path.iterdir())) > 1


def test_a_file_that_others_rotated_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonLines(path)
    sink.take(event(number=1))
    path.rename(tmp_path / "old")
    sink.take(event(number=2))
    assert [line["event"] for line in lines(path)] == [2]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        JsonLines(tmp_path / "events.jsonl").take(event())
    assert not (tmp_path / "elsewhere").exists()


def test_nobody_waits_for_the_reader_of_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.jsonl")
    with pytest.raises(OSError, match="No such device"):
        JsonLines(tmp_path / "events.jsonl").take(event())


def test_a_line_that_was_torn_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    """A pipe that has no room for a whole line takes a part of it, as a full disk does."""
    path = tmp_path / "events.jsonl"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonLines(path)
    many = [event("x" * 5000, number=number) for number in range(1000)]
    with pytest.raises(OSError, match="octets of a line were written"):
        mirror(sink, *many)
    octets = os.read(reader, 1 << 20)
    sink.take(event(number=-1))
    octets += os.read(reader, 1 << 20)
    os.close(reader)
    *whole, torn, last, nothing = octets.split(b"\n")
    assert [json.loads(line)["event"] for line in whole] == list(range(len(whole)))
    assert torn == json.dumps(as_object(many[len(whole)])).encode()[: len(torn)]
    assert (json.loads(last)["event"], nothing) == (-1, b"")
