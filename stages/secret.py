"""A password or token that cannot print itself, and the guard against peers that repeat it.

**Invariants:** `str`, `repr` and formatting show `***`; the value comes out through `reveal` alone, so that every
place that uses it can be found by that word. What `unless_told` lets through has the secret neither in clear nor in
one of the forms in which it was sent.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterator
from urllib.parse import quote_plus

HIDDEN = b"(not shown: it repeats a secret)"
_SHORTEST_BASE64 = 4


class Secret:
    """Text that must never reach a log, an event, a traceback or a page."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the one octet string that is sent to the peer."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._value.encode(errors="surrogatepass"), other._value.encode(errors="surrogatepass")
        )

    def __hash__(self) -> int:
        return hash(self._value)


def unless_told(said: bytes, *secrets: Secret | None) -> bytes:
    """Return what a peer said, or that it is not shown, where it repeats one of the secrets that were sent to it."""
    return HIDDEN if any(_is_in(secret, said) for secret in secrets if secret is not None) else said


def _is_in(secret: Secret, said: bytes) -> bool:
    value = secret.reveal().encode(errors="surrogateescape")
    if not value:
        return False
    # Servers that repeat a command like to do it in capitals.
    in_clear = (value, quote_plus(value).encode("ascii"))
    if any(re.search(re.escape(form), said, re.IGNORECASE) for form in in_clear):
        return True
    plain = said.replace(b"-", b"+").replace(b"_", b"/")
    return any(form in plain for form in _base64_forms(value))


def _base64_forms(value: bytes) -> Iterator[bytes]:
    """What of base64 the value alone decides, whatever stands before it and after it (RFC 4648 section 4)."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value)
        first, last = -(-before * 8 // 6), (before + len(value)) * 8 // 6
        if last - first >= _SHORTEST_BASE64:
            yield encoded[first:last]
