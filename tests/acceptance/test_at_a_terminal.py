"""The installed command as a person sees it: at a terminal, coloured, in its width, page by page, while it changes."""

from __future__ import annotations

import os
import re
import signal
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path

import pexpect
import pytest

from pipeline.cli.terminal import columns
from spool.opening import Spool, open_spool
from spool.safe_text import is_safe
from tests.support.connector import Connector, account, configure
from tests.support.long_queue import long_queue
from tests.support.processes import run, wait_until
from tests.support.spools import admit, arrival, letters, make_ready
from tests.support.terminal import at_terminal
from tests.unit.pipeline.cli.test_messages import make_badmail

COMMAND = str(Path(sys.executable).with_name("pop3connector"))
# What people do not want to see, and what their terminal would do.
EVIL = "\x1b[2J\x1b]0;x\x07\x9b31m\u202e\u2066\u200b\u2028\x00世界 [red]" + "wide " * 60
# Lines that are whole, however long.
FACTS = ("route", "disk", "largest", "segments", "large messages", "index", "free")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = open_spool(tmp_path / "spool")
    yield opened
    opened.close()


@pytest.fixture
def connector(tmp_path: Path, spool: Spool) -> Connector:
    return configure(tmp_path, smtp_port=25, accounts=[account("sales", 110)])


def line(connector: Connector, *words: str) -> list[str]:
    return [COMMAND, "--config", str(connector.configuration), *words]


def seen(
    connector: Connector, *words: str, columns: int = 100, env: Mapping[str, str] | None = None, code: int = 0
) -> str:
    """All that a command prints at a terminal without a pager."""
    with at_terminal(
        line(connector, *words), env={"PAGER": "cat", "NO_COLOR": "", **(env or {})}, columns=columns
    ) as child:
        child.expect(pexpect.EOF)
        text = str(child.before)
    assert child.exitstatus == code, text
    return text.replace("\r\n", "\n")


def test_colours_are_for_terminals_whose_user_wants_them(connector: Connector, spool: Spool) -> None:
    make_ready(spool, *letters(2))
    for words in (("spool", "ls"), ("status",), ("spool", "stats"), ("badmail", "ls")):
        assert COLOUR.search(seen(connector, *words)), words
        assert "\x1b" not in seen(connector, *words, env={"NO_COLOR": "1"})
        assert "\x1b" not in seen(connector, *words, env={"TERM": "dumb"})
        assert "\x1b" not in run(line(connector, *words), env={"TERM": "xterm", "CLICOLOR_FORCE": "1"}).stdout


@pytest.mark.parametrize("width", [30, 60, 80, 132])
def test_a_listing_fits_the_width_whatever_is_in_it(connector: Connector, spool: Spool, width: int) -> None:
    make_badmail(spool, f"Subject: {EVIL}\r\n\r\n".encode())
    make_ready(spool, arrival(f"Subject: {EVIL}\r\n\r\n".encode(), account="a" * 60))
    for words in (("spool", "ls"), ("badmail", "ls"), ("spool", "stats"), ("status",)):
        printed = COLOUR.sub("", seen(connector, *words, columns=width, env={"COLUMNS": str(width)}))
        tables = [one for one in printed.split("\n") if not one.startswith(FACTS)]
        assert all(columns(one) <= width for one in tables), printed
        assert all(is_safe(one) for one in printed.split("\n"))


def test_what_strangers_wrote_does_not_reach_the_terminal_as_it_is(connector: Connector, spool: Spool) -> None:
    content = f"From: {EVIL}\r\nSubject: {EVIL}\r\nMessage-ID: <{EVIL}>\r\n\r\n".encode()
    (receipt,) = admit(spool, arrival(content))
    refused = make_badmail(spool, content + b"x")
    for words in (("spool", "show", receipt.queue_id), ("badmail", "show", refused), ("events",)):
        printed = COLOUR.sub("", seen(connector, *words))
        assert all(is_safe(one) for one in printed.split("\n")), printed
        told = run(line(connector, *words, "--json")).stdout
        assert told.isascii()
        assert told.replace("\n", "").isprintable()


def test_a_long_listing_is_read_page_by_page_and_may_be_left(connector: Connector, spool: Spool) -> None:
    make_ready(spool, *letters(200))
    environment = {"PAGER": "less", "LESS": "FRX"}
    with at_terminal(line(connector, "spool", "ls"), env=environment) as child:
        child.expect(r":\x1b\[K")
        assert str(child.before).count("alice@") in range(15, 24)
        # Less stops what it does at Ctrl-C; it is no end of the listing.
        child.sendintr()
        child.send("G")
        child.expect(r"\(END\)")
        child.send("q")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 0


def test_a_listing_that_fits_the_screen_needs_no_pager(connector: Connector, spool: Spool) -> None:
    make_ready(spool, *letters(5))
    assert seen(connector, "spool", "ls", env={"PAGER": "false"}).count("ready") == 5


def test_the_first_page_of_a_long_queue_is_there_and_leaving_it_is_no_error(tmp_path: Path) -> None:
    """The rest of 30,000 messages is never read, let alone waited for."""
    many = long_queue(tmp_path, 30_000)
    with at_terminal(line(many, "spool", "ls"), env={"PAGER": "less", "LESS": "FRX"}) as child:
        child.expect(r":\x1b\[K")
        child.send("q")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 0


def test_watch_shows_what_changes_until_ctrl_c(connector: Connector, spool: Spool) -> None:
    make_ready(spool, *letters(2))
    with at_terminal(line(connector, "spool", "watch")) as child:
        before = termios.tcgetattr(child.child_fd)
        child.expect(r"ready +2")
        make_ready(spool, *letters(3, prefix="new"))
        child.expect(r"ready +5 .*\+3")
        child.setwinsize(12, 40)
        child.expect("no stage is running")
        child.sendintr()
        child.expect(pexpect.EOF)
        last = str(child.before)
        assert termios.tcgetattr(child.child_fd) == before
    assert child.exitstatus == 0
    assert last.endswith("\x1b[?25h\x1b[?1049l")
    assert "Traceback" not in last


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_watch_leaves_the_terminal_whole_whatever_ends_it(connector: Connector, number: signal.Signals) -> None:
    with at_terminal(line(connector, "spool", "watch")) as child:
        child.expect("queue")
        os.kill(child.pid, number)
        child.expect(pexpect.EOF)
    assert str(child.before).endswith("\x1b[?25h\x1b[?1049l")
    assert child.exitstatus == 0


def test_watch_into_a_pipe_and_on_a_dumb_terminal_says_what_to_do_instead(connector: Connector) -> None:
    done = run(line(connector, "spool", "watch"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)
    assert "pop3connector status" in seen(connector, "spool", "watch", env={"TERM": "dumb"}, code=64)


def test_long_work_shows_how_far_it_has_come_and_a_pipe_gets_the_outcome_alone(tmp_path: Path) -> None:
    """Of 30,000 messages without their bytes each is a problem, and each is looked at twice."""
    many = long_queue(tmp_path, 30_000)
    with at_terminal(line(many, "spool", "verify")) as child:
        child.expect(r"checking  \[[#.]{30}\] +\d+%  \d+ of 30000 messages")
        child.sendintr()
        child.expect(pexpect.EOF)
    assert child.exitstatus == 130
    assert "\x1b[?25l" not in str(child.before)


def test_verify_into_a_pipe_prints_nothing_but_its_outcome(connector: Connector, spool: Spool) -> None:
    make_ready(spool, *letters(3))
    done = run(line(connector, "spool", "verify"), env={"TERM": "xterm"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 messages checked, 0 problems\n", "")


def test_an_error_is_one_line_at_a_terminal_too(connector: Connector, spool: Spool) -> None:
    (queue_id,) = make_ready(spool, *letters(1))
    typed = queue_id[:-1] + ("0" if queue_id[-1] != "0" else "1")
    for words in (("spool", "show", typed), ("spool", "cat", typed), ("badmail", "show", typed)):
        said = seen(connector, *words, code=65)
        assert said == f"pop3connector: no message {typed}: '{queue_id}' perhaps?\n"


def test_a_listing_that_is_closed_early_in_a_pipe_is_no_traceback(connector: Connector, spool: Spool) -> None:
    make_ready(spool, *letters(300))
    typed = " ".join(line(connector, "spool", "ls", "--json"))
    done = run(["bash", "-c", f"{typed} | head -1; exit ${{PIPESTATUS[0]}}"])
    assert (done.returncode in {0, 141}, done.stdout, done.stderr) == (True, "[\n", "")


def test_watch_sees_a_spool_that_is_used_meanwhile(connector: Connector, spool: Spool) -> None:
    """Ten admissions while it looks, each of which needs the index."""
    with at_terminal(line(connector, "spool", "watch")) as child:
        child.expect(r"staged +0")
        for one in letters(10):
            admit(spool, one)
        child.expect(r"staged +10")
        child.sendintr()
        child.expect(pexpect.EOF)
    wait_until(lambda: not child.isalive(), "the view has ended")
