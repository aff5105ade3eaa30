"""Programs that the tests of real servers need: found, or the test says plainly what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

import pytest


def require(program: str, package: str, *, folders: Sequence[str] = ("/usr/sbin", "/sbin")) -> str:
    """The path of a program; without it the test is skipped, or fails if POP3CONNECTOR_REQUIRE_REAL is set."""
    # Servers live in sbin, which is not on the path of ordinary users.
    path = shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *folders)))
    if path is None:
        missing = f"{program} is not installed; on Debian: apt-get install {package}"
        if os.environ.get("POP3CONNECTOR_REQUIRE_REAL"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def require_root(program: str) -> None:
    """Skip the test for any other user: the program would not start."""
    if os.geteuid() != 0:
        pytest.skip(f"{program} starts as root alone")
