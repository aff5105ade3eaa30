"""Files that people drop: which are seen, which may be read, and whether somebody writes to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spool.dropped import Fit, Unfit, Writers, inspect, list_dropped


def why(path: Path) -> str:
    found = inspect(path)
    assert isinstance(found, Unfit)
    return found.why


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
    assert "symbolic link" in why(link)


def test_a_file_with_a_second_name_is_unfit(tmp_path: Path, file: Path) -> None:
    """Who can make links may name a file that he cannot read."""
    (tmp_path / "second").hardlink_to(file)
    assert "2 hard links" in why(file)


def test_a_fifo_is_unfit_and_nobody_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "fifo.eml"
    os.mkfifo(path)
    assert "not a regular file" in why(path)


def test_a_directory_is_unfit(tmp_path: Path) -> None:
    assert "not a regular file" in why(tmp_path)


def test_a_file_that_is_gone_is_no_finding(tmp_path: Path) -> None:
    assert inspect(tmp_path / "gone.eml") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_unfit_and_the_reason_names_the_chown(file: Path) -> None:
    os.chown(file, 12345, -1)
    assert "chown root " in why(file)
    assert str(file) in why(file)


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
