"""Replay: committed first, then a file in Pickup; once; finished whoever dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from spool.badmail import leading_block
from spool.disk import Disk
from spool.errors import Damaged, ForbiddenTransition, NotFound, SpoolFailed
from spool.locks import COMMANDS, hold
from spool.message_file import parse_block, parse_envelope
from spool.opening import Spool
from spool.queue_id import QueueId, new_queue_id
from spool.replay import begin_replay, finish_replays
from tests.support.dropping import NO_FILES, put_no_file, refused
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import LETTER, admit, arrival, make_spool, message


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path)


def envelope(spool: Spool, child: QueueId) -> tuple[str | None, tuple[str, ...]]:
    found = parse_block(spool.layout.pickup_message(child).read_bytes())
    assert found is not None
    return parse_envelope(found)


def test_the_file_in_pickup_has_the_envelope_of_the_badmail_file_and_the_message(spool: Spool) -> None:
    child = begin_replay(spool, refused(spool))
    assert envelope(spool, child) == ("alice@example.org", ("sales@corp.example",))
    assert spool.layout.pickup_message(child).read_bytes().endswith(b"\r\n" + LETTER)


def test_the_file_names_the_message_that_it_replays(spool: Spool) -> None:
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    assert f"X-POP3Connector-Queue-Id: {queue_id}\r\n".encode() in spool.layout.pickup_message(child).read_bytes()


def test_the_new_id_and_the_envelope_stand_in_the_row(spool: Spool) -> None:
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id, sender="bob@example.org", recipients=["info@corp.example"])
    row = message(spool, queue_id)
    assert row.replay_id == child
    assert row.replay == {"sender": "bob@example.org", "recipients": ["info@corp.example"]}


def test_a_sender_and_recipients_that_are_given_take_the_place_of_the_known_ones(spool: Spool) -> None:
    child = begin_replay(spool, refused(spool), sender="", recipients=["info@corp.example"])
    assert envelope(spool, child) == ("", ("info@corp.example",))


def test_an_envelope_edited_in_the_file_counts(spool: Spool) -> None:
    """In Badmail the file is the truth, also before anybody looked at it again."""
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    path.write_bytes(path.read_bytes().replace(b"<alice@", b"<carol@"))
    assert envelope(spool, begin_replay(spool, queue_id))[0] == "carol@example.org"


def test_a_second_replay_is_refused_and_names_the_first(spool: Spool) -> None:
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    with pytest.raises(ForbiddenTransition, match=child):
        begin_replay(spool, queue_id)


def test_a_message_that_is_not_in_badmail_cannot_be_replayed(spool: Spool) -> None:
    (receipt,) = admit(spool, arrival())
    with pytest.raises(ForbiddenTransition):
        begin_replay(spool, receipt.queue_id)


def test_an_unknown_message_cannot_be_replayed(spool: Spool) -> None:
    with pytest.raises(NotFound):
        begin_replay(spool, new_queue_id())


def test_a_message_without_its_file_cannot_be_replayed(spool: Spool) -> None:
    queue_id = refused(spool)
    spool.layout.badmail_message(queue_id).unlink()
    with pytest.raises(Damaged):
        begin_replay(spool, queue_id)
    assert message(spool, queue_id).replay_id is None


def test_a_message_that_names_nobody_needs_a_recipient(spool: Spool) -> None:
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    path.write_bytes(path.read_bytes().replace(b"X-Receiver: <sales@corp.example>\r\n", b""))
    with pytest.raises(ForbiddenTransition, match="nobody"):
        begin_replay(spool, queue_id)


def test_a_replay_whose_command_died_is_written_again_with_its_envelope(tmp_path: Path) -> None:
    disk = FaultyDisk()
    spool = make_spool(tmp_path, disk=disk)
    queue_id = refused(spool)
    disk.fail(1, lasting=True)
    with pytest.raises(SpoolFailed):
        begin_replay(spool, queue_id, sender="bob@example.org")
    disk.mend()
    assert finish_replays(spool) == 1
    child = message(spool, queue_id).replay_id
    assert child is not None
    assert envelope(spool, child) == ("bob@example.org", ("sales@corp.example",))


def test_a_replay_whose_file_or_claim_is_there_is_left_alone(spool: Spool) -> None:
    child = begin_replay(spool, refused(spool))
    assert finish_replays(spool) == 0
    spool.layout.pickup_message(child).rename(spool.layout.pickup_claim(child))
    assert finish_replays(spool) == 0


def test_nothing_is_written_while_a_command_is_at_work(spool: Spool) -> None:
    """It may have committed a replay and be about to write the file."""
    child = begin_replay(spool, refused(spool))
    spool.layout.pickup_message(child).unlink()
    with hold(spool.layout, COMMANDS):
        assert finish_replays(spool) == 0
    assert finish_replays(spool) == 1


def test_a_replay_whose_badmail_file_is_gone_is_not_written(spool: Spool) -> None:
    """There is nothing to write; the message is found discarded."""
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    spool.layout.pickup_message(child).unlink()
    spool.layout.badmail_message(queue_id).unlink()
    assert finish_replays(spool) == 0


@pytest.mark.parametrize("left", [0, 100, "block"])
def test_a_badmail_file_that_was_cut_is_not_replayed(spool: Spool, left: int | str) -> None:
    """It would go out as an empty message, or with our own block as its header, and the original would be removed."""
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    octets = path.read_bytes()
    path.write_bytes(octets[: leading_block(path).end if isinstance(left, str) else left])
    with pytest.raises(ForbiddenTransition, match="Badmail/"):
        begin_replay(spool, queue_id)
    assert message(spool, queue_id).replay_id is None
    assert path.exists()


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_stands_in_the_place_of_a_badmail_file_is_not_replayed(spool: Spool, kind: str) -> None:
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    path.unlink()
    put_no_file(path, kind)
    with pytest.raises(Damaged, match="cannot be read"):
        begin_replay(spool, queue_id)
    assert message(spool, queue_id).replay_id is None


@pytest.mark.parametrize("kind", NO_FILES)
def test_a_replay_whose_badmail_file_became_something_else_ends_nothing(spool: Spool, kind: str) -> None:
    """The scan of Badmail says what is there; pickup goes on with all else."""
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    spool.layout.pickup_message(child).unlink()
    path = spool.layout.badmail_message(queue_id)
    path.unlink()
    put_no_file(path, kind)
    assert finish_replays(spool) == 0
    assert list(spool.layout.pickup.glob("*.eml*")) == []


def test_a_replay_that_could_not_be_written_is_none(tmp_path: Path) -> None:
    """Its file went between look and reading: nothing is on its way, and the message can be replayed again."""
    disk = Snatching()
    spool = make_spool(tmp_path, disk=disk)
    queue_id = refused(spool)
    path = spool.layout.badmail_message(queue_id)
    whole, disk.victim = path.read_bytes(), path
    with pytest.raises(Damaged):
        begin_replay(spool, queue_id)
    assert message(spool, queue_id).replay_id is None
    path.write_bytes(whole)
    disk.victim = None
    assert begin_replay(spool, queue_id)


class Snatching(Disk):
    """Removes a file just before anything is written."""

    victim: Path | None = None

    def create(self, path: Path) -> int:
        if self.victim:
            self.victim.unlink(missing_ok=True)
        return super().create(path)
