"""Read the top of a message file from Pickup: the envelope that it asks for, and where its message begins.

The conventions are those of Exchange's Replay and Pickup directories. A block of injected lines on top names the
envelope (`X-Sender`, `X-Receiver`, in any order) and is cut off; a file without such lines is addressed by its `To`,
`Cc` and `Bcc`, and the `Bcc` is taken out.

**Invariants:** total on any octets. Nothing in a file is believed but its envelope, and that only as far as
`refused_recipients` allows: the first lines of a file may have been written by the sender of an old message. The queue
id is a hint. But for the block, such a `Bcc` and a byte order mark on top, the message is what the file has, octet for
octet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from spool.message_file import MAX_BLOCK_OCTETS, PREFIX, RECEIVER, SENDER, Block, parse_block
from spool.queue_id import QueueId
from spool.safe_text import safe_text
from stages.mail.addresses import Address, Malformed, NullPath, leading_path, mailboxes
from stages.mail.headers import Field, scan

MAX_HEADER_OCTETS = 64 * 1024
# As much of a file as `read_top` needs to see.
TOP_OCTETS = MAX_BLOCK_OCTETS + MAX_HEADER_OCTETS + 1
MAX_RECIPIENTS = 100
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TO_CC_BCC = (b"to", b"cc", b"bcc")
# What an operator writes by hand ends without X-EndOfInjectedXHeaders: these lines and no others are the block then.
_INJECTED = tuple(
    name.lower().encode("ascii")
    for name in (
        SENDER + ":",
        RECEIVER + ":",
        "X-CreatedBy:",
        "X-HeloDomain:",
        "X-Source:",
        "X-ExtendedMessageProps:",
        PREFIX,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PickupMessage:
    """What a file asks for. The message to admit is `header` followed by the file from offset `rest` on.

    `sender` is "" for the null path and None where no X-Sender names it: then the header decides, as for fetched mail.
    `hint` is the queue id that the file claims to have had.
    """

    sender: str | None
    recipients: tuple[str, ...]
    hint: QueueId | None
    header: bytes
    rest: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """The file names no envelope that could be used; `reason` is one safe line, `rest` is where its message begins."""

    reason: str
    rest: int = 0


def read_top(top: bytes) -> PickupMessage | Unusable:
    """Read the first `TOP_OCTETS` of a file, or all of a shorter one."""
    block = _block(top)
    found = _read(block, top)
    return replace(found, rest=block.end) if isinstance(found, Unusable) else found


def refused_recipients(
    recipients: Iterable[str], *, accept_domains: Iterable[str], known: Iterable[str]
) -> tuple[str, ...]:
    """The recipients that a file may not be sent to.

    They are those outside `accept_domains`, but for the recipients that the hinted queue id had (`known`).
    """
    domains = {domain.lower() for domain in accept_domains}
    had = set(map(_comparable, known))
    return tuple(
        recipient
        for recipient in recipients
        if recipient.rpartition("@")[2].lower() not in domains and _comparable(recipient) not in had
    )


def _read(block: Block, top: bytes) -> PickupMessage | Unusable:
    sender = _sender(block)
    if isinstance(sender, Unusable):
        return sender
    named = list(block.all(RECEIVER))
    if named:
        addressed = _receivers(named)
        header, rest = b"", block.end
    else:
        found = scan(top[block.end : block.end + MAX_HEADER_OCTETS], frozenset(_TO_CC_BCC))
        if found.is_truncated or found.body == MAX_HEADER_OCTETS:
            return Unusable(f"no X-Receiver, and the header is longer than {MAX_HEADER_OCTETS} octets")
        addressed = _addressees(found.all(*_TO_CC_BCC))
        header, rest = _without(found.all(b"bcc"), top, start=block.end)
    if isinstance(addressed, Unusable):
        return addressed
    recipients = tuple(dict.fromkeys(addressed))
    if not recipients:
        return Unusable("no recipient in X-Receiver, To, Cc or Bcc")
    if len(recipients) > MAX_RECIPIENTS:
        return Unusable(f"more than {MAX_RECIPIENTS} recipients")
    return PickupMessage(sender=sender, recipients=recipients, hint=_hint(block), header=header, rest=rest)


def _block(top: bytes) -> Block:
    # Editors put a byte order mark on top; it is no part of the first line, nor of the message.
    mark = len(_BYTE_ORDER_MARK) if top.startswith(_BYTE_ORDER_MARK) else 0
    block = parse_block(top[mark:]) or _handwritten_block(top[mark:])
    return Block(block.fields, block.end + mark)


def _handwritten_block(top: bytes) -> Block:
    fields: list[tuple[str, str]] = []
    end = 0
    while top[end : end + 40].lower().startswith(_INJECTED):
        line_end = top.find(b"\n", end) + 1 or len(top)
        name, _, value = top[end:line_end].decode("utf-8", "replace").partition(":")
        fields.append((name.rstrip(), value.strip()))
        end = line_end
    # X-lines of other programs stay in the message unless an envelope shows that somebody wrote a block.
    has_envelope = any(name.lower() in {SENDER.lower(), RECEIVER.lower()} for name, _ in fields)
    return Block(tuple(fields), end) if has_envelope else Block((), 0)


def _sender(block: Block) -> str | Unusable | None:
    value = block.get(SENDER)
    if value is None:
        return None
    path = leading_path(value.encode())
    match path:
        case NullPath():
            return ""
        case Malformed():
            return Unusable(f"unusable {SENDER}: {path.reason}: {safe_text(value.encode())}")
        case Address():
            return str(path)


def _receivers(values: Sequence[str]) -> list[str] | Unusable:
    recipients: list[str] = []
    for value in values:
        path = leading_path(value.encode())
        if not isinstance(path, Address):
            return _unusable_recipient(RECEIVER, path, value=value.encode())
        recipients.append(str(path))
    return recipients


def _addressees(fields: Sequence[Field]) -> list[str] | Unusable:
    recipients: list[str] = []
    for field in fields:
        for mailbox in mailboxes(field.value):
            if not isinstance(mailbox, Address):
                return _unusable_recipient(field.name.decode("ascii").title(), mailbox, value=field.value)
            recipients.append(str(mailbox))
    return recipients


def _unusable_recipient(name: str, parsed: Malformed | NullPath, *, value: bytes) -> Unusable:
    reason = parsed.reason if isinstance(parsed, Malformed) else "the null path is no recipient"
    return Unusable(f"unusable {name}: {reason}: {safe_text(value)}")


def _without(fields: Sequence[Field], top: bytes, *, start: int) -> tuple[bytes, int]:
    """The octets from `start` to the last of these fields without them, and the offset behind it."""
    kept: list[bytes] = []
    position = start
    for field in fields:
        kept.append(top[position : start + field.start])
        position = start + field.end
    return b"".join(kept), position


def _hint(block: Block) -> QueueId | None:
    try:
        return QueueId(block.get(PREFIX + "Queue-Id") or "")
    except ValueError:
        return None


def _comparable(address: str) -> str:
    # RFC 5321 section 2.4: only the domain is case-blind.
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"
