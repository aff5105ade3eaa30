"""The driver keeps questions and answers together."""

from __future__ import annotations

import asyncio

import pytest

from stages.errors import OurBug, ProtocolViolation
from stages.pop3 import commands
from stages.pop3.conversation import Conversation
from stages.stream import Stream

PATIENCE = 5.0


async def until_arrived(stream: Stream) -> None:
    async with asyncio.timeout(PATIENCE):
        while not stream.buffered():  # noqa: ASYNC110 - what has arrived tells nobody; no time is waited for
            await asyncio.sleep(0)


def test_what_a_server_said_unasked_is_not_the_answer_to_the_next_command() -> None:
    """A server that gives up an idle session says so, in a line that looks like a reply."""

    async def talk() -> None:
        go_on = asyncio.Event()

        async def give_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"+OK\r\n")
            await go_on.wait()
            writer.write(b"-ERR idle\r\n")
            writer.close()

        listener = await asyncio.start_server(give_up, "127.0.0.1", 0)
        async with listener:
            stream = await Stream.connect("127.0.0.1", listener.sockets[0].getsockname()[1], tls=None, timeout=PATIENCE)
            conversation = Conversation(stream, timeout=PATIENCE)
            await conversation.reply()
            go_on.set()
            await until_arrived(stream)
            try:
                await conversation.ask(commands.NOOP)
            finally:
                await stream.close()

    with pytest.raises(ProtocolViolation, match="octets that nobody asked for: -ERR idle"):
        asyncio.run(talk())


def test_a_command_that_wants_its_answer_at_once_waits_for_no_other() -> None:
    async def talk() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        listener = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with listener:
            stream = await Stream.connect("127.0.0.1", listener.sockets[0].getsockname()[1], tls=None, timeout=PATIENCE)
            try:
                await Conversation(stream, timeout=PATIENCE).ask(commands.NOOP)  # before the greeting has come
            finally:
                await stream.close()

    with pytest.raises(OurBug):
        asyncio.run(talk())


def test_a_listing_is_read_line_by_line_as_it_comes() -> None:
    """One of 100,000 lines is never held as lines: the first are taken before the last are sent."""

    async def talk() -> list[bytes]:
        go_on = asyncio.Event()

        async def list_in_halves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"+OK\r\n")
            await reader.readline()
            writer.write(b"+OK\r\n1 a\r\n2 b\r\n3 ")
            await go_on.wait()
            writer.write(b"c\r\n.\r\n")
            writer.close()

        listener = await asyncio.start_server(list_in_halves, "127.0.0.1", 0)
        async with listener:
            stream = await Stream.connect("127.0.0.1", listener.sockets[0].getsockname()[1], tls=None, timeout=PATIENCE)
            conversation = Conversation(stream, timeout=PATIENCE)
            await conversation.reply()
            await conversation.ask(commands.UIDL)
            lines = []
            async for line in conversation.listing():
                lines.append(line)
                if len(lines) == 2:
                    go_on.set()
            await stream.close()
            return lines

    assert asyncio.run(talk()) == [b"1 a", b"2 b", b"3 c"]
