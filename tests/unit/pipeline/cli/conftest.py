"""A shell for commands, and the spool that they work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.opening import Spool, open_spool
from tests.support.shell import Shell


@pytest.fixture
def shell(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Shell:
    return Shell.in_directory(tmp_path, capsysbinary)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = open_spool(tmp_path / "spool")
    yield opened
    opened.close()
