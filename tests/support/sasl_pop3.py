"""A POP3 server that lets in whom an acceptor believes: for the mechanisms whose responses no script can foresee."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum

from tests.support.sasl import Acceptor, Refused

PATIENCE_SECONDS = 10.0


class Manner(Enum):
    """How the server takes AUTH."""

    CHALLENGE = "an empty challenge to AUTH alone"
    INITIAL = "AUTH with its initial response alone"
    OK = "+OK to AUTH alone, as Exchange 2003 does for NTLM"


class SaslPop3Server:
    """One account; `accept` makes an acceptor for each AUTH."""

    def __init__(self, accept: Callable[[], Acceptor], *, manner: Manner = Manner.CHALLENGE) -> None:
        self.port = 0
        self._accept = accept
        self._manner = manner

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[SaslPop3Server]:
        listener = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        async with listener:
            yield self

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                writer.write(b"+OK ready\r\n")
                while line := (await reader.readline()).rstrip(b"\r\n"):
                    writer.write(await self._answer(line, reader, writer=writer))
        finally:
            writer.close()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, *, writer: asyncio.StreamWriter) -> bytes:
        verb, _, rest = line.partition(b" ")
        if verb != b"AUTH":
            return b"+OK 0 0\r\n" if verb in {b"STAT", b"QUIT"} else b"-ERR\r\n"
        _, _, initial = rest.partition(b" ")
        if not initial and self._manner is Manner.INITIAL:
            return b"-ERR an initial response is needed\r\n"
        if not initial:
            writer.write(b"+OK\r\n" if self._manner is Manner.OK else b"+ \r\n")
            initial = (await reader.readline()).rstrip(b"\r\n")
        acceptor, response = self._accept(), initial
        try:
            while (challenge := acceptor.accept(b64decode(response, validate=True))) is not None:
                writer.write(b"+ " + b64encode(challenge) + b"\r\n")
                response = (await reader.readline()).rstrip(b"\r\n")
                if response == b"*":
                    return b"-ERR cancelled\r\n"
        except Refused:
            return b"-ERR [AUTH] no\r\n"
        return b"+OK in\r\n"
