"""`status`: the screen, and its JSON."""

from __future__ import annotations

import re
from typing import cast

from spool.accounts import Accounts, AccountState, Left, Why
from spool.envelope import Uidl
from spool.opening import Spool
from spool.route import Route
from tests.support.shell import Shell
from tests.support.spools import START, admit, arrival


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


def oversize(uidl: str) -> Left:
    return Left(
        uidl=Uidl(uidl.encode()), octets=2000, why=Why.OVERSIZE, limit_octets=1000, limit_source="SIZE of relay"
    )


def test_status_shows_each_message_that_is_left_with_the_limit_and_where_it_comes_from(
    shell: Shell, spool: Spool
) -> None:
    broken = Left(uidl=Uidl(b"\x1b[2J"), octets=10, why=Why.BROKEN, breaks=3, tried_at=START)
    Accounts(spool).leave("sales", [oversize("u1"), broken])
    rows = [re.split(" {2,}", line) for line in shell.lines("status")]
    assert ["sales", "2000", "u1", "oversize: over 1000 octets (SIZE of relay)"] in rows
    assert ["sales", "10", "%1B[2J", "broken: 3 sessions broke in it, last at 2026-01-01T00:00:00Z"] in rows
    (account,) = cast(list[dict[str, object]], shell.object("status")["accounts"])
    assert account["left"] == [
        {
            "uidl": "u1",
            "octets": 2000,
            "why": "oversize",
            "limit_octets": 1000,
            "limit_source": "SIZE of relay",
            "reported_at": None,
            "breaks": 0,
        },
        {
            "uidl": "%1B[2J",
            "octets": 10,
            "why": "broken",
            "limit_octets": None,
            "limit_source": None,
            "reported_at": None,
            "breaks": 3,
        },
    ]


def test_what_is_left_does_not_push_the_rest_of_the_status_out_of_sight(shell: Shell, spool: Spool) -> None:
    Accounts(spool).leave("sales", [oversize(f"u{number:03}") for number in range(120)])
    lines = shell.lines("status")
    assert sum(" oversize: over " in line for line in lines) == 20
    assert any(line.endswith(" and 100 more") for line in lines)


def test_what_needs_somebody_stands_on_top_with_what_to_do(shell: Shell, spool: Spool) -> None:
    lines = shell.lines("status")
    assert lines[:2] == [
        "critical  no stage is running: no mail is fetched or sent",
        "          pop3connector run",
    ]
    (matter,) = cast(list[dict[str, object]], shell.object("status")["attention"])
    assert matter == {
        "level": "critical",
        "account": None,
        "what": "no stage is running: no mail is fetched or sent",
        "mend": "pop3connector run",
    }


def many_accounts(shell: Shell, count: int) -> None:
    file = shell.directory / "pop3connector.toml"
    head, _, one = file.read_text().partition("[[accounts]]")
    more = (one.replace('"sales"', f'"sales-{number:04}"') for number in range(count))
    file.write_text(head + "".join(f"[[accounts]]{text}" for text in more))


def test_with_many_accounts_those_that_are_well_are_counted(shell: Shell, spool: Spool) -> None:
    many_accounts(shell, 2000)
    Accounts(spool).save(AccountState(name="sales-1500", last_success_at=spool.now(), failures=2, last_error="refused"))
    lines = shell.lines("status")
    listed = [line.split()[0] for line in lines if line.startswith("sales-1") and ":" in line]
    assert listed == ["sales-1500"]
    assert "1999 accounts are well; --all lists them too" in lines
    assert len(lines) < 40
    assert sum(line.startswith("sales-") for line in shell.lines("status", "--all")) == 2000


def test_a_wide_outage_does_not_push_the_rest_out_of_sight(shell: Shell, spool: Spool) -> None:
    many_accounts(shell, 300)
    for number in range(300):
        Accounts(spool).save(
            AccountState(name=f"sales-{number:04}", last_success_at=START, failures=9, last_error="down")
        )
    lines = shell.lines("status")
    top = lines[: lines.index("")]
    assert len(top) < 30
    assert top[-1].startswith("          and 289 critical more")


def test_files_in_pickup_that_are_left_alone_are_counted(shell: Shell, spool: Spool) -> None:
    for name in ("a.eml", "b.txt", "c.EML", ".hidden.txt"):
        (spool.layout.pickup / name).touch()
    assert "Pickup           3 left alone for their names" in shell.lines("status")
    assert shell.object("status")["pickup"] == {"ignored": 3}
