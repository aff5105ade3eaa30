"""Retrieve messages, several RETR in flight where the server allows it, and never out of step.

In a pipelined window a stray line or an unstuffed dot would shift every later answer: message 7 would be stored as
message 8, and 8 deleted. So each message is confirmed before anybody may keep it: its octets equal what LIST said, or
a sentinel sent behind it, a question whose answer is known, comes back right.

**Invariants:** `MessageDone` is said only of a confirmed message, and only when no doubt is left about those before
it. The next RETR of `ONE_BY_ONE` leaves after the confirmation of the last.

**Failures:** `OutOfStep`: what came since the last `MessageDone` must not be used, and the connection must be
dropped; `ProtocolViolation` and `NetworkError` mean the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass
from enum import Enum

from stages.errors import OurBug, PeerBroke, ProtocolViolation
from stages.pop3 import commands
from stages.pop3.commands import Command
from stages.pop3.conversation import Conversation
from stages.pop3.protocol import MessageEnd, MessageOctets, Reply
from stages.pop3.replies import list_item, uidl_item


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinel:
    """A question whose answer is known: the unique-id or the size of one message of the listing."""

    number: int
    answer: bytes | int

    @property
    def command(self) -> Command:
        """UIDL n where the answer is a unique-id, LIST n where it is a size."""
        return commands.uidl_of(self.number) if isinstance(self.answer, bytes) else commands.list_of(self.number)

    def is_answered_by(self, reply: Reply) -> bool:
        """Whether the reply is the one that this question must get."""
        read = uidl_item if isinstance(self.answer, bytes) else list_item
        try:
            return reply.ok and read(reply.text) == (self.number, self.answer)
        except ProtocolViolation:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """One message to retrieve. `octets` is what LIST said, None where that was no figure.

    `is_ambiguous`: other messages have as many, so that in a window they would not tell one from another.
    """

    number: int
    octets: int | None
    sentinel: Sentinel | None = None
    is_ambiguous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much may be asked for ahead.

    Another RETR leaves while fewer than `messages` and, by LIST, less than `octets` are outstanding; one always does.
    With `sentinels` each RETR has its sentinel sent behind it. Without, those have that are ambiguous; and it is asked
    when the size differs and nothing else is outstanding: so always in `ONE_BY_ONE`.
    """

    # The commands outstanding must fit into the socket's buffers: a server that is busy sending does not read.
    messages: int = 256
    octets: int = 16 * 1024 * 1024
    sentinels: bool = False

    def sentinel_behind(self, request: Retrieval) -> Sentinel | None:
        """The sentinel that is sent with a RETR, before its answer has come."""
        is_due = self.sentinels or (request.is_ambiguous and self.messages > 1)
        return request.sentinel if is_due else None


ONE_BY_ONE = Window(messages=1)


class Confirmation(Enum):
    """Why a message is believed to be the one that was asked for, and whole."""

    OCTETS = "octets"
    LINES = "lines"
    """LIST counts a line end as one octet, as a file has it that ends its lines in LF (RFC 1939 section 11 wants two).

    Believed where nothing else is outstanding: in a window two sizes may differ by just that.
    """
    SENTINEL = "sentinel"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBegin:
    """The server said +OK; `MessageOctets` follow, then `MessageDone` or `MessageEmpty`."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDone:
    """All octets of the message have been given, and it is confirmed."""

    number: int
    octets: int
    confirmed_by: Confirmation


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEmpty:
    """The server sent no octet for this message: its error, never a message."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRefused:
    """-ERR to this RETR; it says nothing about the others."""

    number: int
    reply: Reply


RetrievalEvent = MessageBegin | MessageOctets | MessageDone | MessageEmpty | MessageRefused


class OutOfStep(PeerBroke):
    """The message could not be confirmed: answers and commands may no longer belong together."""

    def __init__(self, number: int, what: str, *, raw: bytes = b"") -> None:
        self.number = number
        super().__init__(f"message {number}: {what}", raw)


async def retrieve(
    conversation: Conversation, requests: Iterable[Retrieval], *, window: Window = ONE_BY_ONE
) -> AsyncGenerator[RetrievalEvent, None]:
    """Retrieve the messages in the given order.

    A request is taken from `requests` when there is room for it, so that whoever supplies them can stop in time: the
    messages asked for so far still come, and the session goes on.
    """
    waiting = _Waiting(requests)
    sent: deque[Retrieval] = deque()
    while sent or waiting.head() is not None:
        # Topped up when half empty: one write for many commands.
        if not sent:
            await conversation.be_idle()
        if len(sent) <= window.messages // 2:
            await _send(conversation, _top_up(waiting, sent, window=window), window=window)
        async for event in _receive(conversation, sent.popleft(), window=window):
            yield event


class _Waiting:
    """The requests that were not sent yet."""

    def __init__(self, requests: Iterable[Retrieval]) -> None:
        self._requests = iter(requests)
        self._head: Retrieval | None = None

    def head(self) -> Retrieval | None:
        if self._head is None:
            self._head = next(self._requests, None)
        return self._head

    def take(self) -> None:
        self._head = None


def _top_up(waiting: _Waiting, sent: deque[Retrieval], *, window: Window) -> list[Retrieval]:
    """Move from `waiting` to `sent` what fits into the window; return it."""
    octets = sum(request.octets or 0 for request in sent)
    added: list[Retrieval] = []
    while len(sent) < window.messages and (request := waiting.head()) is not None:
        octets += request.octets or 0
        if sent and octets > window.octets:
            break
        waiting.take()
        added.append(request)
        sent.append(request)
    return added


async def _send(conversation: Conversation, requests: list[Retrieval], *, window: Window) -> None:
    lines: list[Command] = []
    for request in requests:
        lines.append(commands.retr(request.number))
        if (sentinel := window.sentinel_behind(request)) is not None:
            lines.append(sentinel.command)
    if lines:  # none fits while the octets outstanding fill the window
        await conversation.send(*lines)


async def _receive(conversation: Conversation, request: Retrieval, *, window: Window) -> AsyncIterator[RetrievalEvent]:
    """Give one message, from its reply to its confirmation."""
    sentinel_sent = window.sentinel_behind(request)
    reply = await conversation.reply()
    if not reply.ok:
        if sentinel_sent is not None:
            await _check(conversation, request.number, sentinel=sentinel_sent)
        yield MessageRefused(number=request.number, reply=reply)
        return
    yield MessageBegin(number=request.number)
    while isinstance(event := await conversation.next(), MessageOctets):
        yield event
    if not isinstance(event, MessageEnd):
        raise OurBug(f"the end of a message was due, not {type(event).__name__}")
    if sentinel_sent is not None:
        await _check(conversation, request.number, sentinel=sentinel_sent)
    confirmed_by = await _confirm(conversation, request, end=event, window=window)
    if event.octets:
        yield MessageDone(number=request.number, octets=event.octets, confirmed_by=confirmed_by)
    else:
        yield MessageEmpty(number=request.number)


async def _confirm(conversation: Conversation, request: Retrieval, *, end: MessageEnd, window: Window) -> Confirmation:
    if end.has_unstuffed_dots:
        raise OutOfStep(request.number, "a line that begins with a dot was not stuffed")
    if end.octets == request.octets:
        return Confirmation.OCTETS
    if window.messages == 1 and end.octets - end.lines == request.octets:
        return Confirmation.LINES
    # Where sizes are exact, one that is not is out of step even with the right sentinel behind it.
    if not window.sentinels or request.sentinel is None:
        if request.sentinel is None or not conversation.is_idle:
            raise OutOfStep(request.number, f"{end.octets} octets came where LIST said {request.octets}")
        await conversation.be_idle()  # what lies there already is no answer to a question that was not asked yet
        await conversation.send(request.sentinel.command)
        await _check(conversation, request.number, sentinel=request.sentinel)
    return Confirmation.SENTINEL


async def _check(conversation: Conversation, number: int, *, sentinel: Sentinel) -> None:
    reply = await conversation.reply()
    if not sentinel.is_answered_by(reply):
        raise OutOfStep(
            number, f"behind it {sentinel.command.shown} got a wrong answer", raw=reply.text or b"(nothing)"
        )
