"""A POP3 server whose maildrop may be as large as a test wants: its messages are made while they are sent.

It knows what fetch says to a server that lists no capabilities: USER, PASS, STAT, LIST, UIDL, RETR, DELE, QUIT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

_LINE = b"x" * 76 + b"\r\n"
_PIECE = _LINE * 840  # some 64 KiB


class LargeMaildrop:
    """An asynchronous context manager that listens on 127.0.0.1: `count` messages of `octets` each.

    Both may be changed between sessions; `sessions` has the commands of each.
    """

    def __init__(self, *, count: int, octets: int) -> None:
        self.count = count
        self.octets = octets
        self.port = 0
        self.sessions: list[list[str]] = []
        self._listener: asyncio.Server
        self._listings: dict[tuple[str, int], bytes] = {}

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await self._listener.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said: list[str] = []
        self.sessions.append(said)
        writer.write(b"+OK ready\r\n")
        while line := await reader.readline():
            said.append(line.decode().strip())
            verb, _, argument = said[-1].partition(" ")
            if verb == "RETR":
                await self._send(int(argument), writer)
            else:
                writer.write(self._answer(verb))
                await writer.drain()
        self.count -= sum(line.startswith("DELE") for line in said)
        writer.close()

    def _answer(self, verb: str) -> bytes:
        match verb:
            case "STAT":
                return b"+OK %d %d\r\n" % (self.count, self.count * self._size())
            case "LIST":
                return self._listing(verb, lambda number: b"%d %d\r\n" % (number, self._size()))
            case "UIDL":
                # Of 40 octets, in no order: as providers give them.
                return self._listing(verb, lambda number: b"%d %032x-%07d\r\n" % (number, number * 7919 << 80, number))
            case "USER" | "PASS" | "DELE" | "QUIT":
                return b"+OK\r\n"
            case _:
                return b"-ERR unknown\r\n"

    def _listing(self, verb: str, line: Callable[[int], bytes]) -> bytes:
        key = (verb, self.count)
        if key not in self._listings:
            self._listings[key] = b"+OK\r\n" + b"".join(map(line, range(1, self.count + 1))) + b".\r\n"
        return self._listings[key]

    async def _send(self, number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n" + _head(number))
        for _ in range(self._lines() // 840):
            writer.write(_PIECE)
            await writer.drain()
        writer.write(_LINE * (self._lines() % 840) + b".\r\n")
        await writer.drain()

    def _lines(self) -> int:
        return max(0, self.octets - len(_head(1))) // len(_LINE)

    def _size(self) -> int:
        return len(_head(1)) + self._lines() * len(_LINE)


def _head(number: int) -> bytes:
    return b"From: <alice@example.org>\r\nSubject: %07d\r\n\r\n" % number
