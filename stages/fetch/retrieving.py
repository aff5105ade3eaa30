"""The RETRs of one session: ask ahead, take what is confirmed, decide by content what must be decided by it.

**Invariants:** only a confirmed message is taken or counted as had. Nothing is asked for any more once the session's
messages, octets or time are used up, the disk is nearly full, or the stage is to stop; what was asked for still comes.
**Failures:** those of `stages.pop3.retrieval`; `tally.in_hand` names the message then. `SpoolFailed`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import assert_never

from spool.accounts import Left
from spool.envelope import NO_UIDL, Arrival, Digest, Origin, Receipt, Uidl
from spool.events import Event
from spool.ledger import Entry
from spool.queue_id import new_queue_id
from spool.safe_text import safe_text
from spool.segments import LARGE_OCTETS
from stages.fetch.desk import Desk, Order
from stages.fetch.events import SizesInexact, UidlReused
from stages.fetch.had import Had
from stages.fetch.incoming import Incoming
from stages.fetch.limits import DiskNearlyFull
from stages.fetch.plan import Listed, Memory, Plan, Wanted, used
from stages.fetch.proof import Head, head_of, objection
from stages.fetch.twins import Contents, Twin, Twins
from stages.mail.received import peer_text
from stages.pop3.client import Pop3Client
from stages.pop3.protocol import MessageOctets
from stages.pop3.retrieval import (
    ONE_BY_ONE,
    Confirmation,
    MessageBegin,
    MessageDone,
    MessageEmpty,
    MessageRefused,
    OutOfStep,
    Retrieval,
    RetrievalEvent,
    Sentinel,
    Window,
)

SESSION_OCTETS = 256 * 1024 * 1024
SENTINELS = 1024
# As many refused messages are named in an event.
NAMED_AT_MOST = 20
LOOK_AHEAD = 64


@dataclass(slots=True)
class Tally:
    """What a session has come to so far.

    `receipts` are those asked for, by number; `known` are numbers of messages that were compared and may be deleted.
    `unasked` counts what had no answer, `refused` what was not given, the first few of it beside what the server said;
    `unsure` names what may be new or may be what vanished; `doubted` came, was not believed to be what was asked for,
    and stays. `sizes_exact` is False once a size in LIST was wrong.
    """

    receipts: dict[int, asyncio.Future[Receipt]] = field(default_factory=dict)
    octets: int = 0
    known: list[int] = field(default_factory=list)
    matched: dict[int, Entry] = field(default_factory=dict)
    found: int = 0
    compared: list[tuple[Entry, Uidl]] = field(default_factory=list)
    identified: list[tuple[Entry, Digest]] = field(default_factory=list)
    mended: list[Left] = field(default_factory=list)
    unasked: int = 0
    refused: int = 0
    first_refused: list[tuple[Listed, str]] = field(default_factory=list)
    doubted: list[tuple[Listed, str]] = field(default_factory=list)
    in_hand: Listed | None = None
    sizes_exact: bool | None = None
    unsure: set[Uidl] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)

    async def committed(self) -> dict[int, Receipt]:
        """The receipts, by number, once all are there; a session that is cut meanwhile leaves them to who asks next."""
        return {number: await asyncio.shield(receipt) for number, receipt in self.receipts.items()}


class Retrieving:
    """The part of a session between its plan and its first DELE."""

    def __init__(
        self,
        client: Pop3Client,
        plan: Plan,
        *,
        listing: Sequence[Listed],
        memory: Memory,
        contents: Contents,
        order: Order,
        desk: Desk,
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._plan = plan
        self._listing = listing
        self._order = order
        self._desk = desk
        self._exact_so_far = memory.state.sizes_exact
        self._broken = {(left.uidl, left.octets): left for left in memory.left}
        self._had = Had(())
        self._everywhere = plan.round > 0
        self._questions = self._sentinels()
        self._twins = Twins(contents)
        self._can_top = client.capabilities.top or not client.capabilities.was_told
        self._is_windowed = False
        self._has_put_back = False
        self._heads: dict[int, Head | None] = {}
        self._sizes = Counter(message.octets for message in listing)
        self._todo: deque[Wanted] = deque()
        self._asked: deque[Wanted] = deque()
        self._asked_count = 0
        self._asked_octets = 0
        self._incoming: Incoming | None = None

    async def run(self, wanted: Sequence[Wanted], *, is_windowed: bool) -> None:
        """Ask for these messages, in this order."""
        self._todo.extend(wanted)
        self._order.count.expect(len(wanted), octets=sum(one.message.octets or 0 for one in wanted))
        self._is_windowed = is_windowed
        self._had = await self._candidates(wanted)
        try:
            await self._retrieve()
            while self._twins.waiting:
                await self._settle_twins()
                await self._retrieve()
        finally:
            self.tally.unasked += len(self._todo) + len(self._asked) + len(self._twins.waiting)
            self._desk.expected.octets -= sum(wanted.message.octets or 0 for wanted in self._asked)
            if self._incoming is not None:
                await self._incoming.discard()

    async def _retrieve(self) -> None:
        while self._todo and self._may_ask():
            await self._look_ahead()
            async with aclosing(self._client.retrieve(self._supply(), window=self._window())) as events:
                async for event in events:
                    await self._on(event)
                    self.tally.in_hand = self._asked[0].message if self._asked else None

    def _window(self) -> Window:
        """A window, once a first message has shown what this server's sizes are worth."""
        if not self._is_windowed or self._are_sizes_exact is None:
            return ONE_BY_ONE
        return Window(sentinels=not self._are_sizes_exact)

    @property
    def _are_sizes_exact(self) -> bool | None:
        seen = self.tally.sizes_exact
        return self._exact_so_far if seen is None or self._exact_so_far is False else seen

    async def _look_ahead(self) -> None:
        """Ask for the headers of the next messages, where sizes tell nothing and a window leaves no time for it."""
        self._heads.clear()
        if not self._is_windowed or self._are_sizes_exact is not False:
            return
        numbers = [wanted.message.number for wanted in itertools.islice(self._todo, LOOK_AHEAD)]
        self._heads = dict.fromkeys(numbers)
        if self._can_top:
            async with aclosing(self._client.tops(numbers, window=Window())) as headers:
                async for number, header in headers:
                    self._heads[number] = None if header is None else head_of(header)

    async def _candidates(self, wanted: Sequence[Wanted]) -> Had:
        """What these messages may be; of 100,000 kept ones, most are none of it."""
        if not self._everywhere and all(one.message.uidl for one in wanted):
            uidls = {one.message.uidl for one in wanted if one.message.uidl in self._plan.known}
            had = Had([*itertools.chain.from_iterable(self._plan.known[uidl] for uidl in uidls), *self._plan.suspects])
            had.suspect(self._plan.suspects)
            return had
        entries: list[Entry] = []
        await self._desk.recall(self._order.account.name, entries.extend)
        # Peeks that decided nothing are among the wanted, and not among those that were to be retrieved.
        asked = {one.message.uidl for one in (*wanted, *self._plan.retrievals, *self._plan.alone)}
        had = Had(sorted(entries, key=lambda entry: entry.entry))
        had.use_up(used(entries, made=self._plan, listing=self._listing, asked=asked))
        had.suspect(self._plan.suspects)
        return had

    def _may_ask(self) -> bool:
        return (
            len(self.tally.receipts) + len(self._asked) < self._order.message_limit
            and (self._order.ask_limit is None or self._asked_count < self._order.ask_limit)
            and self._asked_octets < SESSION_OCTETS
            and asyncio.get_running_loop().time() < self._order.ask_until
            and self._has_room()
            and not self._desk.runtime.stopping.is_set()
            and not self._order.is_to_end()
        )

    def _has_room(self) -> bool:
        """Whether the next message fits beside what all sessions have asked for; one in each session need not."""
        if self._asked_count == 0:
            return self._desk.has_room()
        return self._desk.has_room_for(self._todo[0].message.octets or 0)

    def _supply(self) -> Iterator[Retrieval]:
        is_first = self._are_sizes_exact is None
        while self._todo and self._may_ask() and (not self._heads or self._todo[0].message.number in self._heads):
            wanted = self._todo.popleft()
            self._asked.append(wanted)
            self._desk.expected.octets += wanted.message.octets or 0
            self._asked_count += 1
            self._asked_octets += wanted.message.octets or 0
            self.tally.in_hand = self._asked[0].message
            yield Retrieval(
                number=wanted.message.number,
                octets=wanted.message.octets,
                sentinel=next(self._questions, None),
                is_ambiguous=self._sizes[wanted.message.octets] > 1,
            )
            if is_first:
                return

    def _sentinels(self) -> Iterator[Sentinel]:
        """Questions about messages of the listing, drawn at random; no two that are asked near each other are equal.

        Were they, an answer that has slipped by one command would look right.
        """
        drawn = self._desk.random.sample(self._listing, k=min(len(self._listing), SENTINELS))
        # A message without a unique-id beside others that have one may be none at all.
        named = [listed for listed in drawn if listed.uidl.octets]
        known = [sentinel for listed in named or drawn if (sentinel := _sentinel(listed)) is not None]
        return itertools.cycle(known)

    def _answered(self) -> Wanted:
        """The message that was asked for first: it is expected no longer."""
        wanted = self._asked.popleft()
        self._desk.expected.octets -= wanted.message.octets or 0
        return wanted

    async def _on(self, event: RetrievalEvent) -> None:
        match event:
            case MessageBegin():
                wanted = self._asked[0]
                origin = self._origin(wanted.message)
                self._incoming = Incoming(origin, self._desk.custody, objection=wanted.objection)
            case MessageOctets(data=data):
                self._order.count.octets += len(data)
                incoming = self._now_incoming()
                await incoming.feed(data)
                self._check_growth(self._asked[0].message, incoming)
            case MessageDone():
                self._order.count.messages += 1
                await self._done(self._answered(), event, incoming=self._now_incoming())
                self._incoming = None
            case MessageEmpty():
                self._order.count.messages += 1
                self._incoming = None
                self._refused(self._answered().message, "not one octet came")
            case MessageRefused(reply=reply):
                self._order.count.messages += 1
                self._refused(self._answered().message, safe_text(reply.text))
            case _:
                assert_never(event)

    def _now_incoming(self) -> Incoming:
        if self._incoming is None:
            raise AssertionError("octets of no message")
        return self._incoming

    def _origin(self, message: Listed) -> Origin:
        return Origin(
            queue_id=new_queue_id(),
            account=self._order.account.name,
            uidl=message.uidl,
            peer=peer_text(self._order.account.host, self._client.peer_address),
            fetched_at=self._desk.runtime.spool.now(),
        )

    async def _done(self, wanted: Wanted, done: MessageDone, *, incoming: Incoming) -> None:
        """Decide about a confirmed message: had, or taken; or another one than was asked for."""
        digest = await incoming.digest()
        message = wanted.message
        if done.confirmed_by is Confirmation.SENTINEL and self._may_come_later(message, incoming):
            await incoming.discard()
            self._todo.append(wanted)
            return
        if done.confirmed_by is Confirmation.SENTINEL and (doubt := await self._doubt(message, incoming)):
            await incoming.discard()
            self.tally.doubted.append((message, doubt))
            return
        self._learn_sizes(done, message)
        everywhere = self._everywhere or message.uidl == NO_UIDL
        entry = self._had.claim(message.uidl, digest.identity, everywhere=everywhere)
        if entry is not None:
            await incoming.discard()
            if everywhere or entry.uidl == message.uidl:
                self._found(message, entry)
            else:
                # What vanished, under another UIDL, or its like: the next session shows whether UIDLs change.
                self.tally.unsure.add(message.uidl)
        elif (adopted := self._had.claim_adopted(message.uidl)) is not None:
            await incoming.discard()
            self.tally.identified.append((adopted, digest))
        elif self._twins.is_twin(wanted, digest.identity):
            await incoming.discard()
            self._twins.waiting.append(Twin(wanted=wanted, identity=digest.identity, head=head_of(incoming.head)))
            return
        else:
            await self._take(wanted, digest, incoming=incoming)
        self._mended(message)

    def _found(self, message: Listed, entry: Entry) -> None:
        self.tally.found += 1
        self.tally.matched[message.number] = entry
        if self._everywhere or entry.uidl != message.uidl or not entry.is_shown:
            self.tally.compared.append((entry, message.uidl))
        if not self._order.rules.keeps(entry, now=self._desk.runtime.spool.now()):
            self.tally.known.append(message.number)

    async def _take(self, wanted: Wanted, digest: Digest, *, incoming: Incoming) -> None:
        message = wanted.message
        if not self._everywhere and self._had.is_known(message.uidl) and message.uidl != NO_UIDL:
            self.tally.events.append(UidlReused(account=self._order.account.name, uidl=message.uidl.encoded))
        copy = self._had.next_copy(message.uidl, digest.identity)
        arrival = Arrival(
            origin=Origin(
                queue_id=incoming.origin.queue_id,
                account=incoming.origin.account,
                uidl=message.uidl,
                peer=incoming.origin.peer,
                fetched_at=incoming.origin.fetched_at,
                copy=copy,
            ),
            digest=digest,
            content=await incoming.keep(),
            objection=wanted.objection,
            round=self._plan.round,
        )
        self.tally.octets += digest.octets
        self.tally.receipts[message.number] = await self._desk.custody.take(arrival)
        self._twins.take(wanted, digest.identity)

    def _mended(self, message: Listed) -> None:
        left = self._broken.get(message.key)
        if left is not None:
            self.tally.mended.append(left)

    def _refused(self, message: Listed, reply: str) -> None:
        self.tally.refused += 1
        if len(self.tally.first_refused) < NAMED_AT_MOST:
            self.tally.first_refused.append((message, reply))

    def _may_come_later(self, message: Listed, incoming: Incoming) -> bool:
        """Whether others should show first what sizes are worth: this one came short, and nobody knows yet."""
        is_short = message.octets is not None and incoming.octets < message.octets
        waits = is_short and self._are_sizes_exact is None and bool(self._todo) and not self._has_put_back
        self._has_put_back = self._has_put_back or waits
        return waits

    async def _doubt(self, message: Listed, incoming: Incoming) -> str | None:
        """Say why a message whose size is not what LIST told is not believed; None where it is."""
        if self._are_sizes_exact and message.octets is not None and incoming.octets < message.octets:
            return f"{incoming.octets} octets came where LIST says {message.octets}, and its sizes were right so far"
        if message.number in self._heads or not self._can_top:
            shown = self._heads.get(message.number)
        else:
            header = await self._client.top(message.number)
            shown = None if header is None else head_of(header)
        came = head_of(incoming.head)
        return objection(shown, came, octets=incoming.octets, told=message.octets, others=self._sizes.keys())

    def _check_growth(self, message: Listed, incoming: Incoming) -> None:
        """Give up a message that has no end: one that outgrows what LIST said, and then the limit or the disk."""
        if not incoming.is_large:
            return
        limit, told = self._order.rules.limit.octets, message.octets or 0
        if incoming.octets > 2 * told + LARGE_OCTETS:
            if limit is not None and incoming.octets > limit and not self._asked[0].objection:
                raise OutOfStep(message.number, f"more than the limit of {limit} octets came where LIST said {told}")
            if not self._desk.has_room():
                raise OutOfStep(message.number, f"the disk is nearly full of what came where LIST said {told}")
        if not self._desk.has_room():
            raise DiskNearlyFull(f"the disk is nearly full: message {message.number} was given up for now")

    async def _settle_twins(self) -> None:
        """Let TOP say whether equal messages are as many messages; what is true is asked for again, and taken."""
        while self._twins.waiting:
            twin = self._twins.waiting[0]
            self.tally.in_hand = twin.wanted.message
            finding = await self._twins.ask(self._client, twin)
            self._twins.waiting.popleft()
            self.tally.in_hand = None
            if not finding.is_true:
                self.tally.doubted.append((twin.wanted.message, "another message came, as TOP shows"))
            elif finding.usurper is None:
                self._todo.append(twin.wanted)
            else:
                await self._hand_over(finding.usurper.message, twin)

    async def _hand_over(self, usurper: Listed, twin: Twin) -> None:
        """What was taken as one message is another one: the receipt is for that."""
        self.tally.doubted.append((usurper, "another message came, as TOP shows"))
        receipt = self.tally.receipts[twin.wanted.message.number] = self.tally.receipts.pop(usurper.number)
        if usurper.uidl == twin.wanted.message.uidl:
            return
        await asyncio.shield(receipt)
        account = self._order.account.name
        taken: list[Entry] = []

        def take(entries: Sequence[Entry]) -> None:
            taken.extend(one for one in entries if (one.uidl, one.identity) == (usurper.uidl, twin.identity))

        await self._desk.recall(account, take)
        self.tally.compared.append((taken[-1], twin.wanted.message.uidl))

    def _learn_sizes(self, done: MessageDone, message: Listed) -> None:
        if done.confirmed_by is Confirmation.SENTINEL:
            if self._are_sizes_exact is not False:
                account = self._order.account.name
                told = "no figure" if message.octets is None else str(message.octets)
                self.tally.events.append(SizesInexact(account=account, told=told, came=done.octets))
            self.tally.sizes_exact = False
        elif done.confirmed_by is Confirmation.LINES:
            self.tally.sizes_exact = False
        elif self.tally.sizes_exact is None:
            self.tally.sizes_exact = True


def _sentinel(listed: Listed) -> Sentinel | None:
    answer = listed.uidl.octets or listed.octets
    return None if answer is None else Sentinel(number=listed.number, answer=answer)
