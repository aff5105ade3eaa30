"""What the last login of an account taught, and requests to adopt what a maildrop holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    for column in (
        sa.Column("refusals", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("login_at", sa.Integer(), nullable=True),
        sa.Column("login_delay", sa.Integer(), nullable=True),
        sa.Column("login_mechanism", sa.Text(), nullable=True),
        sa.Column("skips_capabilities", sa.Boolean(), nullable=True),
    ):
        op.add_column("accounts", column)
    for name in ("adopts", "has_failed"):
        op.add_column("requests", sa.Column(name, sa.Boolean(), nullable=False, server_default="0"))
