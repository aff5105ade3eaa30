"""SIGKILL in the middle of many files in Pickup: each becomes one message, whatever the stage was at."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from spool import queries
from spool.opening import open_spool
from spool.segments import LARGE_OCTETS
from spool.states import State
from tests.support.connector import Connector, account, configure, letters
from tests.support.processes import Running, wait_until

pytestmark = [pytest.mark.kill, pytest.mark.timeout(240)]

KILLS = 15
FILES_EACH_LIFE = 80
# What one round takes is in custody in a tenth of a second or so.
LONGEST_SECONDS_BEFORE_A_KILL = 0.04
BLOCK = b"X-Sender: <bob@example.org>\r\nX-Receiver: <sales@corp.example>\r\nX-EndOfInjectedXHeaders: 0\r\n"


def drop(pickup: Path, content: bytes) -> None:
    """Put a whole file into Pickup."""
    name = hashlib.sha256(content).hexdigest()
    (pickup / f".{name}").write_bytes(content)
    (pickup / f".{name}").rename(pickup / f"{name}.eml")


def taken(connector: Connector) -> Counter[bytes]:
    """The SHA-256 of every message that is staged."""
    spool = open_spool(connector.spool)
    try:
        return Counter(message.sha256 for message in queries.messages(spool, (State.STAGED,)))
    finally:
        spool.close()


def test_pickup_killed_in_the_middle_of_many_files_takes_each_once(tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED") or random.randrange(1 << 32))
    print(f"KILL_SEED={seed}")  # noqa: T201 - shown when the test fails
    dice = random.Random(seed)
    connector = configure(tmp_path, smtp_port=9, accounts=[account("sales", 9)], pickup={"settle": "0s"})
    open_spool(connector.spool).close()
    pickup = connector.spool / "Pickup"
    sent: list[bytes] = []
    unusable = caught = 0
    for life in range(KILLS):
        mail = [*letters(FILES_EACH_LIFE, prefix=f"life {life}"), b"Subject: large %d\r\n\r\n" % life]
        mail[-1] += b"x" * LARGE_OCTETS
        for message in mail:
            drop(pickup, BLOCK + message)
        drop(pickup, b"From: bob@example.org\r\n\r\nTo nobody, %d.\r\n" % life)
        sent += mail
        unusable += 1
        before = len(list(pickup.iterdir()))
        process = Running(connector.command("stage", "pickup"))
        wait_until(lambda: len(list(pickup.iterdir())) < before, "files are being taken")  # noqa: B023 - called at once
        time.sleep(dice.uniform(0, LONGEST_SECONDS_BEFORE_A_KILL))
        process.kill()
        assert process.output == ""
        caught += any((pickup / ".claim").iterdir())
    assert caught, "no kill came while files were being taken"
    assert connector.run("stage", "pickup", "--once").returncode == 0
    assert [path.name for path in pickup.iterdir()] == [".claim"]
    assert list((pickup / ".claim").iterdir()) == []
    assert taken(connector) == Counter(hashlib.sha256(message).digest() for message in sent)
    states = Counter(message["state"] for message in connector.messages())
    assert states == {"staged": len(sent), "badmail": unusable}
    assert connector.problems() == []
