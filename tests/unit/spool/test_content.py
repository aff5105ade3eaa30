"""Reading a message back: nothing whose SHA-256 differs is called good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spool.content import badmail_pieces, head, injected_block, load
from spool.errors import Damaged
from spool.layout import Stage
from spool.opening import Spool
from spool.rows import Stored
from tests.support.spools import LETTER, admit, arrival, make_spool, message


def stored(spool: Spool) -> Stored:
    (receipt,) = admit(spool, arrival())
    found = message(spool, receipt.queue_id).stored
    assert found is not None
    return found


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_message_that_is_not_what_was_admitted_is_damaged(tmp_path: Path, damage: str) -> None:
    spool = make_spool(tmp_path)
    found = stored(spool)
    octets = found.path.read_bytes()
    if damage == "missing":
        found.path.unlink()
    else:
        found.path.write_bytes(octets[:-1] + (b"?" if damage == "changed" else b""))
    with pytest.raises(Damaged) as caught:
        load(spool, found)
    assert caught.value.queue_id == found.queue_id


def test_the_head_of_a_message_is_read_without_the_rest(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    found = stored(spool)
    assert head(spool, found, octets=10) == LETTER[:10]
    assert head(spool, found, octets=10_000) == LETTER


def test_the_block_in_front_of_it_is_read_by_itself(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    octets = injected_block(spool, stored(spool))
    assert octets.startswith(b"X-CreatedBy: POP3Connector\r\n")
    assert octets.count(b"X-EndOfInjectedXHeaders") == 1


def test_a_message_that_was_moved_meanwhile_is_found_in_its_new_place(tmp_path: Path) -> None:
    """A reader that finds no file reads the row once more before it calls that damage."""
    spool = make_spool(tmp_path)
    present = stored(spool)
    before = replace(present, path=spool.layout.segment(Stage.FETCH, 999), place=replace(present.place, offset=1))
    assert load(spool, before) == LETTER
    assert injected_block(spool, before) == injected_block(spool, present)


def test_a_missing_badmail_file_is_damage_and_not_an_empty_message(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    with pytest.raises(Damaged):
        list(badmail_pieces(spool, arrival().origin.queue_id, start=0))
