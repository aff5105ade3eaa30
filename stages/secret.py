"""A password or token that cannot print itself.

**Invariants:** `str`, `repr` and formatting show `***`; the value comes out through `reveal` alone, so that every
place that uses it can be found by that word.
"""

import hmac


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
