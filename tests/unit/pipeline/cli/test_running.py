"""`retrieve-now`, whose other end is a fetch process."""

from __future__ import annotations

import pytest

from spool.accounts import Accounts, Outcome
from spool.doorbell import Doorbell
from spool.layout import Stage
from spool.opening import Spool
from tests.support.processes import command, running, wait_until
from tests.support.shell import Shell


def test_without_a_fetch_process_it_is_unavailable(shell: Shell, spool: Spool) -> None:
    assert shell.failure("retrieve-now") == (69, "pop3connector: no fetch process runs\n")
    assert Accounts(spool).asked() == []


def test_a_named_account_is_asked_for(shell: Shell, spool: Spool) -> None:
    bell = Doorbell(spool, Stage.FETCH)
    assert shell.run("retrieve-now", "sales") == 0
    assert [request.account for request in Accounts(spool).asked()] == ["sales"]
    bell.close()


def test_an_unknown_account_is_wrong_usage(shell: Shell, spool: Spool) -> None:
    assert shell.failure("retrieve-now", "sails")[0] == 64


@pytest.mark.parametrize(("has_failed", "code"), [(False, 0), (True, 75)])
def test_wait_ends_as_the_polls_did(shell: Shell, spool: Spool, has_failed: bool, code: int) -> None:
    bell = Doorbell(spool, Stage.FETCH)
    accounts = Accounts(spool)
    arguments = command("--config", shell.directory / "pop3connector.toml", "retrieve-now", "--wait")
    with running(arguments) as process:
        wait_until(accounts.asked, "a request")
        (request,) = accounts.asked()
        accounts.answer(request.request, Outcome(text="sales: 3 messages", has_failed=has_failed))
        assert process.ended() == code
        assert process.output == "sales: 3 messages\n"
    bell.close()


def test_wait_ends_when_fetch_does(shell: Shell, spool: Spool) -> None:
    bell = Doorbell(spool, Stage.FETCH)
    arguments = command("--config", shell.directory / "pop3connector.toml", "retrieve-now", "--wait")
    with running(arguments) as process:
        wait_until(Accounts(spool).asked, "a request")
        bell.close()
        assert process.ended() == 69
