"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "accounts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_success_at", sa.Integer(), nullable=True),
        sa.Column("last_attempt_at", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_poll_at", sa.Integer(), nullable=True),
        sa.Column("remote_messages", sa.Integer(), nullable=True),
        sa.Column("listed_messages", sa.Integer(), nullable=True),
        sa.Column("expected_messages", sa.Integer(), nullable=True),
        sa.Column("doubt_round", sa.Integer(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("sizes_exact", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "events",
        sa.Column("event", sa.Integer(), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("queue_id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("event"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_queue_id", "events", ["queue_id"], unique=False)
    op.create_table(
        "journals",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("applied", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
    )
    op.create_table(
        "ledger",
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("uidl", sa.Text(), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=True),
        sa.Column("copy", sa.Integer(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=True),
        sa.Column("octets", sa.Integer(), nullable=True),
        sa.Column("queue_id", sa.Text(), nullable=True),
        sa.Column("had_at", sa.Integer(), nullable=False),
        sa.Column("gone_at", sa.Integer(), nullable=True),
        sa.Column("deletion_asked_at", sa.Integer(), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("entry"),
        sa.UniqueConstraint("account", "uidl", "identity", "copy", name="ledger_identity"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ledger_content", "ledger", ["account", "identity"], unique=False)
    op.create_index("ix_ledger_queue_id", "ledger", ["queue_id"], unique=False)
    op.create_table(
        "left_at_provider",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("uidl", sa.Text(), nullable=False),
        sa.Column("octets", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("limit_octets", sa.Integer(), nullable=True),
        sa.Column("limit_source", sa.Text(), nullable=True),
        sa.Column("breaks", sa.Integer(), nullable=False),
        sa.Column("tried_at", sa.Integer(), nullable=True),
        sa.Column("reported_at", sa.Integer(), nullable=True),
        sa.CheckConstraint("why IN ('oversize', 'broken')", name="left_why"),
        sa.PrimaryKeyConstraint("account", "uidl", "octets"),
    )
    op.create_table(
        "requests",
        sa.Column("request", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Integer(), nullable=False),
        sa.Column("done_at", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("request"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "route",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size_known_at", sa.Integer(), nullable=True),
        sa.Column("size_octets", sa.Integer(), nullable=True),
        sa.Column("open_clock", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.Integer(), nullable=True),
        sa.Column("closed_at", sa.Integer(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "segments",
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("queue_id", sa.Text(), nullable=True),
        sa.Column("nonce", sa.LargeBinary(), nullable=True),
        sa.Column("committed_octets", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'sealed', 'marked')", name="segment_status"),
        sa.PrimaryKeyConstraint("serial"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "stages",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("boot_id", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Integer(), nullable=True),
        sa.Column("stopped_at", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("stage"),
    )
    op.create_table(
        "messages",
        sa.Column("queue_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("uidl", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=True),
        sa.Column("offset", sa.Integer(), nullable=True),
        sa.Column("block_octets", sa.Integer(), nullable=True),
        sa.Column("octets", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("recipients", sa.JSON(), nullable=False),
        sa.Column("accepted", sa.JSON(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("eightbit", sa.Boolean(), nullable=False),
        sa.Column("smtputf8", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.Integer(), nullable=True),
        sa.Column("queued_clock", sa.Integer(), nullable=False),
        sa.Column("attempt_clock", sa.Integer(), nullable=True),
        sa.Column("breaks", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("possible_duplicate", sa.Boolean(), nullable=False),
        sa.Column("claim_epoch", sa.Integer(), nullable=True),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("claim_boot", sa.Text(), nullable=True),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("replay_id", sa.Text(), nullable=True),
        sa.Column("replay", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint(
            "segment IS NOT NULL OR state NOT IN ('deferred', 'held', 'ready', 'staged')",
            name="live_has_bytes",
        ),
        sa.CheckConstraint(
            "state IN ('staged', 'ready', 'deferred', 'held', 'damaged', 'badmail', 'submitted', 'replayed', "
            "'discarded')",
            name="message_state",
        ),
        sa.ForeignKeyConstraint(
            ["segment"],
            ["segments.serial"],
        ),
        sa.PrimaryKeyConstraint("queue_id"),
    )
    op.create_index("ix_messages_account", "messages", ["account", "queue_id"], unique=False)
    op.create_index("ix_messages_replay_id", "messages", ["replay_id"], unique=True)
    op.create_index("ix_messages_segment", "messages", ["segment"], unique=False)
    op.create_index("ix_messages_state", "messages", ["state", "next_attempt_at", "queue_id"], unique=False)
