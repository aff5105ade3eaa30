"""LIST and UIDL together, and what is odd about them."""

from __future__ import annotations

import asyncio

import pytest

from spool.envelope import NO_UIDL, Uidl
from stages.fetch.listing import listed, oddity
from stages.fetch.plan import Listed


def test_what_either_listing_shows_is_a_message() -> None:
    assert asyncio.run(listed({2: 10, 1: 20}, {1: b"a", 3: b"c"})) == [
        Listed(number=2, octets=10, uidl=NO_UIDL),
        Listed(number=1, octets=20, uidl=Uidl(b"a")),
        Listed(number=3, octets=None, uidl=Uidl(b"c")),
    ]


def test_an_empty_uidl_is_none() -> None:
    assert asyncio.run(listed({1: 5}, {1: b""})) == [Listed(number=1, octets=5, uidl=NO_UIDL)]


@pytest.mark.parametrize(
    ("uidls", "what"),
    [
        ({1: b"a", 2: b"A"}, None),
        ({1: b"../../x", 2: b"~" * 70}, None),
        ({1: b"a", 2: b"a"}, "1 repeated"),
        ({1: b"a"}, "1 missing or empty"),
        ({1: b"a", 2: b""}, "1 missing or empty"),
        ({1: b"a", 2: b"b" * 71}, "1 longer than 70 octets"),
        ({1: b"a b", 2: b"\xff"}, "2 with octets that none may have"),
        ({1: b"a b", 2: b"a b"}, "2 with octets that none may have, 1 repeated"),
        ({}, "2 missing or empty"),
        (None, "the server has none, so that content decides what was had"),
    ],
)
def test_what_rfc_1939_does_not_allow_is_told(uidls: dict[int, bytes] | None, what: str | None) -> None:
    """RFC 1939 section 7: one to 70 octets of 0x21 to 0x7E, no two alike."""
    assert asyncio.run(oddity([1, 2], uidls)) == what


def test_an_empty_maildrop_has_nothing_odd() -> None:
    assert asyncio.run(oddity([], {})) is None
    assert asyncio.run(oddity([], None)) is None


def test_other_sessions_go_on_while_a_long_listing_is_gone_through() -> None:
    """A thread would do too, but for the heap that it keeps."""
    numbers = range(1, 30_001)

    async def turns_of_another() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.ensure_future(other())
        uidls = {number: b"%d" % number for number in numbers}
        assert await oddity(numbers, uidls) is None
        assert len(await listed(dict.fromkeys(numbers, 5), uidls)) == len(numbers)
        task.cancel()
        return turns

    assert asyncio.run(turns_of_another()) >= 4
