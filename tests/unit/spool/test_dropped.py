"""Files that people drop: which are seen, which may be read, and whether somebody writes to them."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.dropped import Fit, Unfit, Writers, inspect, list_dropped, stamp_of
from tests.support.other_user import NOBODY, as_nobody, public_directory


def why(path: Path) -> str:
    found = inspect(path)
    assert isinstance(found, Unfit)
    return found.why


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """What this process opens while the test runs, as the interpreter's audit hooks tell it."""
    paths: list[str] = []
    is_listening = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and is_listening:
            paths.append(str(arguments[0]))

    sys.addaudithook(note)
    yield paths
    is_listening = False


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that any user may enter."""
    with public_directory() as directory:
        yield directory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.eml"
    path.write_bytes(b"hello")
    return path


def test_only_names_that_end_in_eml_and_are_not_hidden_are_seen(tmp_path: Path) -> None:
    """Editors and copying programs work on hidden files and files with another ending."""
    for name in ("b.eml", "a.eml", ".a.eml", "a.eml.tmp", "a.txt", "a.EML"):
        (tmp_path / name).touch()
    assert [dropped.path.name for dropped in list_dropped(tmp_path)] == ["a.eml", "b.eml"]


def test_a_quiet_regular_file_is_fit(file: Path) -> None:
    found = inspect(file)
    assert isinstance(found, Fit)
    assert found.writers is Writers.NONE


def test_a_file_that_is_open_for_writing_is_noticed(file: Path) -> None:
    """fcntl(2): a read lease is given only while nobody has the file open for writing."""
    with file.open("ab"):
        found = inspect(file)
    assert isinstance(found, Fit)
    assert found.writers is Writers.SOME


def test_looking_takes_no_lease_that_lasts(file: Path) -> None:
    """A lease that stayed would make the next writer wait for us."""
    inspect(file)
    os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))


def test_a_symbolic_link_is_not_followed(tmp_path: Path, file: Path) -> None:
    link = tmp_path / "link.eml"
    link.symlink_to(file)
    assert why(link).startswith("it is a symbolic link, not a regular file: remove it")


def test_a_file_with_a_second_name_is_unfit(tmp_path: Path, file: Path) -> None:
    """Who can make links may name a file that he cannot read."""
    (tmp_path / "second").hardlink_to(file)
    assert "2 hard links" in why(file)


def test_a_fifo_is_unfit_and_is_never_opened(tmp_path: Path, opened: list[str]) -> None:
    """Whoever writes to it would take us for its reader."""
    path = tmp_path / "fifo.eml"
    os.mkfifo(path)
    assert "a FIFO" in why(path)
    assert opened == []


def test_a_socket_is_unfit(tmp_path: Path) -> None:
    path = tmp_path / "socket.eml"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "a socket" in why(path)


def test_a_device_is_unfit_and_is_never_opened(opened: list[str]) -> None:
    """Some do things when they are opened: a tape winds back, a watchdog starts to count."""
    assert "a device" in why(Path("/dev/zero"))
    assert opened == []


def test_a_link_to_a_device_is_unfit_as_a_link(tmp_path: Path, opened: list[str]) -> None:
    path = tmp_path / "zero.eml"
    path.symlink_to("/dev/zero")
    assert "a symbolic link" in why(path)
    assert opened == []


def test_a_directory_is_unfit(tmp_path: Path) -> None:
    assert "a directory" in why(tmp_path)


def test_a_file_that_is_gone_is_no_finding(tmp_path: Path) -> None:
    assert inspect(tmp_path / "gone.eml") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_unfit_and_the_reason_names_the_chown(file: Path) -> None:
    os.chown(file, 12345, -1)
    assert why(file) == f"it belongs to uid 12345: chown root {file}, or name its owner in pickup.owners"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("it's a $HOME.eml", "'{}/it'\"'\"'s a $HOME.eml'"),
        ("x\n\x1b[2J.eml", "make root its owner, with chown"),
        ("x\udcff.eml", "make root its owner, with chown"),
        ("\u202egnp.eml", "make root its owner, with chown"),
    ],
)
def test_the_chown_of_a_reason_can_be_typed_as_it_stands(tmp_path: Path, name: str, command: str) -> None:
    """A name that no terminal may get is not named: what is shown of it is no name of a file."""
    path = tmp_path / name
    path.touch()
    os.chown(path, 12345, -1)
    assert command.format(tmp_path) in why(path)
    assert why(path).isprintable()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_of_root_that_the_service_may_not_read_is_left_with_the_chown(public: Path) -> None:
    """Root's `cp` of a private file."""
    path = public / "x.eml"
    path.write_bytes(b"hello")
    path.chmod(0o600)
    found = as_nobody(lambda: why(path))
    assert found == f"the service may not read it: chown {NOBODY.pw_name} {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_of_root_that_the_service_may_read_is_fit_but_has_no_lease(public: Path) -> None:
    """fcntl(2): only its owner, or who has CAP_LEASE, may lease a file; it is taken by its quiet of 10 s then."""
    path = public / "x.eml"
    path.write_bytes(b"hello")
    path.chmod(0o644)
    assert as_nobody(lambda: str(inspect(path))) == str(Fit(stamp=stamp_of(path.stat()), writers=Writers.UNKNOWN))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_that_are_named_may_drop_files(file: Path) -> None:
    os.chown(file, 12345, -1)
    assert isinstance(inspect(file, owner_uids={12345}), Fit)


def test_a_rename_does_not_change_the_content_stamp(tmp_path: Path, file: Path) -> None:
    (before,) = list_dropped(tmp_path)
    file.rename(tmp_path / "y.eml")
    (after,) = list_dropped(tmp_path)
    assert after.stamp.is_same_content(before.stamp)


def test_a_name_from_outside_is_made_safe(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[2J.eml").touch()
    (found,) = list_dropped(tmp_path)
    assert "\x1b" not in found.shown
