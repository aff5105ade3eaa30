"""The bar of long work."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.bar import bar
from spool.opening import Spool
from spool.rebuild import rebuild
from spool.steps import Step, nobody
from spool.verify import verify
from tests.support.spools import letters, make_large_ready, make_ready, make_spool
from tests.support.terminals import a_terminal


class Ticking:
    """A clock that goes on by so much at each look."""

    def __init__(self, seconds: float) -> None:
        self.at, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.at += self.seconds
        return self.at


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = make_spool(tmp_path)
    yield opened
    opened.close()


def drawn(steps: int, *, seconds: float, what: str = "messages") -> str:
    with a_terminal() as terminal:
        with contextlib.redirect_stderr(terminal.stream), bar("checking", clock=Ticking(seconds)) as tell:
            for done in range(1, steps + 1):
                tell(Step(what=what, done=done * 1000, of=steps * 1000))
        return terminal.close()


def test_a_terminal_sees_how_far_it_has_come_and_the_line_is_gone_in_the_end() -> None:
    lines = drawn(4, seconds=1).split("\r\x1b[K")
    assert lines[1] == "checking  [#######.......................]  25%  1000 of 4000 messages"
    assert lines[4:] == ["checking  [##############################] 100%  4000 of 4000 messages", ""]


def test_octets_are_told_as_people_say_them() -> None:
    assert "25%  1.0 kB of 4.0 kB" in drawn(4, seconds=1, what="octets")


def test_work_that_is_soon_done_shows_nothing() -> None:
    assert drawn(4, seconds=0.01) == ""


def test_it_is_not_drawn_more_often_than_eyes_can_see() -> None:
    assert drawn(1000, seconds=0.001).count("\r") <= 7


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_knows_text_alone_sees_nothing(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    assert drawn(4, seconds=1) == ""


def test_a_pipe_gets_nothing() -> None:
    with contextlib.redirect_stderr(io.StringIO()) as pipe, bar("checking", clock=Ticking(1)) as tell:
        tell(Step(what="messages", done=1, of=2))
    assert (tell, pipe.getvalue()) == (nobody, "")


def test_verify_tells_of_every_message(spool: Spool) -> None:
    make_ready(spool, *letters(3))
    told: list[Step] = []
    verify(spool, told.append)
    assert told == [Step(what="messages", done=done, of=3) for done in (1, 2, 3)]


def test_rebuild_tells_of_all_octets_and_then_of_all_messages(spool: Spool) -> None:
    make_ready(spool, *letters(3))
    make_large_ready(spool, b"x" * 2_000_000)
    spool.close()
    told: list[Step] = []
    rebuild(spool.layout.root, tell=told.append)
    octets = [step for step in told if step.what == "octets"]
    assert [step.done for step in octets] == sorted(step.done for step in octets)
    assert (octets[-1].done, told[-1]) == (octets[-1].of, Step(what="messages", done=4, of=4))
