"""Who owns what: one process for each stage, by a lock that the kernel drops when its holder dies.

**Invariants:** a lock is opened after any fork and never falls back to a soft lock; taking a stage's lock raises its
epoch, which voids all older claims; no clock decides.
**Failures:** `StageHeld` names the pid of the holder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert

from spool import models
from spool.disk import FILE_MODE, Disk
from spool.errors import StageHeld
from spool.index import Index
from spool.layout import Layout, Stage
from spool.models import to_ms

RUN = "run"
COMMANDS = "commands"
INDEX = "index"
LOG = "log"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """The right to act for a stage: its lock is held under this epoch."""

    stage: Stage
    epoch: int
    boot_id: str

    def check(self, connection: Connection) -> None:
        """Make sure, inside a transaction, that nobody took the stage since; raises StageHeld."""
        row = connection.execute(
            select(models.stages.c.epoch, models.stages.c.pid).where(models.stages.c.stage == self.stage)
        ).one()
        if row.epoch != self.epoch:
            raise StageHeld(self.stage, row.pid)


@contextmanager
def hold(layout: Layout, name: str, *, timeout: float = 0) -> Iterator[None]:
    """Hold a named lock for the length of the block, waiting `timeout` seconds at most; raises StageHeld."""
    disk = Disk()
    lock = FileLock(layout.lock(name), timeout=timeout, mode=FILE_MODE, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise StageHeld(name, holder(layout, name)) from None
    try:
        disk.jot(layout.pid(name), f"{os.getpid()}\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            disk.jot(layout.pid(name), "")
        lock.release()


@contextmanager
def hold_all_stages(layout: Layout) -> Iterator[None]:
    """Hold every stage's lock; raises StageHeld naming the first that is taken."""
    with ExitStack() as stack:
        for stage in Stage:
            stack.enter_context(hold(layout, stage))
        yield


def holder(layout: Layout, name: str) -> int | None:
    """The pid that the holder of a lock wrote down; None where there is none."""
    try:
        return int(layout.pid(name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def begin_tenure(index: Index, stage: Stage, *, now: datetime) -> Tenure:
    """Raise the stage's epoch; the caller holds its lock."""
    table = models.stages
    values = {"pid": os.getpid(), "boot_id": boot_id(), "started_at": to_ms(now), "stopped_at": None}
    statement = (
        insert(table)
        .values(stage=stage, epoch=1, **values)
        .on_conflict_do_update(index_elements=[table.c.stage], set_={"epoch": table.c.epoch + 1, **values})
        .returning(table.c.epoch)
    )
    with index.write() as connection:
        epoch = connection.execute(statement).scalar_one()
    return Tenure(stage=stage, epoch=epoch, boot_id=boot_id())


def end_tenure(index: Index, tenure: Tenure, *, now: datetime) -> None:
    """Note that the stage stopped in good order."""
    table = models.stages
    with index.write() as connection:
        connection.execute(
            update(table)
            .where(table.c.stage == tenure.stage, table.c.epoch == tenure.epoch)
            .values(pid=None, stopped_at=to_ms(now))
        )


def boot_id() -> str:
    """What tells this boot of the machine from any other."""
    return _BOOT_ID.read_text(encoding="ascii").strip()
