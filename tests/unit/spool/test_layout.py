"""Paths: all below the spool, each name of its own."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from spool.layout import Layout, Stage, partial, queue_id_of
from spool.queue_id import QueueId

LAYOUT = Layout(Path("/spool"))
ID = QueueId("01j0e5v3xk7m2q9r4s")
FILES = [
    LAYOUT.index,
    LAYOUT.badmail_message(ID),
    LAYOUT.pickup_message(ID),
    LAYOUT.pickup_claim(ID),
    LAYOUT.journal("command"),
    *(LAYOUT.segment(stage, 1) for stage in Stage),
    *(LAYOUT.large_message(stage, ID) for stage in Stage),
    *(LAYOUT.journal(stage) for stage in Stage),
    *(LAYOUT.lock(stage) for stage in Stage),
    *(LAYOUT.pid(stage) for stage in Stage),
    *(LAYOUT.doorbell(stage) for stage in Stage),
]


def test_no_two_things_have_one_name() -> None:
    names = [*FILES, *map(partial, FILES)]
    assert len(set(names)) == len(names)


def test_everything_lies_in_a_directory_that_is_made_at_the_start() -> None:
    assert {path.parent for path in FILES} <= set(LAYOUT.directories)


def test_directories_are_made_after_their_parents() -> None:
    order = LAYOUT.directories
    assert all(order.index(path.parent) < order.index(path) for path in order[1:])


def test_segments_sort_by_serial() -> None:
    """Up to ten digits, so that a listing shows them in the order in which they were written."""
    paths = [LAYOUT.segment(Stage.FETCH, serial) for serial in (2, 10, 9_999_999_999)]
    assert all(first.name < second.name for first, second in itertools.pairwise(paths))


@pytest.mark.parametrize(
    "path", [LAYOUT.badmail_message(ID), LAYOUT.pickup_message(ID), LAYOUT.large_message(Stage.FETCH, ID)]
)
def test_a_message_file_carries_its_queue_id_in_its_name(path: Path) -> None:
    assert queue_id_of(path) == ID


@pytest.mark.parametrize("name", ["letter.eml", f"{ID}.eml.tmp", ID, f"{ID}.EML", ".eml", f"../{ID[:-1]}.eml"])
def test_any_other_name_carries_none(name: str) -> None:
    assert queue_id_of(Path("/spool/Badmail") / name) is None


def test_the_partial_name_of_a_message_is_no_message() -> None:
    """What is not whole must not be taken for mail."""
    assert queue_id_of(partial(LAYOUT.badmail_message(ID))) is None
