"""A server of POP3 or SMTP that takes a login by whatever mechanism: it believes it, refuses it, or repeats it."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum

from stages.sasl.exchange import Mechanism
from tests.support.sasl import Acceptor, NtlmAcceptor, Refused, ScramAcceptor

_FIRST_CHALLENGE = {Mechanism.LOGIN: b"Username:", Mechanism.CRAM_MD5: b"<1.2@isp.example>"}


class Manner(Enum):
    """What becomes of a login."""

    BELIEVES = "believes"
    REFUSES = "refuses"
    REPEATS_THE_LINE = "refuses, and repeats the line that came"
    REPEATS_IN_CAPITALS = "refuses, and repeats the secret in capitals"


class _Prompts:
    """LOGIN: user name, then password."""

    def __init__(self) -> None:
        self._left = [b"Password:"]

    def accept(self, _response: bytes) -> bytes | None:
        return self._left.pop() if self._left else None


class _Once:
    """One response is all there is."""

    def accept(self, _response: bytes) -> bytes | None:
        return None


class AnyLogin:
    """The server; NTLM_USER_FILE must name who may come by NTLM."""

    def __init__(self, *, is_smtp: bool, secret: str, manner: Manner) -> None:
        self.port = 0
        self._is_smtp = is_smtp
        self._secret = secret
        self._manner = manner

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[AnyLogin]:
        listener = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        async with listener:
            yield self

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay ready\r\n" if self._is_smtp else b"+OK ready <1.2@isp.example>\r\n")
        while line := (await reader.readline()).rstrip(b"\r\n"):
            verb, _, rest = line.partition(b" ")
            match verb:
                case b"EHLO":
                    offered = " ".join(Mechanism).encode()
                    writer.write(b"250-relay\r\n250 AUTH " + offered + b"\r\n")
                case b"AUTH":
                    writer.write(await self._authenticate(rest, reader, writer=writer))
                case b"PASS" | b"APOP":
                    writer.write(self._judgement(line))
                case _:
                    writer.write(b"221 bye\r\n" if self._is_smtp else b"+OK 0 0\r\n")
        writer.close()

    async def _authenticate(self, rest: bytes, reader: asyncio.StreamReader, *, writer: asyncio.StreamWriter) -> bytes:
        name, _, line = rest.partition(b" ")
        mechanism = Mechanism(name.decode())

        async def ask(challenge: bytes) -> bytes:
            writer.write((b"334 " if self._is_smtp else b"+ ") + b64encode(challenge) + b"\r\n")
            return (await reader.readline()).rstrip(b"\r\n")

        line = line or await ask(_FIRST_CHALLENGE.get(mechanism, b""))
        acceptor = self._acceptors()[mechanism]() if mechanism in self._acceptors() else _Once()
        try:
            while line != b"*" and (challenge := acceptor.accept(b64decode(line))) is not None:
                line = await ask(challenge)
        except Refused:
            pass
        return self._judgement(line)

    def _acceptors(self) -> dict[Mechanism, Callable[[], Acceptor]]:
        return {
            Mechanism.LOGIN: _Prompts,
            Mechanism.NTLM: NtlmAcceptor,
            Mechanism.SCRAM_SHA_1: lambda: ScramAcceptor("SCRAM-SHA-1", self._secret),
            Mechanism.SCRAM_SHA_256: lambda: ScramAcceptor("SCRAM-SHA-256", self._secret),
        }

    def _judgement(self, line: bytes) -> bytes:
        no = b"535 5.7.8 no" if self._is_smtp else b"-ERR [AUTH] no"
        match self._manner:
            case Manner.BELIEVES:
                return b"235 2.7.0 yes\r\n" if self._is_smtp else b"+OK yes\r\n"
            case Manner.REFUSES:
                return no + b"\r\n"
            case Manner.REPEATS_THE_LINE:
                return no + b": " + line + b"\r\n"
            case Manner.REPEATS_IN_CAPITALS:
                return no + b": " + self._secret.upper().encode() + b"\r\n"
