"""Queue ids: sortable by birth, opaque, safe as a file name.

**Invariants:** 18 characters of Crockford's base 32 in lower case: 10 of milliseconds since 1970, 8 of randomness.
Equal in any case folding, no dot, no slash, never an option; a string that is not one never becomes a `QueueId`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
TIME_CHARACTERS = 10
RANDOM_CHARACTERS = 8
LENGTH = TIME_CHARACTERS + RANDOM_CHARACTERS
_VALID = frozenset(ALPHABET)


class QueueId(str):
    """The name of one message for its whole life; construction checks the form."""

    __slots__ = ()

    def __new__(cls, text: str) -> QueueId:
        """Check the form; raises ValueError for anything that is not a queue id."""
        if len(text) != LENGTH or not _VALID.issuperset(text):
            raise ValueError("not a queue id")
        return super().__new__(cls, text)


def new_queue_id(
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> QueueId:
    """Make a queue id of this millisecond; two of one millisecond collide once in 2**40."""
    return QueueId(_encode(now_ms(), TIME_CHARACTERS) + _encode(random_bits(40), RANDOM_CHARACTERS))


def _encode(number: int, characters: int) -> str:
    text = ""
    for _ in range(characters):
        number, digit = divmod(number, 32)
        text = ALPHABET[digit] + text
    return text
