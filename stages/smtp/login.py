"""Log in to the relay: AUTH as an exchange of challenges and responses (RFC 4954).

**Invariants:** a success is believed only when the mechanism agrees; by SCRAM the relay has then proved that it knows
the password. An exchange that fails on our side is cancelled by `*` and ends the session. There are no more rounds than
the mechanism has. No challenge is quoted, and no reply that repeats what we said.

**Failures:** `RouteFailed` with the relay's reply, where it refused, and what the operator could change;
`SessionBroken`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from stages.errors import OperatorMustAct, OurBug, PeerBroke, ProtocolViolation, StageError
from stages.sasl.credentials import Credentials, LoginImpossible
from stages.sasl.encoding import initial_response, response
from stages.sasl.exchange import Exchange, Identity, Mechanism
from stages.sasl.mechanisms import exchange as begin
from stages.secret import unless_told
from stages.smtp import auth
from stages.smtp.commands import CANCEL, auth_alone, auth_at_once, auth_response
from stages.smtp.connection import SessionBroken, SmtpConnection
from stages.smtp.replies import Extensions, Phase, Reply, RouteFailed

SASL_SERVICE = "smtp"  # RFC 4954 section 3


async def log_in(
    connection: SmtpConnection,
    credentials: Credentials,
    *,
    offered: Extensions,
    host: str,
    port: int,
    prefer: Mechanism | None = None,
) -> Mechanism:
    """Log in by one of the mechanisms that the relay offers, and return it. `prefer` is what worked last time."""
    identity = Identity(
        username=credentials.username, secret=credentials.secret, service=SASL_SERVICE, host=host, port=port
    )
    try:
        ways = auth.ways(credentials, offered, is_tls=connection.is_tls, prefer=prefer)
    except LoginImpossible as error:
        raise RouteFailed(Phase.AUTH, str(error)) from error
    refused: RouteFailed | None = None
    for way in ways:
        exchange = begin(way, identity)
        reply = await _carried_out(connection, exchange, before=refused)
        if reply.is_positive:
            return way
        advice = auth.advice(reply, credentials, offered=offered, refused=way, is_tls=connection.is_tls)
        told = unless_told(exchange.refusal.encode(), credentials.secret).decode()
        after = f", after {ways[0]} was refused" if refused else ""
        remarks = "; ".join(filter(None, (f"{way}{after}", told, advice)))
        refused = RouteFailed(Phase.AUTH, str(reply), reply=reply, advice=remarks)
        if not auth.may_be_the_credentials(reply):
            break
    raise refused or OurBug("no way to log in")


async def _carried_out(connection: SmtpConnection, exchange: Exchange, *, before: RouteFailed | None) -> Reply:
    """Carry an exchange out and return the reply that decided. `before` is the refusal of another."""
    try:
        reply = await _converse(connection, exchange)
        if reply.is_positive:
            exchange.conclude()
    except (PeerBroke, OperatorMustAct) as error:
        raise RouteFailed(Phase.AUTH, str(error)) from error
    except SessionBroken as error:
        if before is not None:  # the relay hung up behind its refusal
            raise before from error
        raise
    return reply


async def _converse(connection: SmtpConnection, exchange: Exchange) -> Reply:
    reply = await _open(connection, exchange)
    while reply.is_intermediate:
        try:
            line = await asyncio.to_thread(response, exchange, _challenge(reply))
        except StageError:
            # RFC 4954 section 4. What comes of it changes nothing.
            with suppress(SessionBroken):
                await connection.ask(CANCEL)
            raise
        reply = await connection.ask(auth_response(line))
    return reply


async def _open(connection: SmtpConnection, exchange: Exchange) -> Reply:
    """Ask by AUTH; the client's first word goes along, or behind where that would be too long a line."""
    if not exchange.is_client_first:
        return await connection.ask(auth_alone(exchange.mechanism))
    first = await asyncio.to_thread(initial_response, exchange)
    at_once = auth_at_once(exchange.mechanism, first)
    if at_once is not None:
        return await connection.ask(at_once)
    reply = await connection.ask(auth_alone(exchange.mechanism))
    return await connection.ask(auth_response(first)) if reply.is_intermediate else reply


def _challenge(reply: Reply) -> bytes:
    if len(reply.lines) != 1:
        raise ProtocolViolation("a challenge of more than one line")  # RFC 4954 section 4
    return reply.lines[0].strip()
