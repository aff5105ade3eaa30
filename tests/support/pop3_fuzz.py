"""Let any octets come from a POP3 server, and check what must hold for all of them.

An input is a few octets that choose what is asked for and how the rest is cut into pieces; the rest is what comes. For
the retrieval `ANSWERED` divides it into what comes upon each write. The same function serves hypothesis, atheris and
a reader who has an input that failed.

What must hold: nothing is raised but what the contracts name; the core gives the same events and the retrieval comes
to the same end however the octets are cut; a message is done only with all of its octets, and only if it was asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar, cast

from stages.dialogue import silence
from stages.errors import NetworkError, PeerBroke
from stages.pop3 import commands
from stages.pop3.commands import Command
from stages.pop3.conversation import Conversation
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
from stages.pop3.replies import enter, list_item, uidl_item
from stages.pop3.retrieval import (
    ONE_BY_ONE,
    MessageBegin,
    MessageDone,
    MessageEmpty,
    MessageRefused,
    Retrieval,
    Sentinel,
    Window,
    retrieve,
)
from stages.stream import Stream

_T = TypeVar("_T")

HEAD_OCTETS = 4
ANSWERED = b"\xfe"
_COMMANDS: Sequence[Command] = (
    commands.CAPA,
    commands.STAT,
    commands.LIST,
    commands.UIDL,
    commands.retr(1),
    commands.top(2),
    commands.dele(1),
    commands.uidl_of(1),
    commands.auth("LOGIN", secrets=(b"four",)),
)
_WINDOWS = (ONE_BY_ONE, Window(messages=8), Window(messages=8, sentinels=True))
_SENTINELS = (None, Sentinel(number=1, answer=b"aa"), Sentinel(number=1, answer=5))


def check(data: bytes) -> None:
    """Raise AssertionError, or whatever a bug raises, if this input breaks a promise."""
    head, wire = data[:HEAD_OCTETS].ljust(HEAD_OCTETS, b"\0"), data[HEAD_OCTETS:]
    check_core(wire, list(cut(wire, by=head[3])), asked=head[0] | head[1] << 8)
    check_retrieval(wire, choice=head[2], by=head[3])


def check_core(wire: bytes, pieces: Sequence[bytes], *, asked: int) -> None:
    """The sans-I/O core: total, and deaf to where the octets are cut."""
    wholly = _gist(_core(asked).receive(wire))
    core = _core(asked)
    assert _gist([event for piece in pieces for event in core.receive(piece)]) == wholly
    if wholly and isinstance(wholly[-1], str):
        assert core.receive(b"+OK\r\n") == []


def check_retrieval(wire: bytes, *, choice: int, by: int) -> None:
    """RETRs upon the core, with and without a window."""
    window = _WINDOWS[choice % 3]
    sentinel = _SENTINELS[choice // 3 % 3]
    sizes = [(5, None, 6)[(choice // 9 + number) % 3] for number in range(3)]
    requests = [
        Retrieval(number=number, octets=octets, sentinel=sentinel, is_ambiguous=bool(choice & 128))
        for number, octets in enumerate(sizes, start=1)
    ]
    answers = wire.split(ANSWERED)
    wholly = _retrieved([[answer] if answer else [] for answer in answers], requests, window=window)
    assert _retrieved([list(cut(answer, by=by)) for answer in answers], requests, window=window) == wholly


def cut(wire: bytes, *, by: int) -> Iterator[bytes]:
    """The octets in pieces, whose lengths follow from one octet: 1 cuts each from the next."""
    step, position = by, 0
    while position < len(wire):
        step = (step * 5 + 3) % 256 if by > 1 else 1
        yield wire[position : position + step % 16 + 1 if by > 1 else position + 1]
        position += step % 16 + 1 if by > 1 else 1


def _core(asked: int) -> Pop3Protocol:
    core = Pop3Protocol()
    while asked:
        asked, chosen = divmod(asked, len(_COMMANDS))
        core.send(_COMMANDS[chosen])
    return core


def _gist(events: Sequence[Event]) -> list[object]:
    """What the events say, however the messages are cut."""
    told: list[object] = []
    content = bytearray()
    lines: list[bytes] = []
    for event in events:
        match event:
            case MessageOctets(data=data):
                assert data
                content += data
            case MessageEnd(octets=octets, lines=count, has_unstuffed_dots=unstuffed):
                assert octets == len(content)
                assert count == content.count(b"\r\n")
                assert not content or content.endswith(b"\r\n")
                told.append((bytes(content), unstuffed))
                content.clear()
            case Broken(error=error):
                told.append(error.what)
            case Reply(command=command, ok=ok, text=text):
                told.append((command.line, ok, text))
            case Challenge(text=text):
                told.append(("+", text))
            case ListingLine(line=line):
                lines.append(line)
            case ListingEnd(lines=count):
                assert count == len(lines)
                told.append([_read(lines), *lines])
                lines.clear()
    return [*told, bytes(content), lines] if content or lines else told


def _read(lines: Sequence[bytes]) -> object:
    try:
        sizes: dict[int, int | None] = {}
        uidls: dict[int, bytes] = {}
        for line in lines:
            enter(line, list_item, into=sizes)
            enter(line, uidl_item, into=uidls)
        return sizes, uidls
    except PeerBroke as error:
        return str(error)


class _Answering:
    """A stream on which a write is answered at once, in pieces; nobody waits for anything."""

    def __init__(self, answers: Sequence[Sequence[bytes]]) -> None:
        self.dialogue = silence()
        self._answers = deque(answers)
        self._pieces: deque[bytes] = deque([b"+OK\r\n"])

    def buffered(self) -> int:
        return len(self._pieces)

    async def read(self, *, timeout: float) -> bytes:
        return self._pieces.popleft() if self._pieces else b""

    async def write(self, data: bytes, *, timeout: float) -> None:
        assert data.endswith(b"\r\n")
        if self._answers:
            self._pieces += self._answers.popleft()


def _retrieved(
    answers: Sequence[Sequence[bytes]], requests: Sequence[Retrieval], *, window: Window
) -> tuple[list[object], str]:
    """What was retrieved, and whether it ended well, in a breach, or with the connection."""
    conversation = Conversation(cast(Stream, _Answering(answers)), timeout=1.0)
    told: list[object] = []

    async def talk() -> None:
        await conversation.reply()
        content = bytearray()
        async for event in retrieve(conversation, requests, window=window):
            match event:
                case MessageBegin():
                    content.clear()
                case MessageOctets(data=data):
                    content += data
                case MessageDone(number=number, octets=octets, confirmed_by=why):
                    assert octets == len(content) > 0
                    told.append((number, bytes(content), why))
                case MessageEmpty(number=number):
                    told.append((number, b""))
                case MessageRefused(number=number, reply=reply):
                    told.append((number, reply.text))

    try:
        _run(talk())
    except PeerBroke:
        return told, "breach"
    except NetworkError:
        return told, "lost"
    return told, "well"


def _run(talk: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end what never waits: an event loop for each of a million inputs would be most of the work."""
    try:
        talk.send(None)
    except StopIteration as end:
        return cast(_T, end.value)
    raise AssertionError("something was waited for")
