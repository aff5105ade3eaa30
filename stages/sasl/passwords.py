"""The mechanisms of a password that need no library: PLAIN, LOGIN and CRAM-MD5.

**Invariants:** CRAM-MD5 alone keeps the password here; the other two belong under TLS.
**Failures:** `ExchangeFailed` for a CRAM-MD5 challenge that is empty.
"""

from __future__ import annotations

import hmac

from stages.sasl.exchange import ExchangeFailed, Identity, Response, Steps


def plain(identity: Identity, _challenge: bytes) -> Steps:
    """RFC 4616: no authorization identity, the user name and the password, separated by NUL."""
    yield Response(octets=b"\0" + name(identity) + b"\0" + secret(identity), is_enough=True)


def login(identity: Identity, _challenge: bytes) -> Steps:
    """LOGIN, in no RFC: two challenges, `Username:` and `Password:`, whose words differ from server to server."""
    yield Response(octets=name(identity))
    yield Response(octets=secret(identity), is_enough=True)


def cram_md5(identity: Identity, challenge: bytes) -> Steps:
    """RFC 2195: the user name and the HMAC-MD5 of the challenge, keyed with the password."""
    if not challenge:
        raise ExchangeFailed("CRAM-MD5: the server's challenge is empty")
    digest = hmac.new(secret(identity), challenge, "md5").hexdigest()
    yield Response(octets=name(identity) + b" " + digest.encode("ascii"), is_enough=True)


def name(identity: Identity) -> bytes:
    """The user name as octets."""
    return identity.username.encode(errors="surrogateescape")


def secret(identity: Identity) -> bytes:
    """The password or token as octets, which need not be UTF-8."""
    return identity.secret.reveal().encode(errors="surrogateescape")
