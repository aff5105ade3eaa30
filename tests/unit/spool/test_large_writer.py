"""Large messages: streamed into a file of their own, which has its name only when it is whole and synced."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from spool.disk import Disk
from spool.layout import partial
from spool.message_file import digest, parse_block, parse_origin
from spool.segments import LargeWriter, large_head, read_message
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import arrival

ORIGIN = arrival().origin
CHUNKS = [b"Subject: large\r\n\r\n", b"a" * 100_000, b"", b"b" * 100_000]


def writer(path: Path, disk: Disk | None = None) -> LargeWriter:
    return LargeWriter(path, disk=disk or Disk(), head=large_head(ORIGIN))


def test_a_large_message_is_read_back(tmp_path: Path) -> None:
    large = writer(tmp_path / "m.eml")
    for chunk in CHUNKS:
        large.write(chunk)
    known, place = large.finish()
    assert known == digest(b"".join(CHUNKS))
    assert b"".join(read_message(large.path, place)) == b"".join(CHUNKS)


def test_its_block_names_the_octets_and_the_hash_that_were_known_only_at_the_end(tmp_path: Path) -> None:
    large = writer(tmp_path / "m.eml")
    for chunk in CHUNKS:
        large.write(chunk)
    known, place = large.finish()
    found = parse_block(large.path.read_bytes())
    assert found is not None
    assert (parse_origin(found), found.end) == ((ORIGIN, known.octets, known.sha256), place.block_octets)


def test_it_has_its_name_after_its_bytes_are_synced(tmp_path: Path) -> None:
    disk = FaultyDisk()
    large = writer(tmp_path / "m.eml", disk)
    large.write(b"x")
    disk.steps.clear()
    large.finish()
    assert disk.steps == [
        "overwrite m.eml.tmp",
        "sync m.eml.tmp",
        "rename m.eml.tmp m.eml",
        f"sync {tmp_path.name}/",
    ]


@pytest.mark.parametrize("step", range(1, 7))
def test_a_message_that_was_given_up_leaves_nothing(tmp_path: Path, step: int) -> None:
    """Whichever step up to the renaming fails, the partial file goes; the disk may be full of them else."""
    disk = FaultyDisk()
    disk.fail(step, error=errno.ENOSPC)
    path = tmp_path / "m.eml"
    with pytest.raises(OSError, match="No space"):
        _write_whole(path, disk)
    assert list(tmp_path.iterdir()) == []


def _write_whole(path: Path, disk: Disk) -> None:
    large = writer(path, disk)
    try:
        large.write(b"x")
        large.finish()
    except OSError:
        large.discard()
        raise


def test_a_partial_file_of_earlier_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "m.eml"
    partial(path).write_bytes(b"of a killed process" * 1000)
    large = writer(path)
    large.write(b"x")
    _, place = large.finish()
    assert path.stat().st_size == place.block_octets + 1
