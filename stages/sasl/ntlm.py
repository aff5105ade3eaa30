"""NTLM, which Microsoft's mail clients call SPA: [MS-NLMP], [MS-POP3].

The arithmetic is that of the library's implementation in Python. A challenge is a binary structure of offsets and
lengths; it is checked here, whole, before the library sees it.

**Invariants:** nothing but NTLMv2 leaves, whatever the environment asks for. No credential cache, no Kerberos and no
system library is asked. The library is imported when the mechanism is used, and logs nothing: it would log responses.

**Failures:** `ExchangeFailed` for a challenge that is malformed, `SecretUnusable` where the environment or the
characters of the user name or password rule NTLMv2 out.
"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING

from stages.sasl.exchange import ExchangeFailed, Identity, Response, SecretUnusable, Steps

if TYPE_CHECKING:
    from spnego import ContextProxy

MAX_CHALLENGE_OCTETS = 4096
_SIGNATURE = b"NTLMSSP\0"
# [MS-NLMP] section 2.2.1.2: the fixed part of a CHALLENGE_MESSAGE, and where its two fields stand.
_CHALLENGE_TYPE = 2
_CHALLENGE_OCTETS = 48
_TARGET_NAME_AT = 12
_TARGET_INFO_AT = 40
# Section 2.2.2.1: the pairs of TargetInfo.
_END_OF_LIST = 0
_TEXTS = frozenset({1, 2, 3, 4, 5, 9})
_FLAGS, _TIMESTAMP, _SINGLE_HOST = 6, 7, 8
_SIZES = {_END_OF_LIST: 0, _FLAGS: 4, _TIMESTAMP: 8, _SINGLE_HOST: 48}
_LATEST_TIMESTAMP = 2_650_467_743_999_999_999  # the end of the year 9999, in units of 100 ns since 1601
# Section 2.2.1.3: where an AUTHENTICATE_MESSAGE has its response; that of NTLMv1 has 24 octets.
_NT_RESPONSE_AT = 20
_NTLM_V1_RESPONSE_OCTETS = 24


def ntlm(identity: Identity, _challenge: bytes) -> Steps:
    """NEGOTIATE, the server's CHALLENGE, AUTHENTICATE. The user name may be `DOMAIN\\user` or `user@domain`."""
    context = _context(identity)
    challenge = yield Response(octets=context.step() or b"")
    check(challenge)
    try:
        answer = context.step(challenge) or b""
    except UnicodeError:
        # Without its cause, whose text has a character of the user name in it.
        raise SecretUnusable("NTLM: the server cannot take the characters of the user name") from None
    except (ValueError, LookupError, ArithmeticError, struct.error) as error:
        raise ExchangeFailed("NTLM: the server's challenge is malformed") from error
    if _field(answer, _NT_RESPONSE_AT)[0] <= _NTLM_V1_RESPONSE_OCTETS:
        raise SecretUnusable("NTLM: only NTLMv2 is used: unset LM_COMPAT_LEVEL in the environment")
    yield Response(octets=answer, is_enough=True)


def check(challenge: bytes) -> None:
    """Raise `ExchangeFailed` unless this is a CHALLENGE_MESSAGE whose every field lies inside it."""
    if len(challenge) > MAX_CHALLENGE_OCTETS:
        raise ExchangeFailed(f"NTLM: a challenge of more than {MAX_CHALLENGE_OCTETS} octets")
    if len(challenge) < _CHALLENGE_OCTETS or not challenge.startswith(_SIGNATURE):
        raise ExchangeFailed("NTLM: the server's challenge is no NTLM message")
    if struct.unpack_from("<I", challenge, len(_SIGNATURE))[0] != _CHALLENGE_TYPE:
        raise ExchangeFailed("NTLM: the server's message is no challenge")
    _content(challenge, _TARGET_NAME_AT)
    _check_pairs(_content(challenge, _TARGET_INFO_AT))


def _context(identity: Identity) -> ContextProxy:
    import spnego  # noqa: PLC0415 - start-up does not wait for it
    from spnego.exceptions import SpnegoError  # noqa: PLC0415

    logging.getLogger("spnego").setLevel(logging.CRITICAL)
    try:
        # An explicit credential: with a name alone the library would look for a cache.
        return spnego.client(
            spnego.Password(username=identity.username, password=identity.secret.reveal()),
            hostname=identity.host,
            service=identity.service,
            protocol="ntlm",
            options=spnego.NegotiateOptions.use_ntlm,
        )
    except UnicodeError:
        raise SecretUnusable("NTLM: it cannot carry this password: set auth to another mechanism") from None
    except (SpnegoError, ValueError) as error:
        raise SecretUnusable("NTLM: LM_COMPAT_LEVEL in the environment is no level: unset it") from error


def _field(message: bytes, at: int) -> tuple[int, int]:
    """Length and offset of what a field of a message points to."""
    length, _, offset = struct.unpack_from("<HHI", message, at)
    return length, offset


def _content(challenge: bytes, at: int) -> bytes:
    length, offset = _field(challenge, at)
    if length and (offset < _CHALLENGE_OCTETS or offset + length > len(challenge)):
        raise ExchangeFailed("NTLM: a field of the server's challenge lies outside of it")
    return challenge[offset : offset + length]


def _check_pairs(pairs: bytes) -> None:
    at, kind = 0, _END_OF_LIST
    while at < len(pairs):
        if len(pairs) - at < 4:
            raise ExchangeFailed("NTLM: the target information is cut short")
        kind, length = struct.unpack_from("<HH", pairs, at)
        value = pairs[at + 4 : at + 4 + length]
        if len(value) != length or _SIZES.get(kind, length) != length:
            raise ExchangeFailed("NTLM: a value of the target information has a wrong length")
        _check_value(kind, value)
        at += 4 + length
    if kind != _END_OF_LIST:
        raise ExchangeFailed("NTLM: the target information has no end")


def _check_value(kind: int, value: bytes) -> None:
    if kind == _TIMESTAMP and struct.unpack("<Q", value)[0] > _LATEST_TIMESTAMP:
        raise ExchangeFailed("NTLM: the time of the server is beyond all calendars")
    if kind in _TEXTS:
        try:
            value.decode("utf-16-le")
        except UnicodeError as error:
            raise ExchangeFailed("NTLM: a name in the target information is no text") from error
