"""`spool release` and `spool rm`."""

from __future__ import annotations

import os

import pytest

from spool.doorbell import Doorbell
from spool.layout import Stage
from spool.opening import Spool
from spool.states import State
from tests.support.attempts import cut_off
from tests.support.shell import Shell
from tests.support.spools import arrival, letters, make_ready, message


def test_released_messages_go_on_and_validate_is_woken(shell: Shell, spool: Spool) -> None:
    first, second = (cut_off(spool, one=one) for one in letters(2))
    bell = Doorbell(spool, Stage.VALIDATE)
    assert shell.lines("spool", "release", first, second) == [f"{first} released", f"{second} released"]
    assert os.read(bell.fileno(), 1)
    bell.close()
    assert [message(spool, one).state for one in (first, second)] == [State.STAGED, State.STAGED]


def test_messages_are_thrown_away_for_good(shell: Shell, spool: Spool) -> None:
    queue_id = cut_off(spool)
    assert shell.lines("spool", "rm", queue_id) == [f"{queue_id} discarded"]
    assert message(spool, queue_id).state is State.DISCARDED


@pytest.mark.parametrize("command", ["release", "rm"])
def test_one_that_cannot_be_helped_keeps_none_of_the_others_back(shell: Shell, spool: Spool, command: str) -> None:
    held = cut_off(spool)
    (ready,) = make_ready(spool, arrival(uidl="other"))
    code, said = shell.failure("spool", command, ready, "0" * 18, held)
    assert (code, said.count("\n")) == (65, 2)
    assert message(spool, held).state is not State.HELD
    assert message(spool, ready).state is State.READY


@pytest.mark.parametrize("command", ["release", "rm"])
def test_what_is_no_queue_id_is_wrong_usage_and_changes_nothing(shell: Shell, spool: Spool, command: str) -> None:
    held = cut_off(spool)
    assert shell.failure("spool", command, held, "../../etc/passwd")[0] == 64
    assert shell.failure("spool", command)[0] == 64
    assert message(spool, held).state is State.HELD


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
