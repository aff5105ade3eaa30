"""`spool trace`."""

from __future__ import annotations

from pathlib import Path

import pytest

from spool.opening import Spool
from spool.settlement import Verdict
from tests.docs.sample_spool import HELD, READY, REFUSED, make_sample
from tests.support.attempts import A, B, attempt, submitting
from tests.support.shell import Shell
from tests.support.spools import arrival, letters, make_ready


def sample(tmp_path: Path) -> None:
    make_sample(tmp_path).close()


def test_the_life_of_a_message_is_its_facts_and_what_happened(shell: Shell, tmp_path: Path) -> None:
    sample(tmp_path)
    printed = shell.lines("spool", "trace", REFUSED)
    assert printed[:3] == [f"id            {REFUSED}", "state         badmail", "account       sales-isp"]
    assert [line.split()[1:3] for line in printed[-2:]] == [["fetch", "Admitted"], ["validate", "Refused"]]
    assert printed[-1].endswith("to Badmail: validate: no usable return path")


def test_the_beginning_of_an_id_is_enough(shell: Shell, tmp_path: Path) -> None:
    sample(tmp_path)
    assert shell.lines("spool", "trace", READY[:12]) == shell.lines("spool", "trace", READY)


def test_several_messages_are_listed_newest_first_to_name_one(shell: Shell, tmp_path: Path) -> None:
    sample(tmp_path)
    _, *rows, _, last = shell.lines("spool", "trace", "01j0")
    assert [row.split()[0] for row in rows] == [HELD, REFUSED, READY]
    assert last == "3 messages are like it: name one, by its id or its UIDL"


def test_of_many_messages_twenty_are_listed_and_all_are_counted(shell: Shell, spool: Spool) -> None:
    ids = make_ready(spool, *letters(25))
    lines = shell.lines("spool", "trace", "hello")
    assert [line.split()[0] for line in lines[1:-2]] == sorted(ids, reverse=True)[:20]
    assert lines[-1].startswith("25 messages, the newest are like it: name one")


def test_a_family_is_one_life_whoever_of_it_is_named(shell: Shell, spool: Spool) -> None:
    make_ready(spool, arrival(uidl="u7"), recipients=[A, B])
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.ACCEPTED, Verdict.REFUSED)
    lines = shell.lines("spool", "trace", "u7")
    assert lines[0].startswith("id ")
    assert any("divided from" in line for line in lines)
    happened = [line.split()[1:4:2] for line in lines if line.startswith("20")]
    assert happened[2:] == [
        ["submit", "Accepted"],
        ["submit", "Submitted"],
        ["submit", "Divided"],
        ["submit", "Refused"],
    ]


@pytest.mark.parametrize(
    ("uidl", "state"),
    [("7", "larger than the limit"), ("8", "sessions broke in it"), ("9", "not in the spool; events tell of it")],
)
def test_what_is_not_in_the_spool_is_told_too(shell: Shell, tmp_path: Path, uidl: str, state: str) -> None:
    sample(tmp_path)
    assert any(line.endswith(state) for line in shell.lines("spool", "trace", uidl))


def test_what_nothing_is_like_is_data_that_is_not_there(shell: Shell, tmp_path: Path) -> None:
    sample(tmp_path)
    code, said = shell.failure("spool", "trace", REFUSED[:-1] + "0")
    assert (code, said) == (65, f"pop3connector: nothing is known of '{REFUSED[:-1]}0': '{REFUSED}' perhaps?\n")
    assert shell.failure("spool", "trace", "zebra", "crossing") == (
        65,
        "pop3connector: nothing is known of 'zebra crossing'\n",
    )


def test_nothing_at_all_is_wrong_usage(shell: Shell, tmp_path: Path) -> None:
    sample(tmp_path)
    assert shell.failure("spool", "trace", " ")[0] == 64
    assert shell.failure("spool", "trace")[0] == 64


def test_a_subject_with_an_escape_sequence_cannot_reach_the_terminal(shell: Shell, spool: Spool) -> None:
    code, said = shell.failure("spool", "trace", "\x1b[2J\nforged")
    assert code == 65
    assert "\x1b" not in said
    assert said.count("\n") == 1
    make_ready(spool, arrival())
    assert shell.run("spool", "trace", "he\x1bllo") == 65
