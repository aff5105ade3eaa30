"""POP3 from the client's side, without I/O: octets in, events out.

The driver calls `send` for each command and writes what it returns; it calls `receive` with whatever the network gave
and acts on the events, in order. Several commands may be outstanding (RFC 2449 section 6.6, PIPELINING); replies
belong to them in the order of sending. A `Challenge` wants a response, which the driver passes through `respond`.

**Invariants:** however the octets are cut into pieces, the events say the same (only the cuts between `MessageOctets`
differ). A message ends at CRLF `.` CRLF and at nothing else: a bare LF or CR never ends a line, so that no sender can
end his message early and forge the replies behind it. What is not asked for is never taken for an answer: a challenge
belongs to a command that takes challenges, and nothing may follow it before its response. What was said as a secret
is masked in the replies to the command that said it, and in every `Broken`.

**Failures:** the server's breach is the event `Broken`, always the last one: the core is dead after it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import assert_never

from spool.safe_text import safe_text
from stages.errors import OurBug, ProtocolViolation
from stages.lines import LineBuffer
from stages.pop3.commands import CANCEL, GREETING, MAX_LISTING_OCTETS, Command, Follow, masked
from stages.secret import Secret, unless_told

TERMINATOR = b"\r\n.\r\n"
MAX_CHALLENGES = 6  # the longest mechanism has three


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The status line of an answer; `text` is what follows the +OK or -ERR."""

    command: Command
    ok: bool
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A line of AUTH that wants a response; `text` is what follows the `+`, still encoded (RFC 5034 section 4)."""

    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingLine:
    """One line of a multi-line answer to CAPA, LIST or UIDL."""

    line: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingEnd:
    """The listing is complete."""

    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOctets:
    """A piece of a message, dot-stuffing removed."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEnd:
    """The message is complete.

    `octets` counts as RFC 1939 section 11 does: line ends as CRLF, the last one included, stuffed dots not; `lines`
    are the CRLFs among them.
    `has_unstuffed_dots`: a line began with a lone dot and went on. RFC 1939 section 3 has the client strip the first
    dot of every line, so it was stripped; but a server that stuffs does not send such a line, and one that does not
    stuff cannot be believed about the end either.
    """

    octets: int
    lines: int
    has_unstuffed_dots: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The server broke the protocol; nothing follows."""

    error: ProtocolViolation


Event = Reply | Challenge | ListingLine | ListingEnd | MessageOctets | MessageEnd | Broken


class Pop3Protocol:
    """One connection. The first answer that it expects is the greeting."""

    def __init__(self) -> None:
        self._buffer = LineBuffer()
        self._expected: deque[Command] = deque([GREETING])
        self._reading = Follow.NOTHING
        self._lines = 0
        self._octets = 0
        self._is_at_message_start = False
        self._has_unstuffed_dots = False
        self._is_broken = False
        self._challenges = 0
        self._is_response_due = False
        self._secrets: set[bytes] = set()

    @property
    def outstanding(self) -> int:
        """How many answers are not complete."""
        return len(self._expected)

    def send(self, command: Command) -> bytes:
        """Note that an answer to `command` is due; return the octets to write."""
        self._expected.append(command)
        self._secrets.update(command.secrets)
        return command.line + b"\r\n"

    def respond(self, line: bytes) -> bytes:
        """Answer the challenge that is due, with a response already encoded or `CANCEL`; return the octets to write."""
        if not self._is_response_due:
            raise OurBug("a response to no challenge")
        self._is_response_due = False
        if line != CANCEL:
            self._secrets.add(line)
        return line + b"\r\n"

    def masked(self, text: bytes) -> bytes:
        """Return `text` without whatever was said as a secret in this session."""
        return masked(text, self._secrets)

    def unless_told(self, text: bytes) -> bytes:
        """Return `text`, or that it is not shown, where it repeats a secret of this session in whatever form."""
        return unless_told(text, *(Secret(secret.decode(errors="surrogateescape")) for secret in self._secrets))

    def receive(self, data: bytes) -> list[Event]:
        """Take what the network gave; return what it means so far."""
        events: list[Event] = []
        if self._is_broken:
            return events
        self._buffer.feed(data)
        try:
            while self._advance(events):
                pass
        except ProtocolViolation as error:
            self._is_broken = True
            events.append(Broken(error=self._without_secrets(error)))
        return events

    def _without_secrets(self, error: ProtocolViolation) -> ProtocolViolation:
        said = error.said.encode()
        shown = masked(said, [safe_text(secret, len(secret) * 4).encode() for secret in self._secrets])
        return error if shown == said else ProtocolViolation(error.what, shown)

    def _advance(self, events: list[Event]) -> bool:
        """Read one unit; False when that takes more octets."""
        match self._reading:
            case Follow.NOTHING:
                return self._read_reply(events)
            case Follow.LISTING:
                return self._read_listing(events)
            case Follow.MESSAGE:
                return self._read_message(events)
            case _:
                assert_never(self._reading)

    def _read_reply(self, events: list[Event]) -> bool:
        if not self._expected or self._is_response_due:
            if self._buffer:
                raise ProtocolViolation("octets that nobody asked for", self._buffer.head(200))
            return False
        line = self._buffer.next_line()
        if line is None:
            return False
        command = self._expected[0]
        # RFC 1939 section 3 wants upper case; a server that writes +Ok is understood all the same.
        status = line[:4].upper()
        if command.takes_challenges and (line == b"+" or line.startswith(b"+ ")):
            self._take_challenge(line[1:].strip(), events)
            return True
        if status.startswith(b"+OK"):
            reply = Reply(command=command, ok=True, text=self._shown(line[3:].strip()))
        elif status == b"-ERR":
            reply = Reply(command=command, ok=False, text=self._shown(line[4:].strip()))
        else:
            raise ProtocolViolation("neither +OK nor -ERR", self.masked(line))
        events.append(reply)
        if reply.ok and command.follow is not Follow.NOTHING:
            self._reading = command.follow
            self._lines = self._octets = 0
            self._is_at_message_start = True
            self._has_unstuffed_dots = False
        else:
            self._expected.popleft()
            self._challenges = 0
        return True

    def _take_challenge(self, text: bytes, events: list[Event]) -> None:
        self._challenges += 1
        if self._challenges > MAX_CHALLENGES:
            raise ProtocolViolation("challenges without end")
        self._is_response_due = True
        events.append(Challenge(text=text))

    def _shown(self, text: bytes) -> bytes:
        """The text of a reply as it may be shown. Only that to a login: the figures of others may look like secrets."""
        command = self._expected[0]
        return self.masked(text) if command.secrets else text

    def _read_listing(self, events: list[Event]) -> bool:
        max_lines = self._expected[0].max_lines
        while (line := self._buffer.next_line()) is not None:
            if line == b".":
                events.append(ListingEnd(lines=self._lines))
                self._answer_is_complete()
                return True
            self._lines += 1
            self._octets += len(line)
            if self._lines > max_lines:
                raise ProtocolViolation(f"a listing of more than {max_lines} lines", line)
            if self._octets > MAX_LISTING_OCTETS:
                raise ProtocolViolation(f"a listing of more than {MAX_LISTING_OCTETS} octets", line)
            events.append(ListingLine(line=line.removeprefix(b".")))
        return False

    def _read_message(self, events: list[Event]) -> bool:
        if self._is_at_message_start and not self._read_first_dot(events):
            return False
        if self._reading is not Follow.MESSAGE:  # it was empty
            return True
        end = self._buffer.find(TERMINATOR)
        if end >= 0:
            raw = self._buffer.take(end + 2)  # the CRLF of the terminator is the message's own
            self._buffer.take(3)
        else:
            raw = self._buffer.take(len(self._buffer) - _held_back(self._buffer.tail(len(TERMINATOR) - 1)))
        if raw:
            self._unstuff(raw, events)
        if end < 0:
            return False
        self._end_message(events)
        return True

    def _read_first_dot(self, events: list[Event]) -> bool:
        """Treat the first line, which has no CRLF of the message before it; False until it is clear how it begins."""
        head = self._buffer.head(3)
        if head == b".\r\n":
            self._buffer.take(3)
            self._end_message(events)
            return True
        if b".\r\n".startswith(head):
            return False
        if head.startswith(b"."):
            self._buffer.take(1)
            self._has_unstuffed_dots = not head.startswith(b"..")
        self._is_at_message_start = False
        return True

    def _unstuff(self, raw: bytes, events: list[Event]) -> None:
        # No CRLF `.` is cut by the ends of raw, and none overlaps another: one pass over the whole piece is exact.
        data = raw.replace(b"\r\n.", b"\r\n")
        if len(data) != len(raw) and raw.count(b"\r\n.") != raw.count(b"\r\n.."):
            self._has_unstuffed_dots = True
        self._octets += len(data)
        self._lines += data.count(b"\r\n")  # no CRLF is cut either: a CR at the end waits for what follows
        events.append(MessageOctets(data=data))

    def _end_message(self, events: list[Event]) -> None:
        events.append(MessageEnd(octets=self._octets, lines=self._lines, has_unstuffed_dots=self._has_unstuffed_dots))
        self._answer_is_complete()

    def _answer_is_complete(self) -> None:
        self._expected.popleft()
        self._reading = Follow.NOTHING


def _held_back(tail: bytes) -> int:
    """Return how many of the last octets may be the beginning of a terminator."""
    return next((length for length in range(len(tail), 0, -1) if tail.endswith(TERMINATOR[:length])), 0)
