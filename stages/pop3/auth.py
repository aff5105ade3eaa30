"""Choose how to log in.

A way is USER and PASS, APOP (RFC 1939 section 7) or a SASL mechanism (RFC 5034). `ways` gives the one to take, and for
`auto` perhaps a second for when the first is refused; `stages.pop3.login` goes them.

**Invariants:** those of `stages.sasl.credentials`. A way that the configuration names is tried even where the server
does not list it: CAPA is often missing or incomplete. APOP is to the order of the ways what CRAM-MD5 is.

**Failures:** `LoginImpossible`, for the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stages.pop3.replies import Capabilities, apop_challenge
from stages.sasl.credentials import NAMED, STRONG, TOKEN, Credentials, LoginImpossible, in_turn
from stages.sasl.exchange import Mechanism
from stages.settings import AuthMethod


class Native(StrEnum):
    """POP3's own ways to log in; USER stands for USER and PASS."""

    USER = "USER"
    APOP = "APOP"


Way = Native | Mechanism

_NAMED: dict[AuthMethod, Way] = {AuthMethod.BASIC: Native.USER, AuthMethod.APOP: Native.APOP, **NAMED}
# The words that tell an operator of a way; `ntlm` rather than `spa`.
_WORDS: dict[Way, str] = {way: method.value for method, way in _NAMED.items()}

# Each from the best to the worst.
_CHALLENGE: tuple[Way, ...] = (Mechanism.CRAM_MD5, Native.APOP, Mechanism.NTLM)
_PLAIN_TEXT: tuple[Way, ...] = (Mechanism.PLAIN, Native.USER, Mechanism.LOGIN)
_UNDER_TLS = (*STRONG, *_PLAIN_TEXT, *_CHALLENGE)
_WITHOUT_TLS = (*STRONG, *_CHALLENGE, *_PLAIN_TEXT)


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
        listed = _listed(TOKEN, offer) or (Mechanism.XOAUTH2,)
        return in_turn(listed, plain_text=_PLAIN_TEXT, is_tls=offer.is_tls, prefer=prefer)
    # A server that offers nothing that we know may still know what every server knew once.
    candidates = _listed(_UNDER_TLS if offer.is_tls else _WITHOUT_TLS, offer) or (Native.USER,)
    return in_turn(candidates, plain_text=_PLAIN_TEXT, is_tls=offer.is_tls, prefer=prefer)


def may_be_the_credentials(code: str | None) -> bool:
    """Whether a refusal may be about the credentials, or the way, by its response code (RFC 2449, RFC 3206)."""
    return code is None or not (code in {"IN-USE", "LOGIN-DELAY"} or code.startswith("SYS/"))


def advice(credentials: Credentials, offer: Offer, *, refused: Way) -> str:
    """Say what the operator could change after a way was refused; empty where it is the secret alone."""
    known: Sequence[Way] = TOKEN if credentials.token is not None else _UNDER_TLS
    if offer.tells_of_logins and not offer.lists(refused):
        words = [_WORDS[listed] for listed in _listed(known, offer)]
        return f"not listed by the server, which offers {', '.join(words) or 'nothing that could be used instead'}"
    kept_in = credentials.method is AuthMethod.AUTO and not offer.is_tls and refused in (*STRONG, *_CHALLENGE)
    if kept_in and _listed(_PLAIN_TEXT, offer):
        return "the password is not sent in clear text after that: set tls, or auth to basic"
    return ""


def _listed(of: Sequence[Way], offer: Offer) -> tuple[Way, ...]:
    return tuple(way for way in of if offer.lists(way))
