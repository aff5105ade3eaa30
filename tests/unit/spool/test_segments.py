"""Segments: what was synced is read back, and nothing that a sender wrote is ever taken for a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.disk import Disk
from spool.message_file import arrival_fields, block
from spool.queue_id import QueueId
from spool.segments import (
    HEADER_OCTETS,
    READ_OCTETS,
    Record,
    SegmentWriter,
    read_block,
    read_message,
    read_nonce,
    scan,
)
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import arrival

NONCE = bytes(range(16))
OTHER_NONCE = bytes(16)
BODIES = st.lists(st.binary(max_size=60), min_size=1, max_size=5)
Written = tuple[QueueId, bytes, bytes]


def record(content: bytes) -> Written:
    one = arrival(content)
    return one.origin.queue_id, block(arrival_fields(one)), content


def write(path: Path, records: Sequence[Written], nonce: bytes = NONCE) -> None:
    path.unlink(missing_ok=True)
    writer = SegmentWriter(path, nonce, disk=Disk())
    writer.append(records)
    writer.close()


def contents(path: Path, start: int = HEADER_OCTETS) -> list[Written]:
    """All whole records, as they were written."""
    return [
        (one.queue_id, read_block(path, one.place), b"".join(read_message(path, one.place)))
        for one in scan(path, NONCE, start=start)
        if isinstance(one, Record)
    ]


@given(bodies=BODIES)
def test_what_was_appended_is_found_again(tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.seg"
    records = [record(body) for body in bodies]
    write(path, records)
    assert contents(path) == records


def test_a_place_leads_to_the_message(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "a.seg", NONCE, disk=Disk())
    records = [record(b"one"), record(b""), record(b"three" * READ_OCTETS)]
    places = writer.append(records[:2]) + writer.append(records[2:])
    assert [b"".join(read_message(writer.path, place)) for place in places] == [message for _, _, message in records]
    assert [read_block(writer.path, place) for place in places] == [head for _, head, _ in records]


def test_a_batch_is_synced_once_before_its_places_are_known(tmp_path: Path) -> None:
    """Group commit: one fdatasync for all sessions' messages."""
    disk = FaultyDisk()
    writer = SegmentWriter(tmp_path / "a.seg", NONCE, disk=disk)
    disk.steps.clear()
    writer.append([record(b"one"), record(b"two")])
    assert disk.steps == ["write a.seg", "sync a.seg"]


def test_a_new_segment_has_its_name_synced_before_anything_is_appended(tmp_path: Path) -> None:
    disk = FaultyDisk()
    SegmentWriter(tmp_path / "a.seg", NONCE, disk=disk)
    assert disk.steps == ["create a.seg", "write a.seg", f"sync {tmp_path.name}/"]


def test_an_existing_segment_is_never_appended_to(tmp_path: Path) -> None:
    write(tmp_path / "a.seg", [record(b"one")])
    with pytest.raises(FileExistsError):
        SegmentWriter(tmp_path / "a.seg", OTHER_NONCE, disk=Disk())


@given(bodies=BODIES, cut=st.integers(min_value=1, max_value=400))
def test_a_torn_tail_costs_only_what_was_torn(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "torn.seg"
    records = [record(body) for body in bodies]
    write(path, records)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(HEADER_OCTETS, len(whole) - cut)])
    found = contents(path)
    assert found == records[: len(found)]
    last = [one for one in scan(path, NONCE) if not isinstance(one, Record)]
    assert bool(last) == (path.stat().st_size not in _ends(records))


def _ends(records: Sequence[Written]) -> set[int]:
    ends = {HEADER_OCTETS}
    for _, head, message in records:
        ends.add(max(ends) + 54 + len(head) + len(message))
    return ends


@given(bodies=BODIES, position=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_a_flipped_bit_costs_one_record_at_most(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], position: int, bit: int
) -> None:
    """Reading resumes at the next true frame; the message itself is checked by its SHA-256."""
    path = tmp_path_factory.getbasetemp() / "flipped.seg"
    records = [record(body) for body in bodies]
    write(path, records)
    data = bytearray(path.read_bytes())
    data[HEADER_OCTETS + position % (len(data) - HEADER_OCTETS)] ^= 1 << bit
    path.write_bytes(data)
    found = {queue_id for queue_id, _, _ in contents(path)}
    assert found <= {queue_id for queue_id, _, _ in records}
    assert len(found) >= len(records) - 1


def imitation(forged: Path, nonce: bytes) -> bytes:
    """A whole segment of a forged message, as a sender who guesses the nonce would mail it."""
    write(forged, [record(b"forged")], nonce)
    return forged.read_bytes()


@pytest.mark.parametrize("damage", ["none", "frame", "block"])
def test_a_forged_record_in_a_message_is_never_taken_for_a_record(tmp_path: Path, damage: str) -> None:
    """Also where the frame around it is damaged, so that reading looks for the next one inside the message."""
    path = tmp_path / "a.seg"
    records = [record(b"before"), record(imitation(tmp_path / "forged.seg", OTHER_NONCE)), record(b"after")]
    write(path, records)
    data = path.read_bytes()
    place = next(one for one in scan(path, NONCE) if isinstance(one, Record) and one.queue_id == records[1][0]).place
    flipped = {"none": None, "frame": place.offset - 20, "block": place.offset + 5}[damage]
    if flipped is not None:
        path.write_bytes(data[:flipped] + bytes([data[flipped] ^ 1]) + data[flipped + 1 :])
    expected = records if damage == "none" else [records[0], records[2]]
    assert contents(path) == expected


def test_octets_that_are_no_record_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.seg"
    write(path, [record(b"one")])
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"garbage")
    assert list(scan(path, NONCE))[-1] == (end, end + 7)


@pytest.mark.parametrize("hole", [1024 * 1024 + edge for edge in range(-60, 61)] + [3 * 1024 * 1024 + 7])
def test_a_record_behind_much_damage_is_found(tmp_path: Path, hole: int) -> None:
    """Reading goes on in chunks of 1 MiB; a frame may lie across two."""
    path = tmp_path / "a.seg"
    write(path, [record(b"one")])
    first = path.read_bytes()
    path.write_bytes(first[:HEADER_OCTETS] + bytes(hole) + first[HEADER_OCTETS:])
    assert [message for _, _, message in contents(path)] == [b"one"]


@given(st.binary(max_size=400))
def test_reading_a_segment_is_total(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.seg"
    path.write_bytes(data)
    assert contents(path, start=0) == []
    read_nonce(path)


@pytest.mark.parametrize("damaged", [(), (0,), (30,), (60,), (0, 60)])
def test_the_nonce_survives_the_loss_of_either_copy_or_both(tmp_path: Path, damaged: tuple[int, ...]) -> None:
    """It stands in both halves of the header and in each frame."""
    path = tmp_path / "a.seg"
    write(path, [record(b"one")])
    data = bytearray(path.read_bytes())
    for position in damaged:
        data[position] ^= 1
    path.write_bytes(data)
    assert read_nonce(path) == NONCE


def test_a_segment_without_any_true_nonce_has_none(tmp_path: Path) -> None:
    path = tmp_path / "a.seg"
    path.write_bytes(b"x" * 1000)
    assert read_nonce(path) is None


def test_a_message_that_ends_too_soon_says_so(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "a.seg", NONCE, disk=Disk())
    one = record(b"whole message")
    (place,) = writer.append([one])
    path = writer.path
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(EOFError, match="3 octets too soon"):
        b"".join(read_message(path, place))


def test_a_segment_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "a.seg", [record(b"one")])
    (tmp_path / "b.seg").symlink_to(tmp_path / "a.seg")
    with pytest.raises(OSError, match="symbolic links"):
        list(scan(tmp_path / "b.seg", NONCE))
