"""Alembic's environment: in the connection that the program hands over, or on the database of `alembic.ini`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine

from spool.models import metadata


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url") or "sqlite://").begin() as opened:
        _run(opened)
