"""`badmail export`: copies of files as they are, nothing overwritten, nothing put into the spool."""

from __future__ import annotations

from pathlib import Path

import pytest

from spool.opening import Spool
from tests.support.shell import Shell
from tests.support.spools import arrival, make_ready
from tests.unit.pipeline.cli.test_messages import make_badmail


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_all_files_are_copied_as_they_are(shell: Shell, spool: Spool, copies: Path) -> None:
    ids = [make_badmail(spool, b"Subject: %d\r\n\r\n" % number) for number in range(3)]
    assert shell.lines("badmail", "export", str(copies)) == [f"3 messages exported to {copies}"]
    for queue_id in ids:
        original = spool.layout.badmail_message(queue_id)
        copy = copies / f"{queue_id}.eml"
        assert copy.read_bytes() == original.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o600


def test_those_that_are_named_are_copied(shell: Shell, spool: Spool, copies: Path) -> None:
    first, _ = make_badmail(spool), make_badmail(spool, b"Subject: 2\r\n\r\n")
    assert shell.lines("badmail", "export", str(copies), first) == [f"1 message exported to {copies}"]
    assert names(copies) == [f"{first}.eml"]


def test_nothing_is_overwritten(shell: Shell, spool: Spool, copies: Path) -> None:
    first, second = make_badmail(spool), make_badmail(spool, b"Subject: 2\r\n\r\n")
    copies.mkdir()
    mine = copies / f"{first}.eml"
    mine.write_bytes(b"mine")
    code, said = shell.failure("badmail", "export", str(copies), "--all")
    assert (code, said) == (65, f"pop3connector: message {first} is not copied: {mine} is there already\n")
    assert mine.read_bytes() == b"mine"
    assert names(copies) == sorted([f"{first}.eml", f"{second}.eml"])


def test_a_link_is_not_written_through(shell: Shell, spool: Spool, copies: Path, tmp_path: Path) -> None:
    queue_id = make_badmail(spool)
    copies.mkdir()
    (copies / f"{queue_id}.eml").symlink_to(tmp_path / "elsewhere")
    assert shell.failure("badmail", "export", str(copies))[0] == 65
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("place", ["spool", "spool/Pickup", "spool/Badmail", "spool/new", "link", "spool/../spool/x"])
def test_a_directory_inside_the_spool_is_refused(shell: Shell, spool: Spool, tmp_path: Path, place: str) -> None:
    """Pickup would send the copies."""
    make_badmail(spool)
    (tmp_path / "link").symlink_to(spool.layout.pickup)
    code, said = shell.failure("badmail", "export", str(tmp_path / place))
    assert code == 64
    assert "is inside the spool" in said
    assert list(spool.layout.pickup.glob("*.eml")) == []


@pytest.mark.parametrize("place", ["file", "not/there"])
def test_a_place_that_is_no_directory_is_one_line(shell: Shell, spool: Spool, tmp_path: Path, place: str) -> None:
    make_badmail(spool)
    (tmp_path / "file").write_text("")
    code, said = shell.failure("badmail", "export", str(tmp_path / place))
    assert (code, said.count("\n")) == (64, 1)


def test_a_message_that_is_elsewhere_is_not_copied(shell: Shell, spool: Spool, copies: Path) -> None:
    (ready,) = make_ready(spool, arrival())
    code, said = shell.failure("badmail", "export", str(copies), ready)
    assert code == 65
    assert f"message {ready} is not in Badmail: it is ready" in said
    assert names(copies) == []
