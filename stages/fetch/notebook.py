"""What a session reads of its account before it decides, and writes down afterwards; in the spool thread.

**Invariants:** a doubt is on disk before any entry changes under it, and goes only after all have changed, so that a
session that breaks leaves the next one doubting too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from spool.accounts import AccountState, Left, Why
from spool.envelope import Uidl
from spool.events import Event
from spool.ledger import Entry
from spool.queue_id import QueueId
from stages.fetch.changes import known_of
from stages.fetch.desk import Desk
from stages.fetch.events import LeftBroken, LeftOversize, MessageBroke, MessageDoubted, UidlsDoubted
from stages.fetch.plan import BREAKS_AT_MOST, Listed, Memory, Plan
from stages.fetch.retrieving import Tally

# Some 20 ms of the spool thread.
_ADOPTED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """Messages without UIDL that DELE was sent for: entries that they were, queue ids that they were admitted under."""

    entries: tuple[Entry, ...] = ()
    queue_ids: tuple[QueueId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a session ended: `is_settled` where nothing of its listing is left to ask for.

    `has_looked`: every message that was wanted came, or was refused.
    """

    is_settled: bool
    has_looked: bool
    listed_messages: int
    expected_messages: int | None
    remote_messages: int | None
    deletions: Deletions
    broke: Listed | None
    error: str


class Notebook:
    """The notes of one session about one account, whose maildrop is named by `maildrop`."""

    def __init__(self, desk: Desk, account: str, *, maildrop: str) -> None:
        self._desk = desk
        self._account = account
        self._maildrop = maildrop
        self.memory = Memory(state=AccountState(name=account))

    async def remember(self) -> Memory:
        """Read what is known of the account, but for its ledger."""

        def read() -> Memory:
            name, desk = self._account, self._desk
            state = known_of(desk.accounts.state(name), self._maildrop)
            return Memory(state=state, left=desk.accounts.left(name))

        self.memory = await self._desk.runtime.call(read)
        return self.memory

    async def adopt(self, listing: Sequence[Listed]) -> int:
        """Enter as had what the listing shows and nobody had; answers how many messages that were.

        In pieces, between which other sessions have their turn. Where it is cut off, the next one enters the rest.
        """
        desk, name = self._desk, self._account
        had: Counter[Uidl] = Counter()

        def count(entries: Sequence[Entry]) -> None:
            had[entries[0].uidl] += len(entries)

        await desk.recall(name, count)
        unknown = list((Counter(message.uidl for message in listing if message.uidl) - had).elements())
        for start in range(0, len(unknown), _ADOPTED_AT_ONCE):
            await desk.runtime.call(partial(desk.ledger.adopt, name, unknown[start : start + _ADOPTED_AT_ONCE]))
        return len(unknown)

    async def note_plan(self, plan: Plan) -> None:
        """Write down what the listing tells by itself."""
        desk, name, state = self._desk, self._account, self.memory.state
        if plan.doubt:
            state = replace(state, doubt_round=plan.round, rounds=plan.round, maildrop=self._maildrop)
            self.memory = replace(self.memory, state=state)
        events = [UidlsDoubted(account=name, reason=plan.doubt)] if plan.doubt else []
        reports = [self._oversize(left) for left in plan.reported]

        def write() -> None:
            if plan.doubt:
                desk.accounts.save(state, events)
            # Suspects must be suspects again, should this session not get so far as to clear them.
            desk.ledger.note_listing(vanished=() if plan.suspects else plan.vanished, returned=plan.returned)
            if plan.left:
                desk.accounts.leave(name, plan.left, events=reports)
            if plan.fitting:
                desk.accounts.forget_left(name, plan.fitting)

        await desk.runtime.call(write)

    async def note_end(self, plan: Plan, tally: Tally, *, ending: Ending, events: Sequence[Event]) -> None:
        """Write down what came of the session."""
        desk, name = self._desk, self._account
        is_compared = ending.is_settled and not plan.put_off
        state = replace(
            self.memory.state,
            doubt_round=0 if is_compared else plan.round,
            listed_messages=ending.listed_messages,
            expected_messages=ending.expected_messages,
            remote_messages=ending.remote_messages,
            sizes_exact=_sizes_exact(before=self.memory.state.sizes_exact, seen=tally.sizes_exact),
            # A listing that shows nothing tells nothing of UIDLs: it leaves the doubt to the next one.
            maildrop=self._maildrop if ending.listed_messages else self.memory.state.maildrop,
        )
        broken, breaks = self._broken(ending, tally)

        def write() -> None:
            # By what a listing showed deletions are counted: it stands before any is noted. The doubt goes last.
            desk.accounts.save(replace(state, doubt_round=plan.round), [*tally.events, *events])
            if plan.suspects and not tally.unsure and ending.has_looked:
                desk.ledger.note_listing(vanished=plan.vanished, returned=())
            desk.ledger.note_deletion(entries=ending.deletions.entries, queue_ids=ending.deletions.queue_ids)
            if (is_compared and plan.round) or 0 < ending.listed_messages == len(tally.matched) + len(tally.receipts):
                # What no message of the maildrop turned out to be is not in it any more.
                found = {entry.entry for entry in tally.matched.values()}
                gone = [entry for entry in plan.unnamed if entry.entry not in found]
                desk.ledger.note_listing(vanished=gone, returned=())
            if tally.compared:
                desk.ledger.compared(name, tally.compared, round_number=plan.round)
            for entry, digest in tally.identified:
                desk.ledger.identify(entry, identity=digest.identity, header=digest.header, octets=digest.octets)
            if broken:
                desk.accounts.leave(name, broken, events=breaks)
            if tally.mended:
                desk.accounts.forget_left(name, tally.mended)
            if state.doubt_round != plan.round:
                desk.accounts.save(state)

        await desk.runtime.call(write)

    def _broken(self, ending: Ending, tally: Tally) -> tuple[list[Left], list[Event]]:
        """Messages that broke the session, or were not believed: they come last, and after so many times they stay."""
        broken: list[Left] = []
        events: list[Event] = []
        for message, doubt in [*tally.doubted, *([(ending.broke, None)] if ending.broke else [])]:
            before = next((left for left in self.memory.left if (left.uidl, left.octets) == message.key), None)
            breaks = (before.breaks if before else 0) + 1
            now = self._desk.runtime.spool.now()
            broken.append(Left(uidl=message.uidl, octets=message.key[1], why=Why.BROKEN, breaks=breaks, tried_at=now))
            account, number, uidl = self._account, message.number, message.uidl.encoded
            if doubt is None:
                error = ending.error
                events.append(MessageBroke(account=account, number=number, uidl=uidl, breaks=breaks, error=error))
            else:
                events.append(MessageDoubted(account=account, number=number, uidl=uidl, breaks=breaks, doubt=doubt))
            if breaks == BREAKS_AT_MOST:
                events.append(LeftBroken(account=account, uidl=uidl, breaks=breaks))
        return broken, events

    def _oversize(self, left: Left) -> Event:
        return LeftOversize(
            account=self._account,
            uidl=left.uidl.encoded,
            octets=left.octets,
            limit_octets=left.limit_octets or 0,
            limit_source=left.limit_source or "",
        )


def _sizes_exact(*, before: bool | None, seen: bool | None) -> bool | None:
    """One wrong size is remembered for good: the next one would cost a session."""
    return before if seen is None or before is False else seen
