"""What of a message a relay may not bear: lines that are too long, NUL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; of messages that were looked at before nothing is known."""
    op.add_column("messages", sa.Column("overlong_line_octets", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("messages", sa.Column("has_nul", sa.Boolean(), nullable=False, server_default="0"))
