"""Who logs in, and in which order the ways are tried that a server offers: the rules that POP3 and SMTP share.

**Invariants:** a mechanism that the configuration names is never exchanged for another. Without TLS no password is sent
in clear text where a challenge mechanism is offered, refused or not. Under TLS it is protected better than MD5 would,
and servers that store it hashed cannot do CRAM-MD5: there plain text comes before it. Credentials that would break out
of their line or field cannot be made, so nothing of them is ever sent.

**Failures:** `LoginImpossible`, for the operator.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from stages.errors import OperatorMustAct, OurBug
from stages.sasl.exchange import Mechanism
from stages.sasl.mechanisms import BEARER
from stages.secret import Secret
from stages.settings import AuthMethod

Way = TypeVar("Way", bound=StrEnum)

NAMED: dict[AuthMethod, Mechanism] = {
    AuthMethod.SPA: Mechanism.NTLM,
    AuthMethod.NTLM: Mechanism.NTLM,
    AuthMethod.PLAIN: Mechanism.PLAIN,
    AuthMethod.LOGIN: Mechanism.LOGIN,
    AuthMethod.CRAM_MD5: Mechanism.CRAM_MD5,
    AuthMethod.SCRAM_SHA_1: Mechanism.SCRAM_SHA_1,
    AuthMethod.SCRAM_SHA_256: Mechanism.SCRAM_SHA_256,
    AuthMethod.XOAUTH2: Mechanism.XOAUTH2,
    AuthMethod.OAUTHBEARER: Mechanism.OAUTHBEARER,
}

# Each from the best to the worst.
TOKEN = (Mechanism.OAUTHBEARER, Mechanism.XOAUTH2)
STRONG = (Mechanism.SCRAM_SHA_256, Mechanism.SCRAM_SHA_1)


class LoginImpossible(OperatorMustAct):
    """No login can be made of this configuration with this server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in, and how; either a password or a token.

    Raises `LoginImpossible` for what cannot be sent in one piece, and for a secret that is not of the method's kind.
    """

    username: str
    method: AuthMethod = AuthMethod.AUTO
    password: Secret | None = None
    token: Secret | None = None

    def __post_init__(self) -> None:
        if (self.password is None) == (self.token is None):
            raise OurBug("credentials have a password or a token")
        kind = "password" if self.token is None else "token"
        takes_token = NAMED.get(self.method) in BEARER
        if takes_token and self.token is None:
            raise LoginImpossible(f"auth = {self.method.value} takes an OAuth 2.0 token, and there is a password only")
        if not takes_token and self.method is not AuthMethod.AUTO and self.password is None:
            raise LoginImpossible(
                f"auth = {self.method.value} takes a password, and there is a token: set auth to auto or xoauth2"
            )
        for what, text in (("username", self.username), (kind, self.secret.reveal())):
            if any(character in text for character in "\r\n\0"):
                raise LoginImpossible(f"{what}: a line end or NUL in it cannot be sent")
            # RFC 7628 section 3.1: it separates the fields.
            if self.token is not None and "\x01" in text:
                raise LoginImpossible(f"{what}: the octet 0x01 in it cannot be sent")

    @property
    def secret(self) -> Secret:
        """The password or the token."""
        given = self.password if self.token is None else self.token
        if given is None:
            raise OurBug("credentials have a password or a token")
        return given


def in_turn(
    candidates: Sequence[Way], *, plain_text: Collection[Way], is_tls: bool, prefer: str | None
) -> tuple[Way, ...]:
    """Return the way to take for `auto`, and a second where one further try is allowed after a refusal.

    `candidates` are what the server offers, best first, one at least. `prefer` is the way that worked last time; it
    comes first where it would be a candidate anyway.
    """
    if not is_tls:
        # Where a challenge mechanism is offered, what worked last time is no reason for plain text.
        return (_first([way for way in candidates if way not in plain_text] or candidates, prefer=prefer),)
    first = _first(candidates, prefer=prefer)
    # A server lists SCRAM for all, and this user's password may be stored in another form.
    fallback = [way for way in candidates if way in plain_text][:1] if first not in plain_text else []
    return (first, *fallback)


def _first(candidates: Sequence[Way], *, prefer: str | None) -> Way:
    return next((way for way in candidates if way.value == prefer), candidates[0])
