"""The bar of `retrieve-now --wait`: on a terminal, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from pipeline.cli.poll_bar import told
from spool.accounts import Accounts, Outcome
from spool.doorbell import Doorbell
from spool.layout import Stage
from spool.opening import Spool
from spool.poll_progress import Progress, write_progress
from tests.support.processes import command, run, running, wait_until
from tests.support.shell import Shell
from tests.support.terminal import at_terminal

ERASE = "\x1b[2K"
CURSOR_SHOWN = "\x1b[?25h"
CURSOR_HIDDEN = "\x1b[?25l"
HALF = Progress(messages=6, of_messages=12, octets=3_400_000, of_octets=10_000_000)


@pytest.fixture(autouse=True)
def fetch(spool: Spool) -> Iterator[None]:
    """Something that passes for a fetch process."""
    bell = Doorbell(spool, Stage.FETCH)
    yield
    bell.close()


def arguments(shell: Shell) -> list[str]:
    return command("--config", shell.directory / "pop3connector.toml", "retrieve-now", "--wait")


def answer(spool: Spool, text: str) -> None:
    wait_until(Accounts(spool).asked, "a request")
    (request,) = Accounts(spool).asked()
    Accounts(spool).answer(request.request, Outcome(text=text))


def test_on_a_terminal_it_is_seen_how_far_the_poll_has_come(shell: Shell, spool: Spool) -> None:
    with at_terminal(arguments(shell)) as child:
        child.expect_exact("polling")
        write_progress(spool, {"sales": HALF})
        child.expect_exact("6/12 messages, 3.4/10.0 MB")
        answer(spool, "sales: fetched 12 messages")
        child.expect_exact(ERASE)
        child.expect_exact("sales: fetched 12 messages\r\n")
        child.expect_exact(pexpect.EOF)
        assert "━" not in str(child.before)
        child.close()
        assert child.exitstatus == 0


def test_the_outcome_has_a_line_of_its_own_and_the_cursor_is_seen_again(shell: Shell, spool: Spool) -> None:
    with at_terminal(arguments(shell)) as child:
        child.expect_exact("polling")
        answer(spool, "sales: nothing new")
        child.expect_exact(pexpect.EOF)
        screen = str(child.before)
    assert screen.endswith(f"{ERASE}sales: nothing new\r\n")
    assert screen.rindex(CURSOR_SHOWN) > screen.rfind(CURSOR_HIDDEN)


def test_ctrl_c_ends_the_waiting_quietly_and_the_poll_goes_on(shell: Shell, spool: Spool) -> None:
    with at_terminal(arguments(shell)) as child:
        child.expect_exact("polling")
        child.sendintr()
        child.expect_exact(pexpect.EOF)
        screen = str(child.before)
        child.close()
        assert child.exitstatus == 130
    assert "Traceback" not in screen
    assert "Error" not in screen
    assert screen.endswith(f"{ERASE}{CURSOR_SHOWN}")
    assert [request.account for request in Accounts(spool).asked()] == ["sales"]


def test_into_a_pipe_nothing_goes_but_the_outcome(shell: Shell, spool: Spool) -> None:
    with running(arguments(shell)) as process:
        wait_until(Accounts(spool).asked, "a request")
        write_progress(spool, {"sales": HALF})
        answer(spool, "sales: fetched 12 messages")
        assert process.ended() == 0
        assert process.output == "sales: fetched 12 messages\n"


def test_rich_is_not_imported_where_nobody_would_see_it(tmp_path: Path) -> None:
    script = (
        "import sys; from pipeline.cli.poll_bar import bar_for_terminal\n"
        "with bar_for_terminal(None, {}, since=None) as bar: print(bar, 'rich' in sys.modules)"
    )
    done = run([sys.executable, "-c", script])
    assert (done.stdout, done.stderr) == ("None False\n", "")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Progress(), "polling"),
        (HALF, "6/12 messages, 3.4/10.0 MB"),
        (
            Progress(messages=4, of_messages=3, octets=12_000_000, of_octets=10_000_000),
            "3/3 messages, 12.0/12.0 MB",
        ),
    ],
)
def test_what_stands_beside_the_bar(counts: Progress, words: str) -> None:
    assert told(counts) == words
