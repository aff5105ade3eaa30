"""Whose files are read, and which list is of which account."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from pipeline.cli.import_sources import Named, read_source, seen_lists
from pipeline.cli.options import FetcherFile
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.migration.theirs import Mailbox


def named(name: str, *, username: str = "jo", seen: tuple[Path, ...] = ()) -> Named:
    box = Mailbox(line=1, name=name, host="pop.isp.example", username=username, seen=seen)
    return Named(name=name, mailbox=box)


def written(file: Path, text: bytes) -> Path:
    file.write_bytes(text)
    return file


def test_the_home_of_a_file_is_ours_where_it_is_our_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    source = read_source(FetcherFile.FETCHMAILRC, written(tmp_path / "rc", b"set idfile ~/ids poll a.example user jo"))
    assert source.theirs.mailboxes[0].seen == (Path("/somewhere/ids"),)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_home_of_a_file_is_its_owners(tmp_path: Path) -> None:
    """Root imports what is somebody's: `~` is theirs."""
    somebody = pwd.getpwnam("daemon")
    file = written(tmp_path / "rc", b"account a\nhost a.example\nuidls_file ~/u")
    os.chown(file, somebody.pw_uid, somebody.pw_gid)
    source = read_source(FetcherFile.MPOPRC, file)
    assert source.theirs.mailboxes[0].seen == (Path(somebody.pw_dir, "u"),)


def test_what_is_not_utf8_is_latin_1(tmp_path: Path) -> None:
    source = read_source(FetcherFile.FETCHMAILRC, written(tmp_path / "rc", b"poll a.example user 'j\xf6'"))
    assert source.theirs.mailboxes[0].username == "jö"


def test_the_first_list_that_is_there_is_taken(tmp_path: Path) -> None:
    there = written(tmp_path / "ids", b"jo@pop.isp.example a\n")
    account = named("x", seen=(tmp_path / "no", there, written(tmp_path / "other", b"")))
    (found,) = seen_lists(FetcherFile.FETCHMAILRC, [account], given=())
    assert (found.account, found.file, found.uidls, found.unread) == ("x", there, [b"a"], 0)


def test_a_list_is_read_for_all_accounts_that_it_is_of(tmp_path: Path) -> None:
    """fetchmail does not tell users apart by case, and lists a UIDL once for each."""
    ids = written(tmp_path / "ids", b"jo@pop.isp.example a\nnonsense\nAL@pop.isp.example b\nal@pop.isp.example b\n")
    accounts = [named("x", seen=(ids,)), named("y", username="Al", seen=(ids,)), named("z", username="al", seen=(ids,))]
    found = seen_lists(FetcherFile.FETCHMAILRC, accounts, given=())
    assert [(one.account, one.uidls, one.unread) for one in found] == [
        ("x", [b"a"], 1),
        ("y", [b"b"], 1),
        ("z", [b"b"], 1),
    ]


def test_a_file_of_getmails_is_known_by_its_name(tmp_path: Path) -> None:
    files = [written(tmp_path / name, b"a\x001\n") for name in ("oldmail-x", "oldmail-y", "elsewhere")]
    accounts = [named("x", seen=(Path("/g/oldmail-x"),)), named("y", seen=(Path("/g/oldmail-y"),))]
    found = seen_lists(FetcherFile.GETMAILRC, accounts, given=files[:2])
    assert [one.account for one in found] == ["x", "y"]
    assert [one.account for one in seen_lists(FetcherFile.GETMAILRC, accounts[1:], given=files[2:])] == ["y"]
    with pytest.raises(CommandFailed, match="by its name it is of none") as failed:
        seen_lists(FetcherFile.GETMAILRC, accounts, given=files[2:])
    assert failed.value.code is ExitCode.DATA


@pytest.mark.parametrize("kind", FetcherFile)
def test_what_is_no_list_is_refused_and_an_empty_one_is_none(tmp_path: Path, kind: FetcherFile) -> None:
    (found,) = seen_lists(kind, [named("x")], given=[written(tmp_path / "empty", b"")])
    assert found.uidls == []
    with pytest.raises(CommandFailed, match="line 1: it is no list of seen UIDLs"):
        seen_lists(kind, [named("x")], given=[written(tmp_path / "page", b"<html>\n<p>\n")])
