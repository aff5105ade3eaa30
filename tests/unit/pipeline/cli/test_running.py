"""`retrieve-now`, whose other end is a fetch process."""

from __future__ import annotations

import pytest

from spool.accounts import Accounts, Outcome
from spool.doorbell import Doorbell
from spool.layout import Stage
from spool.opening import Spool
from tests.support.processes import command, running, wait_until
from tests.support.shell import CONFIGURATION, Shell


def test_without_a_fetch_process_it_is_unavailable(shell: Shell, spool: Spool) -> None:
    assert shell.failure("retrieve-now") == (69, "pop3connector: no fetch process runs\n")
    assert Accounts(spool).asked() == []


def test_a_named_account_is_asked_for(shell: Shell, spool: Spool) -> None:
    bell = Doorbell(spool, Stage.FETCH)
    assert shell.run("retrieve-now", "sales") == 0
    assert [request.account for request in Accounts(spool).asked()] == ["sales"]
    bell.close()


@pytest.mark.parametrize(("words", "is_awaited"), [((), False), (("--wait",), True)])
def test_the_poll_is_logged_and_its_progress_written_where_somebody_waits(
    shell: Shell, spool: Spool, words: tuple[str, ...], is_awaited: bool
) -> None:
    bell = Doorbell(spool, Stage.FETCH)
    arguments = command("--config", shell.directory / "pop3connector.toml", "retrieve-now", "sales", "sales", *words)
    with running(arguments):
        wait_until(Accounts(spool).asked, "a request")
        (request,) = Accounts(spool).asked()
    assert (request.is_verbose, request.is_awaited) == (True, is_awaited)
    bell.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sails", "there is no account 'sails': 'sales' perhaps?"),
        ("nobody", "there is no account 'nobody'"),
        ("retired", "the account 'retired' is disabled: set enabled = true and try again"),
    ],
)
def test_an_account_that_is_not_polled_is_wrong_usage(shell: Shell, spool: Spool, name: str, said: str) -> None:
    file = shell.directory / "pop3connector.toml"
    sales = CONFIGURATION.partition("[[accounts]]")[2]
    file.write_text(f"{CONFIGURATION}enabled = true\n[[accounts]]{sales.replace('sales', 'retired')}enabled = false\n")
    bell = Doorbell(spool, Stage.FETCH)
    assert shell.failure("retrieve-now", "sales", name) == (64, f"pop3connector: {said}\n")
    assert Accounts(spool).asked() == []
    bell.close()


def test_each_outcome_is_printed_when_it_is_there(shell: Shell, spool: Spool) -> None:
    """An account that takes long holds no other's line back."""
    file = shell.directory / "pop3connector.toml"
    sales = CONFIGURATION.partition("[[accounts]]")[2]
    file.write_text(f"{CONFIGURATION}[[accounts]]{sales.replace('sales', 'info')}")
    bell = Doorbell(spool, Stage.FETCH)
    accounts = Accounts(spool)
    with running(command("--config", file, "retrieve-now", "--wait")) as process:
        wait_until(lambda: len(accounts.asked()) == 2, "the requests")
        first, second = accounts.asked()
        accounts.answer(second.request, Outcome(text="info: done"))
        process.wait_for("info: done\n")
        accounts.answer(first.request, Outcome(text="sales: done"))
        assert process.ended() == 0
        assert process.output == "info: done\nsales: done\n"
    bell.close()


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
        where = f"pop3connector: what was said to the servers is in {spool.layout.service_log}\n" if has_failed else ""
        assert process.output == f"sales: 3 messages\n{where}"
    bell.close()


def test_wait_ends_when_fetch_does(shell: Shell, spool: Spool) -> None:
    bell = Doorbell(spool, Stage.FETCH)
    arguments = command("--config", shell.directory / "pop3connector.toml", "retrieve-now", "--wait")
    with running(arguments) as process:
        wait_until(Accounts(spool).asked, "a request")
        bell.close()
        assert process.ended() == 69
