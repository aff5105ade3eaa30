"""The configuration is edited while the connector runs, as people and programs edit files."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import tomlkit

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server, Pop3Session
from pipeline.demo.smtp_sink import SmtpSink
from tests.support.connector import Connector, account, configure, letters
from tests.support.processes import Running, running, wait_until

USERS = ("sales", "info", "jobs")
LETTERS = 2


class Office:
    """Three maildrops, a relay, and a connector that is told of one of the maildrops."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        maildrops = {user: ("secret", letters(LETTERS, prefix=user)) for user in USERS}
        self.provider = stack.enter_context(serving(Pop3Server(maildrops)))
        self.sink = stack.enter_context(serving(SmtpSink()))
        self.connector = configure(directory, smtp_port=self.sink.port, accounts=[self.account("sales")])

    @property
    def file(self) -> Path:
        return self.connector.configuration

    def account(self, user: str, **more: object) -> dict[str, object]:
        return account(user, self.provider.port, **more)

    def with_accounts(self, *accounts: dict[str, object], **smtp: object) -> str:
        """The file with other accounts, and more keys in [smtp]."""
        document = tomlkit.parse(self.file.read_text())
        document["accounts"] = list(accounts)
        document["smtp"].update(smtp)
        return tomlkit.dumps(document)

    def delivered(self, user: str) -> int:
        return sum(one.recipients == (f"{user}@corp.example",) for one in self.sink.accepted)

    def wait_for_mail(self, user: str, count: int = LETTERS) -> None:
        wait_until(lambda: self.delivered(user) >= count, f"{count} letters for {user}")
        assert self.delivered(user) == count

    def events(self, name: str) -> list[str]:
        told = self.connector.run("events", "--json").stdout.splitlines()
        return [line for line in told if f'"{name}"' in line]

    def pids(self, connector: Connector | None = None) -> dict[object, object]:
        status = (connector or self.connector).told("status")
        assert isinstance(status, dict)
        return {stage["stage"]: stage["pid"] for stage in status["stages"]}


def asking_with(office: Office, content: str) -> Connector:
    """Commands that ask the same connector, with another file: its own is wrong at the time."""
    directory = office.connector.directory / "other"
    directory.mkdir()
    other = Connector(directory=directory)
    by_rename(other.configuration, content)
    return other


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as stack:
        yield Office(tmp_path, stack)


def by_rename(file: Path, content: str) -> None:
    new = file.with_name(".pop3connector.toml.swp")
    new.write_text(content)
    new.chmod(0o600)
    os.replace(new, file)


def in_place(file: Path, content: str) -> None:
    """In several writes, so that for a moment half of it is there."""
    with file.open("w") as stream:
        for start in range(0, len(content), 100):
            stream.write(content[start : start + 100])
            stream.flush()
            os.fsync(stream.fileno())


@pytest.mark.parametrize("edit", [by_rename, in_place])
def test_an_account_that_is_added_to_the_file_is_fetched_without_a_restart(
    office: Office, edit: Callable[[Path, str], None]
) -> None:
    with running(office.connector.command("run")) as process:
        office.wait_for_mail("sales")
        pids = office.pids()
        edit(office.file, office.with_accounts(office.account("sales"), office.account("info")))
        office.wait_for_mail("info")
        assert office.pids() == pids
        assert process.stop() == 0, process.output
    (told,) = office.events("ConfigurationReloaded")
    assert "run works by the changed configuration: accounts added: info" in told
    assert not office.events("ConfigurationRefused")
    assert not office.events("StageDied")


def test_accounts_come_change_and_go_in_one_run(office: Office) -> None:
    wrong = office.account("info", password="mistyped")
    with running(office.connector.command("run")) as process:
        office.wait_for_mail("sales")
        by_rename(office.file, office.with_accounts(office.account("sales"), wrong))
        wait_until(lambda: office.events("PollFailed"), "the wrong password was refused")
        by_rename(office.file, office.with_accounts(office.account("info"), office.account("jobs")))
        office.wait_for_mail("info")
        office.wait_for_mail("jobs")
        polls = len(office.provider.sessions)
        office.provider.deliver("sales", letters(1, prefix="late")[0])
        done = office.connector.run("retrieve-now", "--wait")
        assert done.returncode == 0, done.stdout + done.stderr
        assert {session.user for session in office.provider.sessions[polls:]} == {None, "info", "jobs"} - {None}
        assert process.stop() == 0, process.output
    assert office.delivered("sales") == LETTERS
    assert office.provider.maildrop("sales") == list(letters(1, prefix="late"))
    told = office.events("ConfigurationReloaded")[-1]
    assert "accounts added: jobs; accounts removed: sales; accounts changed (password): info" in told


def test_a_wrong_file_is_refused_with_an_event_and_the_old_one_goes_on(office: Office) -> None:
    with running(office.connector.command("run")) as process:
        office.wait_for_mail("sales")
        right = office.with_accounts(office.account("sales"), office.account("info"))
        old = office.with_accounts(office.account("sales"))
        by_rename(office.file, right.replace('"info@corp.example"', '"nobody"') + "\n[fetsch]\n")
        process.wait_for("accounts[1].deliver_to")
        # A command reads the file too, and says what is wrong with it.
        assert office.connector.run("check").returncode == 78
        other = asking_with(office, old)
        pids = office.pids(other)
        office.provider.deliver("sales", letters(1, prefix="late")[0])
        other.run("retrieve-now", "sales", "--wait")
        office.wait_for_mail("sales", LETTERS + 1)
        by_rename(office.file, right)
        office.wait_for_mail("info")
        assert office.pids() == pids
        assert process.stop() == 0, process.output
    (refused,) = office.events("ConfigurationRefused")
    assert "accounts[1].deliver_to" in refused
    assert "fetsch" in refused
    assert '"error"' in refused
    assert "secret" not in refused


def test_a_corrected_relay_gets_the_mail_at_once(office: Office) -> None:
    port = office.sink.port
    by_rename(office.file, office.with_accounts(office.account("sales"), port=1))
    with running(office.connector.command("run")) as process:
        wait_until(lambda: office.events("RouteClosed"), "the relay cannot be reached")
        wait_until(lambda: not office.provider.maildrop("sales"), "the mail is in custody")
        by_rename(office.file, office.with_accounts(office.account("sales"), port=port))
        process.send(signal.SIGHUP)
        office.wait_for_mail("sales")
        assert process.stop() == 0, process.output


def bears_hangups(pid: int) -> bool:
    """Whether SIGHUP cannot end this process any more (proc(5): SigBlk, SigIgn, SigCgt)."""
    lines = Path(f"/proc/{pid}/status").read_text().split("\n")
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    return any(mask >> (signal.SIGHUP - 1) & 1 for mask in masks)


def storm(process: Running, times: int = 20) -> None:
    for _ in range(times):
        process.send(signal.SIGHUP)


@pytest.mark.parametrize("words", [["run"], ["stage", "fetch"]], ids=" ".join)
def test_a_storm_of_hangups_is_harmless_from_the_start_to_the_end(office: Office, words: list[str]) -> None:
    with running(office.connector.command(*words)) as process:
        wait_until(lambda: bears_hangups(process.pid), "SIGHUP ends it no more")
        storm(process)
        wait_until(lambda: not office.provider.maildrop("sales"), "the mail was fetched")
        storm(process)
        by_rename(office.file, office.with_accounts(office.account("sales"), office.account("info")))
        storm(process)
        wait_until(lambda: not office.provider.maildrop("info"), "the mail of the new account was fetched")
        process.send(signal.SIGTERM)
        storm(process, 5)
        assert process.ended() == 0, process.output
    assert len(office.events("ConfigurationReloaded")) == 1
    assert not office.events("StageDied")


def test_a_stage_under_a_unit_file_takes_over_its_own_changes(office: Office) -> None:
    """`ExecReload=/bin/kill -HUP $MAINPID`, four times over."""
    stages = ("fetch", "validate", "submit", "pickup")
    with ExitStack() as stack:
        processes = [stack.enter_context(running(office.connector.command("stage", name))) for name in stages]
        office.wait_for_mail("sales")
        by_rename(office.file, office.with_accounts(office.account("sales"), office.account("info")))
        for process in processes:
            process.send(signal.SIGHUP)
        office.wait_for_mail("info")
        wait_until(lambda: len(office.events("ConfigurationReloaded")) == len(stages), "each has told it")
        for process in processes:
            assert process.stop() == 0, process.output


class HangsUpOnItsClient(Pop3Session):
    """Makes the configuration of the connector wrong, and sends it SIGHUP, at each message."""

    client: Running
    configuration: Path

    def retr(self, argument: str) -> bytes:
        self.configuration.write_text("nonsense")
        storm(self.client, 3)
        return super().retr(argument)


def test_a_drain_neither_ends_nor_changes_at_a_hangup(tmp_path: Path) -> None:
    maildrops = {user: ("secret", letters(20, prefix=user)) for user in ("sales", "info")}
    with serving(Pop3Server(maildrops, session=HangsUpOnItsClient)) as provider, serving(SmtpSink()) as sink:
        accounts = [account(user, provider.port) for user in maildrops]
        connector: Connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts)
        HangsUpOnItsClient.configuration = connector.configuration
        with running(connector.command("run", "--drain")) as process:
            HangsUpOnItsClient.client = process
            wait_until(lambda: bears_hangups(process.pid), "SIGHUP ends it no more")
            storm(process)
            assert process.ended() == 0, process.output
        assert len(sink.accepted) == 40
    assert "wrong" not in process.output
