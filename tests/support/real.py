"""Programs that the tests of real servers need: found, or the test says plainly what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import NoReturn

import pytest


def require(program: str, package: str, *, folders: Sequence[str] = ("/usr/sbin", "/sbin")) -> str:
    """The path of a program; without it the test is skipped, or fails if POP3CONNECTOR_REQUIRE_REAL is set."""
    # Servers live in sbin, which is not on the path of ordinary users.
    path = shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *folders)))
    if path is None:
        _miss(f"{program} is not installed; on Debian: apt-get install {package}")
    return path


def require_root(program: str) -> None:
    """Skip the test for any other user, for whom the program would not start; or fail, as `require` does."""
    if os.geteuid() != 0:
        _miss(f"{program} can be started by root alone")


def _miss(what: str) -> NoReturn:
    if os.environ.get("POP3CONNECTOR_REQUIRE_REAL"):
        pytest.fail(what)
    pytest.skip(what)
