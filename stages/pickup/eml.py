"""Read the top of a message file from Pickup: the envelope that it asks for, and where its message begins.

The conventions are those of Exchange's Replay and Pickup directories. Injected lines on top name the envelope
(`X-Sender`, `X-Receiver`, in any order) and are cut off; a file without an `X-Receiver` is addressed by its `To`, `Cc`
and `Bcc`, and the `Bcc` is taken out. `Resent-To` and `Resent-Cc` address nobody: they tell how the message came here,
not whom this copy is for.

**Invariants:** total on any octets. Nothing in a file is believed but its envelope, and that only as far as `objection`
allows: the first lines of a file may have been written by the sender of an old message. The queue id is a hint. But for
the injected lines, such a `Bcc` and a byte order mark on top, the message is what the file has, octet for octet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from spool.message_file import MAX_BLOCK_OCTETS, PREFIX, RECEIVER, SENDER
from spool.queue_id import QueueId
from spool.safe_text import safe_text
from stages.mail.addresses import Address, Malformed, NullPath, leading_path, mailboxes
from stages.mail.headers import Field, Header, scan
from stages.pickup.injected import BYTE_ORDER_MARK, Injected, InjectedField, read_injected

MAX_HEADER_OCTETS = 64 * 1024
# As much of a file as `read_top` needs to see.
TOP_OCTETS = len(BYTE_ORDER_MARK) + MAX_BLOCK_OCTETS + MAX_HEADER_OCTETS + 1
MAX_RECIPIENTS = 100
_SHOWN_RECIPIENTS = 5
_TO_CC_BCC = (b"to", b"cc", b"bcc")
# RFC 5322 section 3.6.6: Resent-Bcc is to Resent-To what Bcc is to To, and nobody's to see either.
_BLIND = (b"bcc", b"resent-bcc")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class PickupMessage:
    """What a file asks for. The message to admit is `header` followed by the file from offset `rest` on.

    `sender` is "" for the null path and None where no X-Sender names it: then the header decides, as for fetched mail.
    `hint` is the queue id that the file claims to have had; `excess` is what it has more of than a dropped file may.
    """

    sender: str | None
    recipients: tuple[str, ...]
    hint: QueueId | None
    header: bytes
    rest: int
    excess: str = ""


@dataclass(frozen=True, slots=True)
class Unusable:
    """The file names no envelope that could be used; `reason` is one safe line, `rest` is where its message begins."""

    reason: str
    rest: int = 0


def read_top(top: bytes) -> PickupMessage | Unusable:
    """Read the first `TOP_OCTETS` of a file, or all of a shorter one."""
    injected = read_injected(top)
    found = _read(injected, top)
    return replace(found, rest=injected.end) if isinstance(found, Unusable) else found


def no_message(top: bytes, injected: Injected | None = None) -> str:
    """Why these octets are the top of no message file at all, in one safe line; empty where they may be."""
    injected = injected or read_injected(top)
    if not top:
        return "the file is empty"
    if top.startswith(_UTF16_MARKS) or top[:2].count(b"\0") == 1:
        return "the file is UTF-16, which no mail is: save it as plain text or UTF-8"
    if not injected.is_whole:
        return f"its injected X-lines are longer than {MAX_BLOCK_OCTETS} octets"
    if not injected.fields and top[injected.end :].startswith(b"From "):
        # RFC 4155: what begins so may hold many messages, and the line belongs to none of them.
        return "line 1 begins a mailbox file (mbox): put each of its messages into a file of its own, without that line"
    return ""


def objection(
    found: PickupMessage | Unusable, *, accept_domains: Iterable[str], known: Collection[str] | None
) -> str | None:
    """Why a file may not be sent, in one safe line; None where it may.

    `known` are the recipients that the message had which the file names by its queue id, None where it names none: what
    was fetched from a provider must be able to go out again, however long its header is.
    """
    if isinstance(found, Unusable):
        return found.reason
    if found.excess and known is None:
        return found.excess
    refused = refused_recipients(found.recipients, accept_domains=accept_domains, known=known or ())
    if not refused:
        return None
    more = f" and {len(refused) - _SHOWN_RECIPIENTS} more" if len(refused) > _SHOWN_RECIPIENTS else ""
    return f"outside pickup.accept_domains: {safe_text(', '.join(refused[:_SHOWN_RECIPIENTS]).encode())}{more}"


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


def _read(injected: Injected, top: bytes) -> PickupMessage | Unusable:
    unfit = no_message(top, injected)
    if unfit:
        return Unusable(unfit)
    sender = _sender(injected, top)
    if isinstance(sender, Unusable):
        return sender
    header = scan(top[injected.end : injected.end + MAX_HEADER_OCTETS + 1], frozenset({*_TO_CC_BCC, *_BLIND}))
    is_long = header.is_truncated or header.body > MAX_HEADER_OCTETS
    named = injected.all(RECEIVER)
    if named:
        addressed = _receivers(named, top)
        kept, rest = b"", injected.end
    elif is_long:
        return Unusable(f"{_too_long(header)}: name the recipients in {RECEIVER} lines on top of the file")
    else:
        addressed = _addressees(header.all(*_TO_CC_BCC), top, start=injected.end)
        kept, rest = _without(header.all(*_BLIND), top, start=injected.end)
    if isinstance(addressed, Unusable):
        return addressed
    recipients = tuple(dict.fromkeys(addressed))
    if not recipients:
        return Unusable(_nobody(header, top, start=injected.end))
    if not kept and rest >= len(top):
        return Unusable("there is no message in it but its addresses")
    return PickupMessage(
        sender=sender,
        recipients=recipients,
        hint=_hint(injected),
        header=kept,
        rest=rest,
        excess=_too_long(header) if is_long else _too_many(recipients),
    )


def _too_long(header: Header) -> str:
    what = f"is longer than {MAX_HEADER_OCTETS} octets" if header.body > MAX_HEADER_OCTETS else "has too many fields"
    return f"the header {what}"


def _too_many(recipients: Sequence[str]) -> str:
    count = len(recipients)
    return f"{count} recipients, and a dropped file may have {MAX_RECIPIENTS}" if count > MAX_RECIPIENTS else ""


def _nobody(header: Header, top: bytes, *, start: int) -> str:
    if not header.body:
        return f"line {_line(top, start)} is no header field: a message begins with its header"
    return f"no recipient: it has no {RECEIVER} line, and its To, Cc and Bcc name nobody"


def _sender(injected: Injected, top: bytes) -> str | Unusable | None:
    fields = injected.all(SENDER)
    if not fields:
        return None
    if len(fields) > 1:
        return Unusable(f"line {_line(top, fields[1].start)}: a second {SENDER}")
    path = leading_path(fields[0].value.encode())
    match path:
        case NullPath():
            return ""
        case Malformed():
            return _unusable(SENDER, path, value=fields[0].value.encode(), line=_line(top, fields[0].start))
        case Address():
            return str(path)


def _receivers(fields: Sequence[InjectedField], top: bytes) -> list[str] | Unusable:
    recipients: list[str] = []
    for field in fields:
        path = leading_path(field.value.encode())
        if not isinstance(path, Address):
            return _unusable(RECEIVER, path, value=field.value.encode(), line=_line(top, field.start))
        recipients.append(str(path))
    return recipients


def _addressees(fields: Sequence[Field], top: bytes, *, start: int) -> list[str] | Unusable:
    recipients: list[str] = []
    for field in fields:
        for mailbox in mailboxes(field.value):
            if not isinstance(mailbox, Address):
                name, line = field.name.decode("ascii").title(), _line(top, start + field.start)
                return _unusable(name, mailbox, value=field.value, line=line)
            recipients.append(str(mailbox))
    return recipients


def _unusable(name: str, parsed: Malformed | NullPath, *, value: bytes, line: int) -> Unusable:
    reason = parsed.reason if isinstance(parsed, Malformed) else "the null path is no recipient"
    return Unusable(f"line {line}: unusable {name}: {reason}: {safe_text(value)}")


def _without(fields: Sequence[Field], top: bytes, *, start: int) -> tuple[bytes, int]:
    """The octets from `start` to the last of these fields without them, and the offset behind it."""
    kept: list[bytes] = []
    position = start
    for field in fields:
        kept.append(top[position : start + field.start])
        position = start + field.end
    return b"".join(kept), position


def _hint(injected: Injected) -> QueueId | None:
    try:
        return QueueId(next((field.value for field in injected.all(PREFIX + "Queue-Id")), ""))
    except ValueError:
        return None


def _line(top: bytes, offset: int) -> int:
    """The number of the line that begins at an offset, counted from 1."""
    before = top[:offset]
    return 1 + (before.count(b"\n") or before.count(b"\r"))


def _comparable(address: str) -> str:
    # RFC 5321 section 2.4: only the domain is case-blind.
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"
