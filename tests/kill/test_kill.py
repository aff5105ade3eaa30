"""SIGKILL at any moment, then start again: nothing is lost, nothing is admitted twice, the spool is sound.

The POP3 server and the relay run in threads of the test, the connector as processes of its own. A kill comes when a
chosen number of things have happened at the servers, wherever the stages are in their work then. The servers take
their time, so that there is work left for every kill.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Deletion, Manners, Pop3Server, Pop3Session
from pipeline.demo.smtp_sink import Accepted, SmtpSink
from spool import models
from spool.layout import Stage
from spool.opening import open_spool
from spool.segments import LARGE_OCTETS
from tests.support.connector import Connector, account, configure, letters, without_our_received
from tests.support.processes import ROOT

pytestmark = [pytest.mark.kill, pytest.mark.timeout(240)]

USERS = [f"user{number}" for number in range(6)]
KILLS = 17
MESSAGES = 700
MESSAGES_EACH_LIFE = 12
LIVES_AT_MOST = 40
CONNECTIONS = 4
MOMENTS_BEFORE_A_KILL = 120
PATIENCE_SECONDS = 5.0


class Moments:
    """Counts what happens at the servers."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def note(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_for(self, more: int) -> None:
        """Wait until so many more have come; not for ever, for perhaps all is done."""
        with self._changed:
            wanted = self._count + more
            self._changed.wait_for(lambda: self._count >= wanted, PATIENCE_SECONDS)


class SlowSink(SmtpSink):
    """A relay that thinks over every message before it answers: the moment in which an outcome is not known."""

    moments: Moments

    def keep(self, message: Accepted) -> None:
        self.moments.note()
        time.sleep(0.004)
        super().keep(message)


class Life:
    """One run of the connector, in a process group of its own."""

    def __init__(self, connector: Connector, *arguments: str) -> None:
        self._connector = connector
        self._log = (connector.directory / "output").open("ab")
        self._process = subprocess.Popen(
            connector.command(*arguments),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def kill_stage(self, stage: Stage) -> bool:
        """SIGKILL to one stage process; False where it does not run at the moment."""
        try:
            pid = int((self._connector.spool / "locks" / f"{stage}.pid").read_text())
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            # What a killed process left in its file may name anybody by now.
            if parent != self._process.pid:
                return False
            os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            return False
        return True

    def kill_all(self) -> bool:
        """SIGKILL to supervisor and stages at once; False where all had ended by themselves."""
        code = self._process.poll()
        if code is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
        # A drain ends when all is done, or where a server still had a killed session's maildrop open.
        assert code in (None, 0, 75), (self._connector.directory / "output").read_text()
        return code is None


@contextmanager
def servers(deletion: Deletion) -> Iterator[tuple[Pop3Server, SlowSink, Moments]]:
    moments = Moments()

    class SlowSession(Pop3Session):
        def answer(self, line: bytes) -> bytes:
            moments.note()
            if line.startswith(b"RETR"):
                time.sleep(0.004)
            return super().answer(line)

    maildrops = dict.fromkeys(USERS, ("secret", ()))
    pop3, sink = Pop3Server(maildrops, Manners(deletion=deletion), session=SlowSession), SlowSink()
    sink.moments = moments
    with serving(pop3), serving(sink):
        yield pop3, sink, moments


def kill_and_start_again(
    connector: Connector, pop3: Pop3Server, moments: Moments, *, dice: random.Random
) -> list[bytes]:
    """Let mail come in and the connector die until it has died often enough; answers the mail."""
    sent: list[bytes] = []
    kills = 0
    for number in range(LIVES_AT_MOST):
        if kills >= KILLS and len(sent) >= MESSAGES:
            return sent
        for user in USERS:
            mail = [*letters(MESSAGES_EACH_LIFE, prefix=f"{user}-{number}"), large_letter(f"{user}-{number}")]
            for message in mail:
                pop3.deliver(user, message)
            sent += mail
        sent += drop_into_pickup(connector, letters(3, prefix=f"pickup-{number}"))
        life = Life(connector, *dice.choice([("run",), ("run", "--drain"), ("run", "--drain")]))
        for _ in range(dice.randrange(3)):
            moments.wait_for(dice.randint(1, MOMENTS_BEFORE_A_KILL))
            kills += life.kill_stage(dice.choice(list(Stage)))
        moments.wait_for(dice.randint(1, MOMENTS_BEFORE_A_KILL))
        kills += life.kill_all()
    raise AssertionError(f"{kills} kills in {LIVES_AT_MOST} lives")


def large_letter(name: str) -> bytes:
    """A message that has a file of its own in the spool."""
    return letters(1, prefix=f"large-{name}")[0] + (b"x" * 998 + b"\r\n") * (LARGE_OCTETS // 1000 + 1)


def drop_into_pickup(connector: Connector, messages: Sequence[bytes]) -> Sequence[bytes]:
    """Give the connector messages as an operator does; none while there is no spool yet."""
    pickup = connector.spool / "Pickup"
    if not pickup.exists():
        return []
    block = b"X-Sender: <bob@example.org>\r\nX-Receiver: <sales@corp.example>\r\nX-EndOfInjectedXHeaders: 0\r\n"
    for message in messages:
        name = hashlib.sha256(message).hexdigest()
        # Under its name only when it is whole, so that it never settles half written.
        (pickup / f".{name}").write_bytes(block + message)
        (pickup / f".{name}").rename(pickup / f"{name}.eml")
    return messages


def possible_duplicates(connector: Connector) -> Counter[bytes]:
    """The SHA-256 of messages that the index calls possible duplicates."""
    spool = open_spool(connector.spool)
    try:
        with spool.index.read() as connection:
            table = models.messages
            return Counter(connection.execute(select(table.c.sha256).where(table.c.possible_duplicate)).scalars())
    finally:
        spool.close()


@pytest.mark.parametrize("deletion", list(Deletion))
def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_admitted_twice(tmp_path: Path, deletion: Deletion) -> None:
    """Whether the server deletes at QUIT, at DELE, or when the connection drops."""
    seed = int(os.environ.get("KILL_SEED") or random.randrange(1 << 32))
    print(f"KILL_SEED={seed}")  # noqa: T201 - shown when the test fails
    with servers(deletion) as (pop3, sink, moments):
        connector = configure(
            tmp_path,
            smtp_port=sink.port,
            accounts=[account(user, pop3.port) for user in USERS],
            smtp={"connections": CONNECTIONS},
            fetch={"max_messages_per_session": 15, "per_host": 6},
        )
        sent = kill_and_start_again(connector, pop3, moments, dice=random.Random(seed))
        done = connector.drain()
        assert done.returncode == 0, (connector.directory / "output").read_text() + done.stdout + done.stderr

        arrived = Counter(without_our_received(one.content) for one in sink.accepted)
        assert arrived.keys() == set(sent)
        assert [pop3.maildrop(user) for user in USERS] == [[]] * len(USERS)
        assert len(connector.messages()) == len(sent)
        assert {message["state"] for message in connector.messages()} == {"submitted"}
        twice = [hashlib.sha256(message).digest() for message, times in arrived.items() if times > 1]
        assert set(twice) <= possible_duplicates(connector).keys()
        assert len(sink.accepted) - len(sent) <= (KILLS + 2) * CONNECTIONS
        assert connector.problems() == []
