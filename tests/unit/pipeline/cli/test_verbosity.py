"""`log`: whose dialogue is logged, and what it says about that."""

from __future__ import annotations

import select

import pytest

from spool.doorbell import Doorbell
from spool.layout import Stage
from spool.opening import Spool
from spool.verbosity import RELAY, read_verbosity
from tests.support.shell import Shell

LATER = "nothing runs now: it takes effect at the next start"


def test_alone_it_says_how_it_stands(shell: Shell, spool: Spool) -> None:
    assert shell.lines("log") == ["normal"]
    shell.run("log", "verbose", "--account", "sales")
    assert shell.lines("log") == ["verbose: sales"]
    shell.run("log", "verbose", "--relay")
    assert shell.lines("log") == ["verbose: the relay, sales"]
    shell.run("log", "verbose")
    shell.run("log", "normal", "--account", "sales")
    assert shell.lines("log") == ["verbose: all accounts and the relay, but not sales"]
    assert shell.lines("log", "--account", "sales") == ["normal: sales"]
    assert shell.lines("log", "--relay") == ["verbose: the relay"]


def test_where_nothing_runs_it_says_when_it_takes_effect(shell: Shell, spool: Spool) -> None:
    said = shell.lines("log", "verbose")
    assert said == ["verbose: all accounts and the relay", f"written to {spool.layout.service_log}", LATER]
    assert shell.lines("log", "normal") == ["normal", LATER]


def test_it_rings_every_stage_that_runs(shell: Shell, spool: Spool) -> None:
    bells = {stage: Doorbell(spool, stage) for stage in Stage}
    said = shell.lines("log", "verbose", "--account", "sales")
    assert said == ["verbose: sales", f"written to {spool.layout.service_log}"]
    for bell in bells.values():
        assert has_rung(bell)
        bell.close()


def has_rung(bell: Doorbell) -> bool:
    return bell.fileno() in select.select([bell.fileno()], [], [], 0)[0]


def test_one_account_or_the_relay_can_be_switched(shell: Shell, spool: Spool) -> None:
    shell.run("log", "verbose", "--account", "sales")
    assert [read_verbosity(spool).of(name) for name in ("sales", RELAY)] == [True, False]
    shell.run("log", "normal", "--account", "sales")
    shell.run("log", "verbose", "--relay")
    assert [read_verbosity(spool).of(name) for name in ("sales", RELAY)] == [False, True]


def test_a_mistyped_account_is_wrong_usage_and_the_right_one_suggested(shell: Shell, spool: Spool) -> None:
    said = "pop3connector: there is no account 'slaes': 'sales' perhaps?\n"
    assert shell.failure("log", "verbose", "--account", "slaes") == (64, said)
    assert read_verbosity(spool).wishes == {}


@pytest.mark.parametrize("words", [("loud",), ("verbose", "--account", "sales", "--relay")])
def test_what_makes_no_sense_is_wrong_usage(shell: Shell, spool: Spool, words: tuple[str, ...]) -> None:
    assert shell.failure("log", *words)[0] == 64
    assert read_verbosity(spool).wishes == {}
