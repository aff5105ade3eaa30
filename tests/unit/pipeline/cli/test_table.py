"""Tables in the width there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.table import Shape, Table, shape
from pipeline.cli.terminal import columns
from tests.support.terminals import a_terminal

TITLES = ("id", "sender", "subject", "reason")
CELL = st.text(st.characters(exclude_categories=("C", "Z")), max_size=40)


def lines(cells: list[list[str]], *, room: int | None, spare: tuple[str, ...] = ()) -> list[str]:
    return Table(TITLES, elastic="reason", spare=spare, right=("sender",), room=room).page(cells)


@given(st.lists(st.tuples(CELL, CELL, CELL, CELL), max_size=6), st.integers(1, 90))
def test_no_line_is_wider_than_the_room(rows: list[tuple[str, str, str, str]], room: int) -> None:
    cells = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    printed = lines(cells, room=room, spare=("subject",))
    assert len(printed) == len(rows) + 1
    assert all(columns(line) <= room for line in printed)


@given(st.lists(st.tuples(CELL, CELL, CELL, CELL), min_size=1, max_size=6))
def test_without_a_limit_every_cell_is_whole(rows: list[tuple[str, str, str, str]]) -> None:
    printed = lines([list(column) for column in zip(*rows, strict=True)], room=None)[1:]
    for row, line in zip(rows, printed, strict=True):
        assert [part for part in line.split(" ") if part] == [cell for cell in row if cell]


def test_columns_stay_in_line_whatever_is_in_them() -> None:
    printed = lines([["1", "2"], ["世界", "a"], ["e\u0301e", "bbbb"], ["x", "y"]], room=None)
    assert [columns(line) for line in printed[1:]] == [columns(line) for line in printed[2:]] + [columns(printed[-1])]
    assert printed == [
        "id  sender  subject  reason",
        "1     世界  e\u0301e       x",
        "2        a  bbbb     y",
    ]


def test_the_widest_gives_way_first_and_the_elastic_one_keeps_more() -> None:
    """30 in 50 columns: 2 for the id, 6 for the gaps, and the rest shared."""
    found = shape([2, 30, 12, 60], shown=range(4), elastic=3, spare=(), room=50)
    assert found == Shape(places=(0, 1, 2, 3), widths=(2, 10, 12, 20)) or sum(found.widths) + 6 == 50
    assert found.widths[3] >= 20


def test_spare_columns_go_in_their_order_where_nothing_could_be_read_any_more() -> None:
    natural = [18, 20, 20, 60]
    assert shape(natural, shown=range(4), elastic=3, spare=(2, 1), room=66).places == (0, 1, 2, 3)
    assert shape(natural, shown=range(4), elastic=3, spare=(2, 1), room=60).places == (0, 1, 3)
    assert shape(natural, shown=range(4), elastic=3, spare=(2, 1), room=45).places == (0, 3)


def test_the_first_column_is_whole_as_long_as_it_fits_alone() -> None:
    for room in range(18, 80):
        assert shape([18, 20, 20, 60], shown=range(4), elastic=3, spare=(), room=room).widths[0] == 18
    assert shape([18, 20], shown=range(2), elastic=1, spare=(), room=5) == Shape(places=(0,), widths=(5,))


def test_a_later_page_is_as_wide_as_it_needs_and_has_the_same_columns() -> None:
    table = Table(TITLES, elastic="reason", spare=("subject",), room=44)
    first = table.page([["1"], ["a"], ["b" * 30], ["c" * 30]])
    second = table.page([["22"], ["a" * 9], ["b"], ["c"]])
    assert [len(line.split()) for line in first + second] == [len(first[0].split())] * 3


@pytest.mark.parametrize("room", [None, 30])
def test_a_table_without_rows_has_its_titles(room: int | None) -> None:
    assert [line.split() for line in lines([[], [], [], []], room=room)] == [["id", "sender", "subject", "reason"]]


def test_a_cell_is_painted_by_what_it_is_and_not_by_what_is_left_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with a_terminal() as terminal, terminal.as_stdout():
        Table(("id", "state"), elastic="state", tints={"state": asked.append}, room=8).page([["1"], ["damaged"]])
    assert asked == ["damaged"]
