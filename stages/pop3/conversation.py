"""Carry commands to a POP3 server and its answers back: the driver of `Pop3Protocol` over a `Stream`.

**Invariants:** every wait ends after `timeout` seconds without an octet. A command that wants its answer at once is
sent only when no other answer is due, so that no answer is taken for another's.

**Failures:** `NetworkError` and `ProtocolViolation`; the conversation is over after either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import assert_never

from stages.dialogue import FIRST_LINES, left_out, more_lines
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

Answer = Reply | Challenge | ListingLine | ListingEnd | MessageOctets | MessageEnd


class Conversation:
    """One connection and its protocol core. `timeout` is the longest silence, in seconds.

    Each line is told to the stream's dialogue: secrets masked; challenges, messages and the most of long listings as a
    count.
    """

    def __init__(self, stream: Stream, *, timeout: float) -> None:
        self.stream = stream
        self.timeout = timeout
        self._dialogue = stream.dialogue
        self._told_lines = 0
        self._untold_octets = 0
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
        if self._dialogue.is_on:
            for command in commands:
                self._dialogue.said(command.shown)
        await self.stream.write(octets, timeout=self.timeout)

    async def next(self) -> Answer:
        """Return the next event; wait for it where none is there."""
        while not self._events:
            await self._receive()
        event = self._events.popleft()
        if self._dialogue.is_on:
            self._tell(event)
        if isinstance(event, Broken):
            raise event.error
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
        if self._dialogue.is_on:
            self._dialogue.said((line if line == CANCEL else MASK).decode("ascii"))
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

    async def close(self) -> None:
        """Drop the connection; never raises."""
        if self._untold_octets:
            self._dialogue.heard(f"{left_out(self._untold_octets)} of a message that was cut off")
            self._untold_octets = 0
        await self.stream.close()

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

    def _tell(self, event: Event) -> None:
        heard = self._dialogue.heard
        match event:
            case Reply():
                heard(f"{'+OK' if event.ok else '-ERR'} {self._shown(event)}".rstrip())
                self._told_lines = self._untold_octets = 0
            case Challenge():
                heard(f"+ {left_out(len(event.text))}")
            case ListingLine():
                self._told_lines += 1
                if self._told_lines <= FIRST_LINES:
                    heard(_text(self.masked(event.line)))
            case ListingEnd():
                if self._told_lines > FIRST_LINES:
                    heard(more_lines(self._told_lines - FIRST_LINES))
                heard(".")
            case MessageOctets():
                self._untold_octets += len(event.data)
            case MessageEnd():
                heard(left_out(event.octets))
                heard(".")
                self._untold_octets = 0
            case Broken():
                heard(_text(self._core.unless_told(event.error.said.encode())))
            case _:
                assert_never(event)

    def _shown(self, reply: Reply) -> str:
        """The text of a reply; one to a login may repeat, in another form, what was said there."""
        text = self.masked(reply.text)
        return _text(self._core.unless_told(text) if reply.command.secrets else text)


def _text(octets: bytes) -> str:
    return octets.decode(errors="surrogateescape")
