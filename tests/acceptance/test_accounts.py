"""`accounts` as an administrator types it, at a terminal: questions, answers, Ctrl-C, and what is in the file then."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import SmtpSink
from tests.support.connector import Connector, account, configure, letters
from tests.support.processes import ROOT, free_port, running, wait_until

ENTER = ""
CTRL_C, CTRL_D = "\x03", "\x04"
PASSWORD = "corr3ct h0rse"
MAIL = letters(2, prefix="asked")


class Terminal:
    """A command at a terminal of its own; `seen` is everything that was on it."""

    def __init__(self, connector: Connector, *arguments: str) -> None:
        line = connector.command(*arguments)
        self._process = pexpect.spawn(
            line[0], line[1:], cwd=str(ROOT), encoding="utf-8", timeout=30, dimensions=(40, 200)
        )
        self.seen = ""

    def answer(self, question: str, text: str) -> None:
        """Wait for a question and type the answer."""
        self._process.expect_exact(question)
        self.seen += self._process.before + self._process.after
        if text in (CTRL_C, CTRL_D):
            self._process.send(text)
        else:
            self._process.sendline(text)

    def echoes(self) -> bool:
        """Whether what is typed now is shown."""
        return bool(self._process.getecho())

    def end(self) -> int:
        """Wait for the end and give the exit code."""
        self._process.expect(pexpect.EOF)
        self.seen += self._process.before
        self._process.close()
        return int(self._process.exitstatus)


@contextmanager
def mailbox() -> Iterator[Pop3Server]:
    with serving(Pop3Server({"sales": (PASSWORD, MAIL)})) as server:
        yield server


def nothing_yet(place: Path) -> Connector:
    """A connector without a configuration."""
    connector = Connector(directory=place / "etc")
    connector.directory.mkdir()
    return connector


def accounts_of(connector: Connector) -> list[dict[str, object]]:
    return list(tomllib.loads(connector.configuration.read_text()).get("accounts", []))


def names(connector: Connector) -> set[str]:
    return {path.name for path in connector.directory.iterdir()}


def begin(terminal: Terminal, port: int) -> None:
    """Answer up to the user name."""
    terminal.answer("name of the account: ", "sales")
    terminal.answer("POP3 server: ", "127.0.0.1")
    terminal.answer("[implicit]: ", "none")
    terminal.answer("port [110]: ", str(port))
    terminal.answer("authentication [auto]: ", ENTER)
    terminal.answer("user name: ", "sales")


def test_the_dialogue_adds_an_account_and_tests_its_login(tmp_path: Path) -> None:
    connector = nothing_yet(tmp_path)
    with mailbox() as server:
        terminal = Terminal(connector, "accounts", "add")
        begin(terminal, server.port)
        terminal.answer("password: ", PASSWORD)
        terminal.answer("deliver to", "sales@corp.example")
        terminal.answer("Test the login now? (yes or no) [yes]: ", ENTER)
        assert terminal.end() == 0
    assert re.search(r"ok +account sales \(127\.0\.0\.1 port \d+\): 2 messages, ", terminal.seen)
    assert "next: `pop3connector run`" in terminal.seen
    assert PASSWORD not in terminal.seen + connector.configuration.read_text()
    assert accounts_of(connector) == [
        {
            "name": "sales",
            "host": "127.0.0.1",
            "port": server.port,
            "tls": "none",
            "username": "sales",
            "password_file": "sales.password",
            "deliver_to": "sales@corp.example",
        }
    ]
    for name in ("pop3connector.toml", "sales.password"):
        assert (connector.directory / name).stat().st_mode & 0o777 == 0o600


def test_what_was_added_is_fetched(tmp_path: Path) -> None:
    with mailbox() as server, serving(SmtpSink()) as sink:
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[])
        terminal = Terminal(connector, "accounts", "add", "sales", "--tls", "none", "--port", str(server.port))
        terminal.answer("POP3 server: ", "127.0.0.1")
        terminal.answer("authentication [auto]: ", ENTER)
        terminal.answer("user name: ", "sales")
        terminal.answer("password: ", PASSWORD)
        terminal.answer("deliver to", "sales@corp.example, office@corp.example")
        terminal.answer("Test the login now?", "no")
        assert terminal.end() == 0
        assert connector.drain().returncode == 0
        assert {message.recipients for message in sink.accepted} == {("sales@corp.example", "office@corp.example")}


def test_a_wrong_answer_is_asked_again_with_the_reason(tmp_path: Path) -> None:
    accounts = [account("info", 110, host="pop.isp.example")]
    connector = configure(tmp_path, smtp_port=1, accounts=accounts)
    terminal = Terminal(connector, "accounts", "add")
    terminal.answer("name of the account: ", ENTER)
    terminal.answer("an answer is needed", "info")
    terminal.answer("is the name of accounts[0] too", "sales")
    terminal.answer("POP3 server: ", "no host")
    terminal.answer('"no host" is not a host name or IP address', "pop.isp.example")
    terminal.answer("[implicit]: ", "ssl")
    terminal.answer('"ssl" is not one of none, starttls or implicit', "implicit")
    terminal.answer("port [995]: ", "many")
    terminal.answer('must be an integer, not "many"', ENTER)
    terminal.answer("authentication [auto]: ", "xoauth2")
    terminal.answer('"xoauth2" needs [accounts.oauth2]', ENTER)
    terminal.answer("user name: ", "info")
    terminal.answer("is the mailbox of accounts[0] too: same host and user", "sales")
    terminal.answer("password: ", ENTER)
    terminal.answer("is empty", PASSWORD)
    terminal.answer("deliver to", "sales")
    terminal.answer('"sales" is not an address such as sales@corp.example', "sales@corp.example")
    terminal.answer("Test the login now?", "perhaps")
    terminal.answer("answer yes or no", "n")
    assert terminal.end() == 0
    assert [one["name"] for one in accounts_of(connector)] == ["info", "sales"]


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D], ids=["Ctrl-C", "Ctrl-D"])
def test_a_dialogue_that_is_given_up_writes_nothing_and_leaves_the_terminal_as_it_was(tmp_path: Path, key: str) -> None:
    connector = nothing_yet(tmp_path)
    terminal = Terminal(connector, "accounts", "add")
    begin(terminal, 110)
    terminal.answer("password: ", key)
    assert terminal.end() == 130
    assert terminal.seen.endswith("pop3connector: given up: nothing was changed\r\n")
    assert names(connector) == set()


ADD = "accounts add sales --host h --username u --tls none --port 110 --auth auto --deliver-to a@corp.example"
IMPORT = "accounts import mpoprc {0}/mpoprc --deliver-to a@corp.example"


@pytest.mark.parametrize("command", [ADD, IMPORT], ids=["add", "import"])
def test_a_password_is_not_shown_and_after_ctrl_c_the_terminal_shows_what_is_typed(
    tmp_path: Path, command: str
) -> None:
    """A shell that went on without echo would be the person's trouble: so the terminal outlives the command here."""
    connector = nothing_yet(tmp_path)
    (tmp_path / "mpoprc").write_text("account sales\nhost pop.isp.example\nuser sales\n")
    shell = pexpect.spawn("/bin/sh", encoding="utf-8", timeout=30, cwd=str(ROOT), env={**os.environ, "PS1": "ready$ "})
    shell.sendline(" ".join(connector.command(*command.format(tmp_path).split())))
    shell.expect("[Pp]assword.*: $")
    assert shell.waitnoecho(timeout=10)
    shell.send(CTRL_C)
    shell.expect_exact("given up: nothing was")
    shell.expect_exact("ready$ ")
    shell.sendline("stty -a; exit")
    shell.expect(pexpect.EOF)
    assert " echo " in shell.before
    assert names(connector) == set()


def test_edit_offers_what_is_there_and_changes_what_is_answered(tmp_path: Path) -> None:
    connector = configure(tmp_path, smtp_port=1, accounts=[account("sales", 1100, leave_on_server="14d")])
    before = connector.configuration.read_text()
    terminal = Terminal(connector, "accounts", "edit", "sales")
    terminal.answer("POP3 server [127.0.0.1]: ", "pop.new.example")
    terminal.answer("[none]: ", ENTER)
    terminal.answer("port [1100]: ", ENTER)
    terminal.answer("authentication [auto]: ", ENTER)
    terminal.answer("user name [sales]: ", ENTER)
    terminal.answer("password [as it is]: ", ENTER)
    terminal.answer("[sales@corp.example]: ", ENTER)
    assert terminal.end() == 0
    changed = before.replace('name = "sales"\nhost = "127.0.0.1"', 'name = "sales"\nhost = "pop.new.example"')
    assert connector.configuration.read_text() == changed


@pytest.mark.parametrize("answer", [ENTER, "no", CTRL_C])
def test_remove_asks_and_only_yes_is_yes(tmp_path: Path, answer: str) -> None:
    connector = configure(tmp_path, smtp_port=1, accounts=[account("sales", 1100)])
    before = connector.configuration.read_text()
    terminal = Terminal(connector, "accounts", "remove", "sales")
    terminal.answer("Remove account sales? (yes or no) [no]: ", answer)
    assert terminal.end() == (130 if answer == CTRL_C else 0)
    assert "nothing was changed" in terminal.seen
    assert connector.configuration.read_text() == before


def test_remove_takes_the_password_file_of_add_with_it(tmp_path: Path) -> None:
    connector = configure(tmp_path, smtp_port=1, accounts=[account("sales", 1100, password_file="sales.password")])
    connector.configuration.write_text(connector.configuration.read_text().replace('password = "secret"\n', ""))
    file = tmp_path / "sales.password"
    file.write_text("secret\n")
    file.chmod(0o600)
    terminal = Terminal(connector, "accounts", "remove", "sales")
    terminal.answer(f"Remove account sales and its password file {file}? (yes or no) [no]: ", "yes")
    assert terminal.end() == 0
    assert (file.exists(), accounts_of(connector)) == (False, [])


def test_test_says_what_is_there_before_there_is_a_spool_and_makes_none(tmp_path: Path) -> None:
    with mailbox() as server:
        accounts = [account("sales", server.port, password=PASSWORD), account("off", free_port(), enabled=False)]
        connector = configure(tmp_path, smtp_port=1, accounts=accounts)
        done = connector.run("accounts", "test", "sales")
        everything = connector.run("accounts", "test", "--all")
        assert server.maildrop("sales") == list(MAIL)
    octets = sum(map(len, MAIL))
    assert (done.returncode, done.stderr, connector.spool.exists()) == (0, "", False)
    assert f"ok       account sales (127.0.0.1 port {server.port}): 2 messages, {octets} octets, APOP, without TLS" in (
        done.stdout
    )
    assert everything.stdout == done.stdout


def test_the_exit_code_of_test_is_that_of_the_worst(tmp_path: Path) -> None:
    with mailbox() as server:
        no_password = account("unset", server.port, host="localhost", password_env="NOT_SET_HERE")
        del no_password["password"]
        accounts = [account("sales", server.port, password="wrong"), account("gone", free_port()), no_password]
        connector = configure(tmp_path, smtp_port=1, accounts=accounts)
        codes = [connector.run("accounts", "test", *names).returncode for names in (("sales",), ("gone",), ("unset",))]
        done = connector.run("accounts", "test", "--all")
    assert (codes, done.returncode, done.stderr) == ([75, 75, 78], 78, "")
    assert done.stdout.count("FAILED   account ") == 3


def test_a_disabled_account_can_be_tested_by_its_name(tmp_path: Path) -> None:
    with mailbox() as server:
        accounts = [account("sales", server.port, password=PASSWORD, enabled=False)]
        connector = configure(tmp_path, smtp_port=1, accounts=accounts)
        assert connector.run("accounts", "test", "sales").returncode == 0
        assert connector.run("accounts", "test").returncode == 64


def test_beside_a_running_connector_all_of_it_works(tmp_path: Path) -> None:
    with mailbox() as server, serving(SmtpSink()) as sink:
        accounts = [account("sales", server.port, password=PASSWORD, leave_on_server=True)]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts)
        with running(connector.command("run")) as process:
            wait_until(lambda: len(sink.accepted) == 2, "the mail is delivered")
            listed = connector.told("accounts", "list")
            shown = connector.told("accounts", "show", "sales")
            assert connector.run("accounts", "disable", "sales").returncode == 0
            process.stop()
    assert isinstance(listed, list)
    assert isinstance(shown, dict)
    assert (listed[0]["remote_messages"], shown["ledger"], shown["mechanism"]) == (2, 2, "APOP")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_on_a_full_disk_it_is_one_line_and_the_file_is_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "full"
    place.mkdir()
    with tmpfs(place):
        connector = configure(place, smtp_port=1, accounts=[account("sales", 1100)])
        before = connector.configuration.read_text()
        fill(place)
        done = connector.run("accounts", "edit", "sales", "--interval", "30m")
        assert (done.returncode, done.stderr) == (
            74,
            f"pop3connector: {connector.configuration}: No space left on device\n",
        )
        assert connector.configuration.read_text() == before
        assert names(connector) == {"pop3connector.toml", "filler"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_on_a_file_system_that_is_read_only_it_is_one_line(tmp_path: Path) -> None:
    place = tmp_path / "etc"
    place.mkdir()
    with tmpfs(place):
        connector = configure(place, smtp_port=1, accounts=[account("sales", 1100)])
        mount("-o", "remount,ro", str(place))
        done = connector.run("accounts", "disable", "sales")
    assert (done.returncode, done.stderr.count("\n")) == (74, 1)
    assert "Read-only file system" in done.stderr


@contextmanager
def tmpfs(place: Path) -> Iterator[None]:
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place))
    try:
        yield
    finally:
        pexpect.run(f"umount {place}")


def mount(*arguments: str) -> None:
    _, code = pexpect.run(" ".join(["mount", *arguments]), withexitstatus=True)
    if code:
        pytest.skip("this machine lets nobody mount")


def fill(place: Path) -> None:
    with (place / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 4096):
                pass
        except OSError:
            return


def test_what_is_added_and_retired_beside_a_running_connector_is_noticed_by_it(tmp_path: Path) -> None:
    """Without a restart, from the first question to the end of the migration."""
    with mailbox() as server, serving(SmtpSink()) as sink:
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[])
        password = tmp_path / "given"
        password.write_text(f"{PASSWORD}\n")
        password.chmod(0o600)
        with running(connector.command("run")) as process:
            wait_until(lambda: is_running(connector), "it runs by the configuration without accounts")
            added = connector.run(
                *("accounts", "add", "sales", "--host", "127.0.0.1", "--port", str(server.port), "--tls", "none"),
                *("--username", "sales", "--password-file", str(password), "--deliver-to", "sales@corp.example"),
            )
            assert (added.returncode, added.stderr) == (0, "")
            wait_until(lambda: len(sink.accepted) == 2, "the added account is polled")
            retired = connector.run("accounts", "retire", "sales")
            assert (retired.returncode, retired.stderr) == (0, "")
            wait_until(lambda: reloads(connector) == 2, "it is polled no more")
            assert process.stop() == 0
    assert accounts_of(connector)[0]["enabled"] is False


def reloads(connector: Connector) -> int:
    """How often what runs has taken over a changed configuration."""
    return connector.run("events").stdout.count("ConfigurationReloaded run works by the changed configuration: ")


def is_running(connector: Connector) -> bool:
    """Whether there is a spool, and fetch works in it."""
    done = connector.run("status", "--json")
    return done.returncode == 0 and any(
        stage["is_running"] for stage in json.loads(done.stdout)["stages"] if stage["stage"] == "fetch"
    )
