"""Messages that are equal to another one: true twins, or one message that the server gave twice under two numbers.

Equal messages are rare, so that each may cost a TOP and a second RETR. A twin is not taken when it comes. Once nothing
else is asked for, TOP says of it whether it is what came. If it is, the same is asked about the message of this
session that it equals: where TOP shows another one there, that number had the wrong content, and what is in custody
for it is this message.

**Invariants:** of a content that came under several numbers, a number is deleted only if TOP shows that content there,
or cannot say.
**Failures:** those of `Pop3Client`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from spool.ledger import Entry
from stages.fetch.plan import Wanted
from stages.fetch.proof import Head, head_of, is_same
from stages.pop3.client import Pop3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """A message that came, was not taken, and what its content was."""

    wanted: Wanted
    identity: bytes
    head: Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What TOP says of a twin: whether it `is_true`, and which message of this session had its content wrongly."""

    is_true: bool
    usurper: Wanted | None = None


class Contents:
    """Contents that were had: eight octets of each, so that 100,000 cost less than a megabyte.

    Two that are alike in these look like twins, which costs a TOP.
    """

    def __init__(self) -> None:
        self._known = array("Q")
        self._is_sorted = True

    def note(self, entries: Iterable[Entry]) -> None:
        """Note what the ledger has."""
        self._known.extend(_beginning(entry.identity) for entry in entries if entry.identity is not None)
        self._is_sorted = False

    def __contains__(self, identity: bytes) -> bool:
        if not self._is_sorted:
            self._known = array("Q", sorted(self._known))
            self._is_sorted = True
        at = bisect_left(self._known, _beginning(identity))
        return at < len(self._known) and self._known[at] == _beginning(identity)


class Twins:
    """The contents of one session, beside all those that were had before."""

    def __init__(self, had: Contents) -> None:
        self.waiting: deque[Twin] = deque()
        self._had = had
        self._taken: dict[bytes, list[Wanted]] = {}
        self._true: dict[int, bytes] = {}

    def is_twin(self, wanted: Wanted, identity: bytes) -> bool:
        """Whether this content was seen before, and TOP did not say yet that it belongs to this message too."""
        is_seen = identity in self._had or identity in self._taken
        return is_seen and self._true.get(wanted.message.number) != identity

    def take(self, wanted: Wanted, identity: bytes) -> None:
        """Note that a message was taken with this content."""
        self._taken.setdefault(identity, []).append(wanted)

    async def ask(self, client: Pop3Client, twin: Twin) -> Finding:
        """Let TOP decide about a twin; a server without it is believed."""
        if not await _shows(client, twin.wanted, head=twin.head):
            return Finding(is_true=False)
        for earlier in self._taken.get(twin.identity, []):
            if self._true.get(earlier.message.number) == twin.identity:
                continue  # each is asked about once
            if not await _shows(client, earlier, head=twin.head):
                self._taken[twin.identity].remove(earlier)
                self._taken[twin.identity].append(twin.wanted)
                return Finding(is_true=True, usurper=earlier)
            self._true[earlier.message.number] = twin.identity
        self._true[twin.wanted.message.number] = twin.identity
        return Finding(is_true=True)


def _beginning(identity: bytes) -> int:
    return int.from_bytes(identity[:8], "big")


async def _shows(client: Pop3Client, wanted: Wanted, *, head: Head) -> bool:
    shown = await client.top(wanted.message.number)
    return shown is None or is_same(head_of(shown), head)
