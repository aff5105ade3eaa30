"""What a terminal gets: the width of texts, and colours only where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.terminal import Style, columns, cut, filled, has_colours, is_able, painted
from tests.support.terminals import Terminal, a_terminal

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")), max_size=30)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with a_terminal() as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("世界", 4), ("한글", 4), ("e\u0301", 1), ("\u1112\u1161\u11ab", 2), ("ﾊ", 1)]
)
def test_wide_characters_take_two_columns_and_marks_none(text: str, width: int) -> None:
    assert columns(text) == width


@given(PRINTABLE, st.integers(0, 12))
def test_what_is_cut_fits(text: str, room: int) -> None:
    assert columns(cut(text, room)) <= room


@given(PRINTABLE, st.integers(0, 12))
def test_what_is_filled_ends_in_line(text: str, room: int) -> None:
    for to_the_right in (False, True):
        assert columns(filled(cut(text, room), room, to_the_right=to_the_right)) == room


def test_what_is_cut_says_so() -> None:
    assert [cut("abcdef", 4), cut("世界世界", 4), cut("世界", 4)] == ["abc…", "世…", "世界"]


def test_a_terminal_has_colours(terminal: Terminal) -> None:
    with terminal.as_stdout():
        found = (has_colours(), painted("a", Style.RED), painted("a", None))
    assert found == (True, "\x1b[31ma\x1b[0m", "a")


@pytest.mark.parametrize("term", ["", "dumb", "unknown"])
def test_a_terminal_that_knows_only_text_has_none(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    with terminal.as_stdout():
        found = (is_able(), has_colours(), painted("a", Style.RED))
    assert found == (False, False, "a")


@pytest.mark.parametrize(("value", "has"), [("1", False), ("0", False), ("", True)])
def test_no_color_is_heeded(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, value: str, has: bool) -> None:
    """https://no-color.org: when present and not an empty string, regardless of its value."""
    monkeypatch.setenv("NO_COLOR", value)
    with terminal.as_stdout():
        found = (is_able(), has_colours())
    assert found == (True, has)


def test_a_pipe_never_has_colours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert (is_able(), has_colours()) == (False, False)
