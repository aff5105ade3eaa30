"""Choose how to log in, and say what to send for it.

A login is a function from the credentials and what the server offers to the commands that make it, each of which must
be answered +OK.

**Invariants:** a method that the configuration names is never exchanged for another. What would break out of its line
is refused before an octet is sent. Without TLS `auto` takes APOP where it can, so that the password stays here; under
TLS the password is protected better than MD5 would, and servers that store it hashed cannot do APOP.

**Failures:** `LoginImpossible`, for the operator.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import assert_never

from stages.errors import OperatorMustAct
from stages.pop3 import commands
from stages.pop3.commands import Command
from stages.pop3.replies import apop_challenge
from stages.secret import Secret
from stages.settings import AuthMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in, and how."""

    username: str
    password: Secret
    method: AuthMethod = AuthMethod.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the server told us before the login. `greeting` is the text behind its +OK."""

    greeting: bytes
    is_tls: bool


class LoginImpossible(OperatorMustAct):
    """No login can be made of this configuration with this server."""


def login(credentials: Credentials, offer: Offer) -> tuple[Command, ...]:
    """Return the commands of the login, to be sent one by one."""
    name = _octets("username", credentials.username)
    password = _octets("password", credentials.password.reveal())
    challenge = apop_challenge(offer.greeting)
    match credentials.method:
        case AuthMethod.AUTO:
            if offer.is_tls or challenge is None:
                return _basic(name, password)
            return _apop(name, password, challenge=challenge)
        case AuthMethod.BASIC:
            return _basic(name, password)
        case AuthMethod.APOP:
            if challenge is None:
                raise LoginImpossible("the server's greeting has no valid APOP challenge: set auth to auto or basic")
            return _apop(name, password, challenge=challenge)
        case _:
            assert_never(credentials.method)


def _octets(field: str, value: str) -> bytes:
    octets = value.encode(errors="surrogateescape")  # a password from the environment may be any octets
    if any(octet in octets for octet in b"\r\n\0"):
        raise LoginImpossible(f"{field}: a line end or NUL in it cannot be sent to a POP3 server")
    return octets


def _basic(name: bytes, password: bytes) -> tuple[Command, ...]:
    # Where USER is refused (a server that takes no password in clear), PASS is never sent.
    return commands.user(name), commands.password(password)


def _apop(name: bytes, password: bytes, *, challenge: bytes) -> tuple[Command, ...]:
    # RFC 1939 section 7 prescribes MD5.
    digest = hashlib.md5(challenge + password, usedforsecurity=False).hexdigest()
    return (commands.apop(name, digest.encode("ascii")),)
