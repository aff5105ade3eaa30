"""`status --check`, as monitoring plug-ins are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest

from spool.accounts import Accounts, AccountState
from spool.doorbell import Doorbell
from spool.layout import Stage
from spool.opening import Spool
from spool.route import Route
from tests.support.shell import Shell
from tests.support.spools import admit, arrival
from tests.unit.pipeline.cli.test_messages import make_badmail

# WORD: text | name=value[unit];warning;critical;least ...
_LINE = re.compile(r"(OK|WARNING|CRITICAL): [^|\n]+(?: \| (?:\w+=\d+[sB]?;[\d:]*;[\d:]*;0 ?)+)?\n")


def checked(shell: Shell, *options: str) -> tuple[int, str]:
    shell.capture.readouterr()
    code = shell.run("status", "--check", *options)
    said = shell.capture.readouterr()
    assert said.err == b""
    line = said.out.decode()
    assert _LINE.fullmatch(line), line
    return code, line


@contextmanager
def all_running(spool: Spool) -> Iterator[None]:
    """Every stage has its doorbell, as if it ran, and the account was polled just now."""
    Accounts(spool).save(AccountState(name="sales", last_success_at=spool.now()))
    with ExitStack() as stack:
        for stage in Stage:
            stack.callback(Doorbell(spool, stage).close)
        yield


def test_where_all_is_well_it_is_0_with_figures(shell: Shell, spool: Spool) -> None:
    with all_running(spool):
        admit(spool, arrival())
        # What tests admit is of long ago.
        code, line = checked(shell, "--queued", "36500d,36500d")
    assert code == 0
    assert line.startswith("OK: 1 accounts polled, 1 messages queued, 0 in Badmail | accounts=1;;;0 ")
    assert " staged=1;;;0 " in line
    assert " badmail=0;100;1000;0 " in line


def test_a_warning_is_1_and_says_what(shell: Shell, spool: Spool) -> None:
    with all_running(spool):
        make_badmail(spool)
        code, line = checked(shell, "--badmail", "1,2")
    assert (code, line.partition(" | ")[0]) == (1, "WARNING: 1 refused messages in Badmail")


def test_what_stands_still_is_2_and_comes_first(shell: Shell, spool: Spool) -> None:
    code, line = checked(shell)
    assert code == 2
    assert line.startswith("CRITICAL: no stage is running")


def test_the_last_success_is_judged_by_the_interval_or_as_asked(shell: Shell, spool: Spool) -> None:
    with all_running(spool):
        Accounts(spool).save(AccountState(name="sales", last_success_at=spool.now() - timedelta(minutes=50)))
        assert checked(shell)[0] == 1
        assert checked(shell, "--last-success", "1h,2h")[0] == 0
        assert checked(shell, "--last-success", "1m,2m")[0] == 2


def test_free_space_is_judged_from_above(shell: Shell, spool: Spool) -> None:
    with all_running(spool):
        assert checked(shell, "--free", "1000000TB,1MB")[0] == 1
        assert checked(shell, "--free", "1000000TB, 1000000TB")[0] == 2
        assert checked(shell, "--free", "2MB,1000000")[0] == 0


def test_a_bar_or_a_line_end_from_outside_forges_no_figure(shell: Shell, spool: Spool) -> None:
    with all_running(spool):
        Route(spool).close("a | badmail=0;1;2\nOK: \x1b[2J")
        code, line = checked(shell)
    assert code == 1
    assert line.count("badmail=") == 2
    assert "a / badmail=0;1;2\\x0aOK" in line


def test_no_spool_is_critical(shell: Shell) -> None:
    code, line = checked(shell)
    assert code == 2
    assert line.startswith("CRITICAL: there is no spool at ")


@pytest.mark.parametrize("text", ["", "[spool]\ndirectory = 1\n[smtp]\nport = 0\n", "nonsense"])
def test_a_configuration_that_is_none_is_critical(shell: Shell, text: str) -> None:
    (shell.directory / "pop3connector.toml").write_text(text)
    assert checked(shell)[0] == 2


def test_a_configuration_that_is_missing_is_critical(shell: Shell) -> None:
    (shell.directory / "pop3connector.toml").unlink()
    assert checked(shell)[0] == 2


@pytest.mark.parametrize(
    "options", [("--queued", "1h"), ("--queued", "1h,soon"), ("--badmail", "1,-2"), ("--free", "1MB,none")]
)
def test_a_threshold_that_is_none_is_wrong_usage(shell: Shell, spool: Spool, options: tuple[str, str]) -> None:
    code, line = shell.failure("status", "--check", *options)
    assert (code, line.count("\n")) == (64, 1)
    assert line.startswith(f"pop3connector: {options[0]}: ")
