"""The file of an account's tokens, as a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spool.errors import PermissionRefused, SpoolFailed, SpoolUnusable, StageHeld
from spool.token_file import TokenFile
from spool.verify import verify
from tests.support.spools import make_spool


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def written(spool: Path, account: str = "sales", content: bytes = b"tokens") -> TokenFile:
    file = TokenFile(spool, account)
    with file.held(timeout=0):
        file.write(content)
    return file


def test_what_is_written_is_read(spool: Path) -> None:
    assert written(spool).read() == b"tokens"


def test_nothing_is_in_a_file_that_is_not_there(spool: Path) -> None:
    assert TokenFile(spool, "sales").read() == b""


@pytest.mark.parametrize("account", ["..", "a/b", "../../x", "sales ISP", ".", "\N{SNOWMAN}" * 64, "%2e", "a\n"])
def test_any_account_has_a_file_of_its_own_in_its_place(spool: Path, account: str) -> None:
    file = written(spool, account)
    assert file.path.parent == spool / "tokens"
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]
    assert written(spool, account + "%").path != file.path


def test_names_that_are_long_and_begin_alike_are_told_apart(spool: Path) -> None:
    assert TokenFile(spool, "\N{SNOWMAN}" * 64).path != TokenFile(spool, "\N{SNOWMAN}" * 63 + "x").path


def test_a_link_is_not_followed(spool: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("of somebody else")
    other.chmod(0o600)
    file = written(spool)
    file.path.unlink()
    file.path.symlink_to(other)
    with pytest.raises(SpoolFailed, match="Too many levels of symbolic links"):
        file.read()
    assert written(spool).read() == b"tokens"
    assert other.read_text() == "of somebody else"


def test_what_is_no_file_is_named_and_not_waited_for(spool: Path) -> None:
    file = written(spool)
    file.path.unlink()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(SpoolFailed, match="is not a file: remove it"):
        file.read()


def test_a_file_that_others_can_read_is_refused_with_the_chmod(spool: Path) -> None:
    file = written(spool)
    file.path.chmod(0o640)
    with pytest.raises(PermissionRefused, match=f"chmod 600 {file.path}"):
        file.read()


def test_its_lock_is_its_own(spool: Path) -> None:
    """Accounts do not wait for each other."""
    file = TokenFile(spool, "sales")
    held_already = pytest.raises(StageHeld, match=f"token-sales is held by process {os.getpid()}")
    with file.held(timeout=0), TokenFile(spool, "info").held(timeout=0), held_already, file.held(timeout=0):
        pass


def test_without_a_place_for_the_spool_the_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusable, match=r"spool\.directory"), TokenFile(tmp_path / "a/b", "x").held(timeout=0):
        pass


def test_a_verification_has_nothing_against_tokens(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    written(spool.layout.root)
    assert verify(spool).ok
    spool.close()
