"""The demonstration, as somebody sees it who has just cloned the project."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.processes import command, run, running


@pytest.fixture
def temporary(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary directory can be looked into afterwards."""
    return {"TMPDIR": str(tmp_path)}


def test_the_story_is_told_to_its_end_and_leaves_nothing_behind(temporary: dict[str, str], tmp_path: Path) -> None:
    told = run(command("demo"), env=temporary)
    assert (told.returncode, told.stderr) == (0, "")
    for part in (
        "fetched 6, delivered 4, to Badmail 2, still queued 0, left at the provider 1",
        "ordinary                 from <alice@example.org>",
        "incomplete return path   from <webform@corp.example>",
        "8-bit                    from <joerg@example.org>",
        "bounce                   from <>",
        "malformed return path    validate: ",
        "refused as spam          submit: 554 5.7.1",
        "oversize                 ",
        "fetched 0, picked up 1, delivered 1, to Badmail 0, still queued 0, left at the provider 1",
        "malformed return path    from <newsletter@shop.example>",
    ):
        assert part in told.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_story_leaves_nothing_behind_either(
    temporary: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    with running(command("demo"), env=temporary) as process:
        process.wait_for("run --drain")
        process.send(number)
        assert process.ended() == 130
        assert "Traceback" not in process.output
    assert list(tmp_path.iterdir()) == []
