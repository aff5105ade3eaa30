"""The SQLite index of the spool: engine, pragmas, transactions, schema.

**Invariants:** the index is opened only here, on a SQLite without the WAL-reset bug, in WAL mode with
`synchronous=FULL`, both read back; a write transaction takes the write lock when it begins, so that it never fails
half-way for another writer; an engine is made after any fork.
**Failures:** `SpoolUnusable` (SQLite too old, schema too new, pragma refused), `IndexLost` (no schema), `SpoolFailed`
(the database said no: stop).
"""

from __future__ import annotations

import shutil
import sqlite3  # noqa: TID251 - this is the one place that opens it
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType

import tenacity
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from spool.disk import Disk
from spool.errors import IndexLost, SpoolFailed, SpoolUnusable
from spool.event_log import COMMAND, PEN, LoggedEvent, Pen
from spool.folding import FOLDED, folded
from spool.layout import Layout, partial
from spool.models import SCHEMA_REVISION

# Versions 3.7.0 to 3.51.2 can lose committed transactions when several processes write and checkpoint one WAL database.
SQLITE_MINIMUM = (3, 51, 3)
BUSY_SECONDS = 30
BACKUP_SUFFIX = ".backup-"
_CHECKPOINT_PAGES = 4000

# Hears of events once they are committed; it must neither raise nor take long.
Listener = Callable[[Sequence[LoggedEvent]], None]


class Index:
    """The index as one process holds it open; safe to use from several threads."""

    def __init__(self, path: Path, *, on_events: Listener | None = None) -> None:
        """Open an existing index; raises SpoolUnusable or SpoolFailed."""
        self.path = path
        self._on_events = on_events
        self._process = COMMAND
        self._engine = _engine(path)
        with self.read() as connection:
            _check_pragmas(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one consistent state and writes nothing."""
        with _translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed, durably, when the block ends, or rolled back when it raises."""
        pen = Pen(process=self._process, has_listener=self._on_events is not None)
        with _translated():
            connection = _begin_immediate(self._engine, pen)
            try:
                yield connection
                connection.commit()
            finally:
                connection.close()
        if self._on_events and pen.told:
            self._on_events(pen.told)

    @contextmanager
    def acting_as(self, process: str) -> Iterator[None]:
        """Write events as this process, a stage or the supervisor, within the block."""
        before, self._process = self._process, process
        try:
            yield
        finally:
            self._process = before

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, as far as readers allow."""
        with self.read() as connection:
            connection.execution_options(begin=None).exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def backup(self, target: Path) -> None:
        """Copy the index as it stands into `target`, which must not exist."""
        with self.read() as connection:
            connection.execution_options(begin=None).execute(text("VACUUM INTO :target"), {"target": str(target)})

    def problems(self) -> list[str]:
        """What SQLite's own check finds wrong; empty where the index is sound."""
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check").scalars().all()
        return [str(line) for line in found if line != "ok"]

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_index(
    layout: Layout,
    *,
    disk: Disk,
    now: datetime,
    newest: str = SCHEMA_REVISION,
    on_events: Listener | None = None,
) -> Index:
    """Open the index, created where there is none and upgraded, after a backup, where it is older than `newest`.

    The caller has made sure that none is missing while spool files exist. Raises SpoolUnusable, SpoolFailed.
    """
    require_sqlite()
    if not layout.index.exists():
        create_index(layout.index, disk=disk)
    index = Index(layout.index, on_events=on_events)
    revision = schema_revision(index)
    if revision != newest:
        _upgrade(index, layout=layout, disk=disk, now=now)
    return index


def create_index(path: Path, *, disk: Disk) -> None:
    """Create an empty index at `path`, whole or not at all."""
    aside = partial(path)
    # A write-ahead log that a lost index left behind would be played into the new one.
    stale = (aside.name, f"{aside.name}-journal", f"{path.name}-wal", f"{path.name}-shm")
    for name in stale:
        disk.unlink(path.with_name(name))
    disk.close(disk.create(aside))
    engine = _engine(aside, journal_mode="DELETE")
    try:
        with _translated(), engine.begin() as connection:
            _migrate(connection)
    finally:
        engine.dispose()
    disk.rename(aside, path)
    disk.sync_directory(path.parent)


def schema_revision(index: Index) -> str | None:
    """The revision that the index is at; None where it holds no schema at all."""
    with index.read() as connection:
        known = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").scalar()
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if known else None


def require_sqlite() -> None:
    """Refuse a SQLite that can lose committed transactions; raises SpoolUnusable."""
    version = tuple(int(part) for part in _driver().sqlite_version.split("."))
    if version < SQLITE_MINIMUM:
        raise SpoolUnusable(
            f"SQLite {_driver().sqlite_version} can lose committed transactions (WAL-reset bug); "
            f"{'.'.join(map(str, SQLITE_MINIMUM))} or newer is needed: pip install --upgrade pysqlite3"
        )


def _driver() -> ModuleType:
    try:
        import pysqlite3.dbapi2 as bundled  # noqa: PLC0415 - optional where the standard library's SQLite is new enough
    except ImportError:
        return sqlite3
    return bundled  # type: ignore[no-any-return]  # pysqlite3 has no type information


def _engine(path: Path, *, journal_mode: str = "WAL") -> Engine:
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        module=_driver(),
        poolclass=QueuePool,
        pool_size=2,
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        for pragma in (
            f"journal_mode={journal_mode}",
            "synchronous=FULL",
            "foreign_keys=ON",
            "mmap_size=0",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
            "cache_size=-4000",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function(FOLDED, 1, folded, deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # None for what SQLite does outside of any transaction alone.
        statement = connection.get_execution_options().get("begin", "BEGIN")
        if statement:
            connection.exec_driver_sql(statement)

    return engine


def _check_pragmas(connection: Connection) -> None:
    for pragma, wanted in (("journal_mode", "wal"), ("synchronous", 2)):
        found = connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
        if found != wanted:
            raise SpoolUnusable(f"the index refuses {pragma}={wanted} (it says {found}): is the spool on a local disk?")


@tenacity.retry(
    retry=tenacity.retry_if_exception(
        lambda error: isinstance(error, OperationalError) and "locked" in str(error.orig)
    ),
    stop=tenacity.stop_after_attempt(3),
    wait=tenacity.wait_random(0.05, 0.5),
    reraise=True,
)
def _begin_immediate(engine: Engine, pen: Pen) -> Connection:
    connection = engine.connect().execution_options(begin="BEGIN IMMEDIATE", **{PEN: pen})
    try:
        connection.begin()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the driver says of the disk into SpoolFailed; a broken constraint stays what it is."""
    try:
        yield
    except OperationalError as error:
        raise SpoolFailed(f"the index: {error.orig}") from error
    except DBAPIError as error:
        if type(error) is DBAPIError or "malformed" in str(error.orig) or "not a database" in str(error.orig):
            raise SpoolFailed(f"the index: {error.orig}; try `pop3connector spool rebuild`") from error
        raise


def _upgrade(index: Index, *, layout: Layout, disk: Disk, now: datetime) -> None:
    from spool.migrations import revisions  # noqa: PLC0415 - alembic costs a tenth of a second and is rarely needed

    revision = schema_revision(index)
    if revision is None:
        raise IndexLost(f"the index {layout.index} is empty: run `pop3connector spool rebuild`")
    if revision not in revisions():
        raise SpoolUnusable(f"the index was written by a newer version (schema {revision}); use that version or newer")
    target = layout.root / f"{layout.index.name}{BACKUP_SUFFIX}{revision}-{now:%Y%m%dT%H%M%SZ}"
    index.backup(target)
    shutil.copymode(layout.index, target)
    fd = disk.open_append(target)
    disk.sync_file(fd)
    disk.close(fd)
    disk.sync_directory(layout.root)
    with index.write() as connection:
        _migrate(connection)


def _migrate(connection: Connection) -> None:
    from spool.migrations import upgrade  # noqa: PLC0415 - see above

    upgrade(connection)
