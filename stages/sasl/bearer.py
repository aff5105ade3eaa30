"""XOAUTH2 and OAUTHBEARER: a login by an OAuth 2.0 access token. RFC 7628; XOAUTH2 is Google's older form of it.

**Invariants:** a refusal in JSON is answered as the mechanism wants it, so that the server's own -ERR can follow; what
it tells is bounded and made safe. No octet 0x01, which separates the fields, is part of one.
**Failures:** `SecretUnusable` for a user name or token with that octet.
"""

from __future__ import annotations

import json

from spool.safe_text import safe_text
from stages.sasl.exchange import Identity, Response, SecretUnusable, Steps
from stages.sasl.passwords import name, secret

SEPARATOR = b"\x01"
_MAX_STATUS = 60


def xoauth2(identity: Identity, _challenge: bytes) -> Steps:
    """The token in one response; the refusal in JSON is answered with an empty one."""
    fields = (b"user=" + name(identity), b"auth=Bearer " + secret(identity))
    challenge = yield Response(octets=_joined(*fields), is_enough=True)
    yield Response(octets=b"", refusal=_status(challenge))


def oauthbearer(identity: Identity, _challenge: bytes) -> Steps:
    """RFC 7628 section 3.1; the refusal in JSON is answered with 0x01 (section 3.2.3)."""
    # RFC 5801 section 4: the two characters that have a meaning in the header are written by their numbers.
    authzid = name(identity).replace(b"=", b"=3D").replace(b",", b"=2C")
    fields = (
        b"n,a=" + authzid + b",",
        b"host=" + identity.host.encode(errors="surrogateescape"),
        b"port=%d" % identity.port,
        b"auth=Bearer " + secret(identity),
    )
    challenge = yield Response(octets=_joined(*fields), is_enough=True)
    yield Response(octets=SEPARATOR, refusal=_status(challenge))


def _joined(*fields: bytes) -> bytes:
    if any(SEPARATOR in field for field in fields):
        raise SecretUnusable("a user name or token with the octet 0x01 in it cannot be sent")
    return b"".join(field + SEPARATOR for field in fields) + SEPARATOR


def _status(challenge: bytes) -> str:
    """RFC 7628 section 3.2.2: `status` is a word of RFC 6750 or, from XOAUTH2 servers, a code of HTTP."""
    try:
        told = json.loads(challenge)
    except (ValueError, RecursionError):
        return "an error that is no JSON"
    status = told.get("status") if isinstance(told, dict) else None
    if not isinstance(status, str | int) or status == "":
        return "an error without a status"
    return f"status {safe_text(str(status).encode(errors='replace'), _MAX_STATUS)}"
