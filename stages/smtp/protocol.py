"""Keep commands and replies of an SMTP client in step: octets in, events out, no I/O.

A driver passes each command through `send` and everything that arrives through `receive`. Replies come back in
the order of the commands (RFC 2920 section 3.1), each named by the phase it answers.

**Invariants:**

- However the octets are cut, `receive` gives the same events.
- A reply line ends in CRLF and has at most 8 KiB, a reply at most 100 lines and 64 KiB, all of one code (RFC 5321
  section 4.2.1).
- A reply that is complete while nobody awaits one is no answer to a later command: it is a goodbye (421) or a
  violation.
- Nothing that arrived in the clear is believed after STARTTLS (RFC 3207 section 5; CVE-2011-0411).

**Failures:** `Violation` is an event, so that the replies before it are not lost; after it there is none.
`OurBug` when a command is sent behind one whose reply must be awaited first.
"""

from collections import deque
from dataclasses import dataclass

from stages.errors import OurBug, ProtocolViolation
from stages.lines import LineBuffer
from stages.smtp.commands import Command
from stages.smtp.replies import Phase, Reply, parse_line, parse_reply

MAX_REPLY_LINES = 100
MAX_REPLY_OCTETS = 64 * 1024

# RFC 2920 section 3.1: these end a group of pipelined commands. The greeting is the server's turn to begin with (RFC
# 5321 section 3.1).
_LAST_OF_ITS_GROUP = frozenset({Phase.GREETING, Phase.HELLO, Phase.STARTTLS, Phase.AUTH, Phase.DATA, Phase.QUIT})

# The first digits that make sense besides 4 and 5 (RFC 5321 section 4.3.2).
_POSITIVE = {Phase.DATA: (3,), Phase.AUTH: (2, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The reply to the oldest command that had none."""

    phase: Phase
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """A 421 that answers no command: the server closes the connection (RFC 5321 section 3.8)."""

    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """The server broke the protocol; the connection is of no further use."""

    error: ProtocolViolation


Event = Answer | Goodbye | Violation


class SmtpProtocol:
    """The client's side of one connection; begins by awaiting the greeting."""

    def __init__(self) -> None:
        self._awaited: deque[Phase] = deque([Phase.GREETING])
        self._buffer = LineBuffer()
        self._lines: list[bytes] = []  # of the reply that is coming in
        self._code = 0
        self._octets = 0
        self._is_broken = False

    @property
    def awaited(self) -> Phase | None:
        """What the next reply will answer."""
        return self._awaited[0] if self._awaited else None

    @property
    def has_unasked_octets(self) -> bool:
        """Whether a reply is under way though none is awaited; its other half must not answer the next command."""
        return not self._awaited and (len(self._buffer) > 0 or bool(self._lines))

    def send(self, command: Command) -> bytes:
        """Note that a reply to `command` is to come; return its octets."""
        if self._awaited and self._awaited[-1] in _LAST_OF_ITS_GROUP:
            raise OurBug(f"{command.phase} sent before the reply to {self._awaited[-1]}")
        self._awaited.append(command.phase)
        return command.wire

    def begin_content(self, replies: int = 1) -> None:
        """Note that the message follows, so that the next `replies` are those to its final dot."""
        if self._awaited:
            raise OurBug(f"content sent before the reply to {self._awaited[0]}")
        self._awaited.extend([Phase.FINAL_DOT] * replies)

    def receive(self, data: bytes) -> list[Event]:
        """Take what arrived and return what it says."""
        events: list[Event] = []
        if self._is_broken:
            return events
        self._buffer.feed(data)
        try:
            while (line := self._buffer.next_line()) is not None:
                reply = self._take_line(line)
                if reply is not None:
                    events.append(self._assign(reply))
        except ProtocolViolation as error:
            self._is_broken = True
            events.append(Violation(error=error))
        return events

    def _take_line(self, line: bytes) -> Reply | None:
        code, has_more, text = parse_line(line)
        if self._lines and code != self._code:
            raise ProtocolViolation(f"a line of another code in a reply that began with {self._code}", line)
        self._code = code
        self._lines.append(text)
        self._octets += len(line)
        if len(self._lines) > MAX_REPLY_LINES or self._octets > MAX_REPLY_OCTETS:
            raise ProtocolViolation(f"a reply of more than {MAX_REPLY_LINES} lines or {MAX_REPLY_OCTETS} octets", line)
        if has_more:
            return None
        reply = parse_reply(code, tuple(self._lines))
        self._lines, self._octets = [], 0
        return reply

    def _assign(self, reply: Reply) -> Answer | Goodbye:
        if not self._awaited:
            if reply.code == 421:
                return Goodbye(reply=reply)
            raise ProtocolViolation("a reply that nobody asked for", str(reply).encode())
        phase = self._awaited[0]
        if reply.code < 400 and reply.code // 100 not in _POSITIVE.get(phase, (2,)):
            raise ProtocolViolation(f"a reply that makes no sense to {phase}", str(reply).encode())
        if phase is Phase.STARTTLS and reply.is_positive and len(self._buffer):
            raise ProtocolViolation("octets in the clear behind the reply to STARTTLS", self._buffer.head(200))
        self._awaited.popleft()
        return Answer(phase=phase, reply=reply)
