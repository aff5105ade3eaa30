"""What is submitted, and the facts of what became of it.

**Invariants:** a `TransactionResult` judges nothing; `stages.submit.verdict` does. A 421 and everything else that ends
the connection stands in `broken` and in no other field. A reply is None where the relay gave none. `dot_sent` is True
as soon as the final dot may have left: without a reply to it nobody knows whether the relay took the message.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from enum import StrEnum

from stages.smtp.commands import Envelope
from stages.smtp.replies import Extensions, Phase, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One message for the relay.

    `content` is the message with its trace header, whole or in chunks, as it stands in the spool: the client mends line
    ends and stuffs dots. A stream is not read before the relay has said 354. `before_dot` is called when nothing but
    the final dot (of a whole message: all of it) is left to be sent; if it raises, no dot is sent.
    """

    envelope: Envelope
    content: bytes | AsyncIterable[bytes]
    before_dot: Callable[[], None]


class BreakKind(StrEnum):
    """How a session ended before its time."""

    GOODBYE = "421"
    LOST = "connection lost"
    TIMEOUT = "time-out"
    VIOLATION = "protocol violation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The end of a session: what was awaited then, and the relay's words or the network's."""

    kind: BreakKind
    phase: Phase
    text: str
    reply: Reply | None = None


class Objection(StrEnum):
    """Why a message was not even offered to this relay."""

    SIZE = "larger than SIZE"
    SMTPUTF8 = "needs SMTPUTF8"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionResult:
    """The replies of one transaction, in their order; those to RCPT stand beside the envelope's recipients.

    `finals` stand beside them too: the reply to the final dot that counts for each, None where none came. By SMTP that
    is one and the same reply for all recipients that were accepted, by LMTP each has its own (RFC 2033 section 4.2).

    `after_refusal`: the last thing that the relay said in this session before it broke was a 5yz. `is_first`: no other
    transaction came before this one in the session.
    """

    envelope: Envelope
    offered: Extensions
    finals: tuple[Reply | None, ...]
    objection: Objection | None = None
    mail: Reply | None = None
    recipients: tuple[Reply | None, ...] = ()
    data: Reply | None = None
    dot_sent: bool = False
    broken: Break | None = None
    after_refusal: bool = False
    is_first: bool = True


def objection_to(envelope: Envelope, offered: Extensions) -> Objection | None:
    """Say what makes this message impossible at a relay that offers these extensions (RFC 1870, RFC 6531).

    Octets over 127 in a header field, which want SMTPUTF8 too, are sent as they are: most relays let them pass.
    """
    if offered.size is not None and envelope.octets > offered.size:
        return Objection.SIZE
    is_ascii = all(address.isascii() for address in (envelope.reverse_path, *envelope.recipients))
    if not is_ascii and not offered.smtputf8:
        return Objection.SMTPUTF8
    return None
