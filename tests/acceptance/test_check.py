"""`check --connect` over several accounts: what is told of each, how many are visited at once, who may run it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Manners, Pop3Server, Pop3Session
from pipeline.demo.smtp_sink import SinkRules, SmtpSink
from spool.opening import open_spool
from tests.support.connector import Connector, account, configure, letters
from tests.support.odd_pop3 import SilentAfterLogin
from tests.support.processes import free_port

LARGE = b"Subject: large\r\n\r\n" + b"x" * 5000 + b"\r\n"
LIMITED = SinkRules(size_limit_octets=8096)


class Impatient(Pop3Session):
    """Deletes soon, and wants to be asked rarely (RFC 2449 sections 6.5 and 6.7)."""

    def capa(self, argument: str) -> bytes:
        return super().capa(argument).removesuffix(b".\r\n") + b"LOGIN-DELAY 3600\r\nEXPIRE 7\r\n.\r\n"


def told(connector: Connector) -> dict[str, object]:
    return cast(dict[str, object], connector.told("check", "--connect"))


def of_accounts(found: Mapping[str, object]) -> Sequence[dict[str, object]]:
    return cast(Sequence[dict[str, object]], found["accounts"])


def test_each_account_has_its_line_and_its_warnings_theirs(tmp_path: Path) -> None:
    drops = {"sales": ("secret", [*letters(1, prefix="a"), LARGE]), "info": ("secret", letters(2, prefix="b"))}
    plain = Pop3Server(drops, session=Impatient)
    old = Pop3Server({"old": ("secret", letters(1, prefix="c"))}, Manners(uidl=False, apop=False))
    with serving(plain), serving(old), serving(SmtpSink(LIMITED)) as sink:
        accounts = [
            account("sales", plain.port, leave_on_server="14d"),
            account("old", old.port, leave_on_server=True),
            account("gone", free_port()),
            account("off", 1, enabled=False),
            account("info", plain.port, password="wrong"),
        ]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts)
        done = connector.run("check", "--connect")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (75, "")
    assert [line.split()[:3] for line in lines[1:]] == [
        ["ok", "relay", "(127.0.0.1"],
        ["ok", "largest", "message"],
        ["ok", "account", "sales"],
        *[["warning", "account", "sales:"]] * 6,
        ["ok", "account", "old"],
        *[["warning", "account", "old:"]] * 2,
        ["FAILED", "account", "gone"],
        ["FAILED", "account", "info"],
        ["warning", "account", "info:"],
    ]
    assert "takes up to 8096 octets" in lines[1]
    assert lines[2].endswith("4000 octets (SIZE of the relay)")
    assert lines[3].endswith(f"2 messages, {sum(map(len, drops['sales'][1]))} octets, APOP, without TLS")
    words = ["without TLS", "LOGIN-DELAY", "EXPIRE", "adopt sales", "1 messages are over the limit of 4000", "EXPIRE"]
    assert [word in line for word, line in zip(words, lines[4:10], strict=True)] == [True] * 6
    assert lines[10].endswith(" octets, USER, without TLS")
    assert "no UIDL" in lines[12]


def test_the_limit_of_the_configuration_is_named_as_such(tmp_path: Path) -> None:
    server = Pop3Server({"sales": ("secret", [LARGE])})
    with serving(server), serving(SmtpSink(LIMITED)) as sink:
        limited = {"max_message_size": 1000}
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", server.port)], fetch=limited)
        found = told(connector)
    assert found["limit"] == {"max_message_octets": 1000, "source": "fetch.max_message_size"}
    assert [(one["largest_octets"], one["oversize"]) for one in of_accounts(found)] == [(len(LARGE), 1)]


def test_a_limit_above_what_the_relay_takes_is_warned_of(tmp_path: Path) -> None:
    """The trap: mail that is fetched, deleted at the provider and then refused."""
    # A message, so that the drain does not end before the relay has told its SIZE.
    letter = b"From: a@example.org\r\n\r\nHello.\r\n"
    with serving(Pop3Server({"sales": ("secret", [letter])})) as server, serving(SmtpSink(LIMITED)) as sink:
        trap = {"max_message_size": "10MB"}
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", server.port)], fetch=trap)
        checked = connector.run("check", "--connect").stdout.splitlines()
        connector.drain()
        shown = connector.run("status").stdout.splitlines()
        listed = connector.told("status")
    warning = "fetch.max_message_size is 10000000 octets, and the relay takes "
    assert [line.startswith(f"warning  {warning}") for line in checked].count(True) == 1
    assert [line.startswith(f"warning          {warning}") for line in shown].count(True) == 1
    assert isinstance(listed, dict)
    assert listed["limits"]["warning"].startswith(warning)


def test_while_the_relay_is_down_the_limit_is_not_known_and_the_check_fails(tmp_path: Path) -> None:
    with serving(Pop3Server({"sales": ("secret", [LARGE])})) as server:
        connector = configure(tmp_path, smtp_port=free_port(), accounts=[account("sales", server.port)])
        done = connector.run("check", "--connect")
    relay, limit, sales = done.stdout.splitlines()[1:4]
    assert done.returncode == 75
    assert relay.startswith("FAILED   relay (127.0.0.1 port ")
    assert limit.endswith("not known: the relay was not reached yet")
    assert sales.startswith("ok       account sales ")


class Counted(Pop3Session):
    """Counts the sessions that are open at once."""

    now = most = 0

    def greeting(self) -> bytes:
        cls = type(self)
        cls.now += 1
        cls.most = max(cls.most, cls.now)
        return super().greeting()

    def lost(self) -> None:
        type(self).now -= 1
        super().lost()


@pytest.mark.parametrize("limits", [{"per_host": 1}, {"concurrency": 1}])
def test_no_more_are_visited_at_once_than_fetch_would(tmp_path: Path, limits: dict[str, object]) -> None:
    """A provider that counts connections would lock out the fetch process too."""

    class One(Counted):
        pass

    names = [f"user{number}" for number in range(8)]
    server = Pop3Server({name: ("secret", []) for name in names}, session=One)
    with serving(server), serving(SmtpSink()) as sink:
        accounts = [account(name, server.port) for name in names]
        assert (
            configure(tmp_path, smtp_port=sink.port, accounts=accounts, fetch=limits)
            .run("check", "--connect")
            .returncode
            == 0
        )
    assert (One.most, len(server.sessions)) == (1, 8)


def test_accounts_are_visited_side_by_side(tmp_path: Path) -> None:
    """Each server that says nothing costs `fetch.timeout`, and all of them no more."""
    names = [f"user{number}" for number in range(4)]
    with ExitStack() as stack:
        sink = stack.enter_context(serving(SmtpSink()))
        servers = [Pop3Server({name: ("secret", [])}, session=SilentAfterLogin) for name in names]
        ports = [stack.enter_context(serving(server)).port for server in servers]
        accounts = [account(name, port) for name, port in zip(names, ports, strict=True)]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts, fetch={"timeout": "3s", "per_host": 4})
        done = connector.run("check", "--connect", timeout=9)
    assert done.returncode == 75
    assert done.stdout.count("no octet from the server for 3 s") == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_whoever_may_not_look_into_the_spool_may_try_the_servers(tmp_path: Path) -> None:
    """Nobody is told then that mail was never fetched: it is not known."""
    server = Pop3Server({"sales": ("secret", letters(1, prefix="a"))})
    open_spool(tmp_path / "spool").close()
    os.chown(tmp_path / "spool", 12345, -1)
    with serving(server), serving(SmtpSink()) as sink:
        accounts = [account("sales", server.port, leave_on_server=True)]
        done = configure(tmp_path, smtp_port=sink.port, accounts=accounts).run("check", "--connect")
    assert done.returncode == 0
    assert "warning  what was fetched before is not known: " in done.stdout
    assert "adopt" not in done.stdout


def test_without_connect_nothing_is_asked(tmp_path: Path) -> None:
    connector = configure(tmp_path, smtp_port=1, accounts=[account("sales", 1), account("off", 1, enabled=False)])
    found = cast(dict[str, object], connector.told("check"))
    assert (found["ok"], found["relay"], found["limit"]) == (True, None, None)
    assert [(one["name"], one["enabled"], one["ok"]) for one in of_accounts(found)] == [
        ("sales", True, None),
        ("off", False, None),
    ]
