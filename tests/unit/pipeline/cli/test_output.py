"""Tables, and what strangers wrote in them."""

from __future__ import annotations

import os
import pty
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pipeline.cli.output import print_facts, print_json, print_table, reverse_path, rfc3339, shown


def test_a_table_is_not_cut_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "reason"), [("1", "x" * 400)], elastic="reason")
    assert capsys.readouterr().out == f"id  reason\n1   {'x' * 400}\n"


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("COLUMNS", "20")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        print_table(("id", "reason", "n"), [("1", "x" * 400, 12)], elastic="reason")
    printed = b""
    while printed.count(b"\n") < 2:
        printed += os.read(ours, 4096)
    os.close(ours)
    assert printed.decode().splitlines() == ["id  reason        n", "1   " + "x" * 11 + "…  12"]


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
