"""The window: how much is asked for ahead, and what confirms a message.

What happens on the wire is in the dialogue files; here are the rules that need many messages or a value.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stages.errors import OurBug
from stages.pop3 import commands
from stages.pop3.client import Pop3Client, Pop3Endpoint
from stages.pop3.protocol import Reply
from stages.pop3.retrieval import ONE_BY_ONE, MessageDone, OutOfStep, Retrieval, Sentinel, Window
from stages.settings import TlsMode

PATIENCE = 5.0


class Counting:
    """A pipelining server of equal messages that answers only when the client has nothing more to say for now."""

    def __init__(self, *, message: bytes = b"x\r\n", offers: bytes = b"PIPELINING") -> None:
        self.rounds: list[int] = []  # the number of commands that came before each answer
        self._message = message
        self._offers = offers

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n")
        while data := await reader.read(65536):
            while not data.endswith(b"\r\n"):
                data += await reader.read(65536)
            lines = data.split(b"\r\n")[:-1]
            self.rounds.append(len(lines))
            writer.write(b"".join(self._answer(line) for line in lines))
        writer.close()

    def _answer(self, line: bytes) -> bytes:
        match line.split()[0]:
            case b"CAPA":
                return b"+OK\r\n" + self._offers + b"\r\n.\r\n"
            case b"RETR":
                return b"+OK\r\n" + self._message + b".\r\n"
            case b"UIDL":
                return b"+OK 1 aa\r\n"
            case _:
                return b"+OK\r\n"


def retrieve(server: Counting, requests: list[Retrieval], *, window: Window) -> list[int]:
    """Retrieve through a real connection; return the numbers that were done."""

    async def talk() -> list[int]:
        listener = await asyncio.start_server(server.talk, "127.0.0.1", 0)
        async with listener:
            client = await connected(listener.sockets[0].getsockname()[1])
            server.rounds.clear()
            try:
                return [
                    event.number
                    async for event in client.retrieve(requests, window=window)
                    if isinstance(event, MessageDone)
                ]
            finally:
                await client.close()

    return asyncio.run(talk())


async def connected(port: int) -> Pop3Client:
    return await Pop3Client.open(Pop3Endpoint(host="127.0.0.1", port=port, tls=TlsMode.NONE), timeout=PATIENCE)


def equal(count: int, octets: int = 3, sentinel: Sentinel | None = None) -> list[Retrieval]:
    return [Retrieval(number=number, octets=octets, sentinel=sentinel) for number in range(1, count + 1)]


def test_a_window_asks_for_many_messages_at_once_and_never_for_more_than_it_holds() -> None:
    """Few writes for many commands; each message is still given once and in order."""
    server = Counting()
    assert retrieve(server, equal(20), window=Window(messages=8)) == list(range(1, 21))
    assert (server.rounds[0], max(server.rounds), sum(server.rounds)) == (8, 8, 20)


def test_a_window_is_bounded_in_octets() -> None:
    server = Counting(message=b"x" * 98 + b"\r\n")
    assert len(retrieve(server, equal(4, octets=100), window=Window(octets=250))) == 4
    assert server.rounds[0] == 2


def test_a_message_larger_than_the_window_is_asked_for_alone() -> None:
    server = Counting(message=b"x" * 98 + b"\r\n")
    assert retrieve(server, equal(3, octets=100), window=Window(octets=10)) == [1, 2, 3]
    assert server.rounds == [1, 1, 1]


def test_each_retr_has_its_sentinel_behind_it() -> None:
    server = Counting(message=b"not what LIST said\r\n")
    requests = equal(3, sentinel=Sentinel(number=1, answer=b"aa"))
    assert retrieve(server, requests, window=Window(sentinels=True)) == [1, 2, 3]
    assert server.rounds == [6]


def test_in_a_window_a_message_whose_size_others_have_too_has_its_sentinel_behind_it() -> None:
    """An answer that slipped by one command would have the right size."""
    server = Counting()
    sentinel = Sentinel(number=1, answer=b"aa")
    requests = [
        Retrieval(number=number, octets=3, sentinel=sentinel, is_ambiguous=number < 3) for number in range(1, 4)
    ]
    assert retrieve(server, requests, window=Window()) == [1, 2, 3]
    assert server.rounds == [5]
    server = Counting()
    assert retrieve(server, requests, window=ONE_BY_ONE) == [1, 2, 3]
    assert server.rounds == [1, 1, 1]


def test_the_right_sentinel_does_not_make_up_for_a_wrong_size_where_sizes_are_exact() -> None:
    requests = equal(3, octets=4, sentinel=Sentinel(number=1, answer=b"aa"))
    ambiguous = [replace(request, is_ambiguous=True) for request in requests]
    with pytest.raises(OutOfStep, match="message 1: 3 octets came where LIST said 4"):
        retrieve(Counting(), ambiguous, window=Window())


def test_one_by_one_asks_for_the_next_message_after_the_last_one_is_confirmed() -> None:
    server = Counting()
    assert retrieve(server, equal(3), window=ONE_BY_ONE) == [1, 2, 3]
    assert server.rounds == [1, 1, 1]


def test_nothing_is_pipelined_to_a_server_that_does_not_offer_it() -> None:
    """RFC 2449 section 6.6: such a server may throw away what came too early."""
    server = Counting(offers=b"TOP")
    retrieve(server, equal(3), window=Window())
    assert server.rounds == [1, 1, 1]


def test_a_command_in_the_middle_of_a_retrieval_is_our_bug() -> None:
    """The +OK to the next RETR would be taken for the answer to DELE."""

    async def talk() -> None:
        listener = await asyncio.start_server(Counting().talk, "127.0.0.1", 0)
        async with listener:
            client = await connected(listener.sockets[0].getsockname()[1])
            events = client.retrieve(equal(3), window=Window())
            while not isinstance(await anext(events), MessageDone):
                pass
            try:
                await client.delete([1])
            finally:
                await client.close()

    with pytest.raises(OurBug):
        asyncio.run(talk())


@pytest.mark.parametrize(
    ("answer", "text", "is_right"),
    [
        (b"aa", b"2 aa", True),
        (b"aa", b"2 bb", False),
        (b"aa", b"3 aa", False),
        (b"aa", b"120 octets", False),
        (b"aa", b"", False),
        (b"", b"2", True),
        (120, b"2 120", True),
        (120, b"2 120 octets", True),
        (120, b"2 121", False),
        (120, b"1 120", False),
        (120, b"2 big", False),
    ],
)
def test_a_sentinel_is_right_only_with_its_number_and_its_answer(
    answer: bytes | int, text: bytes, is_right: bool
) -> None:
    sentinel = Sentinel(number=2, answer=answer)
    assert sentinel.is_answered_by(Reply(command=sentinel.command, ok=True, text=text)) is is_right


def test_a_refused_sentinel_is_never_right() -> None:
    sentinel = Sentinel(number=2, answer=b"aa")
    assert not sentinel.is_answered_by(Reply(command=commands.uidl_of(2), ok=False, text=b"2 aa"))


def test_a_sentinel_asks_what_its_answer_is() -> None:
    assert Sentinel(number=2, answer=b"aa").command.line == b"UIDL 2"
    assert Sentinel(number=2, answer=120).command.line == b"LIST 2"
