"""What the operator asks for and looks for: names to find a message by, wishes, repeated events, verbosity.

And which maildrop an account's UIDLs are of.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add columns, tables and the indexes of searches; what was there has no Message-ID and was said once."""
    op.add_column("messages", sa.Column("message_id", sa.Text(), nullable=False, server_default=""))
    op.add_column("messages", sa.Column("wish", sa.Text()))
    op.create_index("ix_messages_uidl", "messages", ["uidl"])
    op.create_index("ix_messages_message_id", "messages", ["message_id"])
    op.create_index("ix_messages_parent", "messages", ["parent"])
    op.add_column("events", sa.Column("process", sa.Text(), nullable=False, server_default=""))
    op.add_column("events", sa.Column("topic", sa.Text()))
    op.add_column("events", sa.Column("count", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("events", sa.Column("last_at", sa.Integer()))
    op.create_index("ix_events_topic", "events", ["name", "account", "topic", "event"])
    op.create_index("ix_events_at", "events", ["at"])
    op.create_index("ix_events_last_at", "events", ["last_at"])
    op.add_column("accounts", sa.Column("maildrop", sa.Text()))
    op.add_column("requests", sa.Column("is_verbose", sa.Boolean(), nullable=False, server_default="0"))
    op.add_column("requests", sa.Column("is_awaited", sa.Boolean(), nullable=False, server_default="0"))
    op.add_column("requests", sa.Column("uidls", sa.JSON(none_as_null=True)))
    op.create_table(
        "verbosity",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("is_verbose", sa.Boolean(), nullable=False),
        sa.Column("set_at", sa.Integer(), nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("of_messages", sa.Integer(), nullable=False),
        sa.Column("octets", sa.Integer(), nullable=False),
        sa.Column("of_octets", sa.Integer(), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
    )
