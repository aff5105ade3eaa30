"""Put together what LIST and UIDL tell of a maildrop, and say what is odd about it.

**Invariants:** a message that either of them shows is in the listing: the one that is shown by UIDL alone has no size,
the one that is shown by LIST alone has no UIDL. Nothing odd keeps a message from being asked for. Other
sessions go on while a long listing is gone through.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence

from spool.envelope import NO_UIDL, Uidl
from stages.fetch.plan import Listed

# RFC 1939 section 7: one to 70 characters in the range 0x21 to 0x7E.
_GOOD = re.compile(rb"[\x21-\x7e]{1,70}")
_MAX_UIDL_OCTETS = 70
# Some 10 ms. Not in a thread: each has a heap of its own, and keeps what a long listing needed there.
_LINES_AT_ONCE = 10_000


async def listed(sizes: Mapping[int, int | None], uidls: dict[int, bytes]) -> Sequence[Listed]:
    """The messages of the maildrop, in the order of LIST; of `uidls` nothing is left, for it may be long."""
    listing: list[Listed] = []
    for number in [*sizes, *(number for number in uidls if number not in sizes)]:
        uidl = uidls.pop(number, b"")
        listing.append(Listed(number=number, octets=sizes.get(number), uidl=Uidl(uidl) if uidl else NO_UIDL))
        if len(listing) % _LINES_AT_ONCE == 0:
            await asyncio.sleep(0)
    return listing


async def oddity(numbers: Collection[int], uidls: Mapping[int, bytes] | None) -> str | None:
    """Say in what way UIDLs are not as RFC 1939 section 7 wants them; `uidls` is None where the server has none."""
    if uidls is None:
        return "the server has none, so that content decides what was had" if numbers else None
    empty = sum(not uidls.get(number) for number in numbers)
    named = [uidl for uidl in uidls.values() if uidl]
    repeated = len(named) - len(set(named))
    long = strange = 0
    for place, uidl in enumerate(named):
        if len(uidl) > _MAX_UIDL_OCTETS:
            long += 1
        elif not _GOOD.fullmatch(uidl):
            strange += 1
        if place % _LINES_AT_ONCE == 0:
            await asyncio.sleep(0)
    found = {
        "missing or empty": empty,
        f"longer than {_MAX_UIDL_OCTETS} octets": long,
        "with octets that none may have": strange,
        "repeated": repeated,
    }
    return ", ".join(f"{count} {what}" for what, count in found.items() if count) or None
