"""The summary of Badmail: what it has told, and when the last one was tried."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column and the table; nothing was told so far."""
    op.add_column("messages", sa.Column("is_told", sa.Boolean(), nullable=False, server_default="0"))
    op.create_table(
        "summaries",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("tried_at", sa.Integer(), nullable=False),
    )
