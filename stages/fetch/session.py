"""One POP3 session of one account: log in, list, plan, compare, retrieve, and delete what is in custody.

The order is the rule: whatever is compared is compared before the session's first DELE; DELE comes after the last RETR
and in descending order of number, so that a server that renumbers cannot make us delete another message; QUIT is last.

**Invariants:** a number is deleted only with a receipt, or after an equal comparison, of this session (I1). After any
error of the line or the protocol the connection is dropped, and nothing is deleted.
**Failures:** what the server, the network or the configuration did wrong is in the `Report`; `SpoolFailed` is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spool.accounts import Login
from spool.envelope import NO_UIDL, Receipt, Uidl
from spool.events import Event
from spool.ledger import Entry
from spool.message_file import header_digest
from spool.safe_text import safe_text
from stages.errors import OperatorMustAct, PeerBroke, StageError, TryLater
from stages.fetch.changes import maildrop_of
from stages.fetch.desk import Desk, Order
from stages.fetch.entrance import logged_in
from stages.fetch.events import (
    Adopted,
    CapabilitiesSkipped,
    DeletionRefused,
    FellOutOfStep,
    FoundAgain,
    ListingsDisagree,
    MailWasThere,
    PlainTextLogin,
    RetrievalRefused,
    SessionBroke,
    SizesWait,
    UidlsOdd,
    WindowBroke,
)
from stages.fetch.limits import DiskNearlyFull
from stages.fetch.listing import listed, oddity
from stages.fetch.notebook import Deletions, Ending, Notebook
from stages.fetch.plan import Facts, Key, Listed, Plan, Step, Wanted, decide
from stages.fetch.retrieving import Retrieving, Tally
from stages.fetch.twins import Contents
from stages.pop3.client import Pop3Client
from stages.pop3.retrieval import ONE_BY_ONE, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a session.

    `deleted` is how many the server has promised to delete. `resolved` messages were taken or found again; `compared`
    of them need no other comparison in this round. `listed` is how many the maildrop showed, `remaining` how many it
    should show next; None where it was not seen. `is_more`: another session should follow, and decide about the
    `unsure`. `broke` is the message whose RETR broke the session; `needs_one_by_one`: a window is not for this server
    today. `adopted` were marked as had. `login` is None where the session did not get in.
    """

    admitted: int
    octets: int
    resolved: int
    listed: int | None
    remaining: int | None
    compared: int
    is_more: bool
    unsure: frozenset[Uidl]
    broke: Key | None
    needs_one_by_one: bool
    error: StageError | None
    adopted: int = 0
    deleted: int = 0
    login: Login | None = None


class Session:
    """One session; `run` once."""

    def __init__(self, order: Order, desk: Desk) -> None:
        self._order = order
        self._desk = desk
        self._account = order.account
        self._notebook = Notebook(desk, order.account.name, maildrop=maildrop_of(order.account))
        self._listing: Sequence[Listed] | None = None
        self._plan = Plan()
        self._contents = Contents()
        self._tally = Tally()
        self._put_last = 0
        self._is_one_by_one = order.one_by_one
        self._is_windowed = False
        self._remaining: int | None = None
        self._expected: int | None = None
        self._asked: frozenset[int] = frozenset()
        self._events: list[Event] = []
        self._adopted = 0
        self._deleted = 0
        self._dialogue = desk.runtime.verbose_log.account(order.account.name, is_verbose=order.is_verbose)
        self._login: Login | None = None

    async def run(self) -> Report:
        """Hold the session; an error of the peer, the line or the configuration is part of the report."""
        error: StageError | None = None
        try:
            async with asyncio.timeout(self._order.fetch.session_timeout.total_seconds()):
                await self._connected()
        except StageError as failure:
            error = failure
        except TimeoutError:
            error = TryLater(f"the session took longer than {self._order.fetch.session_timeout}")
        if error is not None:
            self._dialogue.note(f"the session failed: {error}")
        return await self._conclude(error)

    async def _connected(self) -> None:
        account, before = self._account, self._order.login
        timeout = self._order.fetch.timeout.total_seconds()
        async with logged_in(account, timeout=timeout, before=before, dialogue=self._dialogue) as client:
            self._login = Login(
                at=self._desk.runtime.spool.now(),
                delay_seconds=client.capabilities.login_delay_seconds,
                mechanism=client.mechanism,
                skips_capabilities=not client.asks_capabilities,
            )
            if self._login.skips_capabilities and not (before and before.skips_capabilities):
                self._events.append(CapabilitiesSkipped(account=account.name))
            if not client.is_tls:
                self._events.append(PlainTextLogin(account=account.name, host=account.host))
            await self._transact(client)

    async def _transact(self, client: Pop3Client) -> None:
        self._is_one_by_one = self._order.one_by_one or await self._desk.has_broken_window(self._account.name)
        listing = await self._list(client)
        if self._order.adopts:
            await self._adopt(client, listing)
            return
        self._listing = listing
        await self._decide(client, listing)
        retrieving = Retrieving(
            client,
            self._plan,
            listing=listing,
            memory=self._notebook.memory,
            contents=self._contents,
            order=self._order,
            desk=self._desk,
        )
        self._tally = retrieving.tally
        wanted = [*self._in_this_session(), *await self._peek(client)]
        self._is_windowed = client.capabilities.pipelining and not self._is_one_by_one and len(wanted) > 1
        await retrieving.run(wanted, is_windowed=self._is_windowed)
        await self._delete(client)

    async def _list(self, client: Pop3Client) -> Sequence[Listed]:
        told = (await client.stat()).count
        sizes = await client.list()
        uidls = await client.uidl() if sizes or told else {}
        name, named = self._account.name, sizes if uidls is None else uidls
        if not told == len(sizes) == len(named):
            self._events.append(ListingsDisagree(account=name, told=told, listed=len(sizes), named=len(named)))
        if what := await oddity(sizes.keys(), uidls):
            self._events.append(UidlsOdd(account=name, what=what))
        return await listed(sizes, uidls or {})

    async def _adopt(self, client: Pop3Client, listing: Sequence[Listed]) -> None:
        """Mark what the maildrop holds as had, and touch nothing."""
        if listing and not any(message.uidl.octets for message in listing):
            raise OperatorMustAct("the server has no UIDL: nothing can be marked as had")
        await client.quit()
        self._adopted = await self._notebook.adopt(listing)
        self._events.append(Adopted(account=self._account.name, messages=self._adopted))

    async def _decide(self, client: Pop3Client, listing: Sequence[Listed]) -> None:
        """Make the plan, and note what the listing alone tells."""
        rules = self._order.rules
        if rules.keeps_any and listing and not any(message.uidl for message in listing):
            raise OperatorMustAct("the server has no UIDL: set leave_on_server = false for this account")
        capabilities = client.capabilities
        rules = replace(rules, can_peek=capabilities.top or not capabilities.was_told)
        memory = await self._notebook.remember()
        now = self._desk.runtime.spool.now()
        facts = Facts(listing, memory=memory, rules=rules, now=now)
        contents = self._contents = Contents()

        def note(entries: Sequence[Entry]) -> None:
            facts.note(entries)
            contents.note(entries)

        await self._desk.recall(self._account.name, note)
        # In a thread: a listing may have 100,000 lines, and other sessions go on.
        self._plan = await asyncio.to_thread(decide, facts)
        if self._plan.waiting:
            self._events.append(SizesWait(account=self._account.name, messages=self._plan.waiting))
        if rules.keeps_any and listing and memory.state.listed_messages is None and not facts.has_entries:
            self._events.append(MailWasThere(account=self._account.name, messages=len(listing)))
        await self._notebook.note_plan(self._plan)

    def _in_this_session(self) -> Sequence[Wanted]:
        """What to retrieve now: a message that broke a session has to wait for one of its own."""
        alone = self._plan.alone
        if self._plan.retrievals or self._plan.peeks:
            self._put_last = len(alone)
            return self._plan.retrievals
        self._put_last = len(alone[1:])
        return alone[:1]

    async def _peek(self, client: Pop3Client) -> list[Wanted]:
        """Compare headers; answers what must be retrieved to be known."""
        undecided: list[Wanted] = []
        if not self._plan.peeks:
            return undecided
        for wanted in self._plan.peeks:
            if self._is_over():
                self._tally.unasked += 1
                continue
            header = await client.top(wanted.message.number)
            if header is not None and header_digest(header) == self._plan.known[wanted.message.uidl][0].header:
                self._tally.found += 1
                self._tally.known.append(wanted.message.number)
            else:
                undecided.append(replace(wanted, step=Step.COMPARE))
        return undecided

    def _is_over(self) -> bool:
        is_time_up = asyncio.get_running_loop().time() >= self._order.ask_until
        return is_time_up or self._desk.runtime.stopping.is_set() or self._order.is_to_end()

    async def _delete(self, client: Pop3Client) -> None:
        """Delete what may go, and end the session."""
        receipts = await self._tally.committed()
        numbers = sorted([*self._tally.known, *([] if self._order.rules.keeps_any else receipts)], reverse=True)
        window = ONE_BY_ONE if self._is_one_by_one else Window()
        self._asked = frozenset(numbers)
        replies = await client.delete(numbers, window=window)
        refused = [reply for reply in replies.values() if not reply.ok]
        deleted = len(replies) - len(refused)
        name = self._account.name
        if refused:
            self._events.append(DeletionRefused(account=name, messages=len(refused), reply=safe_text(refused[0].text)))
        if self._tally.found:
            self._events.append(FoundAgain(account=name, messages=self._tally.found, deletions=len(self._tally.known)))
        is_confirmed = await client.quit()
        if deleted and not is_confirmed:
            raise TryLater(f"QUIT was not confirmed: {deleted} deletions may not have happened")
        self._deleted = deleted
        self._remaining = len(self._listing or ()) - deleted
        self._expected = self._remaining if deleted else None

    async def _conclude(self, error: StageError | None) -> Report:
        tally = self._tally
        in_hand = tally.in_hand if error and not isinstance(error, DiskNearlyFull) else None
        fell_out = isinstance(error, PeerBroke) and in_hand is not None and self._is_windowed
        if fell_out:
            self._events.append(FellOutOfStep(account=self._account.name, error=str(error)))
        elif in_hand and self._is_windowed:
            self._events.append(WindowBroke(account=self._account.name, error=str(error)))
        elif error and not in_hand and self._listing is not None:
            self._events.append(SessionBroke(account=self._account.name, error=str(error)))
        self._tell_of_refusals()
        # In a window nobody knows which message it was: one by one it will be found.
        broke = None if self._is_windowed else in_hand
        # Also after an error: the next session must find in the ledger what this one admitted.
        receipts = await tally.committed()
        is_undeleted = error is not None and bool(receipts or tally.known)
        is_more = is_undeleted or bool(tally.unsure) or tally.unasked + self._put_last > (broke is not None)
        if self._listing is not None:
            ending = Ending(
                has_looked=error is None and not tally.unasked,
                is_settled=error is None and not is_more and not tally.refused and not tally.doubted,
                listed_messages=len(self._listing),
                expected_messages=self._expected,
                remote_messages=len(self._listing) if self._remaining is None else self._remaining,
                deletions=self._unnamed_deletions(receipts),
                broke=broke,
                error=str(error or ""),
            )
            await self._notebook.note_end(self._plan, tally, ending=ending, events=self._events)
        else:
            await self._desk.runtime.emit(self._events)
        return Report(
            admitted=sum(receipt.is_new for receipt in receipts.values()),
            octets=tally.octets,
            resolved=len(receipts) + tally.found,
            listed=None if self._listing is None else len(self._listing),
            remaining=self._remaining,
            compared=len(tally.compared) if self._plan.round else 0,
            is_more=is_more,
            unsure=frozenset(tally.unsure),
            broke=broke.key if broke else None,
            needs_one_by_one=in_hand is not None and self._is_windowed,
            error=None if fell_out else error,
            adopted=self._adopted,
            deleted=self._deleted,
            login=self._login,
        )

    def _tell_of_refusals(self) -> None:
        """One event for all messages that were not given: a server may give none of ten thousand."""
        tally = self._tally
        if tally.refused:
            named = [one.uidl.encoded or f"number {one.number}" for one, _ in tally.first_refused]
            more = ["..."] if tally.refused > len(named) else []
            reply = tally.first_refused[0][1]
            uidls = ", ".join([*named, *more])
            refused = RetrievalRefused(account=self._account.name, messages=tally.refused, uidls=uidls, reply=reply)
            self._events.append(refused)

    def _unnamed_deletions(self, receipts: Mapping[int, Receipt]) -> Deletions:
        """What DELE was sent for and has no UIDL that a later listing could fail to show."""
        numbers = [one.number for one in self._listing or () if one.uidl == NO_UIDL and one.number in self._asked]
        matched = self._tally.matched
        return Deletions(
            entries=tuple(matched[number] for number in numbers if number in matched),
            queue_ids=tuple(receipts[number].queue_id for number in numbers if number in receipts),
        )
