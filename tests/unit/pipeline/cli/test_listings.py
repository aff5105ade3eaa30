"""The listings, whose JSON is a contract, and what is looked for in them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from pipeline.cli.options import SortWord, StateWord
from spool import models
from spool.opening import Spool
from spool.search import Sort
from spool.states import State
from tests.support.shell import Shell
from tests.support.spools import LETTER, START, arrival, letters, make_ready
from tests.unit.pipeline.cli.test_messages import make_badmail


def test_spool_ls_json_has_the_fields_of_the_contract(shell: Shell, spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    assert shell.json("spool", "ls") == [
        {
            "id": queue_id,
            "state": "ready",
            "account": "sales",
            "uidl": "u1",
            "octets": len(LETTER),
            "sender": "alice@example.org",
            "recipients": ["sales@corp.example"],
            "subject": "hello",
            "fetched_at": START.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "attempts": 0,
            "next_attempt_at": None,
            "reason": None,
        }
    ]


def test_badmail_ls_json_gives_the_reason_in_parts(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    (found,) = shell.objects("badmail", "ls")
    assert (found["id"], found["state"]) == (queue_id, "badmail")
    assert found["reason"] == {"stage": "submit", "code": 550, "enhanced": "5.7.1", "text": "no \x1b[31mspam"}


def test_an_escape_sequence_in_a_reply_does_not_reach_the_terminal(shell: Shell, spool: Spool) -> None:
    make_badmail(spool)
    assert "the relay refused it: 550 5.7.1 no \\x1b[31mspam" in shell.lines("badmail", "ls")[1]


def test_badmail_lists_only_what_was_refused(shell: Shell, spool: Spool) -> None:
    make_ready(spool, arrival())
    assert shell.json("badmail", "ls") == []


def change(spool: Spool, queue_id: str, **values: object) -> None:
    table = models.messages
    with spool.index.write() as connection:
        connection.execute(update(table).where(table.c.queue_id == queue_id).values(**values))


def ids(shell: Shell, *arguments: str) -> list[object]:
    return [one["id"] for one in shell.objects(*arguments)]


def test_what_is_typed_as_a_filter_is_what_is_looked_for(shell: Shell, spool: Spool) -> None:
    one, other = make_ready(spool, *letters(2))
    change(spool, one, state="held", subject="Invoice 100%", sender="Bob@x.example", recipients=["c@corp.example"])
    change(spool, one, fetched_at=models.to_ms(spool.now() - timedelta(hours=3)))
    change(spool, other, fetched_at=models.to_ms(spool.now()), account="office")
    assert ids(shell, "spool", "ls") == [one, other]
    for arguments in (
        ("--state", "held"),
        ("--state", "held", "--state", "damaged"),
        ("--subject", "100%"),
        ("--sender", "bob@"),
        ("--recipient", "C@corp"),
        ("--older-than", "2h"),
        ("--account", "sales"),
        ("--limit", "1"),
        ("--sort", "newest", "--sender", "bob"),
    ):
        assert ids(shell, "spool", "ls", *arguments) == [one]
    assert ids(shell, "spool", "ls", "--newer-than", "2h") == [other]
    assert ids(shell, "spool", "ls", "--sort", "newest") == [other, one]
    assert ids(shell, "spool", "ls", "--limit", "0") == []


def test_finished_messages_are_listed_by_their_state_and_by_all(shell: Shell, spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    change(spool, queue_id, state="submitted")
    assert ids(shell, "spool", "ls") == []
    assert ids(shell, "spool", "ls", "--state", "submitted") == ids(shell, "spool", "ls", "--all") == [queue_id]


def test_badmail_is_listed_by_when_it_was_refused_newest_first(shell: Shell, spool: Spool) -> None:
    """A message that was fetched long ago and expired today is today's trouble."""
    first, second = make_badmail(spool), make_badmail(spool, LETTER + b"other")
    now = spool.now()
    change(spool, first, changed_at=models.to_ms(now), fetched_at=0)
    change(spool, second, changed_at=models.to_ms(now - timedelta(days=2)))
    assert ids(shell, "badmail", "ls") == [first, second]
    assert ids(shell, "badmail", "ls", "--newer-than", "1d", "--reason", "550", "--sender", "alice") == [first]
    assert ids(shell, "badmail", "ls", "--older-than", "1d", "--account", "sales") == [second]
    assert ids(shell, "badmail", "ls", "--reason", "551") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--older-than", "soon"), "--older-than: "),
        (("--all", "--state", "held"), "--all has every state"),
        (("--account", "salse"), "there is no account 'salse': 'sales' perhaps?"),
    ],
)
def test_what_cannot_be_looked_for_is_wrong_usage_on_one_line(
    shell: Shell, spool: Spool, arguments: tuple[str, ...], said: str
) -> None:
    code, line = shell.failure("spool", "ls", *arguments)
    assert (code, line.count("\n")) == (64, 1)
    assert line.startswith(f"pop3connector: {said}")


def test_an_account_that_has_left_the_configuration_may_still_be_asked_for(shell: Shell, spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(account="former"))
    assert ids(shell, "spool", "ls", "--account", "former") == [queue_id]


def test_the_words_of_the_options_are_those_of_the_spool() -> None:
    assert [word.value for word in StateWord] == [state.value for state in State]
    assert [word.value for word in SortWord] == [sort.value for sort in Sort]
