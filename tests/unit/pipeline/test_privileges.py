"""Root acting for the user of a spool."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.privileges import as_owner_of
from tests.support.other_user import public_directory

USER, GROUP = 12345, 23456
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@needs_root
def test_within_the_block_files_belong_to_the_owner_and_behind_it_to_root() -> None:
    before = (os.getresuid(), os.getresgid(), os.getgroups())
    with public_directory() as place:
        os.chown(place, USER, GROUP)
        with as_owner_of(place):
            (place / "theirs").touch()
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (USER, GROUP, [])
        (place / "ours").touch()
        assert [(place / name).stat().st_uid for name in ("theirs", "ours")] == [USER, 0]
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


@needs_root
def test_a_program_that_is_run_there_has_no_way_back(tmp_path: Path) -> None:
    os.chown(tmp_path, USER, GROUP)
    with as_owner_of(tmp_path):
        ids = subprocess.run(
            ["/bin/sh", "-c", "grep ^[UG]id: /proc/self/status"], capture_output=True, text=True, check=True, cwd="/"
        ).stdout.split()
    assert ids == ["Uid:", *[str(USER)] * 4, "Gid:", *[str(GROUP)] * 4]


@needs_root
def test_root_is_itself_again_after_a_failure(tmp_path: Path) -> None:
    os.chown(tmp_path, USER, GROUP)
    with pytest.raises(ValueError, match="odd"), as_owner_of(tmp_path):
        raise ValueError("odd")
    assert os.getresuid() == (0, 0, 0)


def test_who_owns_it_stays_who_it_is(tmp_path: Path) -> None:
    before = os.getresuid()
    with as_owner_of(tmp_path), as_owner_of(tmp_path / "not there"):
        assert os.getresuid() == before
