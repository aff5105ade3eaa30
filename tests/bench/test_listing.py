"""How long an operator waits for a listing of a long queue, told as ratios of one run.

The unit is the start of a command that looks at one message: imports, configuration, index. `ls` of 100,000 messages is
expected at about three of it into a pipe, and the first screen in a terminal below two; time on a busy machine proves
nothing, so `make bench` prints it and asserts nothing of it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.connector import Connector
from tests.support.long_queue import long_queue
from tests.support.processes import ROOT
from tests.support.terminal import at_terminal

pytestmark = pytest.mark.bench

FEW, MANY = 10_000, 100_000
RUNS = 5
LISTINGS: tuple[tuple[str, ...], ...] = (
    ("spool", "ls"),
    ("spool", "ls", "--json"),
    ("spool", "ls", "--sort", "sender"),
    ("spool", "ls", "--subject", "number 99"),
    ("spool", "ls", "--recipient", "clerk7@"),
    ("spool", "ls", "--reason", "4.2.1"),
    ("spool", "ls", "--limit", "20", "--sort", "newest"),
    ("badmail", "ls"),
    ("spool", "stats"),
    ("status",),
)


def best(work: Callable[[], object]) -> float:
    """The shortest of some runs, in seconds."""
    took = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return min(took)


def into_a_pipe(connector: Connector, *words: str) -> Callable[[], object]:
    line = connector.command(*words)
    return lambda: subprocess.run(line, cwd=ROOT, capture_output=True, check=False)


def first_screen(connector: Connector) -> None:
    with at_terminal(connector.command("spool", "ls"), env={"LESS": "FRX"}) as child:
        child.expect(r":\x1b\[K")


def place(directory: Path, count: int) -> Path:
    made = directory / str(count)
    made.mkdir()
    return made


def test_listings_of_a_long_queue(tmp_path: Path) -> None:
    few, many = (long_queue(place(tmp_path, count), count) for count in (FEW, MANY))
    start = best(into_a_pipe(many, "spool", "show", "0" * 18))
    print(f"\n{'a command starts':<44} {start:6.2f} s")
    for words in LISTINGS:
        short, long = (best(into_a_pipe(one, *words)) for one in (few, many))
        print(
            f"{' '.join(words):<44} {long:6.2f} s, {long / start:4.1f} starts, {long / short:4.1f} times that of {FEW}"
        )
    screen = best(lambda: first_screen(many))
    print(f"{'spool ls, first screen in a terminal':<44} {screen:6.2f} s, {screen / start:4.1f} starts")
