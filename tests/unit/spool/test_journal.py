"""The journal: numbers rise, what was synced stays, and damage costs one line."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.disk import Disk
from spool.errors import SpoolFailed
from spool.journal import Journal, Outcome, damaged_lines, lines_by_queue_id, read_journal
from tests.support.faulty_disk import FaultyDisk

ID = "01j0e5v3xk7m2q9r4s"
OTHER = "01j0e5v3xk7m2q9r4t"


def journal(path: Path, *, disk: Disk | None = None, floor: int = 0) -> Journal:
    return Journal(path, disk=disk or Disk(), now_ms=lambda: 1767225600000, floor=floor)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "submit.journal"


def numbers(path: Path) -> list[int]:
    return [line.number for line in read_journal(path).lines]


def test_a_line_is_read_back(path: Path) -> None:
    opened = journal(path)
    opened.serial = 7
    opened.note(Outcome.SUBMITTED, ID, details={"reply": "250 2.0.0 ok \u20ac\r\n", "claim": 3})
    (line,) = read_journal(path).lines
    assert (line.outcome, line.queue_id, line.serial, line.at) == (Outcome.SUBMITTED, ID, 7, 1767225600000)
    assert line.details == {"reply": "250 2.0.0 ok \u20ac\r\n", "claim": 3}


def test_numbers_rise_over_every_opening_and_above_what_the_index_has_applied(path: Path) -> None:
    first = journal(path)
    given = [first.note(Outcome.DOT, ID, details={}) for _ in range(3)]
    first.close()
    second = journal(path)
    given.append(second.note(Outcome.DOT, ID, details={}))
    second.close()
    third = journal(path, floor=100)
    given.append(third.note(Outcome.DOT, ID, details={}))
    assert given == [1, 2, 3, 4, 101]
    assert numbers(path) == given


@given(cut=st.integers(min_value=1, max_value=200))
def test_a_torn_tail_costs_only_the_lines_it_tore(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "torn.journal"
    path.unlink(missing_ok=True)
    opened = journal(path)
    for _ in range(3):
        opened.note(Outcome.DOT, ID, details={"claim": 1})
    opened.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    kept = whole[:-cut].count(b"}]")
    assert numbers(path) == [1, 2, 3][: max(0, kept - 1)]


def test_a_damaged_line_costs_itself_alone(path: Path) -> None:
    opened = journal(path)
    for _ in range(3):
        opened.note(Outcome.DOT, ID, details={"claim": 1})
    data = path.read_bytes()
    position = data.index(b"[2,") + 1
    path.write_bytes(data[:position] + b"9" + data[position + 1 :])
    assert numbers(path) == [1, 3]
    assert list(damaged_lines(path)) == [3]


def test_a_torn_last_line_is_no_damage(path: Path) -> None:
    """A kill in the middle of a write is ordinary."""
    opened = journal(path)
    opened.note(Outcome.DOT, ID, details={})
    path.write_bytes(path.read_bytes()[:-5])
    assert list(damaged_lines(path)) == []


@given(st.binary(max_size=300))
def test_reading_is_total(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.journal"
    path.write_bytes(data)
    assert read_journal(path).lines == ()


def test_a_missing_journal_is_an_empty_one(path: Path) -> None:
    contents = read_journal(path)
    assert (contents.head, contents.last, contents.lines) == (0, 0, ())
    assert list(damaged_lines(path)) == []


def test_a_line_is_written_when_noted_and_synced_once_for_all(path: Path) -> None:
    """A killed process loses nothing that was noted; a power cut loses what was not synced."""
    disk = FaultyDisk()
    opened = journal(path, disk=disk)
    disk.steps.clear()
    opened.note(Outcome.DOT, ID, details={})
    opened.note(Outcome.DOT, OTHER, details={})
    opened.sync()
    assert disk.steps == ["write submit.journal", "write submit.journal", "sync submit.journal"]


def test_opening_writes_the_lines_of_an_earlier_life_anew(path: Path) -> None:
    """A sync may have failed then: what is read now may be page cache that was never written."""
    journal(path).note(Outcome.DOT, ID, details={})
    disk = FaultyDisk()
    journal(path, disk=disk)
    assert disk.steps[-4:-1] == [
        "sync submit.journal.tmp",
        "rename submit.journal.tmp submit.journal",
        f"sync {path.parent.name}/",
    ]
    assert numbers(path) == [1]


@pytest.mark.parametrize("step", [1, 2])
def test_after_a_failed_step_no_line_is_taken_any_more(path: Path, step: int) -> None:
    """The kernel may have dropped the pages and would answer success the next time."""
    disk = FaultyDisk()
    opened = journal(path, disk=disk)
    disk.fail(step)
    with pytest.raises(OSError, match="Input/output"):
        _note_and_sync(opened)
    with pytest.raises(SpoolFailed):
        opened.note(Outcome.DOT, ID, details={})
    with pytest.raises(SpoolFailed):
        opened.sync()


def _note_and_sync(opened: Journal) -> None:
    opened.note(Outcome.DOT, ID, details={})
    opened.sync()


def test_half_a_line_of_a_full_disk_does_not_spoil_the_next_life(path: Path) -> None:
    disk = FaultyDisk()
    opened = journal(path, disk=disk)
    opened.note(Outcome.DOT, ID, details={})
    disk.fail(1, error=errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        opened.note(Outcome.DOT, ID, details={})
    opened.close()
    journal(path).note(Outcome.DOT, OTHER, details={})
    assert [line.queue_id for line in read_journal(path).lines] == [ID, OTHER]


def test_compacting_drops_what_may_go_and_remembers_how_far(path: Path) -> None:
    """A compacted head that is above what the index has applied shows that the index is an older one."""
    opened = journal(path)
    for queue_id in (ID, OTHER, ID, OTHER):
        opened.note(Outcome.DOT, queue_id, details={})
    opened.compact(lambda line: line.queue_id == ID)
    contents = read_journal(path)
    assert [line.number for line in contents.lines] == [2, 4]
    assert (contents.head, contents.last) == (3, 4)
    assert opened.note(Outcome.DOT, ID, details={}) == 5


def test_numbers_rise_also_when_every_line_was_compacted_away(path: Path) -> None:
    opened = journal(path)
    opened.note(Outcome.DOT, ID, details={})
    opened.compact(lambda _: True)
    opened.close()
    assert journal(path).note(Outcome.DOT, ID, details={}) == 2


def test_a_failed_compaction_loses_no_line(path: Path) -> None:
    disk = FaultyDisk()
    opened = journal(path, disk=disk)
    opened.note(Outcome.DOT, ID, details={})
    opened.note(Outcome.DOT, OTHER, details={})
    disk.fail(3, error=errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        opened.compact(lambda line: line.queue_id == ID)
    assert numbers(path) == [1, 2]


def test_nothing_is_rewritten_where_nothing_may_go(path: Path) -> None:
    disk = FaultyDisk()
    opened = journal(path, disk=disk)
    opened.note(Outcome.DOT, ID, details={})
    disk.steps.clear()
    opened.compact(lambda _: False)
    assert disk.steps == []


def test_lines_are_grouped_by_message_in_their_order(path: Path) -> None:
    opened = journal(path)
    for queue_id in (ID, OTHER, ID):
        opened.note(Outcome.DOT, queue_id, details={})
    grouped = lines_by_queue_id(read_journal(path).lines)
    assert {queue_id: [line.number for line in lines] for queue_id, lines in grouped.items()} == {
        ID: [1, 3],
        OTHER: [2],
    }
