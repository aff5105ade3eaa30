"""Badmail: where refused messages go, each a file of its own with the reason in its block.

**Invariants:** the file is whole, synced and named before a journal line or a row says so; in Badmail the file is the truth.
**Failures:** `Damaged` where the message cannot be read back, `OSError` from the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from spool.content import injected_block, pieces
from spool.envelope import Origin, Reason
from spool.message_file import (
    MAX_BLOCK_OCTETS,
    PREFIX,
    block,
    envelope_fields,
    origin_fields,
    parse_block,
    parse_envelope,
    parse_origin,
)
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.rows import Message
from spool.segments import open_regular

REASON = PREFIX + "Reason"
PARENT = PREFIX + "Parent"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadmailFile:
    """What a file in Badmail says of itself; `end` is where its block ends and the message begins."""

    origin: Origin
    octets: int
    sha256: bytes
    sender: str | None
    recipients: tuple[str, ...]
    reason: Reason
    parent: QueueId | None
    end: int


def write_badmail(
    spool: Spool,
    message: Message,
    reason: Reason,
    *,
    recipients: Iterable[str] | None = None,
    as_child: QueueId | None = None,
) -> None:
    """Write the Badmail file of a message, or, `as_child`, of the recipients that leave it; replaces an unfinished one."""
    if message.stored is None:
        raise AssertionError(f"{message.queue_id} has no bytes in the spool")
    queue_id = as_child or message.queue_id
    origin = Origin(
        queue_id=queue_id,
        account=message.account,
        uidl=message.uidl,
        peer=message.peer,
        fetched_at=message.fetched_at,
    )
    fields = [
        *envelope_fields(message.sender, tuple(message.recipients if recipients is None else recipients)),
        *origin_fields(origin, octets=message.octets, sha256=message.sha256),
        *([(PARENT, str(message.queue_id))] if as_child else []),
        (REASON, str(reason)),
    ]
    spool.disk.write_file(spool.layout.badmail_message(queue_id), chain([block(fields)], pieces(spool, message.stored)))


def read_badmail(spool: Spool, queue_id: QueueId) -> BadmailFile | None:
    """Read the block of a Badmail file; None where there is no file or its block is not one of ours. Raises OSError."""
    try:
        with open_regular(spool.layout.badmail_message(queue_id)) as file:
            found = parse_block(file.read(MAX_BLOCK_OCTETS))
    except FileNotFoundError:
        return None
    known = parse_origin(found) if found else None
    if found is None or known is None:
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


def unlink_badmail(spool: Spool, queue_id: QueueId) -> None:
    """Remove the file of a message that has left Badmail, after the commit that says so."""
    if spool.disk.unlink(spool.layout.badmail_message(queue_id)):
        spool.disk.sync_directory(spool.layout.badmail)


def injected_fields(spool: Spool, message: Message) -> Iterator[tuple[str, str]]:
    """The fields of the block that heads a message in the spool."""
    if message.stored:
        found = parse_block(injected_block(spool, message.stored))
        yield from found.fields if found else ()
