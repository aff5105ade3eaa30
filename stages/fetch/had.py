"""Say of content that came whether we have had it: k entries of the ledger match k messages of a listing.

**Invariants:** an entry stands for one message at a time (I4): once claimed, an equal message is another one, with a
copy number of its own. An entry without content is never matched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spool.envelope import Uidl
from spool.ledger import Entry


class Had:
    """The ledger's entries of one account, for one session."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._under: dict[Uidl, list[Entry]] = {}
        self._with: dict[bytes, list[Entry]] = {}
        self._claimed: set[int] = set()
        self._suspects: set[int] = set()
        self._copies: dict[tuple[Uidl, bytes], set[int]] = {}
        for entry in entries:
            self._under.setdefault(entry.uidl, []).append(entry)
            if entry.identity is not None:
                self._with.setdefault(entry.identity, []).append(entry)
                self._copies.setdefault((entry.uidl, entry.identity), set()).add(entry.copy)

    def use_up(self, entries: Iterable[Entry]) -> None:
        """Note that these entries stand for other messages than those that will be asked about."""
        self._claimed.update(entry.entry for entry in entries)

    def suspect(self, entries: Iterable[Entry]) -> None:
        """Let these be matched under any UIDL."""
        self._suspects.update(entry.entry for entry in entries)

    def is_known(self, uidl: Uidl) -> bool:
        """Whether anything was had under this UIDL."""
        return uidl in self._under

    def claim(self, uidl: Uidl, identity: bytes, *, everywhere: bool) -> Entry | None:
        """The entry that this content is: one under its own UIDL first, else a suspect, else, `everywhere`, any."""
        equal = [entry for entry in self._with.get(identity, ()) if entry.entry not in self._claimed]
        for entry in sorted(equal, key=lambda entry: entry.uidl != uidl):
            if entry.uidl == uidl or everywhere or entry.entry in self._suspects:
                self._claimed.add(entry.entry)
                return entry
        return None

    def claim_adopted(self, uidl: Uidl) -> Entry | None:
        """An entry under this UIDL whose content was never seen."""
        for entry in self._under.get(uidl, ()):
            if entry.identity is None and entry.entry not in self._claimed:
                self._claimed.add(entry.entry)
                return entry
        return None

    def next_copy(self, uidl: Uidl, identity: bytes) -> int:
        """The copy number for a new message of this content under this UIDL; it is taken from now on."""
        taken = self._copies.setdefault((uidl, identity), set())
        copy = next(number for number in range(1, len(taken) + 2) if number not in taken)
        taken.add(copy)
        return copy
