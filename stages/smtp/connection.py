"""A stream and the protocol core in step: send commands, await replies, and know how it ended.

**Invariants:** what arrived before a command is sent is understood before the command is sent, so that it cannot pass
for its reply; nor can half of it. Nothing is sent into a connection that is known to have ended. Replies that the relay
sent before it closed the connection are still handed out. A reply has one deadline, however slowly its octets drip.

A reply to a login that repeats its secret, or the beginning of a response, is not shown; a challenge never is, and
nothing is quoted of what is no reply.

**Failures:** `SessionBroken`, which carries the `Break`; every later call raises it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import assert_never

from stages.dialogue import FIRST_LINES, left_out, more_lines
from stages.errors import NetworkError, TryLater
from stages.secret import HIDDEN, Secret, unless_told
from stages.smtp.commands import Command
from stages.smtp.protocol import Answer, Event, Goodbye, SmtpProtocol, Violation
from stages.smtp.replies import Phase, Reply
from stages.smtp.transaction import Break, BreakKind
from stages.stream import ConnectionLost, Stream, StreamTimeout, TlsSettings

_TELLING_OCTETS = 16


class SessionBroken(TryLater):
    """The session is over."""

    def __init__(self, broken: Break) -> None:
        self.broken = broken
        super().__init__(f"{broken.phase}: {broken.kind}: {broken.text}")


class SmtpConnection:
    """One connection to the relay. `timeout` is in seconds.

    The stream's dialogue is told each line without secrets; challenges, content and long replies as a count.
    """

    def __init__(self, stream: Stream, *, timeout: float) -> None:
        self._stream = stream
        self._protocol = SmtpProtocol()
        self._answers: deque[Answer] = deque()
        self._timeout = timeout
        self._dialogue = stream.dialogue
        self._untold_octets = 0
        self._is_cut = False
        self._secrets: list[Secret] = []
        self._latest = Phase.GREETING  # what we came to, for a break while no reply is awaited
        self.broken: Break | None = None
        self.errors = 0  # 5yz replies: what MaxProtocolErrors of Exchange counts
        self.after_refusal = False
        self.peer_address = stream.peer_address

    @property
    def is_tls(self) -> bool:
        """Whether TLS protects what is sent now."""
        return self._stream.is_tls

    @property
    def has_news(self) -> bool:
        """Whether it is time to listen: something has arrived, or nothing we send arrives any more."""
        return self._is_cut or bool(self._answers) or self._stream.has_news

    async def send(self, *commands: Command) -> None:
        """Send commands in one packet; their replies come in their order."""
        await self._take_what_arrived(before=commands[0].phase)
        wire = b"".join(self._protocol.send(command) for command in commands)
        self._secrets += [_head(command.response) for command in commands if command.response]
        if self._dialogue.is_on:
            self._tell_content()
            for command in commands:
                self._dialogue.said(command.shown)
        await self._write(wire)

    async def ask(self, command: Command) -> Reply:
        """Send one command and await its reply."""
        await self.send(command)
        return await self.answer()

    @contextmanager
    def sending(self, secret: Secret) -> Iterator[None]:
        """Show no reply that repeats this, for the length of the block: later a figure may only look like it."""
        self._secrets = [secret]
        yield
        self._secrets = []

    async def begin_content(self, replies: int = 1) -> None:
        """Begin the message: the next `replies` are those to its final dot."""
        await self._take_what_arrived(before=Phase.CONTENT)
        self._untold_octets = 0
        self._protocol.begin_content(replies)

    async def write_content(self, octets: bytes) -> None:
        """Send a part of the message, encoded."""
        self._untold_octets += len(octets)
        await self._write(octets)

    async def answer(self, *, timeout: float | None = None) -> Reply:
        """Await the reply to the oldest command that has none."""
        loop = asyncio.get_running_loop()
        patience = self._timeout if timeout is None else timeout
        deadline = loop.time() + patience
        while not self._answers:
            self.raise_if_broken()
            remaining = deadline - loop.time()
            if remaining <= 0:
                raise self._break(BreakKind.TIMEOUT, f"no reply in {patience:g} s")
            await self._receive(remaining)
        answer = self._answers.popleft()
        if answer.reply.code == 421:
            raise self._break(BreakKind.GOODBYE, answer.reply.text, phase=answer.phase, reply=answer.reply)
        if answer.reply.is_permanent:
            self.errors += 1
        if answer.phase is not Phase.RESET:
            self.after_refusal = answer.reply.is_permanent
        return answer.reply

    def raise_if_broken(self) -> None:
        """Raise SessionBroken where what came behind the last reply, or the network, has ended the session."""
        if self.broken is not None:
            raise SessionBroken(self.broken)

    async def start_tls(self, trust: TlsSettings) -> None:
        """Shake hands after the relay's 220 to STARTTLS; raises `NetworkError`."""
        await self._stream.start_tls(trust, timeout=self._timeout)

    def give_up(self, text: str, *, phase: Phase) -> SessionBroken:
        """Note that the relay's replies make no sense together; the error is for the caller to raise."""
        return self._break(BreakKind.VIOLATION, text, phase=phase)

    async def close(self) -> None:
        """Close the connection; never raises."""
        self._tell_content()
        await self._stream.close()

    async def _take_what_arrived(self, *, before: Phase) -> None:
        self._latest = before
        self.raise_if_broken()
        if self._stream.has_news:
            await self._receive(self._timeout)
            if not self._answers:
                self.raise_if_broken()
        if self._protocol.has_unasked_octets and not self._answers:
            await self.answer()  # which raises: of a reply that nobody asked for one half is here

    async def _write(self, octets: bytes) -> None:
        try:
            await self._stream.write(octets, timeout=self._timeout)
        except ConnectionLost:
            self._is_cut = True  # the relay may have said why: reading comes to that first, and then to the end
        except StreamTimeout as error:
            raise self._break(BreakKind.TIMEOUT, str(error)) from error

    async def _receive(self, timeout: float) -> None:
        """Take what arrives next; note a break and leave it to be raised when the answers before it are used up."""
        try:
            data = await self._stream.read(timeout=timeout)
        except StreamTimeout:
            return  # the deadline is the reply's: answer() looks at it
        except NetworkError as error:
            self._break(BreakKind.LOST, str(error))
        else:
            if not data:
                self._break(BreakKind.LOST, "the relay closed the connection")
            for event in self._protocol.receive(data):
                self._note(event)

    def _note(self, event: Event) -> None:
        match event:
            case Answer():
                answer = replace(event, reply=self._guarded(event.reply))
                self._show(answer.reply, phase=answer.phase)
                self._answers.append(answer)
            case Goodbye():
                reply = self._guarded(event.reply)
                self._show(reply)
                self._break(BreakKind.GOODBYE, reply.text, reply=reply)
            case Violation():
                # What is cut off or escaped in a quotation could not be recognised.
                self._break(BreakKind.VIOLATION, event.error.what if self._secrets else str(event.error))
            case _:
                assert_never(event)

    def _guarded(self, reply: Reply) -> Reply:
        said = b"".join(reply.lines)
        if unless_told(said, *self._secrets) == said:
            return reply
        # A challenge may look like a short secret by chance: its lines are for the mechanism, and not shown.
        lines = reply.lines if reply.is_intermediate else (HIDDEN,)
        return replace(reply, text=HIDDEN.decode("ascii"), lines=lines)

    def _show(self, reply: Reply, *, phase: Phase | None = None) -> None:
        if not self._dialogue.is_on:
            return
        self._tell_content()
        if phase is Phase.AUTH and reply.is_intermediate:
            self._dialogue.heard(f"{reply.code} {left_out(sum(len(line) for line in reply.lines))}")
            return
        for number, line in enumerate(reply.lines[:FIRST_LINES], start=1):
            mark = "-" if number < len(reply.lines) else " "
            self._dialogue.heard(f"{reply.code}{mark}{line.decode(errors='surrogateescape')}")
        if len(reply.lines) > FIRST_LINES:
            self._dialogue.heard(more_lines(len(reply.lines) - FIRST_LINES))

    def _tell_content(self) -> None:
        """Tell of what was sent of a message, before what comes behind it is told."""
        if self._untold_octets:
            self._dialogue.said(left_out(self._untold_octets))
            self._untold_octets = 0

    def _break(
        self, kind: BreakKind, text: str, *, phase: Phase | None = None, reply: Reply | None = None
    ) -> SessionBroken:
        if self.broken is None:
            awaited = self._protocol.awaited
            self.broken = Break(kind=kind, phase=phase or awaited or self._latest, text=text, reply=reply)
            if reply is None:
                self._tell_content()
                self._dialogue.note(f"{kind}: {text}")
        return SessionBroken(self.broken)


def _head(response: Secret) -> Secret:
    """As much of a response as tells it from others: a relay that repeats it may cut it short."""
    return Secret(response.reveal()[:_TELLING_OCTETS])
