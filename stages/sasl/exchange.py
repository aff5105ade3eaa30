"""The contract between a protocol that carries SASL and the mechanisms.

An exchange is one run of one mechanism (RFC 4422 section 3). The protocol hands each challenge to `respond` and sends
what it returns; when the server says that the login succeeded, it calls `conclude` before it believes that. A mechanism
is a generator: it is given challenges and yields responses, and reads from top to bottom like the RFC's own example.

**Invariants:** a mechanism sees octets and gives octets; it does no I/O. An exchange that is not complete (nothing was
sent yet, the server has not proved that it knows the password) is never concluded. No secret, and nothing that the
server wrote, is part of an error but as safe text.

**Failures:** `ExchangeFailed` for what the server sent; the protocol cancels the exchange and drops the connection.
`SecretUnusable` for a user name or password that the mechanism cannot carry; the operator must act.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import StrEnum

from stages.errors import OperatorMustAct, PeerBroke
from stages.secret import Secret


class Mechanism(StrEnum):
    """The mechanisms that we speak, by their registered names."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    CRAM_MD5 = "CRAM-MD5"
    SCRAM_SHA_1 = "SCRAM-SHA-1"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    NTLM = "NTLM"
    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who logs in, and where; `secret` is a password, or a token for the bearer mechanisms.

    `service` is the protocol's SASL name (RFC 5034 section 4: `pop`).
    """

    username: str
    secret: Secret
    service: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What to send. `is_enough`: the server may call the login a success now.

    `refusal` is what the challenge told about the refusal that is to follow, made safe.
    """

    octets: bytes = field(repr=False)
    is_enough: bool = False
    refusal: str = ""


Steps = Generator[Response, bytes, None]


class ExchangeFailed(PeerBroke):
    """The server does not follow the mechanism, or does not prove who it is."""


class SecretUnusable(OperatorMustAct):
    """The mechanism cannot carry this user name or password."""


class Exchange:
    """One run of a mechanism. `begin` is given the first challenge, which a client-first mechanism does not read."""

    def __init__(self, mechanism: Mechanism, begin: Callable[[bytes], Steps], *, is_client_first: bool) -> None:
        self.mechanism = mechanism
        self.is_client_first = is_client_first
        self._begin = begin
        self._steps: Steps | None = None
        self._last: Response | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a response was given."""
        return self._last is not None

    @property
    def refusal(self) -> str:
        """What the server told in a challenge about its refusal, made safe; empty where it told nothing."""
        return self._last.refusal if self._last else ""

    def respond(self, challenge: bytes) -> bytes:
        """Return the response to a challenge; the first challenge of a client-first mechanism is empty.

        It may compute for a second, and import a library: call it in a thread where others must go on.
        """
        try:
            if self._steps is None:
                self._steps = self._begin(challenge)
                self._last = next(self._steps)
            else:
                self._last = self._steps.send(challenge)
        except StopIteration:
            raise ExchangeFailed(f"{self.mechanism}: more challenges than the mechanism has") from None
        return self._last.octets

    def conclude(self) -> None:
        """Accept that the server calls the login a success; raises `ExchangeFailed` where it cannot be one."""
        if self._last is None or not self._last.is_enough:
            raise ExchangeFailed(f"{self.mechanism}: the server says that the login succeeded before it was complete")
