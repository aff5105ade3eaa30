"""The verbose log of a running pipeline: switched on and off without a restart, for all, for one, and for one poll."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import SmtpSink
from spool.accounts import Accounts
from spool.doorbell import ring
from spool.layout import Stage
from spool.queries import open_for_reading
from tests.support.connector import Connector, account, configure, letters
from tests.support.processes import Running, running, wait_until
from tests.support.terminal import at_terminal

NAMES = ("a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A running connector between its servers."""

    connector: Connector
    pop3: Pop3Server
    sink: SmtpSink
    process: Running

    @property
    def log(self) -> Path:
        return self.connector.spool / "logs/pop3service.log"

    def lines(self) -> list[str]:
        """What the log has, without times and numbers."""
        text = self.log.read_text() if self.log.exists() else ""
        return [re.sub(r"^\S+ (\w+)\[\d+\] (\S+) #\d+ ", r"\1 \2 ", line) for line in text.splitlines()]

    def say(self, *words: str) -> str:
        done = self.connector.run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def poll(self, name: str) -> None:
        """Let mail arrive and be fetched, by a poll that is no more verbose than one that is due."""
        before = len(self.sink.accepted)
        self.pop3.deliver(name, letters(1, prefix=f"{name}{before}")[0])
        spool = open_for_reading(self.connector.spool)
        try:
            Accounts(spool).ask([name])
            ring(spool, Stage.FETCH)
            wait_until(lambda: len(self.sink.accepted) > before, "the message is delivered")
        finally:
            spool.close()

    def poll_until(self, name: str, is_so: Callable[[Sequence[str]], bool]) -> None:
        """Poll until the lines of one poll are as they should be: a stage may notice a second late what is wished."""

        def poll() -> bool:
            before = len(self.lines())
            self.poll(name)
            return is_so(self.lines()[before:])

        wait_until(poll, f"a poll of {name} is logged as is wished")


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    maildrops = {name: ("secret", list(letters(1, prefix=name))) for name in NAMES}
    with serving(Pop3Server(maildrops)) as pop3, serving(SmtpSink()) as sink:
        accounts = [*(account(name, pop3.port) for name in NAMES), account("c", pop3.port, password="wrong")]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts, smtp={"connections": 1})
        with running(connector.command("run")) as process:
            wait_until(lambda: len(sink.accepted) == len(NAMES), "the first round is through")
            yield Stand(connector=connector, pop3=pop3, sink=sink, process=process)
            assert process.stop() == 0


def test_the_dialogues_are_logged_from_log_verbose_to_log_normal(stand: Stand) -> None:
    assert stand.lines() == []
    assert stand.say("log", "verbose") == f"verbose: all accounts and the relay\nwritten to {stand.log}\n"
    stand.poll_until("a", lambda new: {"fetch a > RETR 1", "submit relay > DATA"} <= set(new))
    told = stand.lines()
    for line in ("fetch a > APOP a ***", "fetch a > RETR 1", "fetch a > DELE 1", "fetch a > QUIT", "fetch a * closed"):
        assert line in told
    for line in ("submit relay > MAIL FROM:<alice@example.org>", "submit relay > DATA"):
        assert line in told
    assert any(re.fullmatch(r"submit relay > <\.\.\. \d+ octets>", line) for line in told)
    assert "Hello" not in stand.log.read_text()
    assert stand.say("log", "normal") == "normal\n"
    stand.poll_until("b", lambda new: not new)
    assert stand.say("log") == "normal\n"


def test_one_account_is_logged_and_the_others_and_the_relay_are_not(stand: Stand) -> None:
    stand.say("log", "verbose", "--account", "a")
    stand.poll("b")
    stand.poll_until("a", lambda new: "fetch a * closed" in new)
    stand.poll("b")
    assert {line.split()[1] for line in stand.lines()} == {"a"}


def test_the_relay_alone_can_be_logged(stand: Stand) -> None:
    stand.say("log", "verbose", "--relay")
    stand.poll_until("a", lambda new: "submit relay > DATA" in new)
    assert {line.split()[1] for line in stand.lines()} == {"relay"}


def test_retrieve_now_is_logged_and_tells_what_came_of_it(stand: Stand) -> None:
    message = letters(1, prefix="new")[0]
    stand.pop3.deliver("a", message)
    said = stand.say("retrieve-now", "a", "--wait")
    assert said == f"a: fetched 1 message, {len(message)} octets, deleted 1, left 0 at the server\n"
    assert "fetch a > RETR 1" in stand.lines()
    before = stand.lines()
    stand.poll("a")
    assert stand.lines() == before


def test_retrieve_now_for_all_prints_a_line_for_each(stand: Stand) -> None:
    done = stand.connector.run("retrieve-now", "--wait")
    assert done.returncode == 75
    first, second, third = sorted(done.stdout.splitlines())
    assert [first, second] == [f"{name}: nothing new, deleted 0, left 0 at the server" for name in NAMES]
    assert third.startswith("c: failed: login refused")


def test_a_poll_that_fails_names_the_log(stand: Stand) -> None:
    done = stand.connector.run("retrieve-now", "c", "--wait")
    assert done.returncode == 75
    assert done.stdout.startswith("c: failed: login refused (APOP")
    assert done.stderr == f"pop3connector: what was said to the servers is in {stand.log}\n"
    assert "fetch c < -ERR [AUTH] wrong user name or password" in stand.lines()


def test_at_a_terminal_the_messages_are_counted_while_they_come(stand: Stand) -> None:
    many = 3000
    for message in letters(many, prefix="many"):
        stand.pop3.deliver("a", message)
    with at_terminal(stand.connector.command("retrieve-now", "a", "--wait")) as child:
        child.expect(rf"\d+/{many} messages, \d\.\d/\d\.\d MB")
        child.expect(rf"a: fetched {many} messages, \d+ octets, deleted {many}, left 0 at the server\r\n")


def test_ctrl_c_ends_the_waiting_and_not_the_poll(stand: Stand) -> None:
    before, many = len(stand.sink.accepted), 1500
    for message in letters(many, prefix="many"):
        stand.pop3.deliver("a", message)
    with at_terminal(stand.connector.command("retrieve-now", "a", "--wait")) as child:
        child.expect_exact("━")
        child.sendintr()
        child.wait()
        assert child.exitstatus == 130
    wait_until(lambda: len(stand.sink.accepted) == before + many, "the poll went on", timeout=60)


def test_a_stage_that_starts_later_heeds_it_too(stand: Stand) -> None:
    stand.process.stop()
    said = stand.say("log", "verbose")
    assert said.endswith("nothing runs now: it takes effect at the next start\n")
    stand.pop3.deliver("a", letters(1, prefix="later")[0])
    assert stand.connector.drain().returncode == 75  # of "c"
    assert {"fetch a > RETR 1", "submit relay > DATA"} <= set(stand.lines())
