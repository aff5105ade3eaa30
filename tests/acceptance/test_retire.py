"""`accounts retire`: the end of a migration, as an administrator goes through it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest

from pipeline.cli import retiring  # noqa: F401 - read while it can be read
from pipeline.cli.main import run_command
from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server, Pop3Session
from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink
from spool.opening import open_spool
from tests.support.connector import Connector, account, configure, letters
from tests.support.odd_pop3 import SilentAfterLogin as Silent
from tests.support.other_user import NOBODY, as_nobody, public_directory
from tests.support.processes import free_port, run, running, wait_until

MAIL = letters(3, prefix="last")
LARGE = b"Subject: large\r\n\r\n" + b"x" * 5000 + b"\r\n"
SPAM = b"Return-Path: <a@example.org>\r\nFrom: <a@example.org>\r\nSubject: buy this\r\n\r\nspam\r\n"
NO_SPAM = SinkRules(refusals=(Refusal(part=Part.CONTENT, marker=b"spam", reply="554 5.7.1 spam"),))
HONEST = SinkRules()
# The command with all that it may import on the way: another user may not be able to read this interpreter's files.
PRELOADED = """
import encodings.ascii, encodings.idna, importlib, pkgutil, sys
import pipeline, spool, stages
for package in (pipeline, spool, stages):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.startswith("spool.migrations"):
            importlib.import_module(found.name)
sys.argv[0] = "pop3connector"
pipeline.cli.main.main()
"""


class Undying(Pop3Session):
    """Says yes to DELE, and deletes nothing."""

    def dele(self, argument: str) -> bytes:
        number = self._number(argument)
        return self.no_such_message() if number is None else self.ok(b"deleted")


class Unhurried(Pop3Session):
    """Wants a second between two logins (RFC 2449 section 6.5), and insists on it."""

    last = 0.0

    def capa(self, argument: str) -> bytes:
        return super().capa(argument).removesuffix(b".\r\n") + b"LOGIN-DELAY 1\r\n.\r\n"

    def log_in(self, user: str, is_right: Callable[[str], bool]) -> bytes:
        cls, now = type(self), time.monotonic()
        before, cls.last = cls.last, now
        return self.err(b"[LOGIN-DELAY] too soon") if now - before < 1 else super().log_in(user, is_right)


@contextmanager
def at_server(
    place: Path,
    *messages: bytes,
    rules: SinkRules = HONEST,
    smtp_port: int | None = None,
    session: type[Pop3Session] = Pop3Session,
    **more: object,
) -> Iterator[tuple[Connector, Pop3Server]]:
    """A connector with the accounts `sales`, which is to go, and `info`, which stays."""
    Unhurried.last = 0.0
    drops = {"sales": ("secret", messages), "info": ("secret", letters(1, prefix="other"))}
    with serving(Pop3Server(drops, session=session)) as server, serving(SmtpSink(rules)) as sink:
        accounts = [account("sales", server.port, **more), account("info", server.port)]
        yield configure(place, smtp_port=smtp_port or sink.port, accounts=accounts), server


def is_enabled(connector: Connector, name: str = "sales") -> bool:
    raw = tomllib.loads(connector.configuration.read_text())
    return next(bool(one.get("enabled", True)) for one in raw["accounts"] if one["name"] == name)


def retired(connector: Connector, *arguments: str) -> dict[str, object]:
    return cast(dict[str, object], connector.told("accounts", "retire", "sales", *arguments))


def missing(told: dict[str, object]) -> Sequence[str]:
    return cast(Sequence[str], told["missing"])


def events(connector: Connector) -> Sequence[str]:
    return [json.loads(line)["name"] for line in connector.run("events", "--json").stdout.splitlines()]


def test_a_mailbox_is_emptied_delivered_and_disabled_and_the_others_are_left_alone(tmp_path: Path) -> None:
    with at_server(tmp_path, *MAIL) as (connector, server):
        done = connector.run("accounts", "retire", "sales")
        assert (done.returncode, done.stderr) == (0, "")
        assert (server.maildrop("sales"), len(server.maildrop("info"))) == ([], 1)
        assert (is_enabled(connector), is_enabled(connector, "info")) == (False, True)
        assert events(connector)[-1] == "AccountRetired"
    facts = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert {name: facts[name].strip() for name in ("retired", "fetched", "submitted", "in Badmail")} == {
        "retired": "yes: disabled, and its maildrop is empty",
        "fetched": "3",
        "submitted": "3",
        "in Badmail": "0",
    }
    assert facts["counted since"].strip().endswith("Z (spool.history)")


def test_a_running_fetch_process_empties_it(tmp_path: Path) -> None:
    """What comes behind its last poll is fetched too."""
    with at_server(tmp_path, MAIL[0]) as (connector, server), running(connector.command("run")) as process:
        wait_until(lambda: server.maildrop("sales") == [], "the first poll")
        server.deliver("sales", MAIL[1])
        told = retired(connector)
        assert process.stop() == 0
    assert (told["is_retired"], told["fetched"], told["submitted"], told["remote_messages"]) == (True, 2, 2, 0)
    assert not is_enabled(connector)


def test_the_report_says_what_became_of_each(tmp_path: Path) -> None:
    with at_server(tmp_path, *MAIL, SPAM, rules=NO_SPAM) as (connector, _):
        told = retired(connector)
        shown = connector.run("accounts", "retire", "sales").stdout
        (refused,) = connector.badmail()
    assert (told["is_retired"], told["fetched"], told["submitted"], told["badmail"]) == (True, 4, 3, [refused["id"]])
    assert f"Badmail  {refused['id']}" in shown
    assert cast(str, told["since"]) < cast(str, told["first_at"]) <= cast(str, told["last_at"])


def test_a_second_time_it_says_so_and_does_no_harm(tmp_path: Path) -> None:
    with at_server(tmp_path, *MAIL) as (connector, _):
        connector.run("accounts", "retire", "sales")
        before = connector.configuration.read_bytes()
        again = connector.run("accounts", "retire", "sales")
        assert events(connector).count("AccountRetired") == 1
    assert (again.returncode, again.stderr) == (0, "")
    assert "yes: disabled, and its maildrop is empty, already" in again.stdout
    assert connector.configuration.read_bytes() == before


@pytest.mark.parametrize("runs", [False, True], ids=["alone", "beside run"])
def test_what_stays_at_the_provider_is_named_and_keeps_it_enabled(tmp_path: Path, runs: bool) -> None:
    rules = SinkRules(size_limit_octets=8096)
    with at_server(tmp_path, MAIL[0], rules=rules) as (connector, server), ExitStack() as stack:
        if runs:
            stack.enter_context(running(connector.command("run")))
            wait_until(lambda: server.maildrop("sales") == [] and knows_limit(connector), "the limit is known")
        server.deliver("sales", LARGE)
        done = connector.run("accounts", "retire", "sales")
    assert (done.returncode, done.stderr) == (
        75,
        "pop3connector: account sales is not retired and stays enabled: 1 missing, see above\n",
    )
    assert f"(UIDL 00000002) has {len(LARGE)} octets, over the size limit" in done.stdout
    assert is_enabled(connector)


def knows_limit(connector: Connector) -> bool:
    status = cast(dict[str, dict[str, object]], connector.told("status"))
    return status["limits"]["source"] == "SIZE of the relay"


def test_an_account_that_leaves_its_mail_there_is_not_retired(tmp_path: Path) -> None:
    with at_server(tmp_path, *MAIL, leave_on_server=True) as (connector, server):
        told = retired(connector)
        assert len(server.maildrop("sales")) == 3
    assert missing(told) == [
        f"message {number} at the provider (UIDL {number:08}) was had and stays there: set leave_on_server = false"
        for number in (1, 2, 3)
    ]
    assert is_enabled(connector)


def test_once_it_leaves_nothing_there_it_can_be_retired(tmp_path: Path) -> None:
    with at_server(tmp_path, *MAIL, leave_on_server=True) as (connector, server):
        connector.run("accounts", "retire", "sales")
        connector.run("accounts", "edit", "sales", "--leave-on-server", "false")
        told = retired(connector)
        assert server.maildrop("sales") == []
    assert (told["is_retired"], told["fetched"]) == (True, 3)


def test_a_server_that_deletes_nothing_does_not_keep_us_for_ever(tmp_path: Path) -> None:
    with at_server(tmp_path, MAIL[0], session=Undying) as (connector, server):
        done = connector.run("accounts", "retire", "sales")
        assert len(server.maildrop("sales")) == 1
    assert (done.returncode, is_enabled(connector)) == (75, True)
    assert "was had and is not deleted yet" in done.stdout


def test_a_server_that_wants_time_between_logins_gets_it(tmp_path: Path) -> None:
    with at_server(tmp_path, MAIL[0], session=Unhurried) as (connector, _):
        done = connector.run("accounts", "retire", "sales")
    assert (done.returncode, done.stderr, is_enabled(connector)) == (0, "", False)


def test_a_server_that_wants_more_time_than_there_is_has_one_line(tmp_path: Path) -> None:
    with at_server(tmp_path, MAIL[0], session=Unhurried) as (connector, _):
        done = connector.run("accounts", "retire", "sales", "--wait", "0s")
    assert (done.returncode, done.stderr.count("\n"), is_enabled(connector)) == (75, 1, True)
    assert "(LOGIN-DELAY): wait longer, with --wait" in done.stderr


def test_what_the_relay_defers_is_waited_for_only_so_long(tmp_path: Path) -> None:
    with (
        at_server(tmp_path, MAIL[0], rules=SinkRules(greylists=True)) as (connector, server),
        running(connector.command("run")) as process,
    ):
        wait_until(lambda: server.maildrop("sales") == [], "the first poll")
        wait_until(lambda: "Postponed" in events(connector), "the relay has deferred it")
        told = retired(connector, "--wait", "1s")
        (queued,) = [message for message in connector.messages() if message["account"] == "sales"]
        process.stop()
    assert missing(told) == [f"{queued['id']} is deferred by the relay"]
    assert is_enabled(connector)


def test_while_the_relay_is_down_nothing_is_retired(tmp_path: Path) -> None:
    with at_server(tmp_path, MAIL[0], smtp_port=free_port()) as (connector, _):
        done = connector.run("accounts", "retire", "sales")
    assert (done.returncode, is_enabled(connector)) == (75, True)
    assert "missing  relay 127.0.0.1: " in done.stdout
    assert " waits for submit" in done.stdout


def test_a_refused_login_is_one_line(tmp_path: Path) -> None:
    with at_server(tmp_path, MAIL[0], password="wrong") as (connector, _):
        done = connector.run("accounts", "retire", "sales")
    assert (done.returncode, done.stdout, is_enabled(connector)) == (75, "", True)
    assert done.stderr.startswith(
        "pop3connector: account sales is not retired and stays enabled: account sales: login refused"
    )


def test_a_disabled_account_with_mail_is_not_called_retired(tmp_path: Path) -> None:
    with at_server(tmp_path, *MAIL, enabled=False) as (connector, server):
        done = connector.run("accounts", "retire", "sales")
        assert len(server.maildrop("sales")) == 3
    assert done.returncode == 75
    assert done.stderr.endswith("it is disabled: `pop3connector accounts enable sales` first\n")


def test_ctrl_c_stops_it_and_nothing_is_disabled(tmp_path: Path) -> None:
    """The stages end in good order; what they have taken by then stays taken."""
    with at_server(tmp_path, *MAIL, session=Silent) as (connector, server):
        with running(connector.command("accounts", "retire", "sales")) as process:
            wait_until(lambda: server.sessions, "the drain has begun")
            process.send(signal.SIGINT)
            assert process.ended() == 130
        assert process.output == "pop3connector: account sales is not retired and stays enabled\n"
    assert is_enabled(connector)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for somebody else")
def test_root_retires_for_the_user_of_the_spool_and_leaves_it_theirs() -> None:
    """Root alone may write many a configuration."""
    with public_directory() as place, at_server(place, *MAIL) as (connector, _):
        open_spool(connector.spool).close()
        for path in (connector.spool, *connector.spool.rglob("*")):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        done = run(
            [sys.executable, "-c", PRELOADED, "--config", str(connector.configuration), "accounts", "retire", "sales"]
        )
        assert (done.returncode, done.stderr, is_enabled(connector)) == (0, "", False)
        assert {path.stat().st_uid for path in connector.spool.rglob("*")} == {NOBODY.pw_uid}
        assert connector.configuration.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_who_may_not_write_the_configuration_is_told_so_before_anything_is_polled() -> None:
    with public_directory() as place, at_server(place, *MAIL) as (connector, server):
        connector.configuration.chmod(0o644)
        text = connector.configuration.read_text().replace('password = "secret"', 'password_env = "PW"')
        connector.configuration.write_text(text)
        arguments = ["--config", str(connector.configuration), "accounts", "retire", "sales"]
        assert as_nobody(lambda: str(run_command(arguments))) == "77"
        assert server.sessions == []


def test_a_wait_that_is_no_duration_is_64(tmp_path: Path) -> None:
    connector = configure(tmp_path, smtp_port=1, accounts=[account("sales", 1)])
    done = connector.run("accounts", "retire", "sales", "--wait", "long")
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
