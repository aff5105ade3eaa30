"""Put together what LIST and UIDL tell of a maildrop, and say what is odd about it.

**Invariants:** a message that either of them shows is in the listing: the one that is shown by UIDL alone has no size,
the one that is shown by LIST alone has no UIDL. Nothing odd keeps a message from being asked for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from spool.envelope import NO_UIDL, Uidl
from stages.fetch.plan import Listed

# RFC 1939 section 7: one to 70 characters in the range 0x21 to 0x7E.
_GOOD = re.compile(rb"[\x21-\x7e]{1,70}")
_MAX_UIDL_OCTETS = 70


def listed(sizes: Mapping[int, int | None], uidls: dict[int, bytes]) -> Sequence[Listed]:
    """The messages of the maildrop, in the order of LIST. Of `uidls` nothing is left: both may have 100,000 lines."""
    found = [_listed(number, octets, uidl=uidls.pop(number, b"")) for number, octets in sizes.items()]
    found += [_listed(number, None, uidl=uidls.pop(number)) for number in list(uidls)]
    return found


def oddity(numbers: Collection[int], uidls: Mapping[int, bytes] | None) -> str | None:
    """Say in what way UIDLs are not as RFC 1939 section 7 wants them; `uidls` is None where the server has none."""
    if uidls is None:
        return "the server has none, so that content decides what was had" if numbers else None
    empty = sum(not uidls.get(number) for number in numbers)
    named = [uidl for uidl in uidls.values() if uidl]
    long = sum(len(uidl) > _MAX_UIDL_OCTETS for uidl in named)
    strange = sum(len(uidl) <= _MAX_UIDL_OCTETS and not _GOOD.fullmatch(uidl) for uidl in named)
    repeated = len(named) - len(set(named))
    found = {
        "missing or empty": empty,
        f"longer than {_MAX_UIDL_OCTETS} octets": long,
        "with octets that none may have": strange,
        "repeated": repeated,
    }
    return ", ".join(f"{count} {what}" for what, count in found.items() if count) or None


def _listed(number: int, octets: int | None, *, uidl: bytes) -> Listed:
    return Listed(number=number, octets=octets, uidl=Uidl(uidl) if uidl else NO_UIDL)
