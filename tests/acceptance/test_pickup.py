"""Pickup as people use it: files dropped by `cp` into a running connector, and things that are no message files."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import SmtpSink
from tests.support.connector import Connector, account, configure, letters, without_our_received
from tests.support.processes import Running, running, wait_until

FILES = 1_000
COPIES_AT_ONCE = 8
SLOW_EVERY = 10
STALLED_EVERY = 100
# Longer than files settle: a writer that stalls so long is known by nothing but that he has the file open.
STALL_SECONDS = 2.0
BLOCK = b"X-Sender: <bob@example.org>\r\nX-Receiver: <sales@corp.example>\r\nX-EndOfInjectedXHeaders: 0\r\n"
SECRET = b"To: sales@corp.example\r\n\r\nroot:$6$what-nobody-may-read\r\n"


@contextmanager
def connector(directory: Path) -> Iterator[tuple[Connector, SmtpSink]]:
    """A connector with an empty maildrop and a relay that takes everything."""
    with serving(Pop3Server({"sales": ("secret", [])})) as pop3, serving(SmtpSink()) as sink:
        mailbox = account("sales", pop3.port, interval="24h")
        yield configure(directory, smtp_port=sink.port, accounts=[mailbox]), sink


@contextmanager
def run(one: Connector) -> Iterator[Running]:
    """The connector, running, with a Pickup to drop files into."""
    with running(one.command("run")) as process:
        wait_until((one.spool / "locks" / "pickup.pid").exists, "pickup runs")
        yield process


def copy(source: Path, target: Path, *, number: int, dice: random.Random) -> None:
    """Copy a file by `cp`: at once, in pieces as from a slow disk, or with a long stop in the middle."""
    if number % SLOW_EVERY:
        subprocess.run(["cp", source, target], check=True)
        return
    content = source.read_bytes()
    pauses = [STALL_SECONDS] if number % STALLED_EVERY == 0 else [dice.uniform(0, 0.1) for _ in range(3)]
    with subprocess.Popen(["cp", "/dev/stdin", target], stdin=subprocess.PIPE) as cp:
        assert cp.stdin is not None
        for place, pause in enumerate(pauses):
            cp.stdin.write(content[place * 40 : (place + 1) * 40])
            cp.stdin.flush()
            time.sleep(pause)
        cp.stdin.write(content[len(pauses) * 40 :])
    assert cp.returncode == 0


def test_1000_files_dropped_by_cp_at_random_speeds_are_delivered_each_once(tmp_path: Path) -> None:
    dice = random.Random(5)
    mail = letters(FILES, prefix="dropped")
    sources = tmp_path / "sources"
    sources.mkdir()
    for number, message in enumerate(mail):
        (sources / f"{number}.eml").write_bytes(BLOCK + message)
    with connector(tmp_path) as (one, sink):
        with run(one) as process, ThreadPoolExecutor(COPIES_AT_ONCE) as copiers:
            pickup = one.spool / "Pickup"
            copies = [
                copiers.submit(copy, sources / f"{number}.eml", pickup / f"{number}.eml", number=number, dice=dice)
                for number in dice.sample(range(FILES), FILES)
            ]
            for done in copies:
                done.result()
            wait_until(lambda: len(sink.accepted) >= FILES, "all are delivered")
            assert process.stop() == 0
        assert Counter(without_our_received(message.content) for message in sink.accepted) == Counter(mail)
        assert [path.name for path in pickup.iterdir()] == [".claim"]
        assert Counter(message["state"] for message in one.messages()) == {"submitted": FILES}
        assert one.problems() == []


def put_what_is_no_message(pickup: Path, secret: Path) -> list[str]:
    """Everything but a message file, each with its name; answers the names."""
    (pickup / "link.eml").symlink_to(secret)
    (pickup / "hard.eml").hardlink_to(secret)
    (pickup / "zero.eml").symlink_to("/dev/zero")
    (pickup / "nowhere.eml").symlink_to("/nowhere")
    os.mkfifo(pickup / "fifo.eml")
    (pickup / "folder.eml").mkdir()
    (pickup / "folder.eml" / "inside.eml").write_bytes(SECRET)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(pickup / "socket.eml"))
    with (pickup / "huge.eml").open("wb") as huge:
        # Of holes alone, and larger than what is free.
        huge.write(BLOCK)
        # More than any disk has free, also when other files go meanwhile.
        huge.truncate(shutil.disk_usage(pickup).total + 1)
    names = ["link", "hard", "zero", "nowhere", "fifo", "folder", "socket", "huge"]
    if os.geteuid() == 0:
        os.mknod(pickup / "device.eml", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
        (pickup / "foreign.eml").write_bytes(SECRET)
        os.chown(pickup / "foreign.eml", 12345, -1)
        names += ["device", "foreign"]
    return [f"Pickup/{name}.eml" for name in names]


def left(one: Connector) -> Counter[object]:
    """How often events told of each file that it is left."""
    told = one.run("events", "--json", "--level", "warning").stdout.splitlines()
    found = [line for line in map(_loads, told) if line["name"] == "LeftInPickup"]
    return Counter(fields["file"] for line in found if isinstance(fields := line["fields"], dict))


def deliver_one_more(one: Connector, sink: SmtpSink) -> None:
    """Drop a message and see it delivered: pickup has looked several times then."""
    before = len(sink.accepted)
    (one.spool / "Pickup" / "good.eml").write_bytes(BLOCK + b"From: bob@example.org\r\n\r\nhello\r\n")
    wait_until(lambda: len(sink.accepted) > before, "the message is delivered")


def test_what_is_no_message_file_is_left_with_one_event_and_nothing_of_it_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_bytes(SECRET)
    with connector(tmp_path) as (one, sink):
        with run(one) as process:
            pickup = one.spool / "Pickup"
            names = put_what_is_no_message(pickup, secret)
            with (pickup / "half.eml").open("wb") as half:
                half.write(BLOCK + b"From: bob@example.org\r\n\r\nfirst half,")
                half.flush()
                wait_until(lambda: left(one) == Counter(names), "all are told of")
                deliver_one_more(one, sink)
                deliver_one_more(one, sink)
                half.write(b" second half\r\n")
            wait_until(lambda: len(sink.accepted) == 3, "the half-written one is delivered whole")
            assert process.stop() == 0
        assert sink.accepted[-1].content.endswith(b"first half, second half\r\n")
        assert left(one) == Counter(names)
        assert sorted(path.name for path in pickup.iterdir()) == sorted(
            [".claim", *(name.removeprefix("Pickup/") for name in names)]
        )
        outside = [path for path in one.spool.rglob("*") if path.is_file() and pickup not in path.parents]
        assert [path for path in outside if b"what-nobody-may-read" in path.read_bytes()] == []
        assert list((pickup / ".claim").iterdir()) == []
        # Nor does a drain wait for any of them.
        assert one.drain().returncode == 0
        assert len(one.messages()) == 3


@pytest.mark.parametrize("stays", ["zero bytes", "no recipient"])
def test_a_file_that_cannot_be_used_is_in_badmail_with_the_reason(tmp_path: Path, stays: str) -> None:
    with connector(tmp_path) as (one, _):
        assert one.drain().returncode == 0
        content = b"" if stays == "zero bytes" else b"From: bob@example.org\r\n\r\nhello\r\n"
        (one.spool / "Pickup" / "x.eml").write_bytes(content)
        assert one.drain().returncode == 0
        (reason,) = one.reasons()
        wanted = "the file is empty" if stays == "zero bytes" else "no recipient: it has no X-Receiver line"
        assert str(reason["text"]).startswith(wanted)


def test_pickup_add_delivers_from_a_script(tmp_path: Path) -> None:
    with connector(tmp_path) as (one, sink):
        assert one.drain().returncode == 0
        message = b"From: bob@example.org\r\nTo: someone@elsewhere.example\r\n\r\nhello\r\n"
        (tmp_path / "x").write_bytes(message)
        done = subprocess.run(
            ["sh", "-c", 'cat "$0" | "$@" pickup add - "$0" --to sales@corp.example', tmp_path / "x", *one.command()],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert one.drain().returncode == 0
        assert [without_our_received(sent.content) for sent in sink.accepted] == [message] * 2
        assert {sent.recipients for sent in sink.accepted} == {("sales@corp.example",)}


def _loads(line: str) -> dict[str, object]:
    found = json.loads(line)
    assert isinstance(found, dict)
    return found
