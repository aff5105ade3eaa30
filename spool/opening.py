"""Open a spool directory: the place, its directories, its index, and whether they belong together.

**Invariants:** a spool on a network file system is refused; an index that is missing or empty while spool files exist
is never created anew.
**Failures:** `SpoolUnusable` and `PermissionRefused` (mend the place), `IndexLost` (`spool rebuild`), `SpoolFailed`
(the disk said no).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, select

from spool import models
from spool.disk import Disk
from spool.errors import IndexLost, PermissionRefused, SpoolFailed, SpoolUnusable
from spool.events import SpoolWarning, emit
from spool.index import Index, Listener, open_index
from spool.journal import Line, Outcome, read_journal
from spool.layout import COMMAND_JOURNAL, Layout, Stage
from spool.locks import INDEX, Tenure, begin_tenure, end_tenure, hold
from spool.models import to_ms
from spool.queue_id import QueueId

OWNERS = (*Stage, COMMAND_JOURNAL)
MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph"})
_WEAK = frozenset({"tmpfs", "ramfs", "overlay"})
_REBUILD = "run `pop3connector spool rebuild`"


def utc_now() -> datetime:
    """The clock of the wall."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """An open spool: its paths, its disk, its index and its clock. Whatever works on the spool takes one of these."""

    layout: Layout
    disk: Disk
    index: Index
    now: Callable[[], datetime]

    def now_ms(self) -> int:
        """The time as columns hold it."""
        return to_ms(self.now())

    def free_octets(self) -> int:
        """What the file system has left for us."""
        room = os.statvfs(self.layout.root)
        return room.f_bavail * room.f_frsize

    def close(self) -> None:
        """Close the index."""
        self.index.close()


def open_spool(
    directory: Path,
    *,
    disk: Disk | None = None,
    now: Callable[[], datetime] = utc_now,
    on_events: Listener | None = None,
) -> Spool:
    """Open the spool at `directory`, created where nothing is there yet.

    `on_events` hears of events that are written through it, once they are committed.
    """
    disk = disk or Disk()
    layout = Layout(directory.absolute())
    try:
        prepare(layout, disk)
        with hold(layout, INDEX, timeout=60):
            if not _has_index(layout) and _has_files(layout):
                raise IndexLost(f"the index {layout.index} is missing or empty, but there are messages: {_REBUILD}")
            index = open_index(layout, disk=disk, now=now(), on_events=on_events)
    except PermissionError as error:
        raise PermissionRefused(
            f"{error.filename or directory}: {error.strerror}; the spool must belong to its user"
        ) from error
    except OSError as error:
        raise SpoolFailed(f"{error.filename or directory}: {error.strerror}") from error
    return Spool(layout=layout, disk=disk, index=index, now=now)


@contextmanager
def take_stage(spool: Spool, stage: Stage) -> Iterator[Tenure]:
    """Be the one process of `stage` for the length of the block; raises StageHeld, IndexLost."""
    with hold(spool.layout, stage), spool.index.acting_as(stage):
        require_current_index(spool)
        tenure = begin_tenure(spool.index, stage, now=spool.now())
        _sync_index_names(spool)
        warning = place_warning(spool.layout.root)
        if warning:
            with spool.index.write() as connection:
                emit(connection, [SpoolWarning(what=warning)], now=spool.now())
        yield tenure
        end_tenure(spool.index, tenure, now=spool.now())


def _sync_index_names(spool: Spool) -> None:
    """Make the names of the index and its write-ahead log durable: SQLite ignores the result of its own try."""
    try:
        spool.disk.sync_directory(spool.layout.root)
    except OSError as error:
        raise SpoolFailed(f"{spool.layout.root}: {error.strerror}") from error


def require_current_index(spool: Spool) -> None:
    """Refuse an index that is older than the files: it has forgotten mail, or what became of it; raises IndexLost."""
    # Before the index: other stages may be at work, and a row is committed before a file or a line tells of it.
    files = sorted(spool.layout.segments.glob("*.seg"))
    journals = {owner: read_journal(spool.layout.journal(owner)) for owner in OWNERS}
    with spool.index.read() as connection:
        _require_known_segments(connection, files)
        applied = {row.owner: row.applied for row in connection.execute(select(models.journals))}
        for owner, contents in journals.items():
            known = applied.get(owner, 0)
            if contents.head > known:
                raise IndexLost(f"the index is older than the {owner} journal: {_REBUILD}")
            for line in contents.lines:
                if line.number > known and line.outcome is not Outcome.LEDGER:
                    _require_known_message(connection, line, layout=spool.layout, owner=owner)


def _require_known_message(connection: Connection, line: Line, *, layout: Layout, owner: str) -> None:
    """A message has its row, and a claim its number there, before a line tells of it."""
    table = models.messages
    row = connection.execute(select(table.c.claim).where(table.c.queue_id == line.queue_id)).first()
    if row is None:
        if not layout.badmail_message(QueueId(line.queue_id)).exists():
            raise IndexLost(f"the index does not know message {line.queue_id} of the {owner} journal: {_REBUILD}")
        return
    claim = line.details.get("claim")
    if isinstance(claim, int) and claim > row.claim:
        raise IndexLost(f"the index does not know attempt {claim} at message {line.queue_id}: {_REBUILD}")


def _require_known_segments(connection: Connection, files: Iterable[Path]) -> None:
    """A segment has its row before its file, and loses it after."""
    known = set(connection.execute(select(models.segments.c.serial)).scalars())
    for path in files:
        serial = path.stem.rpartition("-")[2]
        # Looked at again: its owner may have collected it since the files were listed.
        if serial.isdecimal() and int(serial) not in known and path.exists():
            raise IndexLost(f"the index does not know {path.name}: {_REBUILD}")


def place_warning(root: Path, mounts: Path = MOUNTS) -> str | None:
    """Say what the file system under the spool lacks; raises SpoolUnusable where mail would not be safe on it."""
    kind = file_system(root, mounts)
    if kind in _NETWORK:
        raise SpoolUnusable(
            f"{root} is on a network file system ({kind}), where SQLite's locks are not safe: use a local disk"
        )
    if kind in _WEAK or kind.startswith("fuse"):
        return f"the spool is on {kind}, which may not survive a power cut"
    return None


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that holds `path`, as the kernel names it; empty where it cannot be told."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    # proc(5): ... major:minor root mount-point options [tags] - type source options
    found = [line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == wanted]
    return found[-1] if found else ""


def prepare(layout: Layout, disk: Disk) -> None:
    """Make what directories are not there yet; raises SpoolUnusable where the place is unfit for mail, OSError."""
    root = layout.root
    if not root.parent.is_dir():
        raise SpoolUnusable(f"{root.parent} does not exist: create it, or mend spool.directory")
    if disk.make_directory(root):
        disk.sync_directory(root.parent)
    # Refused before anything is made in it: what root made there by mistake would lock its owner out.
    _check_place(root)
    for directory in layout.directories:
        if disk.make_directory(directory):
            disk.sync_directory(directory.parent)


def _check_place(root: Path) -> None:
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise SpoolUnusable(f"{root} is not a directory")
    if found.st_uid != os.geteuid():
        raise PermissionRefused(
            f"{root} belongs to uid {found.st_uid}, this process is uid {os.geteuid()}: run as its owner"
        )
    if found.st_mode & 0o022:
        raise PermissionRefused(f"{root} can be written by others: chmod 700 {root}")
    place_warning(root)


def _has_index(layout: Layout) -> bool:
    return layout.index.exists() and layout.index.stat().st_size > 0


def _has_files(layout: Layout) -> bool:
    """True where the directory holds mail or its history, so that a missing index is a lost one."""
    kept = (layout.segments, layout.large, layout.badmail, layout.claims, layout.journals)
    return any(entry.is_file() for directory in kept for entry in directory.iterdir())
