"""Choose how to log in to the relay, and say what to change where that fails.

`ways` gives the mechanism to take, and for `auto` perhaps a second for when the first is refused; `stages.smtp.login`
goes them.

**Invariants:** those of `stages.sasl.credentials`. What the relay does not list is never tried: unlike CAPA, the list
of EHLO has every mechanism that can be used at this moment (RFC 4954 section 3), and a relay that lists none without
TLS is not given a password there. What is told of the list is in our own words.

**Failures:** `LoginImpossible`, for the operator.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.sasl.credentials import NAMED, STRONG, TOKEN, Credentials, LoginImpossible, in_turn
from stages.sasl.exchange import Mechanism
from stages.settings import AuthMethod
from stages.smtp.replies import Extensions, Reply

# The words that tell an operator of a mechanism; `ntlm` rather than `spa`.
_WORDS = {mechanism: method.value for method, mechanism in NAMED.items()}

# Each from the best to the worst.
_CHALLENGE = (Mechanism.CRAM_MD5, Mechanism.NTLM)
_PLAIN_TEXT = (Mechanism.PLAIN, Mechanism.LOGIN)
_UNDER_TLS = (*STRONG, *_PLAIN_TEXT, *_CHALLENGE)
_WITHOUT_TLS = (*STRONG, *_CHALLENGE, *_PLAIN_TEXT)


def ways(
    credentials: Credentials, offered: Extensions, *, is_tls: bool, prefer: Mechanism | None = None
) -> tuple[Mechanism, ...]:
    """Return the mechanism to log in by, and a second where one further try is allowed after a refusal.

    `offered` is what EHLO listed last. `prefer` is what worked last time.
    """
    named = NAMED.get(credentials.method)
    candidates = _listed(_suitable(credentials, is_tls=is_tls), offered)
    if named is not None and named.value in offered.auth:
        return (named,)
    if named is not None or not candidates:
        raise LoginImpossible(_not_offered(credentials, offered, is_tls=is_tls))
    return in_turn(candidates, plain_text=_PLAIN_TEXT, is_tls=is_tls, prefer=prefer)


def may_be_the_credentials(reply: Reply) -> bool:
    """Whether a refusal may be about the credentials or the mechanism (RFC 4954 section 6); others are the relay's.

    432 (5.7.12 and 4.7.12 in RFC 5248: a password transition is needed) is lifted by one login in plain text.
    """
    return reply.is_permanent or reply.code == 432


def advice(reply: Reply, credentials: Credentials, *, offered: Extensions, refused: Mechanism, is_tls: bool) -> str:
    """Say what the operator could change after a mechanism was refused; empty where the relay is in trouble."""
    if not may_be_the_credentials(reply):
        return ""
    if told := advice_of_code(reply):
        return told
    others = [way for way in _listed(_suitable(credentials, is_tls=is_tls), offered) if way is not refused]
    is_kept_in = credentials.method is AuthMethod.AUTO and not is_tls and refused not in _PLAIN_TEXT
    if is_kept_in and any(way in _PLAIN_TEXT for way in others):
        return "the password is not sent in clear text after that: set tls, or auth to plain"
    secret = "password" if credentials.token is None else "token"
    if reply.code == 535 or not others:
        return f"check username and {secret} in [smtp]"
    return f"check username and {secret} in [smtp], or set auth to {_words(others)}"


def advice_of_code(reply: Reply) -> str:
    """What a reply means that asks for another kind of login, to whatever command (RFC 3207, RFC 4954 section 6)."""
    match reply.code:
        case 530 if "TLS" in reply.text.upper():
            return 'set tls = "starttls" in [smtp]'
        case 530:
            return "set username and a password in [smtp]"
        case 538:
            return 'the relay wants TLS first: set tls = "starttls" in [smtp]'
        case _:
            return ""


def _suitable(credentials: Credentials, *, is_tls: bool) -> Sequence[Mechanism]:
    if credentials.token is not None:
        return TOKEN
    return _UNDER_TLS if is_tls else _WITHOUT_TLS


def _not_offered(credentials: Credentials, offered: Extensions, *, is_tls: bool) -> str:
    if not offered.auth and offered.starttls:
        return 'the relay offers no login without TLS: set tls = "starttls" in [smtp]'
    if not offered.auth:
        return "the relay offers no login here: remove username from [smtp], or set port to that of its submission"
    named = NAMED.get(credentials.method)
    suitable = _suitable(credentials, is_tls=is_tls)
    if named is not None and (others := _listed(suitable, offered)):
        return f"the relay does not offer {named}: set auth in [smtp] to {_words(others)}, or to auto"
    wanted = named or (Mechanism.PLAIN if credentials.token is None else Mechanism.XOAUTH2)
    return f"the relay offers no login that could be used: enable {wanted} there"


def _listed(of: Sequence[Mechanism], offered: Extensions) -> list[Mechanism]:
    return [mechanism for mechanism in of if mechanism.value in offered.auth]


def _words(mechanisms: Sequence[Mechanism]) -> str:
    return " or ".join(_WORDS[mechanism] for mechanism in mechanisms)
