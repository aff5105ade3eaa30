"""A POP3 server that never falls silent and never comes to an end: no time-out for silence is a match for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Never

from pipeline.demo.pop3_server import Pop3Session
from tests.support.fetching import Provider

GREETING = "greeting"
_BETWEEN_OCTETS_SECONDS = 0.01


class Dribbling(Provider):
    """Answers as it should up to the command `at`; half of that answer comes, then octet after octet."""

    def __init__(self, messages: Iterable[bytes], *, at: str, user: str = "sales") -> None:
        super().__init__(messages, user=user)
        self._at = at.encode()

    async def _converse(
        self, session: Pop3Session, *, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._at == GREETING.encode():
            await self._dribble(session.greeting(), writer)
        writer.write(session.greeting())
        while line := await reader.readline():
            reply = session.answer(line.rstrip(b"\r\n"))
            if line.startswith(self._at):
                await self._dribble(reply, writer)
            writer.write(reply)
            await writer.drain()

    async def _dribble(self, reply: bytes, writer: asyncio.StreamWriter) -> Never:
        """Until the client goes, which is an OSError."""
        writer.write(reply[: len(reply) // 2])
        while True:
            await writer.drain()
            await asyncio.sleep(_BETWEEN_OCTETS_SECONDS)
            writer.write(b"x")
