"""Open a session with the relay: connect, greeting, EHLO, STARTTLS, AUTH.

**Invariants:** with `TlsMode.STARTTLS` nothing but EHLO and STARTTLS is sent in the clear, and what the relay offered
in the clear is forgotten (RFC 3207 section 4.2). A password leaves in the clear only where the endpoint allows it.

**Failures:** `RouteFailed` with the phase and the reply, whatever it was: no message is to blame for a session that
could not be opened.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from stages.dialogue import Dialogue
from stages.errors import NetworkError
from stages.sasl.credentials import Credentials
from stages.sasl.exchange import Mechanism
from stages.settings import TlsMode
from stages.smtp.commands import STARTTLS, ehlo, helo, lhlo
from stages.smtp.connection import SessionBroken, SmtpConnection
from stages.smtp.login import log_in
from stages.smtp.replies import Extensions, Phase, Reply, RouteFailed, parse_extensions
from stages.stream import Stream, TlsSettings

_OTHER_TLS = 'set tls in [smtp] to "implicit" for a port of TLS alone, or to "none" for mail in the clear'


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpEndpoint:
    """The relay: where it is, how the connection is protected, and how we introduce ourselves.

    `helo_name` has passed `commands.helo_name`. `may_log_in_without_tls`: the host is a loopback address, or the
    operator wrote `tls = "none"`. `prefer` is the mechanism that logged us in last time. A host that is an absolute
    path is a UNIX socket, and has no port. `is_lmtp`: LMTP is spoken (RFC 2033).
    """

    host: str
    port: int
    tls: TlsMode
    trust: TlsSettings
    helo_name: str
    credentials: Credentials | None = None
    prefer: Mechanism | None = None
    may_log_in_without_tls: bool = False
    is_lmtp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open session: the connection, what the relay said of itself, and what logged us in."""

    connection: SmtpConnection
    greeting: Reply
    extensions: Extensions
    mechanism: Mechanism | None = None
    is_lmtp: bool = False


async def open_session(relay: SmtpEndpoint, *, timeout: float, dialogue: Dialogue) -> Session:
    """Open a session that is ready for MAIL; `timeout` seconds for each step. Raises `RouteFailed`."""
    try:
        return await _open(relay, timeout=timeout, dialogue=dialogue)
    except RouteFailed as error:
        dialogue.note(str(error))
        raise


async def _open(relay: SmtpEndpoint, *, timeout: float, dialogue: Dialogue) -> Session:
    try:
        trust = relay.trust if relay.tls is TlsMode.IMPLICIT else None
        stream = await Stream.connect(relay.host, relay.port, tls=trust, timeout=timeout, dialogue=dialogue)
    except NetworkError as error:
        raise RouteFailed(Phase.CONNECT, str(error)) from error
    connection = SmtpConnection(stream, timeout=timeout)
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
        mechanism = await _log_in(connection, relay, offered=extensions)
        connection.raise_if_broken()
    except SessionBroken as error:
        broken = error.broken
        raise RouteFailed(broken.phase, f"{broken.kind}: {broken.text}", reply=broken.reply) from error
    return Session(
        connection=connection,
        greeting=greeting,
        extensions=extensions,
        mechanism=mechanism,
        is_lmtp=relay.is_lmtp,
    )


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
        missing = "the relay does not offer STARTTLS; mail is not sent in the clear instead"
        raise RouteFailed(Phase.STARTTLS, missing, advice=_OTHER_TLS)
    reply = await connection.ask(STARTTLS)
    _require(Phase.STARTTLS, reply, advice=_OTHER_TLS if reply.is_permanent else "")
    try:
        await connection.start_tls(relay.trust)
    except NetworkError as error:
        raise RouteFailed(Phase.STARTTLS, str(error)) from error


async def _log_in(connection: SmtpConnection, relay: SmtpEndpoint, *, offered: Extensions) -> Mechanism | None:
    if relay.credentials is None:
        return None
    if not connection.is_tls and not relay.may_log_in_without_tls:
        raise RouteFailed(Phase.AUTH, "the password is not sent without TLS", advice='set tls = "starttls" in [smtp]')
    with connection.sending(relay.credentials.secret):
        return await log_in(
            connection, relay.credentials, offered=offered, host=relay.host, port=relay.port, prefer=relay.prefer
        )


def _require(phase: Phase, reply: Reply, *, advice: str = "") -> None:
    if not reply.is_positive:
        raise RouteFailed(phase, str(reply), reply=reply, advice=advice)
