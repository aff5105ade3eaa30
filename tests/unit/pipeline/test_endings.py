"""Exit codes are a contract: monitoring and unit files read them."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.config import ConfigurationError
from pipeline.endings import CommandFailed, exit_code_of, line_of, report
from pipeline.exit_codes import ExitCode
from spool.errors import (
    Damaged,
    IndexLost,
    NotFound,
    PermissionRefused,
    SpoolFailed,
    SpoolUnusable,
    StageHeld,
)
from spool.layout import Layout
from stages.errors import NetworkError, OperatorMustAct, OurBug, PeerBroke, PeerSaidNo

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandFailed(ExitCode.UNAVAILABLE, "no fetch process runs"), 69),
        (NotFound("no message"), 65),
        (Damaged("0", "gone"), 65),
        (OurBug("never"), 70),
        (ValueError("never"), 70),
        (IndexLost("rebuild"), 74),
        (SpoolFailed("disk"), 74),
        (OSError(errno.ENOSPC, "No space left on device"), 74),
        (StageHeld("fetch", 1), 75),
        (NetworkError("refused"), 75),
        (PeerSaidNo("login", b"-ERR"), 75),
        (PeerBroke("no CRLF", b"x"), 75),
        (PermissionRefused("owner"), 77),
        (PermissionError(errno.EACCES, "Permission denied"), 77),
        (SpoolUnusable("nfs"), 78),
        (ConfigurationError(("a: wrong",)), 78),
        (OperatorMustAct("field"), 78),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


def test_an_error_inside_task_groups_counts_as_itself() -> None:
    """asyncio wraps what a task raised, once for each group it passes."""
    group = ExceptionGroup("tasks", [ExceptionGroup("tasks", [SpoolFailed("the disk is full")])])
    assert (exit_code_of(group), line_of(group)) == (74, "the disk is full")


def test_a_line_keeps_terminal_escapes_out() -> None:
    """An error may quote what a stranger wrote, in a file name too."""
    assert line_of(OSError(errno.ENOENT, "No such file", "evil\x1b[2J\n")) == "evil\\x1b[2J\\x0a: No such file"


def test_an_error_of_the_system_is_told_in_its_words() -> None:
    assert line_of(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"


def test_every_problem_of_a_configuration_has_its_own_line() -> None:
    assert line_of(ConfigurationError(("a: one", "b: two"))) == "a: one\nb: two"


def test_a_bug_leaves_its_traceback_in_the_logs_and_one_line_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path)
    layout.logs.mkdir()
    code = report(ValueError("odd"), name="fetch", layout=layout, now=NOW)
    kept = layout.logs / "crash-fetch.log"
    assert code == 70
    assert capsys.readouterr().err == f"pop3connector: unexpected ValueError: odd (see {kept})\n"
    assert kept.read_text() == "2026-01-01T00:00:00Z\nValueError: odd\n\n"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_an_expected_error_leaves_no_traceback(tmp_path: Path) -> None:
    Layout(tmp_path).logs.mkdir()
    report(StageHeld("fetch", 7), name="fetch", layout=Layout(tmp_path), now=NOW)
    assert list(Layout(tmp_path).logs.iterdir()) == []


def test_a_traceback_that_cannot_be_kept_does_not_hide_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(ValueError("odd"), name="fetch", layout=Layout(tmp_path / "none"), now=NOW) == 70
    assert capsys.readouterr().err == "pop3connector: unexpected ValueError: odd\n"
