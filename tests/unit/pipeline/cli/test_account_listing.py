"""`accounts list` and `accounts show`."""

from __future__ import annotations

from typing import cast

from spool.accounts import Accounts, AccountState, Left, Login, Why
from spool.envelope import Uidl
from spool.opening import Spool
from tests.support.shell import CONFIGURATION, Shell
from tests.support.spools import START, admit, arrival

SECOND = """
[[accounts]]
name = "info"
host = "pop.isp.example"
tls = "starttls"
username = "info"
password_command = "echo s3cret"
deliver_to = ["info@corp.example", "office@corp.example"]
interval = "90m"
leave_on_server = "14d"
enabled = false
"""


def configure(shell: Shell) -> None:
    (shell.directory / "pop3connector.toml").write_text(CONFIGURATION + SECOND)


def facts(shell: Shell, name: str) -> dict[str, str]:
    pairs = [line.split("  ", 1) for line in shell.lines("accounts", "show", name) if "  " in line]
    return {pair[0]: pair[1].strip() for pair in pairs}


def test_the_list_has_each_account_with_its_settings_before_there_is_a_spool(shell: Shell) -> None:
    configure(shell)
    rows = [line.split() for line in shell.lines("accounts", "list")[1:]]
    assert rows == [
        ["sales", "yes", "pop.isp.example:995", "implicit", "auto", "sales", "sales@corp.example", "15m", "-", "-"],
        [
            *("info", "no", "pop.isp.example:110", "starttls", "auto", "info"),
            *("info@corp.example,", "office@corp.example", "90m", "-", "-"),
        ],
    ]


def test_the_list_says_when_it_worked_last_and_what_fails(shell: Shell, spool: Spool) -> None:
    Accounts(spool).save(AccountState(name="sales", last_success_at=START, last_error="refused: \x1b[31m", failures=3))
    row = shell.lines("accounts", "list")[1]
    assert row.endswith("2026-01-01T00:00:00Z  refused: \\x1b[31m (3 times)")
    (listed,) = shell.objects("accounts", "list")
    assert (listed["last_success_at"], listed["failures"]) == ("2026-01-01T00:00:00Z", 3)


def test_show_has_every_setting_and_where_the_password_comes_from(shell: Shell) -> None:
    configure(shell)
    shown = facts(shell, "info")
    assert (shown["server"], shown["interval"], shown["leave on server"]) == ("pop.isp.example port 110", "90m", "14d")
    assert (shown["secret"], shown["next poll"]) == ("password_command", "none: it is disabled")
    assert facts(shell, "sales")["secret"] == "password: in the configuration"


def test_a_password_is_in_nothing_that_is_printed(shell: Shell) -> None:
    configure(shell)
    for arguments in (("list",), ("show", "sales"), ("show", "info")):
        for more in ((), ("--json",)):
            printed = shell.octets("accounts", *arguments, *more)
            assert b"secret" not in printed.replace(b'"secret":', b"").replace(b"secret  ", b"")
            assert b"s3cret" not in printed


def test_show_tells_what_came_of_it(shell: Shell, spool: Spool) -> None:
    admit(spool, arrival())
    accounts = Accounts(spool)
    accounts.save(
        AccountState(
            name="sales",
            last_success_at=START,
            next_poll_at=START,
            remote_messages=2,
            login=Login(at=START, mechanism="PLAIN"),
        )
    )
    accounts.leave(
        "sales", [Left(uidl=Uidl(b"\x1b7"), octets=2000, why=Why.OVERSIZE, limit_octets=1, limit_source="SIZE")]
    )
    shown = facts(shell, "sales")
    assert (shown["last success"], shown["mechanism"], shown["at the provider"]) == (
        "2026-01-01T00:00:00Z",
        "PLAIN",
        "2",
    )
    assert (shown["remembered as had"], shown["staged"]) == ("1", "1")
    assert shown["2000"].startswith("%1B7")
    told = shell.object("accounts", "show", "sales")
    assert (told["ledger"], cast(dict[str, int], told["queue"])["staged"], told["mechanism"]) == (1, 1, "PLAIN")
    assert [left["uidl"] for left in cast(list[dict[str, object]], told["left"])] == ["%1B7"]


def test_a_spool_that_cannot_be_read_hides_no_setting(shell: Shell, spool: Spool) -> None:
    spool.close()
    spool.layout.index.write_bytes(b"")
    lines = shell.lines("accounts", "list")
    assert lines[0].startswith("warning  what was fetched is not known: ")
    assert lines[2].startswith("sales ")
    assert shell.object("accounts", "show", "sales")["ledger"] is None
