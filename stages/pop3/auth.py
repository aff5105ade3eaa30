"""Choose how to log in.

A way is USER and PASS, APOP (RFC 1939 section 7) or a SASL mechanism (RFC 5034). `ways` gives the one to take, and for
`auto` perhaps a second for when the first is refused; `stages.pop3.login` goes them.

**Invariants:** a way that the configuration names is never exchanged for another, and is tried where the server does
not list it: CAPA is often missing or incomplete. Without TLS no password is sent in clear text after a challenge
mechanism was offered, refused or not. Under TLS the password is protected better than MD5 would, and servers that
store it hashed cannot do CRAM-MD5 or APOP: there plain text comes before these. Credentials that would break out of
their line cannot be made, so nothing of them is ever sent.

**Failures:** `LoginImpossible`, for the operator; from `Credentials` too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stages.errors import OperatorMustAct, OurBug
from stages.pop3.replies import Capabilities, apop_challenge
from stages.sasl.exchange import Mechanism
from stages.sasl.mechanisms import BEARER
from stages.secret import Secret
from stages.settings import AuthMethod


class Native(StrEnum):
    """POP3's own ways to log in; USER stands for USER and PASS."""

    USER = "USER"
    APOP = "APOP"


Way = Native | Mechanism

_NAMED: dict[AuthMethod, Way] = {
    AuthMethod.BASIC: Native.USER,
    AuthMethod.APOP: Native.APOP,
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
# The words that tell an operator of a way; `ntlm` rather than `spa`.
_WORDS: dict[Way, str] = {way: method.value for method, way in _NAMED.items()}

# Each from the best to the worst.
_TOKEN: tuple[Way, ...] = (Mechanism.OAUTHBEARER, Mechanism.XOAUTH2)
_STRONG: tuple[Way, ...] = (Mechanism.SCRAM_SHA_256, Mechanism.SCRAM_SHA_1)
_CHALLENGE: tuple[Way, ...] = (Mechanism.CRAM_MD5, Native.APOP, Mechanism.NTLM)
_PLAIN_TEXT: tuple[Way, ...] = (Mechanism.PLAIN, Native.USER, Mechanism.LOGIN)
_UNDER_TLS = (*_STRONG, *_PLAIN_TEXT, *_CHALLENGE)
_WITHOUT_TLS = (*_STRONG, *_CHALLENGE, *_PLAIN_TEXT)


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
        named = _NAMED.get(self.method)
        if named in BEARER and self.token is None:
            raise LoginImpossible(f"auth = {self.method.value} takes an OAuth 2.0 token, and there is a password only")
        if named is not None and named not in BEARER and self.password is None:
            raise LoginImpossible(
                f"auth = {self.method.value} takes a password, and there is a token: set auth to auto or xoauth2"
            )
        for what, text in (("username", self.username), (kind, self.secret.reveal())):
            if any(character in text for character in "\r\n\0"):
                raise LoginImpossible(f"{what}: a line end or NUL in it cannot be sent to a POP3 server")
            # RFC 7628 section 3.1: it separates the fields.
            if self.token is not None and "\x01" in text:
                raise LoginImpossible(f"{what}: the octet 0x01 in it cannot be sent to a POP3 server")

    @property
    def secret(self) -> Secret:
        """The password or the token."""
        given = self.password if self.token is None else self.token
        if given is None:
            raise OurBug("credentials have a password or a token")
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the server told us before the login. `greeting` is the text behind its +OK."""

    greeting: bytes
    is_tls: bool
    capabilities: Capabilities = field(default_factory=Capabilities)

    @property
    def tells_of_logins(self) -> bool:
        """Whether CAPA lists any way to log in; a server whose CAPA does not is no server without logins."""
        return self.capabilities.user or self.capabilities.has("SASL")

    def lists(self, way: Way) -> bool:
        """Whether the server offers this way, as far as it told."""
        match way:
            case Native.APOP:
                return apop_challenge(self.greeting) is not None
            case Native.USER:
                return self.capabilities.user or not self.tells_of_logins
            case _:
                return way.value in self.capabilities.sasl


def ways(credentials: Credentials, offer: Offer, *, prefer: str | None = None) -> tuple[Way, ...]:
    """Return the way to log in, and a second where one further try is allowed after a refusal.

    `prefer` is the way that worked last time. `auto` begins with it where it would be a candidate anyway.
    """
    named = _NAMED.get(credentials.method)
    if named is Native.APOP and not offer.lists(named):
        raise LoginImpossible("the server's greeting has no valid APOP challenge: set auth to auto or basic")
    if named is not None:
        return (named,)
    if credentials.token is not None:
        listed = _listed(_TOKEN, offer) or (Mechanism.XOAUTH2,)
        return (_first(listed, prefer=prefer),)
    # A server that offers nothing that we know may still know what every server knew once.
    candidates = _listed(_UNDER_TLS if offer.is_tls else _WITHOUT_TLS, offer) or (Native.USER,)
    if not offer.is_tls:
        # Where a challenge mechanism is offered, what worked last time is no reason for plain text.
        first = _first([way for way in candidates if way not in _PLAIN_TEXT] or candidates, prefer=prefer)
        return (first,)
    first = _first(candidates, prefer=prefer)
    # A server lists SCRAM for all, and this user's password may be stored in another form.
    fallback = [way for way in candidates if way in _PLAIN_TEXT][:1] if first not in _PLAIN_TEXT else []
    return (first, *fallback)


def may_be_the_credentials(code: str | None) -> bool:
    """Whether a refusal may be about the credentials, or the way, by its response code (RFC 2449, RFC 3206)."""
    return code is None or not (code in {"IN-USE", "LOGIN-DELAY"} or code.startswith("SYS/"))


def advice(credentials: Credentials, offer: Offer, *, refused: Way) -> str:
    """Say what the operator could change after a way was refused; empty where it is the secret alone."""
    known = _TOKEN if credentials.token is not None else _UNDER_TLS
    if offer.tells_of_logins and not offer.lists(refused):
        words = [_WORDS[listed] for listed in _listed(known, offer)]
        return f"not listed by the server, which offers {', '.join(words) or 'nothing that could be used instead'}"
    kept_in = credentials.method is AuthMethod.AUTO and not offer.is_tls and refused in (*_STRONG, *_CHALLENGE)
    if kept_in and _listed(_PLAIN_TEXT, offer):
        return "the password is not sent in clear text after that: set tls, or auth to basic"
    return ""


def _listed(of: Sequence[Way], offer: Offer) -> tuple[Way, ...]:
    return tuple(way for way in of if offer.lists(way))


def _first(candidates: Sequence[Way], *, prefer: str | None) -> Way:
    return next((way for way in candidates if way.value == prefer), candidates[0])
