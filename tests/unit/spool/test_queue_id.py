"""Queue ids: sortable by birth, opaque, safe as names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.queue_id import ALPHABET, QueueId, new_queue_id

MILLISECONDS = st.integers(min_value=0, max_value=32**10 - 1)
RANDOM = st.integers(min_value=0, max_value=2**40 - 1)


@given(earlier=MILLISECONDS, later=MILLISECONDS, first=RANDOM, second=RANDOM)
def test_queue_ids_sort_by_birth(earlier: int, later: int, first: int, second: int) -> None:
    ids = [
        new_queue_id(lambda: earlier, lambda _: first),
        new_queue_id(lambda: later, lambda _: second),
    ]
    assert (ids[0] < ids[1]) == ((earlier, first) < (later, second))


@given(now=MILLISECONDS, bits=RANDOM)
def test_a_queue_id_is_18_harmless_characters(now: int, bits: int) -> None:
    """It becomes a file name, an argument of commands and a word in a header."""
    assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{18}", new_queue_id(lambda: now, lambda _: bits))


def test_queue_ids_of_one_millisecond_differ() -> None:
    assert len({new_queue_id(lambda: 0) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    ["", "0" * 17, "0" * 19, "../../etc/passwd00", "01J0E5V3XK7M2Q9R4S", "01j0e5v3xk7m2q9r4\n", "-1j0e5v3xk7m2q9r4s"],
)
def test_what_is_not_a_queue_id_never_becomes_one(text: str) -> None:
    with pytest.raises(ValueError, match="not a queue id"):
        QueueId(text)


@given(st.text(alphabet=ALPHABET, min_size=18, max_size=18))
def test_a_queue_id_is_its_own_text(text: str) -> None:
    assert QueueId(text) == text
