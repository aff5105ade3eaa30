"""INI files, as Python's own reader has them."""

from __future__ import annotations

from configparser import Error, RawConfigParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.migration.ini import sections
from pipeline.migration.theirs import Unreadable


def values(text: str) -> dict[str, dict[str, str]]:
    return {
        name: {key: entry.value for key, entry in section.entries.items()} for name, section in sections(text).items()
    }


def test_keys_know_their_lines_and_are_in_lower_case() -> None:
    (section,) = sections("# c\n[a]\n\nKey : v\n").values()
    assert (section.line, section.entries["key"].line, section.entries["key"].value) == (2, 4, "v")


def test_a_value_goes_on_where_a_line_is_indented() -> None:
    assert values("[a]\nx = 1\n  # c\n  2\n\n  3\ny=4") == {"a": {"x": "1\n2\n\n3", "y": "4"}}


@pytest.mark.parametrize(
    ("text", "line"), [("x = 1", 1), ("[a]\nx", 2), ("[a]\n[b]\n[a]", 3), ("[a]\nx=1\nX=2", 3), ("[a]\n= 1", 2)]
)
def test_what_is_no_ini_file_is_refused_by_its_line(text: str, line: int) -> None:
    with pytest.raises(Unreadable) as refused:
        sections(text)
    assert refused.value.line == line


@given(st.lists(st.sampled_from(["[a]", "[b]", "x = 1", "y: 2", "  z", " # c", "; c", "", "x", "k=", "[DEFAULT"])))
def test_it_reads_what_pythons_own_reader_reads(lines: list[str]) -> None:
    text = "\n".join(lines)
    theirs = RawConfigParser()
    try:
        theirs.read_string(text)
    except Error:
        with pytest.raises(Unreadable):
            sections(text)
    else:
        assert values(text) == {name: dict(theirs[name]) for name in theirs.sections()}
