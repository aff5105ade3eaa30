"""How much memory the fetch process takes beyond what it has idle: for one large message, and for a long listing.

The figures are of the process itself, resident, as the kernel has them. `make bench` prints them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.demo.background import serving as served
from tests.support.connector import Connector, account, configure
from tests.support.large_maildrop import LargeMaildrop
from tests.support.processes import Running, running, wait_until

pytestmark = pytest.mark.bench

MIB = 1024 * 1024
# What a large message or a long listing may cost beyond the idle process.
ALLOWED_OCTETS = 64 * MIB
LARGE_OCTETS = 200 * 1000 * 1000
MANY = 100_000
SESSIONS = 10
NOBODY = 9
LISTED_AND_LEFT = ["CAPA", "USER", "PASS", "STAT", "LIST", "UIDL", "QUIT"]


class Cost:
    """What a process takes from now on: memory beyond what it has idle, and time of the processor."""

    def __init__(self, process: Running) -> None:
        self._proc = Path(f"/proc/{process.pid}")
        self._idle = self._resident("VmRSS")
        self._seconds = self._processor_seconds()
        # proc(5): 5 resets the peak to what is resident now.
        (self._proc / "clear_refs").write_text("5")

    def rise(self, what: str) -> int:
        """Print the figures; answer by how many octets the peak is above idle."""
        peak = self._resident("VmHWM")
        rise = peak - self._idle
        memory = f"idle {self._idle / MIB:6.1f}  peak {peak / MIB:6.1f}  difference {rise / MIB:6.1f} MiB"
        print(f"\n{what:<60} {memory}  {self._processor_seconds() - self._seconds:6.2f} s CPU")
        return rise

    def _resident(self, name: str) -> int:
        lines = (line.split() for line in (self._proc / "status").read_text().splitlines())
        return next(int(words[1]) * 1024 for words in lines if words[0] == f"{name}:")

    def _processor_seconds(self) -> float:
        # proc(5): utime and stime are fields 14 and 15; the name in field 2 may hold spaces.
        fields = (self._proc / "stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(directory: Path, *, octets: int, leave: bool) -> Iterator[tuple[Connector, LargeMaildrop]]:
    """A connector with an account that has large mail, and one that has none."""
    maildrop, empty = LargeMaildrop(count=0, octets=octets), LargeMaildrop(count=0, octets=0)
    with served(maildrop), served(empty):
        accounts = [
            account("large", maildrop.port, leave_on_server=leave, interval="24h"),
            account("empty", empty.port, interval="24h"),
        ]
        fetch = {"max_message_size": "300MB", "max_messages_per_session": 500, "session_timeout": "1h"}
        yield configure(directory, smtp_port=NOBODY, accounts=accounts, fetch=fetch), maildrop


@contextmanager
def idle_fetch(connector: Connector, *accounts: str) -> Iterator[Running]:
    """A fetch process that has done all it does at its start, and has polled these accounts."""
    with running(connector.command("stage", "fetch")) as process:
        wait_until(lambda: connector.run("retrieve-now", *accounts, "--wait").returncode == 0, "fetch polls")
        yield process
        process.stop()


def poll(connector: Connector) -> str:
    """What came of a poll of the account with large mail."""
    return connector.run("retrieve-now", "large", "--wait", timeout=600).stdout.strip()


def in_one_session(connector: Connector) -> None:
    text = connector.configuration.read_text()
    connector.configuration.write_text(
        text.replace("max_messages_per_session = 500", f"max_messages_per_session = {MANY}")
    )


def test_a_message_of_200_megabytes(tmp_path: Path) -> None:
    with (
        serving(tmp_path, octets=LARGE_OCTETS, leave=False) as (connector, maildrop),
        idle_fetch(connector, "empty", "large") as process,
    ):
        maildrop.count = 1
        cost = Cost(process)
        assert poll(connector) == "large: 1 messages"
        rise = cost.rise("a message of 200 MB")
    assert maildrop.count == 0
    assert rise < ALLOWED_OCTETS


def test_a_file_of_300_megabytes_in_pickup(tmp_path: Path) -> None:
    """And one of 300 MB that cannot be used, which is copied to Badmail."""
    connector = configure(tmp_path, smtp_port=NOBODY, accounts=[account("sales", NOBODY)])
    with running(connector.command("stage", "pickup")) as process:
        pickup = connector.spool / "Pickup"
        wait_until((connector.spool / "locks" / "pickup.pid").exists, "pickup runs")
        (pickup / "small.eml").write_bytes(b"To: sales@corp.example\r\n\r\nhello\r\n")
        wait_until(lambda: len(connector.messages()) == 1, "the small file is taken")
        cost = Cost(process)
        for name, top in (("good", b"To: sales@corp.example\r\n\r\n"), ("bad", b"From: bob@example.org\r\n\r\n")):
            with (tmp_path / name).open("wb") as file:
                file.write(top)
                for _ in range(300):
                    file.write(os.urandom(MIB))
            (tmp_path / name).rename(pickup / f"{name}.eml")
        wait_until(lambda: len(connector.messages()) == 3, "both are taken", timeout=300)
        rise = cost.rise("two files of 300 MiB in Pickup")
        process.stop()
    assert rise < ALLOWED_OCTETS


def test_a_listing_of_100_000_uidls(tmp_path: Path) -> None:
    with serving(tmp_path, octets=200, leave=True) as (connector, maildrop):
        with idle_fetch(connector, "empty", "large") as process:
            maildrop.count = MANY
            all_new = Cost(process)
            connector.run("retrieve-now", "large")
            wait_until(lambda: len(maildrop.sessions) > SESSIONS, "sessions are held", timeout=300)
            rise_all_new = all_new.rise(f"100,000 messages listed, all new, {SESSIONS} sessions of 500")
        in_one_session(connector)
        with idle_fetch(connector, "empty"):
            poll(connector)
        with idle_fetch(connector, "empty") as process:
            sessions = len(maildrop.sessions)
            nothing_new = Cost(process)
            assert poll(connector) == "large: 0 messages"
            rise_nothing_new = nothing_new.rise("100,000 messages listed, none new")
            maildrop.count += 1
            assert poll(connector) == "large: 1 messages"
            rise_one_new = nothing_new.rise("and in the same process: one new")
    assert [line.split(" ")[0] for line in maildrop.sessions[sessions]] == LISTED_AND_LEFT
    assert rise_all_new < ALLOWED_OCTETS
    assert rise_nothing_new < ALLOWED_OCTETS
    assert rise_one_new < ALLOWED_OCTETS


def test_100_000_uidls_that_another_fetcher_had(tmp_path: Path) -> None:
    with serving(tmp_path, octets=200, leave=True) as (connector, maildrop):
        theirs, ids = tmp_path / "fetchmailrc", tmp_path / "ids"
        theirs.write_text(f"poll 127.0.0.1 proto pop3 port {maildrop.port} user large pass secret keep")
        ids.write_text("".join(f"large@127.0.0.1 {uidl:070}\n" for uidl in range(MANY)))
        imports = ("accounts", "import", "fetchmailrc", str(theirs), "--seen", str(ids), "--yes")
        with idle_fetch(connector, "empty") as process:
            entered = Cost(process)
            assert connector.run(*imports, timeout=600).returncode == 0
            rise_entered = entered.rise("100,000 UIDLs that another fetcher had")
    assert rise_entered < ALLOWED_OCTETS


def test_100_000_uidls_that_are_adopted(tmp_path: Path) -> None:
    with serving(tmp_path, octets=200, leave=True) as (connector, maildrop):
        with idle_fetch(connector, "empty", "large") as process:
            maildrop.count = MANY
            adopted = Cost(process)
            assert connector.run("accounts", "adopt", "large", timeout=600).returncode == 0
            rise_adopted = adopted.rise("100,000 messages adopted")
        with idle_fetch(connector, "empty") as process:
            nothing_new = Cost(process)
            assert poll(connector) == "large: 0 messages"
            rise_nothing_new = nothing_new.rise("100,000 messages adopted before, none new")
    assert rise_adopted < ALLOWED_OCTETS
    assert rise_nothing_new < ALLOWED_OCTETS
