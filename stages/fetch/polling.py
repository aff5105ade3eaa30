"""Poll the accounts: each when it is due or asked for, many at once, in turns.

**Invariants:** while more is waiting another session follows, after the other accounts had their turn; a server that
stalls holds up its own account alone. Every request to poll now is answered when its accounts were polled.
"""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from spool.accounts import AccountState
from spool.events import Event
from spool.route import Route
from stages.fetch.desk import Desk, Order
from stages.fetch.events import AccountRecovered, PollFailed, PollSucceeded
from stages.fetch.limits import DiskRoom, has_answered, limit_of
from stages.fetch.plan import Limit, Rules
from stages.fetch.poll import Poll
from stages.fetch.schedule import Rota
from stages.fetch.session import Session
from stages.runner import Mode, Runtime
from stages.settings import AccountSettings

LOOK_SECONDS = 60.0
LOOK_FOR_ROOM_SECONDS = 10.0
STOP_SECONDS = 15.0
RELAY_SECONDS = 30.0
# Of the session's time; the rest is for what was asked for already, DELE and QUIT.
_ASKING_SHARE = 2 / 3


class Polling:
    """All polls of the process."""

    def __init__(self, desk: Desk, room: DiskRoom) -> None:
        self._desk = desk
        self._runtime: Runtime = desk.runtime
        self._room = room
        fetch = self._runtime.settings.fetch
        self._rota = Rota(concurrency=fetch.concurrency, per_host=fetch.per_host)
        self._accounts = {account.name: account for account in self._runtime.settings.accounts if account.enabled}
        self._due: dict[str, datetime] = {}
        self._polls: dict[str, Poll] = {}
        self._again: dict[str, set[int]] = {}
        self._asked: dict[int, dict[str, str | None]] = {}
        self._turns: set[asyncio.Task[None]] = set()
        self._turn_ended = asyncio.Event()
        self._all_well = True

    async def run(self, group: TaskGroup) -> bool:
        """Poll as the mode has it, until told to stop; answers whether every poll went well."""
        self._due = await self._first_polls()
        if self._runtime.mode is Mode.DRAIN:
            await self._hear_of_relay()
        while not self._runtime.stopping.is_set():
            await self._take_requests()
            self._begin_due()
            self._give_turns(group)
            await self._tell_of_room()
            if self._runtime.mode is not Mode.RUN and (self._rota.is_idle or self._is_stuck()):
                break
            await self._wait()
        await self._stop_turns()
        # What is due still was not polled, or not to its end: the disk is full, or we were told to stop.
        return self._runtime.mode is Mode.RUN or (self._all_well and not self._due)

    async def _first_polls(self) -> dict[str, datetime]:
        now = self._runtime.spool.now()
        if self._runtime.mode is not Mode.RUN:
            return dict.fromkeys(self._accounts, now)
        states = await self._runtime.call(self._desk.accounts.states)
        return {name: _first_poll(account, states, now=now) for name, account in self._accounts.items()}

    async def _hear_of_relay(self) -> None:
        """Before sizes are judged, wait for submit's first answer from the relay."""
        if self._runtime.settings.fetch.max_message_octets is not None or not self._accounts:
            return
        since = self._runtime.spool.now()
        loop = asyncio.get_running_loop()
        until = loop.time() + RELAY_SECONDS
        while not self._runtime.stopping.is_set() and loop.time() < until:
            if has_answered(await self._runtime.call(Route(self._runtime.spool).state), since=since):
                return
            await self._runtime.wait(0.2)

    async def _take_requests(self) -> None:
        """Queue the accounts that somebody wants polled now."""
        for request in await self._runtime.call(self._desk.accounts.asked):
            if request.request in self._asked:
                continue
            names = [request.account] if request.account else list(self._accounts)
            known = [name for name in names if name in self._accounts]
            if not known:
                text = f"{request.account}: no such account is enabled" if request.account else "no account is enabled"
                await self._answer(request.request, text)
                continue
            self._asked[request.request] = dict.fromkeys(known)
            for name in known:
                self._ask(name, request.request)

    def _ask(self, name: str, request: int) -> None:
        if name in self._polls:
            # What is under way may have listed before the mail came that this request is about.
            self._again.setdefault(name, set()).add(request)
        else:
            self._begin(name, {request})

    def _begin_due(self) -> None:
        now = self._runtime.spool.now()
        for name, at in self._due.items():
            if at <= now and name not in self._polls:
                self._begin(name, set())

    def _begin(self, name: str, requests: set[int]) -> None:
        account = self._accounts[name]
        self._polls[name] = Poll(account=account, began_at=asyncio.get_running_loop().time(), requests=requests)
        self._rota.join(name, host=account.host)

    def _give_turns(self, group: TaskGroup) -> None:
        self._room.look()
        while self._room.has_room and (name := self._rota.next()) is not None:
            turn = group.create_task(self._turn(self._polls[name]), name=f"session of {name}")
            self._turns.add(turn)
            turn.add_done_callback(self._turns.discard)

    def _is_stuck(self) -> bool:
        return not self._turns and not self._room.has_room

    async def _turn(self, poll: Poll) -> None:
        """One session of an account."""
        name = poll.account.name
        report = await Session(await self._order(poll), self._desk).run()
        goes_on = poll.add(report)
        if goes_on and not self._runtime.stopping.is_set():
            self._rota.join(name, host=poll.account.host)
        else:
            await self._end(poll, is_cut=goes_on)
        self._rota.done(name)
        self._turn_ended.set()

    async def _order(self, poll: Poll) -> Order:
        fetch = self._runtime.settings.fetch
        asking = fetch.session_timeout.total_seconds() * _ASKING_SHARE
        rules = Rules(
            leave=poll.account.leave_on_server,
            limit=await self._limit(),
            oversize=fetch.oversize,
            put_off=frozenset(poll.put_off),
            unsure=poll.unsure,
        )
        return Order(
            account=poll.account,
            fetch=fetch,
            rules=rules,
            message_limit=fetch.max_messages_per_session,
            ask_until=asyncio.get_running_loop().time() + asking,
            ask_limit=poll.ask_limit,
            one_by_one=poll.one_by_one,
        )

    async def _limit(self) -> Limit:
        configured = self._runtime.settings.fetch.max_message_octets
        return limit_of(configured, await self._runtime.call(Route(self._runtime.spool).state))

    async def _end(self, poll: Poll, *, is_cut: bool) -> None:
        """Note what came of a poll, and when the next one is due."""
        name = poll.account.name
        now = self._runtime.spool.now()
        next_at = now if is_cut else now + poll.account.interval
        self._due[name] = next_at
        seconds = asyncio.get_running_loop().time() - poll.began_at

        def note() -> None:
            state = self._desk.accounts.states().get(name) or AccountState(name=name)
            self._desk.accounts.save(
                _after(state, poll, now=now, next_at=next_at), self._events(poll, state, seconds=seconds)
            )

        await self._runtime.call(note)
        for request in poll.requests:
            await self._answer_for(request, poll)
        if poll.error is not None:
            self._all_well = False
        del self._polls[name]
        if name in self._again:
            self._begin(name, self._again.pop(name))
        elif self._runtime.mode is Mode.DRAIN and poll.admitted and poll.error is None:
            # A drain is done with an account when a whole round admits nothing.
            self._begin(name, set())
        elif self._runtime.mode is not Mode.RUN:
            del self._due[name]

    def _events(self, poll: Poll, state: AccountState, *, seconds: float) -> list[Event]:
        name = poll.account.name
        events: list[Event] = []
        if poll.admitted:
            events.append(
                PollSucceeded(
                    account=name,
                    messages=poll.admitted,
                    octets=poll.octets,
                    seconds=round(seconds, 1),
                    remote_messages=poll.remaining or 0,
                )
            )
        if poll.error is not None:
            events.append(PollFailed(account=name, error=str(poll.error)))
        elif state.failures:
            events.append(AccountRecovered(account=name, failures=state.failures))
        return events

    async def _answer_for(self, request: int, poll: Poll) -> None:
        """Note a poll's result for a request, and answer it when all its accounts were polled."""
        results = self._asked[request]
        results[poll.account.name] = f"{poll.admitted} messages" if poll.error is None else f"failed: {poll.error}"
        if all(result is not None for result in results.values()):
            await self._answer(request, "; ".join(f"{name}: {result}" for name, result in results.items()))
            del self._asked[request]

    async def _answer(self, request: int, text: str) -> None:
        await self._runtime.call(lambda: self._desk.accounts.answer(request, text))

    async def _tell_of_room(self) -> None:
        news, self._room.news = self._room.news, []
        await self._runtime.emit(news)

    async def _wait(self) -> None:
        """Wait until a turn has ended, somebody rings, a poll is due, or the stage is to stop."""
        now = self._runtime.spool.now()
        due = min((at for name, at in self._due.items() if name not in self._polls), default=None)
        seconds = LOOK_SECONDS if self._room.has_room else LOOK_FOR_ROOM_SECONDS
        if due is not None:
            seconds = min(seconds, max(0.0, (due - now) / timedelta(seconds=1)))
        waits = [asyncio.ensure_future(wait) for wait in (self._runtime.wait(seconds), self._turn_ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._turn_ended.clear()

    async def _stop_turns(self) -> None:
        """Let sessions delete what is in custody and say QUIT; what takes too long is cut."""
        if self._turns:
            _, late = await asyncio.wait(self._turns, timeout=STOP_SECONDS)
            for turn in late:
                turn.cancel()
        await self._tell_of_room()


def _first_poll(account: AccountSettings, states: Mapping[str, AccountState], *, now: datetime) -> datetime:
    """At once, unless the account was polled lately, before a restart."""
    state = states.get(account.name)
    if state is None or state.next_poll_at is None:
        return now
    return min(state.next_poll_at, now + account.interval)


def _after(state: AccountState, poll: Poll, *, now: datetime, next_at: datetime) -> AccountState:
    """The account's state when a poll is over."""
    state = replace(state, last_attempt_at=now, next_poll_at=next_at)
    if poll.error is not None:
        return replace(state, last_error=str(poll.error), failures=state.failures + 1)
    return replace(state, last_success_at=now, last_error=None, failures=0)
