"""What another fetcher had is handed over, whoever runs and whoever asks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.cli.handing_over import hand_over
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool.envelope import Uidl
from spool.handover import Handover
from spool.layout import Stage
from spool.ledger import Ledger
from spool.opening import open_spool, take_stage
from tests.support.processes import wait_until
from tests.support.settings import default_settings

HAD = {"sales": [Uidl(b"a"), Uidl(b"b")], "info": [Uidl(b"a")]}
SOMEBODY = 12345


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that others may pass through, as /var/lib is."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def entered(directory: Path) -> dict[str, int]:
    spool = open_spool(directory)
    try:
        return {name: len(Ledger(spool).entries(name)) for name in HAD}
    finally:
        spool.close()


def test_where_no_fetch_process_runs_the_command_is_it(tmp_path: Path) -> None:
    settings = default_settings(tmp_path / "spool")
    assert [hand_over(settings, HAD) for _ in range(2)] == [0, 0]
    assert entered(tmp_path / "spool") == {"sales": 2, "info": 1}


def test_a_fetch_process_that_ends_before_it_has_entered_it_is_told_of(tmp_path: Path) -> None:
    """It waits for the next one: nothing is lost, and nobody is told that it was done."""
    spool = open_spool(tmp_path)
    with ThreadPoolExecutor(1) as others:
        with take_stage(spool, Stage.FETCH):
            handing = others.submit(hand_over, default_settings(tmp_path), HAD)
            wait_until(lambda: len(list(Handover(spool).parts())) == 2, "the lists are handed over")
        with pytest.raises(CommandFailed, match="ended before it had entered") as failed:
            handing.result()
    assert failed.value.code is ExitCode.UNAVAILABLE
    spool.close()
    assert hand_over(default_settings(tmp_path), {}) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a spool away")
def test_root_lets_the_owner_of_the_spool_do_it(open_to_all: Path) -> None:
    open_spool(open_to_all / "spool").close()
    for path in [open_to_all / "spool", *(open_to_all / "spool").rglob("*")]:
        os.chown(path, SOMEBODY, SOMEBODY)
    assert hand_over(default_settings(open_to_all / "spool"), HAD) == 0
    assert {path.stat().st_uid for path in (open_to_all / "spool").rglob("*")} == {SOMEBODY}
    os.chown(open_to_all / "spool", 0, 0)
    assert entered(open_to_all / "spool") == {"sales": 2, "info": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a spool away")
def test_what_the_owner_may_not_do_is_said_and_is_the_exit_code(
    open_to_all: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (open_to_all / "spool").mkdir()
    os.chown(open_to_all / "spool", SOMEBODY, SOMEBODY)
    (open_to_all / "spool").chmod(0o500)
    assert hand_over(default_settings(open_to_all / "spool"), HAD) == ExitCode.PERMISSION
    assert capfd.readouterr().err.startswith("pop3connector: ")
