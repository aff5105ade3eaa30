"""Say whether what RETR gave is the message that was asked for, where its size does not say so.

Asked are messages whose octets are not what LIST told, and messages equal to another one: `TOP n 0` shows who they are.
docs/decisions/0009 weighs this.

**Invariants:** a header is compared as the ledger compares it, without the fields that servers rewrite. One that was
rewritten on the way out, as a scanner does that adds fields to RETR alone, is known by its Message-ID.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from spool.message_file import header_digest
from stages.mail.headers import MAX_HEADER_OCTETS, scan

HEAD_OCTETS = MAX_HEADER_OCTETS + 1
_MESSAGE_ID = b"message-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What tells one header from another; `message_id` is empty where there is none."""

    digest: bytes
    message_id: bytes


def head_of(octets: bytes) -> Head:
    """Read a header, or the first `HEAD_OCTETS` of a message."""
    # A server that mends bare line ends may do so for RETR alone.
    octets = octets[:HEAD_OCTETS].replace(b"\r\n", b"\n")
    header = scan(octets, frozenset({_MESSAGE_ID}))
    field = header.first(_MESSAGE_ID)
    return Head(digest=header_digest(octets[: header.body]), message_id=field.value if field else b"")


def is_same(shown: Head, came: Head) -> bool:
    """Whether TOP showed the message that RETR gave."""
    return shown.digest == came.digest or (shown.message_id == came.message_id != b"")


def objection(
    shown: Head | None, came: Head, *, octets: int, told: int | None, others: Collection[int | None]
) -> str | None:
    """Say why a message of `octets` is not the one of which LIST `told` a size; None where it is.

    `shown` is None where the server has no TOP: then a message is not believed that has the size of one of the
    `others` of the listing and not its own.
    """
    if shown is not None:
        return None if is_same(shown, came) else "TOP shows another message"
    if octets != told and octets in others:
        return f"{octets} octets came where LIST says {told}, the size of another message"
    return None
