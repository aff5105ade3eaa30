"""The tables of the index, and how values stand in their columns.

Times are integers: milliseconds since 1970, UTC. The invariants that the database can keep are constraints: one row for
a queue id, one ledger entry for an identity (I4), a place for each message whose bytes the spool holds (I2).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from spool.states import LIVE, State

SCHEMA_REVISION = "0005"

metadata = MetaData()

_STATES = ", ".join(f"'{state}'" for state in State)
# A damaged message may have lost its bytes: that is what was found.
_HAVE_BYTES = ", ".join(f"'{state}'" for state in sorted(LIVE - {State.DAMAGED}))

stages = Table(
    "stages",
    metadata,
    Column("stage", Text, primary_key=True),
    Column("epoch", Integer, nullable=False, default=0),
    Column("pid", Integer),
    Column("boot_id", Text),
    Column("started_at", Integer),
    Column("stopped_at", Integer),
)

journals = Table(
    "journals",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("applied", Integer, nullable=False),
)

segments = Table(
    "segments",
    metadata,
    Column("serial", Integer, primary_key=True),
    Column("stage", Text, nullable=False),
    # Set for a large message: the one queue id whose file this is.
    Column("queue_id", Text),
    Column("nonce", LargeBinary),
    Column("committed_octets", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    CheckConstraint("status IN ('active', 'sealed', 'marked')", name="segment_status"),
    sqlite_autoincrement=True,
)

messages = Table(
    "messages",
    metadata,
    Column("queue_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("uidl", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("fetched_at", Integer, nullable=False),
    Column("changed_at", Integer, nullable=False),
    # Where the bytes are; all null once the record is collected.
    Column("segment", Integer, ForeignKey("segments.serial")),
    Column("offset", Integer),
    Column("block_octets", Integer),
    Column("octets", Integer, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    # The envelope; sender is null while it is not known and empty for the null reverse-path.
    Column("sender", Text),
    Column("recipients", JSON, nullable=False),
    Column("accepted", JSON, nullable=False),
    Column("subject", Text, nullable=False),
    # The Message-ID without its brackets; empty while it is not known, and where there is none.
    Column("message_id", Text, nullable=False, server_default=""),
    Column("eightbit", Boolean(create_constraint=False), nullable=False),
    Column("smtputf8", Boolean(create_constraint=False), nullable=False),
    Column("overlong_line_octets", Integer, nullable=False, server_default="0"),
    Column("has_nul", Boolean(create_constraint=False), nullable=False, server_default="0"),
    Column("reason", JSON(none_as_null=True)),
    # Whether a summary of Badmail has told of it.
    Column("is_told", Boolean(create_constraint=False), nullable=False, server_default="0"),
    # Submission.
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Integer),
    Column("queued_clock", Integer, nullable=False),
    Column("attempt_clock", Integer),
    Column("breaks", JSON(none_as_null=True)),
    Column("possible_duplicate", Boolean(create_constraint=False), nullable=False),
    Column("claim_epoch", Integer),
    Column("claim", Integer, nullable=False),
    Column("claim_boot", Text),
    # What the operator wants done when the claim ends; an outcome of the journal.
    Column("wish", Text),
    # Kin.
    Column("parent", Text),
    Column("replay_id", Text),
    Column("replay", JSON(none_as_null=True)),
    CheckConstraint(f"state IN ({_STATES})", name="message_state"),
    CheckConstraint(f"segment IS NOT NULL OR state NOT IN ({_HAVE_BYTES})", name="live_has_bytes"),
    Index("ix_messages_state", "state", "next_attempt_at", "queue_id"),
    Index("ix_messages_account", "account", "queue_id"),
    Index("ix_messages_segment", "segment"),
    Index("ix_messages_uidl", "uidl"),
    Index("ix_messages_message_id", "message_id"),
    Index("ix_messages_parent", "parent"),
    Index("ix_messages_replay_id", "replay_id", unique=True),
)

ledger = Table(
    "ledger",
    metadata,
    Column("entry", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("uidl", Text, nullable=False),
    # Null for a UIDL that was adopted or imported: we know its name, not its content.
    Column("identity", LargeBinary),
    Column("copy", Integer, nullable=False),
    Column("header", LargeBinary),
    Column("octets", Integer),
    Column("queue_id", Text),
    Column("had_at", Integer, nullable=False),
    # When a listing first failed to show it; null while the maildrop may still show it.
    Column("gone_at", Integer),
    # When a DELE was sent for it; kept for messages without UIDL, whose going only a count can show.
    Column("deletion_asked_at", Integer),
    # The last round of comparing everything by content in which this entry was found.
    Column("round", Integer, nullable=False),
    UniqueConstraint("account", "uidl", "identity", "copy", name="ledger_identity"),
    Index("ix_ledger_content", "account", "identity"),
    Index("ix_ledger_queue_id", "queue_id"),
    # Journal lines name entries: a number is never given twice.
    sqlite_autoincrement=True,
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_success_at", Integer),
    Column("last_attempt_at", Integer),
    Column("last_error", Text),
    Column("failures", Integer, nullable=False),
    Column("refusals", Integer, nullable=False, server_default="0"),
    # The last successful login; all null before the first.
    Column("login_at", Integer),
    Column("login_delay", Integer),
    Column("login_mechanism", Text),
    Column("skips_capabilities", Boolean(create_constraint=False)),
    Column("next_poll_at", Integer),
    Column("remote_messages", Integer),
    # What the last listing showed.
    Column("listed_messages", Integer),
    # What the last QUIT was answered +OK for: how many the maildrop must hold at most, next time.
    Column("expected_messages", Integer),
    # The round of comparing by content that is under way; 0: UIDLs are trusted.
    Column("doubt_round", Integer, nullable=False),
    Column("rounds", Integer, nullable=False),
    Column("sizes_exact", Boolean(create_constraint=False)),
    # Host and user of the last listing that showed something: another one has UIDLs of its own.
    Column("maildrop", Text),
)

left = Table(
    "left_at_provider",
    metadata,
    Column("account", Text, primary_key=True),
    Column("uidl", Text, primary_key=True),
    Column("octets", Integer, primary_key=True),
    Column("why", Text, nullable=False),
    Column("limit_octets", Integer),
    Column("limit_source", Text),
    Column("breaks", Integer, nullable=False),
    Column("tried_at", Integer),
    Column("reported_at", Integer),
    CheckConstraint("why IN ('oversize', 'broken')", name="left_why"),
)

route = Table(
    "route",
    metadata,
    Column("name", Text, primary_key=True),
    Column("size_known_at", Integer),
    Column("size_octets", Integer),
    # The clock that queue lifetime is measured by: it runs only while the route is open.
    Column("open_clock", Integer, nullable=False),
    Column("opened_at", Integer),
    Column("closed_at", Integer),
    Column("trouble", Text),
)

summaries = Table(
    "summaries",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tried_at", Integer, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("request", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("adopts", Boolean(create_constraint=False), nullable=False, server_default="0"),
    # The UIDLs that another fetcher had; null where the maildrop is to be asked.
    Column("uidls", JSON(none_as_null=True)),
    Column("is_verbose", Boolean(create_constraint=False), nullable=False, server_default="0"),
    # Whether somebody waits for it and looks how far it has come.
    Column("is_awaited", Boolean(create_constraint=False), nullable=False, server_default="0"),
    Column("asked_at", Integer, nullable=False),
    Column("done_at", Integer),
    Column("outcome", Text),
    Column("has_failed", Boolean(create_constraint=False), nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

# Whose dialogue is logged: of an account, of the relay (by a name that no account has), "" for all others.
verbosity = Table(
    "verbosity",
    metadata,
    Column("account", Text, primary_key=True),
    Column("is_verbose", Boolean(create_constraint=False), nullable=False),
    Column("set_at", Integer, nullable=False),
)

# How far a poll that somebody waits for has come.
progress = Table(
    "progress",
    metadata,
    Column("account", Text, primary_key=True),
    Column("messages", Integer, nullable=False),
    Column("of_messages", Integer, nullable=False),
    Column("octets", Integer, nullable=False),
    Column("of_octets", Integer, nullable=False),
    Column("at", Integer, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("event", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("queue_id", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("fields", JSON, nullable=False),
    # Who wrote it: a stage, "run" or "command"; empty for what an earlier version wrote.
    Column("process", Text, nullable=False, server_default=""),
    # What must be equal for the same to be said again; null where each time is an event of its own.
    Column("topic", Text),
    # How often the same was said, and when last; null after the first time.
    Column("count", Integer, nullable=False, server_default="1"),
    Column("last_at", Integer),
    Index("ix_events_queue_id", "queue_id"),
    Index("ix_events_topic", "name", "account", "topic", "event"),
    Index("ix_events_at", "at"),
    Index("ix_events_last_at", "last_at"),
    sqlite_autoincrement=True,
)


def to_ms(at: datetime) -> int:
    """A time as it stands in a column."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """A time out of a column."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
