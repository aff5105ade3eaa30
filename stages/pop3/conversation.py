"""Carry commands to a POP3 server and its answers back: the driver of `Pop3Protocol` over a `Stream`.

**Invariants:** every wait ends after `timeout` seconds without an octet. A command that wants its answer at once is
sent only when no other answer is due, so that no answer is taken for another's.

**Failures:** `NetworkError` and `ProtocolViolation`; the conversation is over after either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Literal

from spool.safe_text import safe_text
from stages.errors import OurBug
from stages.pop3.commands import CANCEL, MASK, Command
from stages.pop3.protocol import (
    Broken,
    Challenge,
    Event,
    ListingEnd,
    ListingLine,
    MessageEnd,
    MessageOctets,
    Pop3Protocol,
    Reply,
)
from stages.stream import ConnectionLost, Stream, TlsSettings

# Told each line that is said, "C" or "S" and the line: secrets masked, listings, messages and challenges as a count.
Trace = Callable[[Literal["C", "S"], str], None]
Answer = Reply | Challenge | ListingLine | ListingEnd | MessageOctets | MessageEnd


class Conversation:
    """One connection and its protocol core. `timeout` is the longest silence, in seconds."""

    def __init__(self, stream: Stream, *, timeout: float, trace: Trace | None = None) -> None:
        self.stream = stream
        self.timeout = timeout
        self._trace = trace
        self._core = Pop3Protocol()
        self._events: deque[Event] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether every answer has come and has been taken."""
        return not self._core.outstanding and not self._events

    async def be_idle(self) -> None:
        """Make sure that the next answer belongs to the next command: nothing is due, nothing lies there unasked."""
        if self.is_idle and self.stream.buffered():
            await self._receive()
        if self._events and isinstance(self._events[0], Broken):
            await self.next()
        if not self.is_idle:
            raise OurBug("a new command while an answer is due")

    async def send(self, *commands: Command) -> None:
        """Send the commands in one piece."""
        octets = b"".join([self._core.send(command) for command in commands])
        if self._trace is not None:
            for command in commands:
                self._trace("C", command.shown)
        await self.stream.write(octets, timeout=self.timeout)

    async def next(self) -> Answer:
        """Return the next event; wait for it where none is there."""
        while not self._events:
            await self._receive()
        event = self._events.popleft()
        if isinstance(event, Broken):
            if self._trace is not None:
                self._trace("S", str(event.error))
            raise event.error
        if self._trace is not None:
            self._trace_answer(event, self._trace)
        return event

    async def reply(self) -> Reply:
        """Return the next event, which is a reply."""
        event = await self.next()
        if not isinstance(event, Reply):
            raise OurBug(f"a reply was due, not {type(event).__name__}")
        return event

    async def ask(self, command: Command) -> Reply:
        """Send one command and return its reply."""
        await self.be_idle()
        await self.send(command)
        return await self.reply()

    async def ask_in_turns(self, command: Command) -> Reply | Challenge:
        """Send a command that takes challenges and return its reply or the first of them."""
        await self.be_idle()
        await self.send(command)
        return await self._reply_or_challenge()

    async def respond(self, line: bytes) -> Reply | Challenge:
        """Answer a challenge, with a response already encoded or `CANCEL`; return what the server says to it."""
        if self.stream.buffered():  # nothing may lie there: it is not the answer to what was not sent yet
            await self._receive()
        if self._events:
            await self.next()
        octets = self._core.respond(line)
        if self._trace is not None:
            self._trace("C", (line if line == CANCEL else MASK).decode("ascii"))
        await self.stream.write(octets, timeout=self.timeout)
        return await self._reply_or_challenge()

    def masked(self, text: bytes) -> bytes:
        """Return `text` without whatever was said as a secret in this session."""
        return self._core.masked(text)

    async def start_tls(self, trust: TlsSettings) -> None:
        """Shake hands. An event that is there already was sent in clear text behind the +OK to STLS, and is fatal."""
        if self._events:
            await self.be_idle()
        await self.stream.start_tls(trust, timeout=self.timeout)

    async def listing(self) -> AsyncIterator[bytes]:
        """Give the lines behind a +OK as they come; a listing may have a million."""
        while isinstance(event := await self.next(), ListingLine):
            yield event.line

    async def _reply_or_challenge(self) -> Reply | Challenge:
        event = await self.next()
        if not isinstance(event, Reply | Challenge):
            raise OurBug(f"a reply or a challenge was due, not {type(event).__name__}")
        return event

    async def _receive(self) -> None:
        data = await self.stream.read(timeout=self.timeout)
        if not data:
            raise ConnectionLost("the server closed the connection before its answer was complete")
        self._events.extend(self._core.receive(data))

    def _trace_answer(self, event: Answer, trace: Trace) -> None:
        match event:
            case Reply():
                trace("S", f"{'+OK' if event.ok else '-ERR'} {safe_text(self.masked(event.text))}".rstrip())
            case Challenge():
                trace("S", f"+ ({len(event.text)} octets)")
            case ListingEnd():
                trace("S", f"({event.lines} lines)")
            case MessageEnd():
                trace("S", f"({event.octets} octets)")
            case ListingLine() | MessageOctets():
                pass  # counted at the end
