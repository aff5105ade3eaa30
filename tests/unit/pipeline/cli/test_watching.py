"""The view of `spool watch`; how it behaves at a terminal is shown by tests/acceptance/test_at_a_terminal.py."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from pipeline.cli.watching import view
from pipeline.health import Health
from spool.opening import Spool
from spool.queries import StateTotal
from spool.states import State
from tests.support.shell import Shell
from tests.unit.pipeline.test_attention import NOW, SALES, WELL, queue, stages


def drawn(found: Health, *, first: Health = WELL, columns: int = 100, height: int = 30) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=height, color_system=None)
    started_at = NOW - timedelta(minutes=5)
    console.print(view(found, first.queue, started_at=started_at, now=NOW, height=height))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_where_all_is_well_it_says_so_and_shows_queue_and_accounts() -> None:
    lines = drawn(WELL)
    assert lines[0].endswith("running: fetch validate submit pickup  route: open")
    assert lines[1] == "all is well"
    assert any(line.split() == ["sales", "0", "s", "ago", "-", "0", "-"] for line in lines)


def test_what_changed_since_it_began_is_counted() -> None:
    now = replace(queue(State.READY, 7), queue={**queue(State.READY, 7).queue, State.SUBMITTED: _total(12)})
    first = replace(queue(State.READY, 10), queue={**queue(State.READY, 10).queue, State.SUBMITTED: _total(2)})
    lines = [line.split() for line in drawn(now, first=first)]
    assert ["ready", "7", "0", "s", "ago", "-3"] in lines
    assert ["submitted", "12", "-", "+10"] in lines


def _total(messages: int) -> StateTotal:
    return StateTotal(state=State.SUBMITTED, messages=messages)


def test_accounts_in_trouble_come_first_and_what_has_no_place_is_counted() -> None:
    due = [replace(SALES, name=f"a{number:02}", next_poll_at=NOW + timedelta(minutes=number)) for number in range(50)]
    trouble = replace(SALES, name="z", failures=3, last_error="login refused")
    lines = drawn(replace(WELL, accounts=[*due, trouble]), height=24)
    assert len(lines) <= 24
    first = next(number for number, line in enumerate(lines) if line.startswith("account"))
    assert [line.split()[0] for line in lines[first + 1 : first + 3]] == ["z", "a00"]
    assert lines[-1].startswith("and ")


def test_much_trouble_leaves_room_for_the_rest() -> None:
    down = [replace(SALES, name=f"a{number}", last_success_at=NOW - timedelta(days=9)) for number in range(100)]
    lines = drawn(replace(WELL, accounts=down, stages=stages(stopped=())), height=24)
    assert len(lines) <= 24
    assert "and 95 more" in [line.strip() for line in lines]


def test_nothing_from_outside_is_obeyed_and_brackets_are_no_markup() -> None:
    evil = replace(SALES, failures=1, last_error="[red]no[/] \x1b[2J\u202e\n[/nowhere]")
    text = "\n".join(drawn(replace(WELL, accounts=[evil]), columns=200))
    assert r"[red]no[/] \x1b[2J\xe2\x80\xae\x0a[/nowhere]" in text


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_no_line_is_wider_than_the_screen(columns: int) -> None:
    wide = replace(SALES, name="世界" * 20, failures=1, last_error="x" * 300)
    assert all(len(line) <= columns for line in drawn(replace(WELL, accounts=[wide]), columns=columns))


def test_without_a_terminal_it_says_so_in_one_line(shell: Shell, spool: Spool) -> None:
    code, said = shell.failure("spool", "watch")
    assert (code, said.count("\n")) == (64, 1)
    assert said.startswith("pop3connector: watch needs a terminal")
