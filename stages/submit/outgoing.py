"""Make of a claimed message what the relay is to be given: envelope, trace field, content.

**Invariants:** the trace field is the same at each attempt; content that is held in memory has been compared with its
SHA-256, content that is streamed is compared before its end, and raises `Damaged` there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace

from spool.content import load, pieces
from spool.ended import Claim, Unreadable
from spool.errors import Damaged
from spool.opening import Spool
from spool.rows import Message, Stored
from stages.errors import OurBug
from stages.mail.received import Hop, split_peer, trace_field
from stages.runner import Runtime
from stages.smtp.commands import Envelope
from stages.smtp.encoding import normalise_line_ends
from stages.smtp.transaction import Submission

LARGE_OCTETS = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message ready to be sent. `content` is trace field and message; None: the message is streamed."""

    claim: Claim
    envelope: Envelope
    trace: bytes
    content: bytes | None

    @property
    def held_octets(self) -> int:
        """What it costs to keep this waiting."""
        return len(self.content or b"")

    def with_null_path(self) -> Outgoing:
        """The same with the null reverse-path."""
        return replace(self, envelope=replace(self.envelope, reverse_path=""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsendable:
    """A message whose envelope cannot be put into commands."""

    claim: Claim
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What the trace field says of us: our host name, and the recipients of each account."""

    name: str
    deliver_to: Mapping[str, tuple[str, ...]]


def prepare(spool: Spool, claim: Claim, *, gateway: Gateway) -> Outgoing | Unreadable | Unsendable:
    """Read a message and make it ready; in the spool's thread. Raises SpoolFailed."""
    message = claim.message
    trace = _trace(message, gateway)
    content = None
    octets = len(trace) + message.octets
    try:
        stored = _stored(message)
        if message.octets <= LARGE_OCTETS:
            content = trace + normalise_line_ends(load(spool, stored))
            octets = len(content) + (0 if content.endswith(b"\r\n") else 2)
    except Damaged as error:
        return Unreadable(claim=claim, what=error.what)
    try:
        envelope = Envelope(
            reverse_path=message.sender or "",
            recipients=message.recipients,
            octets=octets,
            eightbit=message.needs.eightbit,
            smtputf8=message.needs.smtputf8,
            overlong_line_octets=message.needs.overlong_line_octets,
            has_nul=message.needs.has_nul,
        )
    except OurBug as error:
        # Validation lets nothing like that through; should it ever, this message alone pays.
        return Unsendable(claim=claim, what=str(error))
    return Outgoing(claim=claim, envelope=envelope, trace=trace, content=content)


def submission(outgoing: Outgoing, runtime: Runtime, *, before_dot: Callable[[], None]) -> Submission:
    """What the client is given for one attempt."""
    content = outgoing.content if outgoing.content is not None else _streamed(outgoing, runtime)
    return Submission(envelope=outgoing.envelope, content=content, before_dot=before_dot)


async def _streamed(outgoing: Outgoing, runtime: Runtime) -> AsyncIterator[bytes]:
    yield outgoing.trace
    parts = pieces(runtime.spool, _stored(outgoing.claim.message))
    while piece := await runtime.call(lambda: next(parts, b"")):
        yield piece


def _trace(message: Message, gateway: Gateway) -> bytes:
    host, address = split_peer(message.peer)
    hop = Hop(peer_host=host, gateway=gateway.name, recipients=_addressees(message, gateway))
    return trace_field(hop, peer_address=address, queue_id=message.queue_id, fetched_at=message.fetched_at)


def _addressees(message: Message, gateway: Gateway) -> tuple[str, ...]:
    """All whom the message was for, also when some of them are done with: the trace field must not change."""
    known = (*(str(one["recipient"]) for one in message.accepted), *message.recipients)
    of_account = gateway.deliver_to.get(message.account, ())
    return of_account if set(known) <= set(of_account) else known


def _stored(message: Message) -> Stored:
    if message.stored is None:
        raise Damaged(message.queue_id, "the index knows no place for its bytes")
    return message.stored
