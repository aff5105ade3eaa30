"""SCRAM-SHA-1 and SCRAM-SHA-256: RFC 5802, RFC 7677. The password stays here, and the server proves that it knows it.

The arithmetic is the library's; without channel binding.

**Invariants:** the exchange is complete only when the server's signature was verified. No server makes us compute
more than `MAX_ITERATIONS`. The library is imported when the mechanism is used.

**Failures:** `ExchangeFailed` for what the server sent, `SecretUnusable` where SASLprep (RFC 4013) forbids the user
name or password.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING

from spool.safe_text import safe_text
from stages.sasl.exchange import ExchangeFailed, Identity, Mechanism, Response, SecretUnusable, Steps

if TYPE_CHECKING:
    from scramp import ScramException

# RFC 7677 section 4 asks for 4096 at least. A million takes about a second.
MAX_ITERATIONS = 1_000_000
_ITERATIONS = re.compile(r"(?:^|,)i=([^,]*)")
# RFC 5802 section 7, server-error-value.
_ERROR = re.compile(r"e=([^,]*)")


def scram(identity: Identity, mechanism: Mechanism, *, nonce: str) -> Steps:
    """Three rounds; `nonce` is fresh and random, of printable ASCII without comma."""
    from scramp import ScramClient, ScramException  # noqa: PLC0415 - start-up does not wait for it

    try:
        client = ScramClient([mechanism.value], identity.username, identity.secret.reveal(), c_nonce=nonce)
        first = client.get_client_first().encode()
    except ScramException as error:
        raise SecretUnusable(
            f"{mechanism}: it cannot carry this user name or password ({_text(error)}): set auth to another mechanism"
        ) from error
    server_first = yield from _answered(Response(octets=first))
    _check_iterations(server_first, mechanism)
    try:
        client.set_server_first(server_first)
        final = client.get_client_final().encode()
    except ScramException as error:
        raise ExchangeFailed(f"{mechanism}: the server's first message is wrong ({_text(error)})") from error
    server_final = yield from _answered(Response(octets=final))
    try:
        client.set_server_final(server_final)
    except ScramException as error:
        raise ExchangeFailed(f"{mechanism}: the server does not prove that it knows the password") from error
    yield Response(octets=b"", is_enough=True)


def _answered(response: Response) -> Generator[Response, bytes, str]:
    """Send a response and return the server's message; behind an error only the refusal can follow."""
    message = (yield response).decode("utf-8", errors="replace")
    if (error := _ERROR.fullmatch(message)) is not None:
        yield Response(octets=b"", refusal=safe_text(error[1].encode(), 60))
        raise ExchangeFailed("SCRAM: the server goes on after its own error")
    return message


def _check_iterations(server_first: str, mechanism: Mechanism) -> None:
    found = _ITERATIONS.search(server_first)
    if found is None or re.fullmatch("[0-9]{1,10}", found[1]) is None:
        raise ExchangeFailed(f"{mechanism}: the server's first message has no iteration count")
    if int(found[1]) > MAX_ITERATIONS:
        raise ExchangeFailed(f"{mechanism}: the server asks for {int(found[1])} iterations, more than {MAX_ITERATIONS}")


def _text(error: ScramException) -> str:
    return safe_text(str(error.args[0]).encode(errors="replace"), 100).removesuffix(".")
