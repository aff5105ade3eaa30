"""Tables, and what strangers wrote in them."""

from __future__ import annotations

import contextlib
import io
import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.output import (
    moment,
    print_facts,
    print_json,
    print_json_list,
    print_table,
    reverse_path,
    rfc3339,
    shown,
)
from pipeline.cli.terminal import Style, columns
from spool.safe_text import is_safe
from tests.support.terminals import a_terminal


def test_a_table_is_not_cut_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "reason"), [("1", "x" * 400)], elastic="reason")
    assert capsys.readouterr().out == f"id  reason\n1   {'x' * 400}\n"


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    with a_terminal() as terminal:
        monkeypatch.setattr("sys.stdout", terminal.stream)
        print_table(("id", "reason", "n"), [("1", "x" * 400, 12)], elastic="reason")
        assert terminal.close().splitlines() == ["id  reason        n", "1   " + "x" * 11 + "…  12"]


def test_titles_and_tints_are_painted_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with a_terminal() as terminal:
        monkeypatch.setattr("sys.stdout", terminal.stream)
        tints = {"state": lambda text: Style.RED if text == "damaged" else None}
        print_table(("id", "state", "n"), [("1", "damaged", 1), ("2", "ready", 2)], elastic="n", tints=tints)
        assert terminal.close().splitlines() == [
            "\x1b[1mid\x1b[0m  \x1b[1mstate  \x1b[0m  \x1b[1mn\x1b[0m",
            "1   \x1b[31mdamaged\x1b[0m  1",
            "2   ready    2",
        ]


# What a terminal obeys or a reader of lines believes: controls, C1, bidi, zero-width, separators, halves of pairs.
WILD = st.text(st.characters(categories=("L", "M", "N", "S", "Z", "C"), codec=None), max_size=30) | st.sampled_from(
    [
        "\x1b[2J",
        "\x9b31m",
        "\x1b]0;x\x07",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\u2028",
        "\x85",
        "\0",
        "\r",
        "\udcff",
        "\ud800",
    ]
)


@given(st.lists(st.tuples(WILD, WILD), max_size=5), st.booleans())
def test_nothing_from_outside_moves_the_cursor_or_forges_a_line(rows: list[tuple[str, str]], coloured: bool) -> None:
    with pytest.MonkeyPatch.context() as patch, a_terminal(columns=40) as terminal:
        patch.setenv("TERM", "xterm" if coloured else "dumb")
        patch.setenv("COLUMNS", "40")
        patch.delenv("NO_COLOR", raising=False)
        patch.setattr("sys.stdout", terminal.stream)
        print_table(("id", "text"), rows, elastic="text", tints={"text": lambda _: Style.RED})
        print_facts(rows and [("text", rows[0][1])])
        printed = re.sub(r"\x1b\[[0-9]+m", "", terminal.close())
    lines = printed.split("\n")
    assert len(lines) == 1 + len(rows) + bool(rows) + 1
    assert all(is_safe(line) for line in lines)
    assert all(columns(line) <= 40 for line in lines[: len(rows) + 1])


@given(st.recursive(WILD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WILD, inner, max_size=3)))
def test_nothing_from_outside_breaks_json(value: object) -> None:
    """Half a surrogate pair too: many readers of JSON refuse it (RFC 8259 section 8.2)."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_json(value)
        print_json_list([value, value])
    text = out.getvalue()
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    whole, _, listed = text.rpartition("\n[")
    json.dumps(json.loads(whole), ensure_ascii=False).encode()
    assert json.loads(f"[{listed}") == [json.loads(whole)] * 2
    assert len(listed.splitlines()) == 4


def test_an_empty_list_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_json_list([])
    assert capsys.readouterr().out == "[]\n"


def test_a_time_is_relative_for_people_and_exact_for_programs() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    hour = timedelta(hours=3)
    assert [moment(at, at + hour), moment(at, at - hour), moment(at, None), moment(None, at)] == [
        "3 h ago",
        "in 3 h",
        "2026-01-01T00:00:00Z",
        None,
    ]


def test_a_cell_keeps_terminal_escapes_and_line_ends_out() -> None:
    assert shown("a\x1b]0;b\x07\r\nc\u202e") == "a\\x1b]0;b\\x07\\x0d\\x0ac\\xe2\\x80\\xae"


def test_a_missing_value_is_a_dash_in_a_table_and_no_line_among_facts(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("id", "1"), ("subject", None)])
    assert (shown(None), capsys.readouterr().out) == ("-", "id  1\n")


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """A C1 control or a bidirectional override in a subject would be obeyed by a terminal."""
    print_json({"subject": "\u009b31m\u202e"}, indent=None)
    assert capsys.readouterr().out == '{"subject": "\\u009b31m\\u202e"}\n'


def test_times_are_utc() -> None:
    """RFC 3339 section 4.3: Z says that the local offset does not matter."""
    at = datetime(2026, 7, 1, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    assert (rfc3339(at), rfc3339(datetime(2026, 1, 1, tzinfo=UTC))) == ("2026-07-01T12:30:00Z", "2026-01-01T00:00:00Z")


def test_the_null_reverse_path_is_shown_as_such() -> None:
    assert [reverse_path(sender) for sender in (None, "", "a@b.example")] == ["-", "<>", "a@b.example"]
