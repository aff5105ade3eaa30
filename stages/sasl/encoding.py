"""Responses as a line carries them: in base64, by POP3 (RFC 5034 section 4) and by SMTP (RFC 4954 section 4).

**Failures:** those of the mechanism, and `ProtocolViolation` for a challenge that is not base64. Nothing of it is
quoted: it may be an echo of what we said.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from stages.errors import ProtocolViolation
from stages.sasl.exchange import Exchange


def initial_response(exchange: Exchange) -> bytes:
    """The first response of a mechanism in which the client speaks first, encoded."""
    return b64encode(exchange.respond(b""))


def response(exchange: Exchange, challenge: bytes) -> bytes:
    """The response to a challenge, both encoded. It may compute for a second (see `Exchange.respond`)."""
    # RFC 4422 section 3: before the client's first word it is empty. Some servers write a word there.
    is_first = exchange.is_client_first and not exchange.has_begun
    return b64encode(exchange.respond(b"" if is_first else _decoded(challenge)))


def _decoded(challenge: bytes) -> bytes:
    try:
        return b64decode(challenge, validate=True)
    except ValueError as error:
        raise ProtocolViolation("a challenge that is not base64") from error
