"""Examine a staged message: may it go on, from whom, to whom, and what must the relay be able to take.

`examine` reads the octets, once and piece by piece; `decide` is pure.

**Invariants:** the envelope that pickup gave is kept as it is; an envelope is never guessed: where section 10 of the
design finds no reverse-path the message is refused, or goes out with the null path where that is configured.
**Failures:** `Damaged` and `SpoolFailed` from reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spool.content import pieces
from spool.envelope import Reason
from spool.errors import Damaged
from spool.events import Event
from spool.opening import Spool
from spool.rows import Message
from spool.staging import Passed, Rejected
from stages.mail.headers import MAX_HEADER_OCTETS, Header, message_id, scan, subject
from stages.mail.received import Hop
from stages.settings import AccountSettings, BareNewlines, InvalidReversePath, ValidateSettings
from stages.validate.checks import Content, ContentScan, loop_reason, needs
from stages.validate.events import ReversePathReplaced
from stages.validate.reverse_path import ReversePath, Unusable, derive


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What messages are held to; `gateway` is our own name in the trace fields that we write."""

    settings: ValidateSettings
    accounts: Mapping[str, AccountSettings]
    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What was found, and what the operator should hear beside it."""

    finding: Passed | Rejected
    events: tuple[Event, ...] = ()


def examine(spool: Spool, message: Message, *, rules: Rules) -> Examined:
    """Read a staged message and decide on it; raises Damaged, SpoolFailed."""
    if message.stored is None:
        raise Damaged(message.queue_id, "the spool does not hold its bytes")
    top = bytearray()
    content = ContentScan()
    for piece in pieces(spool, message.stored):
        if len(top) <= MAX_HEADER_OCTETS:
            top += piece
        content.feed(piece)
    return decide(message, scan(bytes(top)), content=content.result(), rules=rules)


def decide(message: Message, header: Header, *, content: Content, rules: Rules) -> Examined:
    """Decide on a message by its row, its header and the facts of its content."""
    account = rules.accounts.get(message.account)
    deliver_to = account.deliver_to if account else ()
    recipients = message.recipients or deliver_to
    # The trace field names whom the account is for, also when some of them are done with.
    addressees = deliver_to if set(recipients) <= set(deliver_to) else recipients
    reason = message.reason or _obstacle(message, header, content=content, addressees=addressees, rules=rules)
    if reason:
        return Examined(finding=rejected(message, reason, header=header, recipients=recipients))
    if message.sender is not None:
        return _passed(message, header, content=content, sender=message.sender, recipients=recipients)
    default_domain = account.default_domain if account else rules.settings.default_domain
    wanted = rules.settings.invalid_reverse_path
    found = derive(header, default_domain, falls_back=wanted is InvalidReversePath.FALLBACK)
    if isinstance(found, Unusable) and wanted is InvalidReversePath.NULL:
        found = ReversePath("", instead_of=found)
    if isinstance(found, Unusable):
        return Examined(finding=rejected(message, _reason(_why(found)), header=header, recipients=recipients))
    events = [_replaced(message, found.address, unusable=found.instead_of)] if found.instead_of else []
    return _passed(message, header, content=content, sender=found.address, recipients=recipients, events=tuple(events))


def _replaced(message: Message, address: str, *, unusable: Unusable) -> Event:
    return ReversePathReplaced(
        queue_id=message.queue_id, account=message.account, reverse_path=address, reason=_why(unusable)
    )


def rejected(
    message: Message, reason: Reason, *, header: Header | None = None, recipients: tuple[str, ...] = ()
) -> Rejected:
    """The finding that sends a message to Badmail."""
    return Rejected(
        message=message,
        reason=reason,
        recipients=recipients or message.recipients,
        subject=subject(header) if header else message.subject,
        message_id=message_id(header) if header else message.message_id,
        sender=message.sender,
    )


def _obstacle(
    message: Message, header: Header, *, content: Content, addressees: tuple[str, ...], rules: Rules
) -> Reason | None:
    """Why a message may go to nobody, whatever its reverse-path is."""
    if not addressees:
        return _reason(f"the configuration has no account {message.account!r} any more, so nobody is known to get it")
    # The trace field names the host that the message was fetched from, whatever the account says today.
    hop = Hop(peer_host=message.peer.partition(" ")[0], gateway=rules.gateway, recipients=addressees)
    looping = loop_reason(header, hop, max_hops=rules.settings.max_hops)
    if looping:
        return _reason(looping)
    # What pickup brought was looked at by the operator, and files of a UNIX machine have no CR.
    is_fetched = message.sender is None
    if rules.settings.bare_newlines is BareNewlines.BADMAIL and is_fetched and content.bare_newlines:
        return _reason(f'{content.bare_newlines}, and submit.bare_newlines = "badmail"')
    return None


def _passed(
    message: Message,
    header: Header,
    *,
    content: Content,
    sender: str,
    recipients: tuple[str, ...],
    events: tuple[Event, ...] = (),
) -> Examined:
    passed = Passed(
        message=message,
        sender=sender,
        recipients=recipients,
        subject=subject(header),
        message_id=message_id(header),
        needs=needs(content, addresses=[sender, *recipients]),
    )
    return Examined(finding=passed, events=events)


def _reason(text: str) -> Reason:
    return Reason(stage="validate", text=text)


def _why(found: Unusable) -> str:
    return f"{found.reason}, in: {found.header}" if found.header else found.reason
