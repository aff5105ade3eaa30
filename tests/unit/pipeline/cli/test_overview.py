"""`status` and `spool stats`."""

from __future__ import annotations

from spool.accounts import Accounts, AccountState
from spool.opening import Spool
from spool.route import Route
from tests.support.shell import Shell
from tests.support.spools import admit, arrival


def test_status_json_has_the_fields_of_the_contract(shell: Shell, spool: Spool) -> None:
    admit(spool, arrival())
    status = shell.object("status")
    assert {"stages", "accounts", "queue", "route", "limits"} <= set(status)
    accounts = status["accounts"]
    assert isinstance(accounts, list)
    (account,) = accounts
    wanted = {"name", "last_success_at", "last_error", "next_poll_at", "remote_messages", "oversize"}
    assert wanted <= set(account)
    queue = status["queue"]
    assert isinstance(queue, dict)
    assert {name: queue[name] for name in ("staged", "ready", "deferred", "held", "damaged", "badmail")} == {
        "staged": 1,
        "ready": 0,
        "deferred": 0,
        "held": 0,
        "damaged": 0,
        "badmail": 0,
    }


def test_status_tells_people_why_mail_does_not_flow(shell: Shell, spool: Spool) -> None:
    Accounts(spool).save(AccountState(name="sales", last_error="login refused: \x1b[31m-ERR"))
    Route(spool).close("connect: refused")
    shown = "\n".join(shell.lines("status"))
    assert "login refused: \\x1b[31m-ERR" in shown
    assert "connect: refused" in shown


def test_stats_count_messages_and_octets(shell: Shell, spool: Spool) -> None:
    admit(spool, arrival(b"12345"))
    stats = shell.object("spool", "stats")
    states = stats["states"]
    assert isinstance(states, dict)
    assert (states["staged"]["messages"], states["staged"]["octets"], states["ready"]["messages"]) == (1, 5, 0)
