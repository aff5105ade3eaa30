"""The files alone tell what messages there are, whatever was damaged or written twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spool.layout import Stage
from spool.message_file import arrival_fields, block
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.segments import LARGE_OCTETS, SegmentWriter, read_nonce
from spool.states import State
from spool.verify import verify
from tests.support.rebuilding import (
    bytes_of,
    collect_submitted,
    fetching,
    rebuilt,
    segments,
    submit,
)
from tests.support.spools import (
    LETTER,
    admit,
    arrival,
    letters,
    make_ready,
    make_spool,
    message,
)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = make_spool(tmp_path)
    yield made
    made.close()


def admit_large(spool: Spool) -> tuple[QueueId, bytes]:
    content = b"Subject: large\r\n\r\n" + b"x" * LARGE_OCTETS
    one = arrival(content)
    with fetching(spool) as admission:
        writer = admission.open_large(one.origin)
        writer.write(content)
        digest, place = writer.finish()
        admission.admit([replace(one, digest=digest, content=place)])
    return one.origin.queue_id, content


def test_a_large_message_is_found_again(spool: Spool) -> None:
    queue_id, content = admit_large(spool)
    with rebuilt(spool) as (after, _):
        assert bytes_of(after, message(after, queue_id)) == content
        assert verify(after).problems == ()


def test_a_large_message_whose_bytes_differ_is_damaged(spool: Spool) -> None:
    queue_id, _ = admit_large(spool)
    path = spool.layout.large_message(Stage.FETCH, queue_id)
    path.write_bytes(path.read_bytes()[:-1])
    with rebuilt(spool) as (after, result):
        assert message(after, queue_id).state is State.DAMAGED
        assert result.problems == (f"message {queue_id} is damaged, in {path.name}",)


def test_a_large_file_that_is_no_message_is_set_aside(spool: Spool) -> None:
    queue_id, _ = admit_large(spool)
    path = spool.layout.large_message(Stage.FETCH, queue_id)
    path.write_bytes(b"something else")
    with rebuilt(spool) as (after, result):
        assert result.problems == (f"{path.name} is not a message; moved to damaged/{path.name}",)
        assert (after.layout.damaged / path.name).read_bytes() == b"something else"


def test_a_damaged_message_is_told_of_and_the_others_go_on(spool: Spool) -> None:
    first, second = letters(2)
    admit(spool, first, second)
    [path] = segments(spool.layout)
    path.write_bytes(path.read_bytes().replace(b"Number 1.", b"Number x."))
    with rebuilt(spool) as (after, result):
        assert result.states == {State.DAMAGED: 1, State.STAGED: 1}
        assert message(after, first.origin.queue_id).state is State.DAMAGED
        assert any(first.origin.queue_id in problem for problem in result.problems)


def test_octets_that_are_no_record_are_kept_aside(spool: Spool) -> None:
    """Their segment will be collected when no other message in it is needed."""
    first, second = letters(2)
    admit(spool, first, second)
    [path] = segments(spool.layout)
    octets = bytearray(path.read_bytes())
    nonce = read_nonce(path) or b""
    octets[octets.index(nonce + first.origin.queue_id.encode()) + len(nonce)] ^= 1
    path.write_bytes(octets)
    with rebuilt(spool) as (after, result):
        assert result.states == {State.STAGED: 1}
        [kept] = after.layout.damaged.iterdir()
        assert b"Number 1." in kept.read_bytes()
        assert kept.name in result.problems[0]


def test_a_segment_whose_nonce_is_lost_is_kept_aside(spool: Spool) -> None:
    admit(spool, *letters(1))
    [path] = segments(spool.layout)
    path.write_bytes(path.read_bytes().replace(read_nonce(path) or b"", b"x" * 16))
    with rebuilt(spool) as (after, result):
        assert result.messages == 0
        assert b"Number 1." in next(after.layout.damaged.iterdir()).read_bytes()


def test_an_imitation_of_our_framing_is_not_taken_for_a_record(spool: Spool) -> None:
    """A sender who has seen one of our segments cannot know the nonce of the next."""
    admit(spool, *letters(1))
    seen = segments(spool.layout)[0].read_bytes()
    [forged] = admit(spool, arrival(b"Subject: forged\r\n\r\n" + seen, uidl="forged"))
    segments(spool.layout)[0].unlink()
    with rebuilt(spool) as (after, result):
        assert result.states == {State.STAGED: 1}
        assert message(after, forged.queue_id).octets == len(b"Subject: forged\r\n\r\n" + seen)


def test_of_several_records_the_newest_whole_one_stands_for_the_message(spool: Spool) -> None:
    one = arrival()
    admit(spool, one)
    record = (one.origin.queue_id, block(arrival_fields(one)), LETTER)
    for serial in (2, 3):
        writer = SegmentWriter(spool.layout.segment(Stage.FETCH, serial), bytes(15) + bytes([serial]), disk=spool.disk)
        writer.append([record])
        writer.close()
    newest = spool.layout.segment(Stage.FETCH, 3)
    newest.write_bytes(newest.read_bytes().replace(b"Hello.", b"Hallo."))
    with rebuilt(spool) as (after, result):
        assert result.states == {State.STAGED: 1}
        assert bytes_of(after, message(after, one.origin.queue_id)) == one.content


def test_no_serial_is_given_twice(spool: Spool) -> None:
    """A journal line stays as long as a segment on disk may hold a record of its message, and serials tell."""
    admit(spool, *letters(1))
    [path] = segments(spool.layout)
    path.rename(spool.layout.segment(Stage.FETCH, 41))
    with rebuilt(spool) as (after, _), fetching(after) as admission:
        admission.admit([arrival(b"new", uidl="new")])
        assert [one.name for one in segments(after.layout)][-1] == "fetch-0000000043.seg"


def test_a_journal_remembers_serials_whose_segments_are_gone(spool: Spool) -> None:
    make_ready(spool, *letters(1))
    submit(spool, "a")
    collect_submitted(spool)
    with rebuilt(spool) as (after, _), fetching(after) as admission:
        admission.admit([arrival(b"new", uidl="new")])
        assert [one.name for one in segments(after.layout)] == ["fetch-0000000002.seg"]


def test_a_damaged_journal_line_is_told_of(spool: Spool) -> None:
    make_ready(spool, *letters(2))
    submit(spool, "a")
    path = spool.layout.journal(Stage.SUBMIT)
    path.write_bytes(path.read_bytes().replace(b"submitted", b"submitteD", 1))
    with rebuilt(spool) as (_, result):
        assert result.problems == ("journal/submit.journal: line 3 is damaged",)


def test_what_rebuild_does_not_know_it_leaves_and_tells(spool: Spool) -> None:
    (spool.layout.segments / "notes.txt").write_text("mine")
    admit(spool, arrival())
    with rebuilt(spool) as (after, result):
        assert result.problems == ("segments/notes.txt is not a segment",)
        assert (after.layout.segments / "notes.txt").exists()
