"""The durable steps: whole writes, private modes, no links."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.disk import Disk
from spool.layout import partial
from tests.support.faulty_disk import FaultyDisk

DISK = Disk()


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.usefixtures("umask")
def test_files_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    DISK.close(DISK.create(tmp_path / "created"))
    DISK.close(DISK.open_append(tmp_path / "appended"))
    DISK.write_file(tmp_path / "written", [b"x"])
    DISK.jot(tmp_path / "note", "x")
    DISK.make_fifo(tmp_path / "bell")
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.usefixtures("umask")
def test_directories_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    DISK.make_directory(tmp_path / "made")
    assert mode(tmp_path / "made") == 0o700


def test_a_directory_that_stood_already_keeps_its_mode(tmp_path: Path) -> None:
    """It is the operator's."""
    (tmp_path / "there").mkdir(mode=0o755)
    assert not DISK.make_directory(tmp_path / "there")
    assert mode(tmp_path / "there") == 0o755


def test_a_short_write_is_continued() -> None:
    """A signal ends a write into a full pipe half-way: write(2) then answers less than it was given."""
    reader, writer = os.pipe()
    sent = bytes(range(256)) * 1024
    received: list[bytes] = []

    def drain() -> None:
        while chunk := os.read(reader, 65536):
            received.append(chunk)

    draining = threading.Thread(target=drain)
    before = signal.signal(signal.SIGALRM, lambda *_: draining.start())
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    DISK.write(writer, sent)
    os.close(writer)
    draining.join()
    os.close(reader)
    signal.signal(signal.SIGALRM, before)
    assert b"".join(received) == sent


def test_overwriting_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fd = DISK.create(path)
    DISK.write(fd, b"0123456789")
    DISK.overwrite(fd, b"abc", offset=2)
    DISK.close(fd)
    assert path.read_bytes() == b"01abc56789"


def test_nothing_is_created_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"mail")
    with pytest.raises(FileExistsError):
        DISK.create(tmp_path / "mail")


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_no_link_is_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "there").write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    for attempt in (lambda: DISK.create(link), lambda: DISK.open_append(link), lambda: DISK.jot(link, "x")):
        with pytest.raises(OSError, match=r"exists|symbolic links"):
            attempt()
    assert (tmp_path / "there").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_is_named_after_it_was_synced_and_the_name_is_synced_last(tmp_path: Path) -> None:
    disk = FaultyDisk()
    disk.write_file(tmp_path / "x.eml", [b"one", b"two"])
    assert disk.steps == [
        "unlink x.eml.tmp",
        "create x.eml.tmp",
        "write x.eml.tmp",
        "write x.eml.tmp",
        "sync x.eml.tmp",
        "rename x.eml.tmp x.eml",
        f"sync {tmp_path.name}/",
    ]


@pytest.mark.parametrize("step", range(1, 7))
def test_a_file_that_could_not_be_made_whole_leaves_the_old_one(tmp_path: Path, step: int) -> None:
    """Whichever step up to the renaming fails."""
    path = tmp_path / "x.eml"
    path.write_bytes(b"old")
    disk = FaultyDisk()
    disk.fail(step, error=errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        disk.write_file(path, [b"new", b"er"])
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("damaged")])
def test_half_a_file_does_not_stay(tmp_path: Path, error: Exception) -> None:
    """Also where the octets themselves could not be had."""

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise error

    with pytest.raises(type(error)):
        DISK.write_file(tmp_path / "x.eml", parts())
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_file_of_earlier_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.eml"
    partial(path).write_bytes(b"half of a longer mess")
    DISK.write_file(path, [b"whole"])
    assert path.read_bytes() == b"whole"
    assert not partial(path).exists()


def test_unlinking_says_whether_there_was_anything(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert [DISK.unlink(tmp_path / "x"), DISK.unlink(tmp_path / "x")] == [True, False]


def test_a_file_gets_the_mode_that_is_asked_for_and_never_more_on_the_way(tmp_path: Path) -> None:
    aside = DISK.write_aside(tmp_path / "x.toml", [b"x"], mode=0o640)
    assert (aside, mode(aside)) == (partial(tmp_path / "x.toml"), 0o640)
    assert list(tmp_path.iterdir()) == [aside]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_is_given_to_whom_it_is_for(tmp_path: Path) -> None:
    DISK.write_file(tmp_path / "x.toml", [b"x"], owner=(12345, 23456))
    status = (tmp_path / "x.toml").stat()
    assert (status.st_uid, status.st_gid, mode(tmp_path / "x.toml")) == (12345, 23456, 0o600)
