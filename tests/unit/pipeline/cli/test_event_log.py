"""`events`."""

from __future__ import annotations

import json
from pathlib import Path

from spool.events import Event, Refused, SpoolWarning, emit
from spool.opening import Spool
from tests.support.processes import command, running
from tests.support.shell import Shell


def note(spool: Spool, *events: Event) -> None:
    with spool.index.write() as connection:
        emit(connection, events, now=spool.now())


def test_each_event_is_one_json_object_on_a_line(shell: Shell, spool: Spool) -> None:
    note(spool, Refused(account="sales", queue_id="0" * 18, reason="submit: 550 no"), SpoolWarning(what="odd\nplace"))
    printed = [json.loads(line) for line in shell.lines("events", "--level", "warning", "--json")]
    refused = next(event for event in printed if event["name"] == "Refused")
    assert (refused["account"], refused["queue_id"], refused["level"]) == ("sales", "0" * 18, "warning")
    assert refused["fields"] == {"reason": "submit: 550 no"}


def test_events_are_chosen_by_account_and_level(shell: Shell, spool: Spool) -> None:
    note(spool, Refused(account="sales", reason="a"), Refused(account="other", reason="b"), SpoolWarning(what="c"))
    assert [line.rpartition(": ")[2] for line in shell.lines("events", "--account", "sales")] == ["a"]
    assert shell.lines("events", "--level", "critical") == []


def test_an_event_is_one_printable_line(shell: Shell, spool: Spool) -> None:
    note(spool, Refused(account="sales", reason="two\nlines \x1b[2J"))
    assert shell.lines("events", "--account", "sales")[0].endswith("to Badmail: two\\x0alines \\x1b[2J")


def test_follow_prints_what_happens_from_then_on(shell: Shell, spool: Spool, tmp_path: Path) -> None:
    note(spool, Refused(account="sales", reason="before"))
    arguments = command("--config", tmp_path / "pop3connector.toml", "events", "--follow", "--account", "sales")
    with running(arguments) as process:
        process.wait_for("before")
        note(spool, Refused(account="sales", reason="afterwards"))
        process.wait_for("afterwards")
        assert process.output.count("before") == 1
