"""The history of the index's schema, by alembic; shipped in the wheel and run at start."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "spool:migrations")
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the index to the newest schema, or to that of an older revision, in the caller's transaction."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def revisions() -> tuple[str, ...]:
    """All revisions that this program knows, newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())
