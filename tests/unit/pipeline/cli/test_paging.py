"""Pages are turned where somebody looks, and nowhere else."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.paging import paged
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from tests.support.terminals import Terminal, a_terminal

# Copies what it gets, and what it was told, into a file; `head` reads one line and leaves.
PAGER = """\
import os, sys
with open(sys.argv[1], "w") as out:
    print(os.environ["LESS"], os.environ.get("LESSSECURE"), file=out)
    out.write(sys.stdin.readline() if sys.argv[2:] == ["head"] else sys.stdin.read())
"""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("LESS", "COLUMNS", "LINES", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "80")
    with a_terminal() as opened:
        yield opened


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pager was given."""
    script = tmp_path / "pager.py"
    script.write_text(PAGER)
    monkeypatch.setenv("PAGER", f"{sys.executable} {script} {tmp_path / 'seen'}")
    return tmp_path / "seen"


def show(terminal: Terminal, lines: int) -> None:
    with terminal.as_stdout(), paged():
        for number in range(lines):
            sys.stdout.write(f"line {number}\n")


def test_what_is_longer_than_the_screen_goes_through_the_pager(terminal: Terminal, seen: Path) -> None:
    show(terminal, 10)
    assert seen.read_text() == "FRX None\n" + "".join(f"line {number}\n" for number in range(10))
    assert terminal.close() == ""


def test_what_fits_the_screen_is_printed(terminal: Terminal, seen: Path) -> None:
    show(terminal, 9)
    assert not seen.exists()
    assert terminal.close().count("\n") == 9


def test_a_line_that_wraps_counts_as_many(terminal: Terminal, seen: Path) -> None:
    with terminal.as_stdout(), paged():
        sys.stdout.write("x" * 81 * 10)
    assert seen.exists()


def test_a_pager_that_is_left_early_is_no_error(
    terminal: Terminal, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER", f"{sys.executable} {seen.parent / 'pager.py'} {seen} head")
    show(terminal, 200_000)
    assert seen.read_text() == "FRX None\nline 0\n"


@pytest.mark.parametrize("pager", ["", "cat", "/nowhere/pager", "'"])
def test_without_a_pager_all_is_printed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, pager: str) -> None:
    monkeypatch.setenv("PAGER", pager)
    show(terminal, 30)
    assert terminal.close().count("\n") == 30


def test_a_pager_that_cannot_be_started_is_none(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/nowhere/interpreter\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PAGER", str(broken))
    show(terminal, 30)
    assert terminal.close().count("\n") == 30


def test_a_dumb_terminal_has_no_pages(terminal: Terminal, seen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    show(terminal, 30)
    assert not seen.exists()


def test_a_pipe_has_no_pages(seen: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with paged():
        sys.stdout.write("line\n" * 100)
    assert capsys.readouterr().out.count("\n") == 100
    assert not seen.exists()


def test_through_sudo_the_pager_starts_no_shell(
    terminal: Terminal, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may run this one command as the service's user may not run others by `!` of less."""
    monkeypatch.setenv("SUDO_UID", "1000")
    show(terminal, 30)
    assert seen.read_text().startswith("FRX 1\n")


def test_ctrl_c_is_the_pagers_while_it_runs_and_ours_again_behind_it(terminal: Terminal, seen: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with terminal.as_stdout(), paged():
        sys.stdout.write("x\n" * 30)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_printed_before_an_error_is_seen(terminal: Terminal, seen: Path) -> None:
    with contextlib.suppress(CommandFailed), terminal.as_stdout(), paged():
        sys.stdout.write("first\n")
        raise CommandFailed(ExitCode.DATA, "later")
    assert terminal.close() == "first\n"
