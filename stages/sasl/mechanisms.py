"""Make an exchange by the name of its mechanism."""

from __future__ import annotations

import secrets
from functools import partial
from typing import assert_never

from stages.sasl import bearer, passwords
from stages.sasl.exchange import Exchange, Identity, Mechanism
from stages.sasl.ntlm import ntlm
from stages.sasl.scram import scram

PLAIN_TEXT = frozenset({Mechanism.PLAIN, Mechanism.LOGIN})
BEARER = frozenset({Mechanism.XOAUTH2, Mechanism.OAUTHBEARER})
_NONCE_OCTETS = 24


def exchange(mechanism: Mechanism, identity: Identity) -> Exchange:
    """A fresh exchange, at its beginning."""
    match mechanism:
        case Mechanism.PLAIN:
            return Exchange(mechanism, partial(passwords.plain, identity), is_client_first=True)
        case Mechanism.LOGIN:
            return Exchange(mechanism, partial(passwords.login, identity), is_client_first=False)
        case Mechanism.CRAM_MD5:
            return Exchange(mechanism, partial(passwords.cram_md5, identity), is_client_first=False)
        case Mechanism.SCRAM_SHA_1 | Mechanism.SCRAM_SHA_256:
            nonce = secrets.token_urlsafe(_NONCE_OCTETS)
            return Exchange(mechanism, lambda _challenge: scram(identity, mechanism, nonce=nonce), is_client_first=True)
        case Mechanism.NTLM:
            return Exchange(mechanism, partial(ntlm, identity), is_client_first=True)
        case Mechanism.XOAUTH2:
            return Exchange(mechanism, partial(bearer.xoauth2, identity), is_client_first=True)
        case Mechanism.OAUTHBEARER:
            return Exchange(mechanism, partial(bearer.oauthbearer, identity), is_client_first=True)
        case _:
            assert_never(mechanism)
