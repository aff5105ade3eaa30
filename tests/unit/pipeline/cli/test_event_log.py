"""`events`."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipeline.cli.event_log import Following
from spool.events import BadmailEdited, Event, Level, LoggedEvent, Refused, SpoolWarning, emit
from spool.opening import Spool
from tests.support.processes import command, running
from tests.support.shell import Shell
from tests.support.spools import START


def note(spool: Spool, *events: Event, at: datetime | None = None) -> None:
    with spool.index.write() as connection:
        emit(connection, events, now=at or spool.now())


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


def texts(shell: Shell, *arguments: str) -> list[str]:
    return [str(event["text"]) for event in map(json.loads, shell.lines("events", *arguments, "--json"))]


def test_an_account_that_nobody_knows_gets_a_suggestion(shell: Shell, spool: Spool) -> None:
    note(spool, Refused(account="removed", reason="a"))
    assert shell.failure("events", "--account", "sale") == (
        64,
        "pop3connector: there is no account 'sale': 'sales' perhaps?\n",
    )
    assert shell.failure("events", "--account", "xyz") == (64, "pop3connector: there is no account 'xyz'\n")


def test_an_account_that_was_removed_is_in_the_log_still(shell: Shell, spool: Spool) -> None:
    note(spool, Refused(account="removed", reason="a"))
    assert texts(shell, "--account", "removed") == ["to Badmail: a"]
    assert texts(shell, "--account", "sales") == []


def test_events_are_chosen_by_their_types(shell: Shell, spool: Spool) -> None:
    note(spool, Refused(reason="a"), SpoolWarning(what="b"), BadmailEdited(queue_id="0" * 18))
    assert texts(shell, "--type", "SpoolWarning", "--type", "refused") == ["to Badmail: a", "b"]


def test_a_mistyped_type_gets_a_suggestion(shell: Shell, spool: Spool) -> None:
    assert shell.failure("events", "--type", "SpoolWarnin") == (
        64,
        "pop3connector: there is no event 'SpoolWarnin': 'SpoolWarning' perhaps?\n",
    )


def test_events_are_chosen_by_their_age(shell: Shell, spool: Spool) -> None:
    note(spool, SpoolWarning(what="old"), at=spool.now() - timedelta(hours=3))
    note(spool, SpoolWarning(what="new"), at=spool.now() - timedelta(hours=1))
    assert texts(shell, "--since", "2h") == ["new"]
    moment = spool.now() - timedelta(hours=2)
    assert texts(shell, "--since", f"{moment:%Y-%m-%dT%H:%M:%SZ}") == ["new"]
    assert texts(shell, "--since", f"{moment.astimezone(timezone(timedelta(hours=5))).isoformat()}") == ["new"]
    assert texts(shell, "--since", "2000-01-01") == ["old", "new"]


@pytest.mark.parametrize("since", ["", "2", "2x", "yesterday", "2026-13-01", "99999999999d", "2026-01-01T25:00:00Z"])
def test_what_is_no_time_is_refused_in_one_line(shell: Shell, spool: Spool, since: str) -> None:
    code, said = shell.failure("events", "--since", since)
    assert (code, said.count("\n")) == (64, 1)
    assert "as 2h" in said


def test_the_newest_few_are_printed_oldest_first(shell: Shell, spool: Spool) -> None:
    note(spool, *(SpoolWarning(what=what) for what in "abc"))
    assert texts(shell, "--limit", "2") == ["b", "c"]
    assert shell.failure("events", "--limit", "0")[0] == 64


def test_trouble_that_was_said_again_has_a_count(shell: Shell, spool: Spool) -> None:
    note(spool, *[SpoolWarning(what="full")] * 3)
    (line,) = shell.lines("events")
    assert re.search(r" SpoolWarning full \(3 times since 20[-:\dTZ]+\)$", line)
    (found,) = map(json.loads, shell.lines("events", "--json"))
    assert (found["count"], found["process"], found["last_at"] is not None) == (3, "command", True)


def logged(number: int, *, count: int = 1) -> LoggedEvent:
    return LoggedEvent(
        event=number,
        at=START,
        level=Level.WARNING,
        name="SpoolWarning",
        account="",
        queue_id="",
        text="full",
        fields={},
        count=count,
        last_at=START if count > 1 else None,
    )


def test_who_follows_sees_a_repetition_now_and_then() -> None:
    following = Following(newest=0, said_at=START)
    following.note([logged(1)])
    shown = [following.news([], [logged(1, count=count)]) for count in (2, 2, 3, 9, 12, 13, 250)]
    assert [[event.count for event in events] for events in shown] == [[2], [], [], [], [12], [], [250]]


def test_who_follows_sees_a_new_event_once() -> None:
    following = Following(newest=0, said_at=START)
    assert following.news([logged(1, count=2)], [logged(1, count=2)]) == [logged(1, count=2)]
    assert (following.newest, following.news([], [logged(1, count=2)])) == (1, [])


def test_follow_prints_a_repetition(shell: Shell, spool: Spool, tmp_path: Path) -> None:
    note(spool, SpoolWarning(what="full"))
    with running(command("--config", tmp_path / "pop3connector.toml", "events", "--follow")) as process:
        process.wait_for("full")
        note(spool, SpoolWarning(what="full"))
        process.wait_for("full (2 times since")
