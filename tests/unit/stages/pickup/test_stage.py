"""The pickup stage as its runner sees it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from spool.dropped import LEASELESS_SETTLE_SECONDS, Dropped, Stamp
from spool.layout import Stage
from spool.opening import Spool
from spool.replay import begin_replay
from spool.segments import LARGE_OCTETS
from spool.states import State
from stages.pickup.stage import PickupStage, batches
from stages.runner import Mode, Runtime, run_stage
from tests.support.dropping import FILE, SETTLE_SECONDS, Seconds, desk, drop, refused, settings, settle, spool_at
from tests.support.fetching import until
from tests.support.other_user import NOBODY, as_nobody, public_directory
from tests.support.settings import account, default_settings
from tests.support.spools import logged, message, queue_ids


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return spool_at(tmp_path)


def run(spool: Spool, mode: Mode, *, settle_seconds: float = 0.01) -> bool:
    everything = default_settings(spool.layout.root)
    pickup = settings(settle_seconds=settle_seconds)
    return run_stage(
        Stage.PICKUP, PickupStage(), settings=dataclasses.replace(everything, pickup=pickup), mode=mode
    ).is_complete


@pytest.mark.parametrize("mode", [Mode.ONCE, Mode.DRAIN])
def test_the_settle_time_of_files_that_are_there_is_waited_out(spool: Spool, mode: Mode) -> None:
    drop(spool)
    assert run(spool, mode)
    assert [message(spool, queue_id).state for queue_id in queue_ids(spool)] == [State.STAGED]


def test_a_drain_does_not_wait_for_files_that_are_left_on_purpose(spool: Spool) -> None:
    (spool.layout.pickup / "link.eml").symlink_to("/nowhere")
    assert run(spool, Mode.DRAIN)
    assert [event.name for event in logged(spool)].count("LeftInPickup") == 1


def test_an_empty_pickup_ends_a_drain_at_once(spool: Spool) -> None:
    assert run(spool, Mode.DRAIN, settle_seconds=3600)


def test_a_replay_goes_through_in_one_drain(spool: Spool) -> None:
    child = begin_replay(spool, refused(spool))
    assert run(spool, Mode.DRAIN)
    assert message(spool, child).state is State.STAGED


def test_a_replay_whose_command_died_goes_through_as_well(spool: Spool) -> None:
    """While a replay's new id has no row and no file, pickup writes the file again."""
    child = begin_replay(spool, refused(spool))
    spool.layout.pickup_message(child).unlink()
    assert run(spool, Mode.DRAIN)
    assert message(spool, child).state is State.STAGED


def test_a_round_that_took_nothing_although_a_file_was_ready_is_not_the_last(spool: Spool) -> None:
    """The file was changed or removed meanwhile: a drain has to look once more."""
    child = begin_replay(spool, refused(spool))
    written = spool.layout.pickup_message(child).read_bytes()
    seconds = Seconds()
    with desk(spool, seconds=seconds) as opened:
        settle(opened, seconds)
        drop(spool, written, name=f"{child}.eml")
        first, second, third = settle(opened, seconds)
    assert [(done.taken, done.is_settling) for done in (first, second, third)] == [(0, True), (0, True), (0, False)]


def test_segments_without_live_messages_are_collected(spool: Spool) -> None:
    drop(spool, b"X-Sender: <a@example.org>\r\nX-Receiver: <s@corp.example>\r\n\r\n" + b"x" * LARGE_OCTETS)
    run(spool, Mode.ONCE)
    assert len(list(spool.layout.large.iterdir())) == 1
    with spool.index.write() as connection:
        connection.exec_driver_sql("UPDATE messages SET state = 'submitted'")
    run(spool, Mode.ONCE)
    assert list(spool.layout.large.iterdir()) == []


def test_a_batch_has_256_files_and_8_mib_at_most() -> None:
    def file(octets: int) -> Dropped:
        stamp = Stamp(device=1, inode=1, octets=octets, modified_ns=0, changed_ns=0)
        return Dropped(path=Path("x.eml"), stamp=stamp)

    assert [len(batch) for batch in batches([file(1)] * 600)] == [256, 256, 88]
    assert [len(batch) for batch in batches([file(5 * 1024 * 1024)] * 3)] == [1, 1, 1]
    assert list(batches([])) == []


def test_what_a_sender_wrote_on_top_of_his_message_does_not_choose_where_it_goes(spool: Spool) -> None:
    """An operator drops a message that begins like a block of ours."""
    drop(spool, FILE.replace(b"corp.example", b"elsewhere.example"))
    run(spool, Mode.ONCE)
    assert [message(spool, queue_id).state for queue_id in queue_ids(spool)] == [State.BADMAIL]


def test_files_for_a_domain_that_is_accepted_from_now_on_are_taken(spool: Spool) -> None:
    """And without a restart: the stage keeps its lock, and begins anew under it."""
    before = dataclasses.replace(
        default_settings(spool.layout.root), pickup=settings(settle_seconds=0.01, domain="other.example")
    )

    async def follow(runtime: Runtime) -> None:
        drop(spool, name="refused.eml")
        await until(lambda: State.BADMAIL in states())
        runtime.renew(dataclasses.replace(before, pickup=settings(settle_seconds=0.01)))
        drop(spool, name="taken.eml")
        await until(lambda: State.STAGED in states())
        runtime.stopping.set()

    def states() -> list[State]:
        return [message(spool, queue_id).state for queue_id in queue_ids(spool)]

    assert run_stage(Stage.PICKUP, PickupStage(), settings=before, follow=follow).is_complete
    assert sorted(states()) == [State.BADMAIL, State.STAGED]


def test_a_change_that_is_not_pickups_does_not_begin_it_anew(spool: Spool) -> None:
    """What is left on purpose is told once, not at each change of a password."""
    before = dataclasses.replace(default_settings(spool.layout.root), pickup=settings(settle_seconds=0.01))
    (spool.layout.pickup / "link.eml").symlink_to("/nowhere")

    async def follow(runtime: Runtime) -> None:
        await until(lambda: "LeftInPickup" in names())
        runtime.renew(dataclasses.replace(before, accounts=(account(),)))
        drop(spool)
        await until(lambda: bool(queue_ids(spool)))
        runtime.stopping.set()

    def names() -> list[str]:
        return [event.name for event in logged(spool)]

    run_stage(Stage.PICKUP, PickupStage(), settings=before, follow=follow)
    assert names().count("LeftInPickup") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_root_copies_into_pickup_is_taken_by_the_service_user() -> None:
    """After 10 s of quiet, for he has no lease on it; a private file waits for the `chown` that an event names."""
    with public_directory() as directory:
        os.chown(directory, NOBODY.pw_uid, NOBODY.pw_gid)
        assert as_nobody(lambda: str(spool_at(directory).layout.root)) == str(directory / "spool")
        pickup = directory / "spool" / "Pickup"
        for name, mode in (("open.eml", "644"), ("private.eml", "600")):
            subprocess.run(["sh", "-c", 'cat > "$0" && chmod "$1" "$0"', pickup / name, mode], input=FILE, check=True)
        assert as_nobody(lambda: taken_after(directory, seconds=LEASELESS_SETTLE_SECONDS - 1)) == "[]"
        assert as_nobody(lambda: taken_after(directory, seconds=LEASELESS_SETTLE_SECONDS)) == "['open.eml']"
        told = as_nobody(
            lambda: str([event.fields["why"] for event in logged(spool_at(directory)) if event.level > 20])
        )
        assert f"the service may not read it: chown {NOBODY.pw_name} {pickup}/private.eml" in told
        os.chown(pickup / "private.eml", NOBODY.pw_uid, -1)
        assert as_nobody(lambda: taken_after(directory, seconds=SETTLE_SECONDS)) == "['open.eml', 'private.eml']"


def left(directory: Path) -> str:
    """What events say of files that are left."""
    told = [event.fields for event in logged(spool_at(directory)) if event.name == "LeftInPickup"]
    return "\n".join(sorted({f"{fields['file']}: {fields['why']}" for fields in told}))


def taken_after(directory: Path, *, seconds: float) -> str:
    """Look, let so many seconds pass, and look again; the names of all files that were taken so far."""
    spool, clock = spool_at(directory), Seconds()
    with desk(spool, seconds=clock) as opened:
        opened.work(was_rung=True)
        clock.at += seconds
        opened.work(was_rung=True)
    return str(sorted(str(event.fields["file"]) for event in logged(spool) if event.name == "TakenFromPickup"))
