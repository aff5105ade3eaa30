"""`spool hold`, `release`, `requeue` and `rm`, and `badmail rm`: what is said, what is asked, and the exit codes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from spool import models
from spool.doorbell import Doorbell
from spool.ended import GivenBack
from spool.envelope import Reason
from spool.layout import Stage
from spool.models import to_ms
from spool.opening import Spool
from spool.settlement import Verdict
from spool.states import State
from tests.support.attempts import attempt, cut_off, submitting
from tests.support.by_hand import discard
from tests.support.dropping import NO_FILES, put_no_file
from tests.support.processes import command
from tests.support.questioned import at_terminal
from tests.support.shell import Shell
from tests.support.spools import arrival, letters, make_ready, message
from tests.unit.pipeline.cli.test_messages import make_badmail


def test_released_messages_go_on_and_validate_is_woken(shell: Shell, spool: Spool) -> None:
    first, second = (cut_off(spool, one=one) for one in letters(2))
    bell = Doorbell(spool, Stage.VALIDATE)
    assert shell.lines("spool", "release", first, second) == [f"{first} released", f"{second} released"]
    assert os.read(bell.fileno(), 1)
    bell.close()
    assert [message(spool, one).state for one in (first, second)] == [State.STAGED, State.STAGED]


def test_messages_are_thrown_away_for_good(shell: Shell, spool: Spool) -> None:
    queue_id = cut_off(spool)
    assert shell.lines("spool", "rm", queue_id, "--yes") == [f"{queue_id} discarded"]
    assert message(spool, queue_id).state is State.DISCARDED


def test_messages_are_set_aside(shell: Shell, spool: Spool) -> None:
    ids = make_ready(spool, *letters(2))
    assert shell.lines("spool", "hold", *ids) == [f"{one} held" for one in ids]
    assert {message(spool, one).state for one in ids} == {State.HELD}


def test_a_requeued_message_is_looked_at_anew_and_validate_is_woken(shell: Shell, spool: Spool) -> None:
    queue_id = cut_off(spool)
    bell = Doorbell(spool, Stage.VALIDATE)
    assert shell.lines("spool", "requeue", queue_id) == [f"{queue_id} requeued"]
    assert os.read(bell.fileno(), 1)
    bell.close()
    assert message(spool, queue_id).state is State.STAGED


def test_all_that_is_deferred_is_requeued_and_nothing_else(shell: Shell, spool: Spool) -> None:
    """For when the relay is mended."""
    deferred = make_ready(spool, *letters(2))
    with submitting(spool) as outbox:
        for _ in deferred:
            attempt(spool, outbox, Verdict.POSTPONED)
    held = cut_off(spool, one=arrival(b"Subject: held\r\n\r\n", uidl="held"))
    (ready,) = make_ready(spool, arrival(uidl="other"))
    assert shell.lines("spool", "requeue", "--all-deferred") == [f"{one} requeued" for one in deferred]
    assert [message(spool, one).state for one in (*deferred, ready, held)] == [
        State.STAGED,
        State.STAGED,
        State.READY,
        State.HELD,
    ]
    assert shell.lines("spool", "requeue", "--all-deferred") == ["No message is deferred."]


@pytest.mark.parametrize("arguments", [(), ("0" * 18, "--all-deferred")])
def test_either_some_are_requeued_or_all(shell: Shell, spool: Spool, arguments: tuple[str, ...]) -> None:
    assert shell.failure("spool", "requeue", *arguments)[0] == 64


@pytest.mark.parametrize(("command", "options"), [("release", ()), ("requeue", ()), ("rm", ("--yes",))])
def test_one_that_cannot_be_helped_keeps_none_of_the_others_back(
    shell: Shell, spool: Spool, command: str, options: tuple[str, ...]
) -> None:
    held, done = cut_off(spool), cut_off(spool, one=arrival(uidl="other"))
    discard(spool, done)
    code, said = shell.failure("spool", command, done, "0" * 18, held, *options)
    assert (code, said.count("\n")) == (65, 2)
    assert f"message {done} was discarded" in said
    assert message(spool, held).state is not State.HELD


@pytest.mark.parametrize("command", ["hold", "release", "requeue", "rm"])
def test_what_is_no_queue_id_is_wrong_usage_and_changes_nothing(shell: Shell, spool: Spool, command: str) -> None:
    held = cut_off(spool)
    assert shell.failure("spool", command, held, "../../etc/passwd")[0] == 64
    assert shell.failure("spool", command)[0] == 64
    assert message(spool, held).state is State.HELD


@pytest.mark.parametrize(("command", "wish"), [("hold", "held"), ("requeue", "requeued"), ("rm", "discarded")])
def test_what_is_noted_for_the_end_of_an_attempt_says_so_and_wakes_submit(
    shell: Shell, spool: Spool, command: str, wish: str
) -> None:
    (queue_id,) = make_ready(spool, arrival())
    bell = Doorbell(spool, Stage.SUBMIT)
    with submitting(spool) as outbox:
        (claim,) = outbox.claim(1)
        options = ("--yes",) if command == "rm" else ()
        assert shell.lines("spool", command, queue_id, *options) == [
            f"{queue_id} noted: takes effect when the attempt that is under way ends, unless it was accepted"
        ]
        assert os.read(bell.fileno(), 1)
        assert shell.object("spool", "show", queue_id)["wish"] == wish
        assert f"to be, after the attempt  {wish}" in shell.lines("spool", "show", queue_id)
        assert shell.lines("spool", "release", queue_id) == [
            f"{queue_id}: taken back what was noted for the end of its attempt"
        ]
        assert shell.object("spool", "show", queue_id)["wish"] is None
        outbox.settle([GivenBack(claim=claim, breaks={})])
    bell.close()
    assert message(spool, queue_id).state is State.READY


def test_what_is_noted_while_submit_is_dead_says_when_it_takes_effect(shell: Shell, spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    with submitting(spool) as outbox:
        outbox.claim(1)
    (line,) = shell.lines("spool", "hold", queue_id)
    assert line.startswith(f"{queue_id} noted: takes effect when submit starts and settles the attempt")


@pytest.mark.parametrize("command", ["spool", "badmail"])
def test_nothing_is_thrown_away_unasked(shell: Shell, spool: Spool, command: str) -> None:
    """A script has no terminal: it must say that it means it."""
    queue_id = cut_off(spool) if command == "spool" else make_badmail(spool)
    code, said = shell.failure(command, "rm", queue_id)
    assert (code, said.count("\n")) == (64, 1)
    assert "give --yes" in said
    assert message(spool, queue_id).state in (State.HELD, State.BADMAIL)


@pytest.mark.parametrize(("typed", "state"), [("y", State.DISCARDED), ("n", State.HELD), ("", State.HELD)])
def test_on_a_terminal_it_asks_with_the_number(shell: Shell, spool: Spool, typed: str, state: State) -> None:
    first, second = (cut_off(spool, one=one) for one in letters(2))
    arguments = command("--config", shell.directory / "pop3connector.toml", "spool", "rm", first, second)
    code, shown = at_terminal(arguments, [(r"Throw away 2 messages, for good\? \[y/N\]", typed)])
    assert code == 0
    assert {message(spool, one).state for one in (first, second)} == {state}
    assert shown.count(" discarded\n") == (2 if state is State.DISCARDED else 0)
    assert ("Nothing was changed." in shown) is (state is State.HELD)


def test_badmail_is_thrown_away_with_its_files(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    assert shell.lines("badmail", "rm", queue_id, "--yes") == [f"{queue_id} discarded"]
    assert message(spool, queue_id).state is State.DISCARDED
    assert list(spool.layout.badmail.iterdir()) == []


@pytest.mark.parametrize("reason", ["550", "5.7.1", "SPAM", "submit: 550"])
def test_badmail_is_chosen_by_its_reason(shell: Shell, spool: Spool, reason: str) -> None:
    spam = make_badmail(spool)
    ours = make_badmail(spool, b"Subject: 2\r\n\r\n", reason=Reason(stage="validate", text="no usable return path"))
    assert shell.lines("badmail", "rm", "--reason", reason, "--yes") == [f"{spam} discarded"]
    assert message(spool, ours).state is State.BADMAIL


def test_badmail_is_chosen_by_its_age(shell: Shell, spool: Spool) -> None:
    old, young = make_badmail(spool), make_badmail(spool, b"Subject: 2\r\n\r\n")
    with spool.index.write() as connection:
        ago = to_ms(spool.now() - timedelta(days=91))
        table = models.messages
        connection.execute(update(table).where(table.c.queue_id == old).values(changed_at=ago))
    assert shell.lines("badmail", "rm", "--older-than", "90d", "--yes") == [f"{old} discarded"]
    assert message(spool, young).state is State.BADMAIL
    assert shell.lines("badmail", "rm", "--older-than", "90d", "--yes") == ["No message in Badmail fits."]


def test_all_of_badmail_is_thrown_away(shell: Shell, spool: Spool) -> None:
    ids = [make_badmail(spool, b"Subject: %d\r\n\r\n" % number) for number in range(3)]
    assert len(shell.lines("badmail", "rm", "--all", "--yes")) == 3
    assert {message(spool, one).state for one in ids} == {State.DISCARDED}
    assert shell.lines("badmail", "rm", "--all", "--yes") == ["Badmail is empty."]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("0" * 18, "--all"),
        ("--all", "--reason", "550"),
        ("0" * 18, "--older-than", "1d"),
        ("--older-than", "a while"),
        ("../../x",),
    ],
)
@pytest.mark.parametrize("command", ["rm", "replay", "export"])
def test_which_messages_are_meant_must_be_clear(
    shell: Shell, spool: Spool, command: str, arguments: tuple[str, ...]
) -> None:
    queue_id = make_badmail(spool)
    before = (str(shell.directory / "copies"),) if command == "export" else ()
    if command == "export" and not arguments:
        return
    code, said = shell.failure("badmail", command, *before, *arguments)
    assert (code, said.count("\n")) == (64, 1)
    assert message(spool, queue_id).replay_id is None
    assert message(spool, queue_id).state is State.BADMAIL


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("words", [("show",), ("cat",), ("replay",), ("export", "copies"), ("rm", "--yes")])
def test_what_stands_in_the_place_of_a_badmail_file_breaks_nothing_and_is_not_read(
    shell: Shell, spool: Spool, kind: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shell.directory)
    queue_id, other = make_badmail(spool), make_badmail(spool, b"Subject: 2\r\n\r\n")
    path = spool.layout.badmail_message(queue_id)
    path.unlink()
    put_no_file(path, kind)
    verb, *rest = words
    ids = [queue_id] if verb in ("show", "cat") else [queue_id, other]
    code, said = shell.failure("badmail", verb, *rest, *ids)
    if verb in ("show", "rm"):
        assert (code, said) == (0, "")
    else:
        assert (code, said.count("\n")) == (65, 1)
    # The other one was not kept back.
    assert verb != "replay" or message(spool, other).replay_id is not None
    assert verb != "export" or [one.name for one in Path("copies").iterdir()] == [f"{other}.eml"]
    assert verb != "rm" or not spool.layout.badmail_message(other).exists()


def test_spool_show_says_what_the_relay_may_have(shell: Shell, spool: Spool) -> None:
    queue_id = cut_off(spool)
    facts = {
        line.partition("  ")[0]: line.partition("  ")[2].strip() for line in shell.lines("spool", "show", queue_id)
    }
    assert (facts["state"], facts["possible duplicate"]) == ("held", "yes")
    assert facts["reason"] == "submit: the relay may have it: final dot: connection lost"
    assert shell.object("spool", "show", queue_id)["possible_duplicate"] is True


def test_spool_show_marks_a_possible_duplicate_that_is_sent_again(shell: Shell, spool: Spool) -> None:
    queue_id = cut_off(spool)
    shell.lines("spool", "release", queue_id)
    lines = shell.lines("spool", "show", queue_id)
    assert "possible duplicate  yes" in lines
    assert any("PossibleDuplicate" in line for line in lines)


def test_check_warns_of_too_little_patience_for_the_final_dot(shell: Shell) -> None:
    """RFC 5321 section 4.5.3.2.6. It is allowed all the same."""
    file = shell.directory / "pop3connector.toml"
    file.write_text("[smtp]\nfinal_dot_timeout = '5m'\n" + file.read_text())
    (line,) = [line for line in shell.lines("check") if line.startswith("warning")]
    assert "final_dot_timeout is 300 s" in line
    assert shell.object("check")["warnings"] == [line.removeprefix("warning").strip()]
