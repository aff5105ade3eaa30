"""The index: a sound SQLite, pragmas that took, upgrades after a backup."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, select
from sqlalchemy.exc import IntegrityError

from spool import models
from spool.disk import Disk
from spool.errors import IndexLost, SpoolFailed, SpoolUnusable
from spool.index import Index, create_index, open_index, require_sqlite, schema_revision
from spool.layout import Layout
from spool.migrations import upgrade
from spool.models import SCHEMA_REVISION
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import START

JOURNAL_ROW = {"owner": "fetch", "applied": 1}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def opened(layout: Layout) -> Index:
    return open_index(layout, disk=Disk(), now=START)


def set_revision(layout: Layout, revision: str) -> None:
    opened(layout).close()
    with sqlite3.connect(layout.index) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


def test_the_migrations_make_the_tables_that_the_models_describe(layout: Layout) -> None:
    with opened(layout).read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.metadata) == []


def test_the_migrations_make_the_constraints_that_the_models_describe(layout: Layout, tmp_path: Path) -> None:
    """Alembic compares no CHECK; so the statements themselves are compared."""
    create_index(layout.index, disk=Disk())
    migrated = _statements(layout.index)
    other = tmp_path / "models.sqlite3"
    index = Index(_empty(other))
    with index.write() as connection:
        models.metadata.create_all(connection)
    index.close()
    assert migrated == _statements(other)


def _empty(path: Path) -> Path:
    sqlite3.connect(path).close()
    return path


def _statements(path: Path) -> dict[str, set[str]]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%'").fetchall()
    connection.close()
    # A table's columns and constraints, whatever order alembic gives them.
    return {
        name: {part.strip(" \n\t)").lower() for part in (sql or "").replace('"', "").split(",")} for name, sql in rows
    }


def test_a_new_index_is_at_the_newest_schema(layout: Layout) -> None:
    assert schema_revision(opened(layout)) == SCHEMA_REVISION


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("mmap_size", 0)])
def test_every_connection_has_the_pragmas_that_custody_needs(layout: Layout, pragma: str, value: object) -> None:
    index = opened(layout)
    with index.read() as first, index.read() as second:
        for connection in (first, second):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_an_index_that_refuses_a_pragma_is_refused() -> None:
    """An in-memory database has no write-ahead log, as a file system without shared memory would not."""
    with pytest.raises(SpoolUnusable, match="journal_mode=wal"):
        Index(Path(":memory:"))


def test_a_sqlite_with_the_wal_reset_bug_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysqlite3.dbapi2.sqlite_version", "3.51.2")
    with pytest.raises(SpoolUnusable, match=r"3\.51\.2 .* 3\.51\.3 or newer .* pip install --upgrade pysqlite3"):
        require_sqlite()


def test_the_first_sqlite_without_the_bug_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysqlite3.dbapi2.sqlite_version", "3.51.3")
    require_sqlite()


def test_what_a_block_wrote_is_committed_when_it_ends(layout: Layout) -> None:
    index = opened(layout)
    with index.write() as connection:
        connection.execute(insert(models.journals), JOURNAL_ROW)
    index.close()
    with opened(layout).read() as connection:
        assert connection.execute(select(models.journals.c.applied)).scalar() == 1


def test_what_a_block_wrote_is_gone_when_it_raises(layout: Layout) -> None:
    index = opened(layout)

    def fail() -> None:
        with index.write() as connection:
            connection.execute(insert(models.journals), JOURNAL_ROW)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with index.read() as connection:
        assert connection.execute(select(models.journals)).all() == []


def test_a_reader_sees_one_state_while_a_writer_commits(layout: Layout) -> None:
    index = opened(layout)
    with index.read() as reader:
        assert reader.execute(select(models.journals)).all() == []
        with index.write() as connection:
            connection.execute(insert(models.journals), JOURNAL_ROW)
        assert reader.execute(select(models.journals)).all() == []


def test_a_broken_constraint_stays_what_it_is(layout: Layout) -> None:
    """Admission goes by it."""
    with pytest.raises(IntegrityError), opened(layout).write() as connection:
        connection.execute(insert(models.journals), [JOURNAL_ROW, JOURNAL_ROW])


def test_a_database_that_is_none_is_one_line_with_the_remedy(layout: Layout) -> None:
    layout.index.write_bytes(b"no database" * 1000)
    with pytest.raises(SpoolFailed, match="spool rebuild") as caught:
        opened(layout)
    assert "\n" not in str(caught.value)


def test_damage_is_found(layout: Layout) -> None:
    index = opened(layout)
    assert index.problems() == []
    index.close()
    data = bytearray(layout.index.read_bytes())
    with sqlite3.connect(layout.index) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
    connection.close()
    data[(page - 1) * 4096 + 7] = 7
    layout.index.write_bytes(data)
    assert Index(layout.index).problems() != []


def test_an_index_is_created_whole_or_not_at_all(layout: Layout) -> None:
    for step in range(1, 100):
        disk = FaultyDisk()
        disk.fail(step)
        try:
            create_index(layout.index, disk=disk)
        except OSError:
            assert not layout.index.exists() or step == len(disk.steps)
        else:
            break
    assert schema_revision(opened(layout)) == SCHEMA_REVISION


def test_the_log_of_a_lost_index_is_not_played_into_a_new_one(layout: Layout) -> None:
    index = opened(layout)
    with index.write() as connection:
        connection.execute(insert(models.journals), JOURNAL_ROW)
    log = layout.index.with_name(layout.index.name + "-wal").read_bytes()
    index.close()
    layout.index.unlink()
    layout.index.with_name(layout.index.name + "-wal").write_bytes(log)
    with opened(layout).read() as connection:
        assert connection.execute(select(models.journals)).all() == []


def test_an_index_without_a_schema_is_lost_not_filled_anew(layout: Layout) -> None:
    _empty(layout.index)
    Index(layout.index).close()
    with pytest.raises(IndexLost, match="spool rebuild"):
        opened(layout)


def test_an_index_of_a_newer_version_is_refused_in_one_line(layout: Layout) -> None:
    set_revision(layout, "9999")
    with pytest.raises(SpoolUnusable, match="newer version") as caught:
        opened(layout)
    assert "\n" not in str(caught.value)


def test_an_old_index_is_backed_up_before_it_is_upgraded(layout: Layout) -> None:
    disk = FaultyDisk()
    index = opened(layout)
    with index.write() as connection:
        connection.execute(insert(models.journals), JOURNAL_ROW)
    index.close()
    open_index(layout, disk=disk, now=START, newest="9998").close()
    (backup,) = layout.root.glob("*.backup-*")
    assert backup.name == f"index.sqlite3.backup-{SCHEMA_REVISION}-20260101T000000Z"
    with Index(backup).read() as copy:
        assert copy.execute(select(models.journals)).all() == [("fetch", 1)]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert disk.steps == [f"open {backup.name}", f"sync {backup.name}", f"sync {layout.root.name}/"]


def test_an_index_of_the_first_version_is_upgraded_with_what_it_holds(layout: Layout, tmp_path: Path) -> None:
    """And comes to the very schema that a new index has."""
    engine = create_engine(f"sqlite:///{layout.index}")
    with engine.begin() as connection:
        upgrade(connection, to="0001")
        connection.exec_driver_sql(
            "INSERT INTO accounts (name, failures, doubt_round, rounds) VALUES ('sales', 2, 0, 0)"
        )
        connection.exec_driver_sql("INSERT INTO requests (account, asked_at) VALUES ('', 1)")
    engine.dispose()
    with opened(layout).read() as connection:
        (state,) = connection.execute(select(models.accounts)).all()
        (request,) = connection.execute(select(models.requests)).all()
    assert (state.failures, state.refusals, state.login_at) == (2, 0, None)
    assert (request.adopts, request.has_failed) == (False, False)
    new = Layout(tmp_path / "new")
    new.root.mkdir()
    opened(new).close()
    assert _statements(layout.index) == _statements(new.index)


def test_a_backup_leaves_the_connection_fit_for_use(layout: Layout, tmp_path: Path) -> None:
    """It needs a connection outside any transaction, and that goes back into the pool."""
    index = opened(layout)
    index.backup(tmp_path / "copy")
    for number in range(3):
        with index.write() as connection:
            connection.execute(insert(models.journals), {"owner": str(number), "applied": number})
    with index.read() as connection:
        assert len(connection.execute(select(models.journals)).all()) == 3


def test_a_checkpoint_moves_the_log_into_the_database(layout: Layout) -> None:
    index = opened(layout)
    with index.write() as connection:
        connection.execute(insert(models.journals), {"owner": "checkpointed", "applied": 1})
    assert b"checkpointed" not in layout.index.read_bytes()
    index.checkpoint()
    assert b"checkpointed" in layout.index.read_bytes()


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("segments", {"stage": "fetch", "committed_octets": 0, "status": "lost", "created_at": 0}),
        (
            "left_at_provider",
            {"account": "a", "uidl": "u", "octets": 1, "why": "whim", "breaks": 0},
        ),
    ],
)
def test_the_database_refuses_words_that_do_not_exist(layout: Layout, table: str, row: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), opened(layout).write() as connection:
        connection.execute(insert(models.metadata.tables[table]).values(row))
