"""Badmail: where refused messages go, each a file of its own with the reason in its block.

**Invariants:** the file is whole, synced and named before a journal line or a row says so; in Badmail the file is the
truth.
**Failures:** `Damaged` where the message cannot be read back, `OSError` from the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

from sqlalchemy import Connection, insert

from spool import models
from spool.content import pieces
from spool.envelope import Origin, Reason
from spool.errors import Damaged
from spool.journal import Journal, Outcome
from spool.message_file import (
    MAX_BLOCK_OCTETS,
    PREFIX,
    Block,
    block,
    envelope_fields,
    origin_fields,
    parse_block,
    parse_envelope,
    parse_origin,
)
from spool.models import to_ms
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.rows import Message, badmail_row
from spool.segments import open_regular

REASON = PREFIX + "Reason"
PARENT = PREFIX + "Parent"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadmailFile:
    """What a file in Badmail says of itself; `end` is where its block ends and the message begins, once it is read."""

    origin: Origin
    octets: int
    sha256: bytes
    sender: str | None
    recipients: tuple[str, ...]
    reason: Reason
    parent: QueueId | None = None
    end: int = 0


def write_badmail(
    spool: Spool,
    message: Message,
    *,
    reason: Reason,
    recipients: Iterable[str] | None = None,
    as_child: QueueId | None = None,
) -> None:
    """Write the Badmail file of a message or, `as_child`, of the recipients that leave it."""
    if message.stored is None:
        raise AssertionError(f"{message.queue_id} has no bytes in the spool")
    origin = Origin(
        queue_id=as_child or message.queue_id,
        account=message.account,
        uidl=message.uidl,
        peer=message.peer,
        fetched_at=message.fetched_at,
    )
    filed = BadmailFile(
        origin=origin,
        octets=message.octets,
        sha256=message.sha256,
        sender=message.sender,
        recipients=tuple(message.recipients if recipients is None else recipients),
        reason=reason,
        parent=message.queue_id if as_child else None,
    )
    file_badmail(spool, filed, content=pieces(spool, message.stored))


def file_badmail(spool: Spool, filed: BadmailFile, *, content: Iterable[bytes]) -> None:
    """Write a Badmail file under the queue id of its origin: durable, whole or not at all. Raises OSError."""
    origin = filed.origin
    fields = [
        *envelope_fields(filed.sender, filed.recipients),
        *origin_fields(origin, octets=filed.octets, sha256=filed.sha256),
        *([(PARENT, str(filed.parent))] if filed.parent else []),
        (REASON, str(filed.reason)),
    ]
    spool.disk.write_file(spool.layout.badmail_message(origin.queue_id), chain([block(fields)], content))


def enter_badmail(connection: Connection, filed: BadmailFile, *, journal: Journal, now: datetime) -> None:
    """Note in the journal, and write the row of, a message whose first state is Badmail; its file is there already.

    The caller syncs the journal before it commits.
    """
    origin, digest = filed.origin, filed.sha256
    details = {"recipients": list(filed.recipients), "sha256": digest.hex(), "reply": str(filed.reason)}
    journal.note(Outcome.BADMAIL, origin.queue_id, details=details)
    known = {
        "account": origin.account,
        "uidl": origin.uidl.encoded,
        "peer": origin.peer,
        "fetched_at": to_ms(origin.fetched_at),
        "octets": filed.octets,
        "sha256": digest,
        "sender": filed.sender,
        "parent": filed.parent,
    }
    row = badmail_row(known, queue_id=origin.queue_id, reason=filed.reason, recipients=filed.recipients, now=now)
    connection.execute(insert(models.messages).values(row))


def read_badmail(spool: Spool, queue_id: QueueId) -> BadmailFile | None:
    """Read the block of a Badmail file; None where there is no file or its block is not one of ours. Raises OSError."""
    try:
        found = leading_block(spool.layout.badmail_message(queue_id))
    except FileNotFoundError:
        return None
    known = parse_origin(found)
    if known is None:
        return None
    origin, octets, sha256 = known
    sender, recipients = parse_envelope(found)
    parent = found.get(PARENT)
    return BadmailFile(
        origin=origin,
        octets=octets,
        sha256=sha256,
        sender=sender,
        recipients=recipients,
        reason=Reason.parse(found.get(REASON) or "no reason given"),
        parent=QueueId(parent) if parent else None,
        end=found.end,
    )


def message_start(spool: Spool, queue_id: QueueId) -> int:
    """Where the message begins in a Badmail file: at 0 where the block is not ours any more. Raises Damaged."""
    try:
        found = read_badmail(spool, queue_id)
    except OSError as error:
        raise Damaged(queue_id, f"Badmail/{queue_id}.eml: {error.strerror}") from error
    return found.end if found else 0


def leading_block(path: Path) -> Block:
    """The block on top of a message file, whoever wrote it; one without fields where there is none. Raises OSError."""
    with open_regular(path) as file:
        return parse_block(file.read(MAX_BLOCK_OCTETS)) or Block((), 0)


def unlink_badmail(spool: Spool, queue_ids: Iterable[QueueId]) -> None:
    """Remove the files of messages that have left Badmail, after the commit that says so."""
    for queue_id in queue_ids:
        # Somebody put a directory there: whoever looks at Badmail says so, and leaves it alone.
        with contextlib.suppress(IsADirectoryError):
            spool.disk.unlink(spool.layout.badmail_message(queue_id))
    spool.disk.sync_directory(spool.layout.badmail)
