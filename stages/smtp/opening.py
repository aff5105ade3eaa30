"""Open a session with the relay: connect, greeting, EHLO, STARTTLS, AUTH.

**Invariants:** with `TlsMode.STARTTLS` nothing but EHLO and STARTTLS is sent in the clear, and what the relay offered
in the clear is forgotten (RFC 3207 section 4.2). A password leaves in the clear only where the endpoint allows it.

**Failures:** `RouteFailed` with the phase and the reply, whatever it was: no message is to blame for a session that
could not be opened.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from stages.errors import NetworkError
from stages.secret import Secret
from stages.settings import TlsMode
from stages.smtp.commands import (
    AUTH_LOGIN,
    STARTTLS,
    auth_login_answer,
    auth_plain,
    ehlo,
    helo,
    lhlo,
)
from stages.smtp.connection import SessionBroken, SmtpConnection, Trace
from stages.smtp.replies import Extensions, Phase, Reply, RouteFailed, parse_extensions
from stages.stream import Stream, TlsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who we are to the relay."""

    username: str
    password: Secret = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpEndpoint:
    """The relay: where it is, how the connection is protected, and how we introduce ourselves.

    `helo_name` has passed `commands.helo_name`. `may_log_in_without_tls`: the host is a loopback address, or the
    operator wrote `tls = "none"`. A host that is an absolute path is a UNIX socket, and has no port. `is_lmtp`: LMTP
    is spoken (RFC 2033).
    """

    host: str
    port: int
    tls: TlsMode
    trust: TlsSettings
    helo_name: str
    credentials: Credentials | None = None
    may_log_in_without_tls: bool = False
    is_lmtp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open session: the connection and what the relay said of itself."""

    connection: SmtpConnection
    greeting: Reply
    extensions: Extensions
    is_lmtp: bool = False


async def open_session(relay: SmtpEndpoint, *, timeout: float, trace: Trace | None = None) -> Session:
    """Open a session that is ready for MAIL; `timeout` seconds for each step. Raises `RouteFailed`."""
    try:
        trust = relay.trust if relay.tls is TlsMode.IMPLICIT else None
        stream = await Stream.connect(relay.host, relay.port, tls=trust, timeout=timeout)
    except NetworkError as error:
        raise RouteFailed(Phase.CONNECT, str(error)) from error
    connection = SmtpConnection(stream, timeout=timeout, trace=trace)
    async with AsyncExitStack() as until_open:
        until_open.push_async_callback(connection.close)
        session = await _introduce(connection, relay)
        until_open.pop_all()
    return session


async def _introduce(connection: SmtpConnection, relay: SmtpEndpoint) -> Session:
    try:
        greeting = await connection.answer()
        _require(Phase.GREETING, greeting)
        extensions = await _hello(connection, relay)
        if relay.tls is TlsMode.STARTTLS:
            await _start_tls(connection, relay, offered=extensions)
            extensions = await _hello(connection, relay)
        if relay.credentials is not None:
            _require_privacy(connection, relay)
            with connection.sending(relay.credentials.password):
                await _log_in(connection, relay.credentials, offered=extensions)
    except SessionBroken as error:
        broken = error.broken
        raise RouteFailed(broken.phase, f"{broken.kind}: {broken.text}", reply=broken.reply) from error
    return Session(connection=connection, greeting=greeting, extensions=extensions, is_lmtp=relay.is_lmtp)


async def _hello(connection: SmtpConnection, relay: SmtpEndpoint) -> Extensions:
    reply = await connection.ask(lhlo(relay.helo_name) if relay.is_lmtp else ehlo(relay.helo_name))
    if reply.is_positive:
        return parse_extensions(reply)
    if relay.is_lmtp or not reply.is_permanent:
        _require(Phase.HELLO, reply)
    # RFC 5321 section 3.2: a server that refuses EHLO may still know HELO, and then has no extensions.
    _require(Phase.HELLO, await connection.ask(helo(relay.helo_name)))
    return Extensions()


async def _start_tls(connection: SmtpConnection, relay: SmtpEndpoint, *, offered: Extensions) -> None:
    if not offered.starttls:
        raise RouteFailed(Phase.STARTTLS, "the relay does not offer STARTTLS; mail is not sent in the clear instead")
    _require(Phase.STARTTLS, await connection.ask(STARTTLS))
    try:
        await connection.start_tls(relay.trust)
    except NetworkError as error:
        raise RouteFailed(Phase.STARTTLS, str(error)) from error


def _require_privacy(connection: SmtpConnection, relay: SmtpEndpoint) -> None:
    if not connection.is_tls and not relay.may_log_in_without_tls:
        raise RouteFailed(Phase.AUTH, "the password is not sent without TLS")


async def _log_in(connection: SmtpConnection, credentials: Credentials, *, offered: Extensions) -> None:
    if "PLAIN" in offered.auth:
        # One exchange instead of three; below TLS it is as good as LOGIN.
        _require(Phase.AUTH, await connection.ask(auth_plain(credentials.username, credentials.password)))
        return
    if "LOGIN" not in offered.auth:
        raise RouteFailed(Phase.AUTH, "the relay offers neither AUTH PLAIN nor AUTH LOGIN")
    for command in (AUTH_LOGIN, auth_login_answer(credentials.username)):
        challenge = await connection.ask(command)
        if not challenge.is_intermediate:
            raise RouteFailed(Phase.AUTH, str(challenge), reply=challenge)
    _require(Phase.AUTH, await connection.ask(auth_login_answer(credentials.password.reveal())))


def _require(phase: Phase, reply: Reply) -> None:
    if not reply.is_positive:
        raise RouteFailed(phase, str(reply), reply=reply)
