"""An SMTP server of another hand, aiosmtpd, that lets in whom an acceptor or its own PLAIN and LOGIN believe."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.sasl import Acceptor, Refused


class SaslRelay:
    """One user, `alice`, whose password may be changed; mail is taken after the login alone.

    `accept` makes an acceptor for each login by a mechanism that aiosmtpd has not; only these, PLAIN and LOGIN are
    listed. `asked` are the mechanisms of all logins that were tried.
    """

    def __init__(self, accept: Mapping[str, Callable[[], Acceptor]] | None = None) -> None:
        self.port = 0
        self.password = "secret"
        self.asked: list[str] = []
        self._accept = accept or {}

    @asynccontextmanager
    async def listening(
        self, *, tls: ssl.SSLContext | None = None, requires_tls: bool = False, without: tuple[str, ...] = ()
    ) -> AsyncIterator[SaslRelay]:
        """Serve on loopback, with STARTTLS where `tls` is given; the mechanisms `without` are not listed."""
        unknown = {"SCRAM-SHA-1", "SCRAM-SHA-256", "NTLM"} - set(self._accept)

        def connection() -> SMTP:
            return SMTP(
                self,
                tls_context=tls,
                auth_require_tls=requires_tls,
                auth_exclude_mechanism=[*unknown, *without],
                authenticator=self._judge,
            )

        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def handle_AUTH(self, _server: SMTP, _session: Session, _envelope: Envelope, args: list[str]) -> object:
        self.asked.append(args[0])
        return MISSING

    async def handle_MAIL(
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        return "250 2.1.0 ok"

    async def auth_SCRAM__SHA__1(self, server: SMTP, args: list[str]) -> AuthResult:
        return await self._converse(server, args)

    async def auth_SCRAM__SHA__256(self, server: SMTP, args: list[str]) -> AuthResult:
        return await self._converse(server, args)

    async def auth_NTLM(self, server: SMTP, args: list[str]) -> AuthResult:
        return await self._converse(server, args)

    async def _converse(self, server: SMTP, args: list[str]) -> AuthResult:
        acceptor = self._accept[args[0]]()
        response = b64decode(args[1], validate=True)
        try:
            while (challenge := acceptor.accept(response)) is not None:
                answer = await server.challenge_auth(challenge)
                if not isinstance(answer, bytes):
                    return AuthResult(success=False, handled=True)
                response = answer
        except Refused:
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True)

    def _judge(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: object
    ) -> AuthResult:
        is_right = isinstance(given, LoginPassword) and given == (b"alice", self.password.encode())
        return AuthResult(success=is_right, handled=False)
