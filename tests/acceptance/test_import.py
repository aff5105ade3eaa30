"""`accounts import`, as somebody who changes from another fetcher has it.

What the other fetcher had is not fetched again, and what it had not is fetched, once: by its list of seen UIDLs, from
whichever of the three, into a spool that is new or has a fetch process at work.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import SmtpSink
from spool.layout import Stage
from spool.opening import open_spool
from spool.queries import is_running, open_for_reading
from tests.support.connector import Connector, letters, without_our_received
from tests.support.processes import running, wait_until
from tests.support.questioned import at_terminal

MAILS = letters(6, prefix="no.")
HAD, NEW = MAILS[:3], MAILS[3:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A maildrop that another fetcher has half of, its files, and a connector that knows nothing of it yet."""

    server: Pop3Server
    sink: SmtpSink
    connector: Connector

    @property
    def directory(self) -> Path:
        return self.connector.directory

    def write(self, name: str, text: str) -> Path:
        file = self.directory / name
        file.write_text(text)
        return file

    def uidls(self) -> list[str]:
        return [message.uidl.decode() for message in self.server._maildrops["sales"].messages]

    def delivered(self) -> list[bytes]:
        return sorted(without_our_received(message.content) for message in self.sink.accepted)

    def configuration(self) -> dict[str, object]:
        return tomllib.loads(self.connector.configuration.read_text())

    def imports(self, kind: str, *files: Path, more: Sequence[str] = ("--yes",)) -> str:
        done = self.connector.run("accounts", "import", kind, *map(str, files), *more)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout


@pytest.fixture
def change(tmp_path: Path) -> Iterator[Change]:
    with serving(Pop3Server({"sales": ("secret", MAILS)})) as server, serving(SmtpSink()) as sink:
        connector = Connector(directory=tmp_path)
        connector.configuration.write_text(
            f'# ours\n[smtp]\nport = {sink.port}\n\n[spool]\ndirectory = "{connector.spool}"  # here\n'
            'min_free_space = "1MB"\n'
        )
        connector.configuration.chmod(0o600)
        yield Change(server=server, sink=sink, connector=connector)


def of_fetchmail(change: Change, keep: str = "keep") -> Path:
    lines = "".join(f"sales@127.0.0.1 {uidl}\n" for uidl in change.uidls()[:3])
    change.write("ids", f"other@127.0.0.1 {change.uidls()[4]}\n{lines}sales@127.0.0.1 long-gone\n")
    return change.write(
        "fetchmailrc",
        f"set idfile {change.directory / 'ids'}\n"
        f"poll isp via 127.0.0.1 proto pop3 port {change.server.port} timeout 60\n"
        f'  user "sales" there with password "secret" is verkauf here {keep}\n',
    )


def of_getmail(change: Change, keep: str = "keep") -> Path:
    port = change.server.port
    lines = "".join(f"{uidl}\0001795527290\n" for uidl in [*change.uidls()[:3], "long-gone"])
    change.write(f"oldmail-127.0.0.1-{port}-sales", lines)
    options = "delete = false" if keep else "delete = true"
    return change.write(
        "getmailrc",
        f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\nusername = sales\n"
        f"password_command = ('/bin/echo', 'secret')\n[destination]\ntype = Maildir\n[options]\n{options}\n",
    )


def of_mpop(change: Change, keep: str = "keep") -> Path:
    lines = "\n".join(sorted([*change.uidls()[:3], "#gone"]))
    change.write("uidls", f"# by mpop\n#\n 4 127.0.0.1 sales\n{lines}\n 1 127.0.0.1 info\n{change.uidls()[4]}\n")
    return change.write(
        "mpoprc",
        f"defaults\ndelivery mbox ~/x\n{keep}\naccount isp\nhost 127.0.0.1\nport {change.server.port}\nuser sales\n"
        f"passwordeval echo secret\nuidls_file {change.directory / 'uidls'}\n",
    )


KINDS = [("fetchmailrc", of_fetchmail), ("getmailrc", of_getmail), ("mpoprc", of_mpop)]
TO = ("--deliver-to", "sales@corp.example", "--yes")


@pytest.mark.parametrize(("kind", "theirs"), KINDS)
def test_after_the_change_only_what_they_had_not_is_fetched_and_nothing_twice(
    change: Change, kind: str, theirs: Callable[[Change], Path]
) -> None:
    told = change.imports(kind, theirs(change), more=TO)
    assert "UIDLs are known as had" in told
    for _ in range(2):
        assert change.connector.drain().returncode == 0
        assert change.delivered() == sorted(NEW)
    assert len(change.uidls()) == len(MAILS)
    assert not any(session.commands.count("RETR 1") for session in change.server.sessions)


@pytest.mark.parametrize(("kind", "theirs"), KINDS)
def test_where_mail_shall_not_stay_what_they_had_is_deleted_and_not_delivered(
    change: Change, kind: str, theirs: Callable[[Change, str], Path]
) -> None:
    """Deleted by nobody's guess: it is read once, and compared before it is deleted."""
    told = change.imports(kind, theirs(change, ""), more=TO)
    assert "is read once, deleted at a later poll, and not delivered" in told
    for _ in range(2):
        assert change.connector.drain().returncode == 0
    assert (change.delivered(), change.uidls()) == (sorted(NEW), [])


def fetch_runs(connector: Connector) -> bool:
    spool = open_for_reading(connector.spool)
    try:
        return is_running(spool, Stage.FETCH)
    finally:
        spool.close()


def test_a_running_fetch_process_enters_what_was_seen(change: Change) -> None:
    open_spool(change.connector.spool).close()
    with running(change.connector.command("run")) as process:
        wait_until(lambda: fetch_runs(change.connector), "fetch runs")
        change.imports("fetchmailrc", of_fetchmail(change), more=TO)
        assert process.stop() == 0
    change.connector.drain()
    assert change.delivered() == sorted(NEW)


def test_a_rebuilt_spool_knows_what_they_had(change: Change) -> None:
    change.imports("fetchmailrc", of_fetchmail(change), more=TO)
    change.connector.drain()
    assert change.connector.run("spool", "rebuild").returncode == 0
    change.connector.drain()
    assert change.delivered() == sorted(NEW)


def test_a_second_import_changes_nothing(change: Change) -> None:
    theirs = of_fetchmail(change)
    change.imports("fetchmailrc", theirs, more=TO)
    before = change.connector.configuration.read_text()
    told = change.imports("fetchmailrc", theirs, more=TO)
    assert "sales@isp: is there already: account sales@isp" in told
    assert change.connector.configuration.read_text() == before


def test_what_was_seen_can_be_imported_later_for_an_account_that_is_there(change: Change) -> None:
    """Where the file was given to `--output`, or the list was not found."""
    theirs = of_fetchmail(change)
    ids = change.directory / "ids"
    ids.rename(change.directory / "elsewhere")
    assert "no list of what was seen was found" in change.imports("fetchmailrc", theirs, more=TO)
    text = change.connector.configuration.read_text().replace("leave_on_server = true", "leave_on_server = false")
    change.connector.configuration.write_text(text)
    told = change.imports("fetchmailrc", theirs, more=("--seen", str(change.directory / "elsewhere"), "--yes"))
    assert "sales@isp: what was seen and is still there is read once, deleted at a later poll" in told
    change.connector.drain()
    assert change.delivered() == sorted(NEW)


def test_the_configuration_keeps_its_comments_and_order(change: Change) -> None:
    before = change.connector.configuration.read_text()
    told = change.imports("fetchmailrc", of_fetchmail(change), more=("--domain", "corp.example", "--yes"))
    after = change.connector.configuration.read_text()
    assert after.startswith(before)
    assert change.configuration()["accounts"] == [
        {
            "name": "sales@isp",
            "host": "127.0.0.1",
            "port": change.server.port,
            "tls": "none",
            "username": "sales",
            "password": "secret",
            "deliver_to": "verkauf@corp.example",
            "leave_on_server": True,
        }
    ]
    assert f"{change.directory / 'fetchmailrc'}:2: timeout: see fetch.timeout, for all accounts" in told
    assert "secret" not in told
    assert change.connector.run("check").returncode == 0


def test_a_new_configuration_has_their_relay_and_is_closed_to_others(change: Change) -> None:
    theirs = change.write("rc", "poll a.example proto pop3 user jo pass s ssl is jo here smtphost 127.0.0.1/2525 keep")
    file = change.directory / "new" / "pop3connector.toml"
    fresh = Connector(directory=file.parent)
    assert (
        fresh.run("accounts", "import", "fetchmailrc", str(theirs), "--domain", "corp.example", "--yes").returncode == 0
    )
    found = tomllib.loads(file.read_text())
    assert found["smtp"] == {"host": "127.0.0.1", "port": 2525}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_several_files_are_imported_at_once(change: Change) -> None:
    """getmail has one for each account."""
    files = [
        change.write(
            name, f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = {name}.example\nusername = u\npassword = p\n"
        )
        for name in ("a", "b")
    ]
    change.imports("getmailrc", *files, more=TO)
    accounts = change.configuration()["accounts"]
    assert isinstance(accounts, list)
    assert [account["host"] for account in accounts] == ["a.example", "b.example"]


def test_output_is_the_accounts_and_nothing_is_changed(change: Change) -> None:
    theirs = of_fetchmail(change)
    before = change.connector.configuration.read_text()
    command = ("accounts", "import", "fetchmailrc", str(theirs), "--domain", "corp.example", "--output")
    printed = change.connector.run(*command, "-")
    written = change.connector.run(*command, str(change.directory / "out.toml"))
    again = change.connector.run(*command, str(change.directory / "out.toml"))
    assert (printed.returncode, written.returncode, again.returncode) == (0, 0, 64)
    assert tomllib.loads(printed.stdout)["accounts"][0]["password"] == "secret"
    assert (change.directory / "out.toml").read_text() == printed.stdout
    assert stat.S_IMODE((change.directory / "out.toml").stat().st_mode) == 0o600
    assert change.connector.configuration.read_text() == before
    assert not change.connector.spool.exists()


def refused(change: Change, kind: str, text: str, *more: str) -> tuple[int, str]:
    before = change.connector.configuration.read_text()
    done = change.connector.run("accounts", "import", kind, str(change.write("rc", text)), *more)
    assert change.connector.configuration.read_text() == before
    return done.returncode, done.stderr.replace(str(change.directory), "")


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (
            "fetchmailrc",
            "\npoll a user b\n port 3",
            "/rc: line 3: the server's option 'port' stands behind a user's options",
        ),
        ("getmailrc", "x = 1", "/rc: line 1: no [section] stands before it"),
        ("mpoprc", "# c\n[smtp]", "/rc: line 2: neither `account` nor `defaults` stands before it"),
        ("mpoprc", "#" * 2_000_000, "/rc: it is too large for a mpoprc"),
    ],
)
def test_a_file_that_is_none_of_theirs_is_one_line_and_65(change: Change, kind: str, text: str, said: str) -> None:
    assert refused(change, kind, text, "--yes") == (65, f"pop3connector: {said}\n")


def test_a_list_that_is_none_is_one_line_and_65(change: Change) -> None:
    text = "poll a.example proto pop3 user jo pass s ssl is jo here"
    given = ("--domain", "corp.example", "--yes", "--seen", str(change.write("ids", "<html>\n")))
    assert refused(change, "fetchmailrc", text, *given) == (
        65,
        "pop3connector: /ids: line 1: it is no list of seen UIDLs\n",
    )


def test_without_a_terminal_nothing_is_written_that_nobody_said_yes_to(change: Change) -> None:
    text = "poll a.example proto pop3 user jo pass s ssl is jo here"
    code, said = refused(change, "fetchmailrc", text, "--domain", "corp.example")
    assert (code, said) == (64, "pop3connector: nothing was written; --yes imports it\n")


@pytest.mark.parametrize(
    "text",
    [
        "poll a.example proto pop3 user jo pass s ssl is jo here",
        "poll a.example proto pop3 user jo pass s ssl to a b here",
        "poll a.example proto pop3 user jo ssl is jo@corp.example here",
    ],
)
def test_an_account_that_lacks_something_is_left_out_and_alone_is_64(change: Change, text: str) -> None:
    assert refused(change, "fetchmailrc", text, "--yes") == (
        64,
        "pop3connector: nothing was written: 1 accounts were left out, see above\n",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("poll 'a b' proto pop3 user jo pass s ssl", 'host: "a b" is not a host name or IP address'),
        ("poll a.example proto pop3 user jo pass s ssl sslcertfile /no/ca", "ca_file: there is no file /no/ca"),
        ("poll a.example proto pop3 pass s ssl", "it names no user"),
        ("poll a.example proto imap user jo pass s", "it is not POP3 but IMAP"),
    ],
)
def test_an_account_that_ours_cannot_have_is_left_out_with_the_reason(change: Change, text: str, why: str) -> None:
    good = "poll b.example proto pop3 user al pass s ssl"
    told = change.imports("fetchmailrc", change.write("rc", f"{text}\n{good}\n"), more=TO)
    assert f"left out, {why}" in told
    accounts = change.configuration()["accounts"]
    assert isinstance(accounts, list)
    assert [account["host"] for account in accounts] == ["b.example"]


def test_names_of_theirs_cannot_move_the_cursor(change: Change) -> None:
    text = 'poll a.example proto pop3 user "jo\\x1b[2J" pass s ssl poll "\\x1b[2J" proto pop3 user al pass s ssl'
    arguments = ("accounts", "import", "fetchmailrc", str(change.write("rc", text)), *TO)
    code, shown = at_terminal(change.connector.command(*arguments), [])
    assert (code, "left out, username: has control characters" in shown, "\x1b" in shown) == (0, True, False)


def test_at_a_terminal_what_is_missing_is_asked_for(change: Change) -> None:
    theirs = change.write("rc", f"poll 127.0.0.1 proto pop3 port {change.server.port} user sales keep")
    code, shown = at_terminal(
        change.connector.command("accounts", "import", "fetchmailrc", str(theirs)),
        [
            ("deliver mail of sales at 127.0.0.1 to:", "sales@corp.example"),
            ("password of sales at 127.0.0.1:", "secret"),
            (r"import this\? \[y/N\]", "y"),
        ],
    )
    assert (code, "secret" in shown) == (0, False)
    change.connector.drain()
    assert change.delivered() == sorted(MAILS)


def test_at_a_terminal_nothing_is_written_after_a_no(change: Change) -> None:
    before = change.connector.configuration.read_text()
    command = change.connector.command("accounts", "import", "fetchmailrc", str(of_fetchmail(change)), *TO[:2])
    code, shown = at_terminal(command, [(r"import this\? \[y/N\]", "")])
    assert (code, "nothing was written" in shown) == (64, True)
    assert change.connector.configuration.read_text() == before
