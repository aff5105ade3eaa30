"""A message as it arrives: what is held in memory does not grow with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spool.admission import Admission
from spool.envelope import Origin, Uidl
from spool.layout import Stage
from spool.message_file import digest
from spool.opening import take_stage
from spool.queue_id import new_queue_id
from spool.segments import LARGE_OCTETS
from stages.fetch.custody import Custody
from stages.fetch.incoming import Incoming
from stages.fetch.proof import HEAD_OCTETS
from stages.runner import Mode, Runtime
from tests.support.faulty_disk import FaultyDisk
from tests.support.settings import default_settings
from tests.support.spools import make_spool

PIECE = 64 * 1024


class WatchedDisk(FaultyDisk):
    """Notes how much is written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[int] = []

    def write(self, fd: int, data: bytes) -> None:
        self.writes.append(len(data))
        super().write(fd, data)


def origin() -> Origin:
    return Origin(
        queue_id=new_queue_id(), account="sales", uidl=Uidl(b"u"), peer="x", fetched_at=datetime(2026, 1, 1, tzinfo=UTC)
    )


@contextmanager
def custody(directory: Path, disk: FaultyDisk, *, looks: list[int]) -> Iterator[Custody]:
    spool = make_spool(directory, disk=disk)
    with take_stage(spool, Stage.FETCH) as tenure:
        runtime = Runtime(default_settings(directory), spool, tenure=tenure, mode=Mode.ONCE)
        admission = Admission(spool, tenure)
        try:
            yield Custody(runtime, admission, on_write=lambda: looks.append(1))
        finally:
            admission.close()
            runtime.close()


def test_a_message_of_50_mb_is_written_as_it_comes_and_the_disk_is_looked_at_each_time(tmp_path: Path) -> None:
    disk, looks = WatchedDisk(), list[int]()

    async def receive() -> Incoming:
        with custody(tmp_path, disk, looks=looks) as opened:
            incoming = Incoming(origin(), opened, objection=None)
            for _ in range(50_000_000 // PIECE):
                await incoming.feed(b"x" * PIECE)
            await incoming.digest()
            await incoming.discard()
            return incoming

    incoming = asyncio.run(receive())
    assert max(disk.writes) <= LARGE_OCTETS + 2 * PIECE
    assert sum(disk.writes) >= incoming.octets == 50_000_000 // PIECE * PIECE
    assert len(looks) >= len([octets for octets in disk.writes if octets > PIECE])
    assert len(incoming.head) == HEAD_OCTETS


@pytest.mark.parametrize("octets", [10, LARGE_OCTETS - 1, LARGE_OCTETS + 1, 3 * LARGE_OCTETS])
def test_head_and_digest_are_those_of_the_message_whatever_its_size(octets: int, tmp_path: Path) -> None:
    content = b"Subject: x\r\n\r\n".ljust(octets, b"y")

    async def receive() -> None:
        with custody(tmp_path, FaultyDisk(), looks=[]) as opened:
            incoming = Incoming(origin(), opened, objection=None)
            for start in range(0, len(content), PIECE):
                await incoming.feed(content[start : start + PIECE])
            assert await incoming.digest() == digest(content)
            assert incoming.head == content[:HEAD_OCTETS]
            assert incoming.is_large is (len(content) > LARGE_OCTETS)
            await incoming.discard()

    asyncio.run(receive())


def test_a_cancelled_receiver_leaves_no_file_behind(tmp_path: Path) -> None:
    """A session's time may run out while the file is opened."""

    async def receive() -> list[Path]:
        with custody(tmp_path, FaultyDisk(), looks=[]) as opened:
            incoming = Incoming(origin(), opened, objection=None)
            feeding = asyncio.ensure_future(incoming.feed(b"x" * (LARGE_OCTETS + 1)))
            await asyncio.sleep(0)
            feeding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await feeding
            await incoming.discard()
            return list((tmp_path / "spool" / "large").iterdir())

    assert asyncio.run(receive()) == []
