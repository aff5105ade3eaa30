"""Opening a spool: the right place, its own, with the index that belongs to it."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from spool import models
from spool.errors import IndexLost, PermissionRefused, SpoolUnusable, StageHeld
from spool.journal import Journal, Outcome
from spool.layout import Layout, Stage
from spool.locks import INDEX, hold
from spool.opening import Spool, file_system, open_spool, place_warning, require_current_index, take_stage
from spool.rows import set_applied
from spool.settlement import Verdict
from tests.support.attempts import attempt, submitting
from tests.support.spools import admit, arrival, logged, make_ready, make_spool, message, queue_ids


def mountinfo(path: Path, kind: str) -> Path:
    """proc(5): mountinfo with one mount, the one that holds `path`."""
    device = path.stat().st_dev
    mounts = path / "mountinfo"
    mounts.write_text(
        f"1 0 0:9999 / /proc rw - proc proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / {path} rw,noatime master:1 - {kind} source rw\n"
    )
    return mounts


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p"])
def test_a_spool_on_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SpoolUnusable, match=f"network file system \\({kind}\\)"):
        place_warning(tmp_path, mountinfo(tmp_path, kind))


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "fuse.sshfs", "fuseblk"])
def test_a_spool_on_a_weak_file_system_runs_with_a_warning(tmp_path: Path, kind: str) -> None:
    assert kind in (place_warning(tmp_path, mountinfo(tmp_path, kind)) or "")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs"])
def test_a_spool_on_a_local_disk_needs_no_word(tmp_path: Path, kind: str) -> None:
    assert place_warning(tmp_path, mountinfo(tmp_path, kind)) is None


def test_a_file_system_that_cannot_be_told_is_not_guessed(tmp_path: Path) -> None:
    assert file_system(tmp_path, tmp_path / "nowhere") == ""


def test_a_new_spool_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Everything in it: mail, what became of it, and who runs."""
    spool = make_spool(tmp_path)
    make_ready(spool, arrival())
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in spool.layout.root.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert [path.name for path, mode in modes.items() if path.is_file() and mode != 0o600] == []
    assert stat.S_IMODE(spool.layout.root.stat().st_mode) == 0o700


def test_an_old_spool_is_opened_with_what_is_in_it(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (receipt,) = admit(spool, arrival())
    spool.close()
    assert message(make_spool(tmp_path), receipt.queue_id).queue_id == receipt.queue_id


def test_a_place_whose_parent_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A mistyped path must not become a second spool somewhere."""
    with pytest.raises(SpoolUnusable, match=r"spool\.directory"):
        open_spool(tmp_path / "no" / "spool")


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("x")
    with pytest.raises(SpoolUnusable, match="not a directory"):
        make_spool(tmp_path)


def test_a_link_is_no_place(tmp_path: Path) -> None:
    """Whoever may turn it round would choose where mail goes."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolUnusable, match="not a directory"):
        make_spool(tmp_path)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_place_that_others_can_write_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(mode)
    with pytest.raises(PermissionRefused, match="chmod 700"):
        make_spool(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_place_of_another_user_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """Directories that root made in it by mistake would lock its owner out."""
    place = tmp_path / "spool"
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)
    with pytest.raises(PermissionRefused, match="belongs to uid 65534"):
        make_spool(tmp_path)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("loss", ["missing", "empty"])
def test_a_lost_index_is_never_created_anew_over_mail(tmp_path: Path, loss: str) -> None:
    spool = make_spool(tmp_path)
    admit(spool, arrival())
    spool.close()
    spool.layout.index.unlink()
    if loss == "empty":
        spool.layout.index.touch()
    with pytest.raises(IndexLost, match="spool rebuild"):
        make_spool(tmp_path)


@pytest.mark.parametrize("directory", ["segments", "large", "Badmail", "Pickup/.claim", "journal"])
def test_any_file_of_mail_or_history_makes_a_missing_index_a_lost_one(tmp_path: Path, directory: str) -> None:
    spool = make_spool(tmp_path)
    spool.close()
    spool.layout.index.unlink()
    (spool.layout.root / directory / "file").touch()
    with pytest.raises(IndexLost):
        make_spool(tmp_path)


def test_a_missing_index_of_an_empty_spool_is_created(tmp_path: Path) -> None:
    """So a start that was killed in the middle of the very first opening goes on."""
    spool = make_spool(tmp_path)
    spool.close()
    spool.layout.index.unlink()
    make_spool(tmp_path)


def journal(spool: Spool) -> Journal:
    return Journal(spool.layout.journal(Stage.SUBMIT), disk=spool.disk, now_ms=spool.now_ms)


def test_a_journal_compacted_beyond_what_the_index_applied_shows_an_older_index(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    opened = journal(spool)
    opened.note(Outcome.SUBMITTED, "01j0e5v3xk7m2q9r4s", details={})
    opened.compact(lambda _: True)
    with pytest.raises(IndexLost, match="older than the submit journal"), take_stage(spool, Stage.VALIDATE):
        pass


def test_a_line_about_a_message_that_nobody_knows_shows_an_older_index(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    journal(spool).note(Outcome.SUBMITTED, "01j0e5v3xk7m2q9r4s", details={})
    with pytest.raises(IndexLost, match="01j0e5v3xk7m2q9r4s"):
        require_current_index(spool)


def test_a_line_that_was_applied_may_outlive_its_row(tmp_path: Path) -> None:
    """Rows are pruned after `history`."""
    spool = make_spool(tmp_path)
    journal(spool).note(Outcome.SUBMITTED, "01j0e5v3xk7m2q9r4s", details={})
    with spool.index.write() as connection:
        set_applied(connection, Stage.SUBMIT, number=1)
    require_current_index(spool)


def test_a_line_about_a_badmail_file_is_no_sign_of_loss(tmp_path: Path) -> None:
    """The refused part of a divided message has its file and its line before its row."""
    spool = make_spool(tmp_path)
    journal(spool).note(Outcome.BADMAIL, "01j0e5v3xk7m2q9r4s", details={})
    (spool.layout.badmail / "01j0e5v3xk7m2q9r4s.eml").touch()
    require_current_index(spool)


def test_a_segment_that_the_index_does_not_know_shows_an_older_index(tmp_path: Path) -> None:
    """A segment has its row before its file and loses it after: nothing else tells of mail that was only admitted."""
    spool = make_spool(tmp_path)
    admit(spool, arrival())
    with spool.index.write() as connection:
        for table in (models.messages, models.ledger, models.segments):
            connection.execute(delete(table))
    with pytest.raises(IndexLost, match=r"fetch-0000000001\.seg"), take_stage(spool, Stage.VALIDATE):
        pass


def test_another_start_waits_for_the_one_that_opens_the_index(tmp_path: Path) -> None:
    """Two that created it at once would each have one."""
    spool = make_spool(tmp_path)
    with hold(spool.layout, INDEX), pytest.raises(StageHeld), hold(spool.layout, INDEX):
        pass
    make_spool(tmp_path)


def test_a_weak_place_is_warned_of_at_each_start_of_a_stage(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    with take_stage(spool, Stage.SUBMIT):
        pass
    warned = [event.name for event in logged(spool)]
    assert warned == (["SpoolWarning"] if place_warning(spool.layout.root) else [])


def test_free_octets_are_those_of_the_file_system(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    room = os.statvfs(tmp_path)
    assert 0 <= spool.free_octets() <= room.f_blocks * room.f_frsize


def test_an_index_of_a_compacted_head_that_it_applied_is_current(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    opened = journal(spool)
    opened.note(Outcome.SUBMITTED, "01j0e5v3xk7m2q9r4s", details={})
    opened.compact(lambda _: True)
    with spool.index.write() as connection:
        connection.execute(insert(models.journals), {"owner": "submit", "applied": 1})
    require_current_index(spool)


def test_an_attempt_that_the_index_does_not_know_shows_an_older_index(tmp_path: Path) -> None:
    """A backup that was put back would send again what was submitted since."""
    spool = make_spool(tmp_path)
    make_ready(spool, arrival())
    spool.index.backup(tmp_path / "old")
    with submitting(spool) as outbox:
        attempt(spool, outbox, Verdict.ACCEPTED)
    spool.close()
    for path in spool.layout.root.glob("index.sqlite3*"):
        path.unlink()
    (tmp_path / "old").rename(spool.layout.index)
    with pytest.raises(IndexLost, match="attempt 1"), take_stage(make_spool(tmp_path), Stage.SUBMIT):
        pass


class WhileOthersWork(Layout):
    """A spool in which a message is admitted, validated and claimed just when submit's journal is looked for."""

    def journal(self, owner: str) -> Path:
        busy = make_spool(self.root.parent)
        if owner == Stage.SUBMIT and not queue_ids(busy):
            make_ready(busy, arrival())
            with submitting(busy) as outbox:
                outbox.dot(*outbox.claim(1))
        busy.close()
        return super().journal(owner)


def test_a_start_beside_stages_at_work_loses_no_index(tmp_path: Path) -> None:
    """A line of theirs may be younger than what was read of the index, when the index is read first."""
    spool = make_spool(tmp_path)
    require_current_index(replace(spool, layout=WhileOthersWork(spool.layout.root)))
    assert len(queue_ids(spool)) == 1
