"""Foresee what fetch would do with each message of a listing.

Pure, and no rule of its own: the plan that a session would follow is made, and told message by message.

**Invariants:** every message of the listing has exactly one fate.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stages.fetch.plan import Listed, Memory, Plan, Rules, Stays, Step, Wanted, plan


class Fate(enum.StrEnum):
    """What a message is to fetch."""

    NEW = "new"
    """It is fetched."""
    HAD = "had"
    """It was fetched before; where it does not stay it is compared once more, then deleted."""
    COMPARE = "compare"
    """Its content must be seen to know whether it is new."""
    OVERSIZE = "oversize"
    """It is larger than the limit."""
    BROKEN = "broken"
    """Sessions broke in it; it stays, and is tried once a day."""
    WAITING = "waiting"
    """It is large, and the limit is not known yet."""


_STAYS = {Stays.OVERSIZE: Fate.OVERSIZE, Stays.BROKEN: Fate.BROKEN, Stays.WAITING: Fate.WAITING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """A message and its fate; `is_asked_for`: fetch would say RETR or TOP for it."""

    message: Listed
    fate: Fate
    is_asked_for: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What fetch would do with a maildrop.

    `doubt` says why UIDLs would not be trusted. `is_first`: nothing was ever had of this maildrop, nor was it listed.
    """

    messages: Sequence[Foreseen]
    doubt: str | None
    is_first: bool

    def count(self, fate: Fate) -> int:
        """How many messages have this fate."""
        return sum(foreseen.fate is fate for foreseen in self.messages)


def foresee(listing: Sequence[Listed], *, memory: Memory, rules: Rules, now: datetime) -> Outlook:
    """Say what the next session would do with each message."""
    made = plan(listing, memory=memory, rules=rules, now=now)
    return Outlook(
        messages=list(_foreseen(listing, made, memory=memory)),
        doubt=made.doubt or ("a comparison is under way" if made.round else None),
        is_first=memory.state.listed_messages is None and not memory.entries,
    )


def _foreseen(listing: Sequence[Listed], made: Plan, *, memory: Memory) -> Iterator[Foreseen]:
    asked = {wanted.message.number: wanted for wanted in (*made.peeks, *made.retrievals, *made.alone)}
    shown = Counter(message.uidl for message in listing)
    had = Counter(entry.uidl for entry in memory.entries)
    for message in listing:
        wanted = asked.get(message.number)
        if wanted is None:
            stays = made.stays.get(message.number)
            fate = Fate.HAD if stays is None else _STAYS[stays]
        elif not memory.entries:
            fate = Fate.OVERSIZE if wanted.objection else Fate.NEW
        else:
            is_known = not made.round and message.uidl.octets != b"" and had[message.uidl] >= shown[message.uidl]
            fate = _asked(wanted, is_known=is_known)
        yield Foreseen(message=message, fate=fate, is_asked_for=wanted is not None)


def _asked(wanted: Wanted, *, is_known: bool) -> Fate:
    if wanted.objection:
        return Fate.OVERSIZE
    match wanted.step:
        case Step.FETCH:
            return Fate.NEW
        case Step.PEEK:
            return Fate.HAD
        case Step.COMPARE:
            return Fate.HAD if is_known else Fate.COMPARE
