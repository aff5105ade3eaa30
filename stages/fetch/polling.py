"""Poll the accounts: each when it is due or asked for, many at once, in turns.

**Invariants:** while more is waiting another session follows, after the other accounts had their turn; a server that
stalls holds up its own account alone. A host that cannot be reached is tried for all its accounts by a few of them. No
login comes sooner than the server's LOGIN-DELAY allows.
"""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from spool.accounts import AccountState, Login
from spool.message_file import timestamp
from spool.route import Route
from stages.errors import PeerBroke, PeerSaidNo, TryLater
from stages.fetch.aftermath import events_of, next_poll_at, state_after
from stages.fetch.changes import (
    Change,
    change_of,
    enabled_accounts,
    forgiven,
    known_of,
    login_after,
    maildrop_of,
    rescheduled,
)
from stages.fetch.desk import Desk, Order
from stages.fetch.limits import DiskRoom, has_answered, limit_of
from stages.fetch.pacing import Hosts, is_due
from stages.fetch.plan import Limit, Rules
from stages.fetch.poll import Poll
from stages.fetch.progress import Teller
from stages.fetch.requests import GONE, Requests, Wish
from stages.fetch.schedule import Rota
from stages.fetch.session import Report, Session
from stages.fetch.takeover import take_over
from stages.fetch.trouble import HostClosed, LoginTooSoon, Trouble, trouble_of
from stages.runner import Mode, Runtime
from stages.settings import AccountSettings, Settings

LOOK_SECONDS = 60.0
LOOK_FOR_ROOM_SECONDS = 10.0
STOP_SECONDS = 15.0
RELAY_SECONDS = 30.0
# Without a schedule to come back by, this is the longest LOGIN-DELAY that is waited out.
LONGEST_WAIT = timedelta(minutes=1)
# Of the session's time; the rest is for what was asked for already, DELE and QUIT.
_ASKING_SHARE = 2 / 3


class Polling:
    """All polls of the process."""

    def __init__(self, desk: Desk, room: DiskRoom) -> None:
        self._desk = desk
        self._runtime: Runtime = desk.runtime
        self._room = room
        self._settings = self._runtime.settings
        fetch = self._settings.fetch
        self._rota = Rota(concurrency=fetch.concurrency, per_host=fetch.per_host)
        self._accounts = enabled_accounts(self._settings)
        self._hosts = Hosts(jitter=desk.random.random)
        self._requests = Requests(self._runtime, desk.accounts, known=self._accounts)
        self._teller = Teller(self._runtime)
        self._due: dict[str, datetime] = {}
        self._logins: dict[str, Login | None] = {}
        self._forgiven: dict[str, int] = {}
        self._polls: dict[str, Poll] = {}
        self._later: dict[str, datetime] = {}
        self._again: dict[str, list[Wish]] = {}
        self._turns: set[asyncio.Task[None]] = set()
        self._turn_ended = asyncio.Event()
        self._all_well = True

    async def run(self, group: TaskGroup) -> bool:
        """Poll as the mode has it, until told to stop; answers whether every poll went well."""
        states = await self._runtime.call(self._desk.accounts.states)
        now = self._runtime.spool.now()
        for name, account in self._accounts.items():
            self._due[name] = self._first_poll(account, states.get(name), now=now)
            self._logins[name] = known_of(states[name], maildrop_of(account)).login if name in states else None
        telling = group.create_task(self._teller.run())
        if self._runtime.mode is Mode.DRAIN:
            await self._hear_of_relay()
        while not self._runtime.stopping.is_set():
            if self._runtime.settings is not self._settings:
                await self._heed(self._runtime.settings)
            # First: what another fetcher had must not be new to the poll that follows.
            await take_over(self._desk)
            for wish in await self._requests.take():
                await self._grant(wish)
            await self._begin_due()
            self._give_turns(group)
            await self._tell_of_room()
            if self._runtime.mode is not Mode.RUN and (self._is_idle() or self._is_stuck()):
                break
            await self._wait()
        await self._stop_turns()
        telling.cancel()
        # What is due still was not polled, or not to its end: the disk is full, or we were told to stop.
        return self._runtime.mode is Mode.RUN or (self._all_well and not self._due)

    def _first_poll(self, account: AccountSettings, state: AccountState | None, *, now: datetime) -> datetime:
        """At once, unless this maildrop was polled lately, before a restart."""
        if self._runtime.mode is not Mode.RUN or state is None or state.next_poll_at is None:
            return now
        if state.maildrop not in (None, maildrop_of(account)):
            return now
        return min(state.next_poll_at, now + account.interval)

    async def _heed(self, settings: Settings) -> None:
        """Heed changed settings: those of sessions from the next one on, those of accounts now."""
        self._settings = settings
        self._rota.allow(concurrency=settings.fetch.concurrency, per_host=settings.fetch.per_host)
        self._room.require(settings.spool.min_free_octets)
        wanted = enabled_accounts(settings)
        for name in [name for name in self._accounts if name not in wanted]:
            await self._dismiss(name)
        for name, account in wanted.items():
            was = self._accounts.get(name)
            self._accounts[name] = account
            if was is None:
                await self._try_afresh(account, was=None)
            elif was != account and change_of(was, account) is Change.REST:
                await self._reschedule(account, was=was)
            elif was != account:
                await self._try_afresh(account, was=was)

    async def _dismiss(self, name: str) -> None:
        """Let go of an account; a session under way deletes what is in custody and says QUIT."""
        del self._accounts[name], self._due[name], self._logins[name]
        self._forgiven.pop(name, None)
        for wish in self._again.pop(name, ()):
            await self._requests.note(wish.request, name, outcome=GONE, has_failed=True)
        poll = self._polls.get(name)
        if poll is None:
            return
        poll.is_past = poll.is_cut_short = True
        if self._leaves_line(name):
            del self._polls[name]
            for request in poll.requests:
                await self._requests.note(request, name, outcome=GONE, has_failed=True)

    async def _try_afresh(self, account: AccountSettings, *, was: AccountSettings | None) -> None:
        """Poll an account at once that is new, or whose trouble may be mended."""
        name, now = account.name, self._runtime.spool.now()

        def forgive() -> AccountState:
            state = self._desk.accounts.state(name)
            login = (
                known_of(state, maildrop_of(account)).login
                if was is None
                else login_after(state.login, was=was, account=account)
            )
            state = forgiven(state, login=login, now=now)
            if state != AccountState(name=name, next_poll_at=now):
                self._desk.accounts.save(state)
            return state

        state = await self._runtime.call(forgive)
        self._logins[name], self._forgiven[name], self._due[name] = state.login, state.failures, now
        self._hosts.reached(_host(account))
        poll = self._polls.get(name)
        if poll is None:
            return
        if self._leaves_line(name):
            poll.start_over(account, login=state.login)
            await self._go_on(poll)
        else:
            poll.is_past = True

    async def _reschedule(self, account: AccountSettings, *, was: AccountSettings) -> None:
        """Go on with an account by its new settings; its session under way ends by the old ones."""
        name = account.name
        if name in self._polls:
            self._polls[name].account = account
        if was.interval == account.interval:
            return
        due_at, now = self._due[name], self._runtime.spool.now()

        def reschedule() -> datetime:
            state = self._desk.accounts.state(name)
            is_failing = state.failures > 0
            at = rescheduled(due_at, was=was.interval, interval=account.interval, is_failing=is_failing, now=now)
            self._desk.accounts.save(replace(state, next_poll_at=at))
            return at

        self._due[name] = await self._runtime.call(reschedule)

    def _leaves_line(self, name: str) -> bool:
        """Take an account out of the line, or from waiting for its time; False where its session is under way."""
        return self._rota.leave(name) or self._later.pop(name, None) is not None

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

    async def _grant(self, wish: Wish) -> None:
        """Poll an account because somebody wants it."""
        if wish.account in self._polls:
            # What is under way may have listed before the mail came that this request is about.
            self._again.setdefault(wish.account, []).append(wish)
        else:
            await self._begin(wish.account, [wish])

    async def _begin_due(self) -> None:
        now = self._runtime.spool.now()
        for name, at in list(self._due.items()):
            if name not in self._polls and is_due(at, now):
                await self._begin(name)
        for name, at in list(self._later.items()):
            if is_due(at, now):
                del self._later[name]
                self._join(self._polls[name])

    async def _begin(self, name: str, wishes: Sequence[Wish] = ()) -> None:
        poll = self._polls[name] = Poll(
            account=self._accounts[name],
            began_at=asyncio.get_running_loop().time(),
            requests={wish.request for wish in wishes},
            adopts=any(wish.adopts for wish in wishes),
            is_verbose=any(wish.is_verbose for wish in wishes),
            login=self._logins.get(name),
        )
        if any(wish.is_awaited for wish in wishes):
            self._teller.watch(name, poll.count)
        await self._go_on(poll)

    async def _go_on(self, poll: Poll) -> None:
        """Queue for the next session, when the host and its LOGIN-DELAY allow one."""
        now = self._runtime.spool.now()
        at = poll.may_log_in_at
        if not poll.requests and (closed := self._hosts.why_closed(_host(poll.account), now)) is not None:
            await self._give_up(poll, HostClosed(closed))
        elif at is None or is_due(at, now):
            self._join(poll)
        elif self._may_wait_until(at):
            self._later[poll.account.name] = at
            await self._tell_of_delay(poll, at)
        else:
            await self._give_up(poll, _too_soon(at))

    def _may_wait_until(self, at: datetime) -> bool:
        """Whether LOGIN-DELAY is waited out: in a run there is time, a drain and a single round should end."""
        return self._runtime.mode is Mode.RUN or not self._is_long(at)

    def _is_long(self, at: datetime) -> bool:
        return at - self._runtime.spool.now() > LONGEST_WAIT

    async def _tell_of_delay(self, poll: Poll, at: datetime) -> None:
        """Let nobody wait for an account that waits itself."""
        if self._is_long(at):
            for request in poll.requests:
                await self._requests.note(request, poll.account.name, outcome=str(_too_soon(at)), has_failed=True)
            poll.requests.clear()
            await self._teller.leave(poll.account.name)

    def _join(self, poll: Poll) -> None:
        self._rota.join(poll.account.name, host=poll.account.host)

    async def _give_up(self, poll: Poll, error: TryLater) -> None:
        poll.error = error
        await self._end(poll, is_cut=False)

    def _give_turns(self, group: TaskGroup) -> None:
        self._room.look()
        while self._room.has_room and (name := self._rota.next()) is not None:
            turn = group.create_task(self._turn(self._polls[name]), name=f"session of {name}")
            self._turns.add(turn)
            turn.add_done_callback(self._turns.discard)

    def _is_idle(self) -> bool:
        return self._rota.is_idle and not self._later

    def _is_stuck(self) -> bool:
        return not self._turns and not self._room.has_room

    async def _turn(self, poll: Poll) -> None:
        """One session of an account."""
        name, now = poll.account.name, self._runtime.spool.now()
        closed = None if poll.requests else self._hosts.why_closed(_host(poll.account), now)
        if closed is None:
            goes_on = await self._hold_session(poll)
        else:
            poll.error, goes_on = HostClosed(closed), False
        if name in self._accounts:
            self._logins[name] = login_after(poll.login, was=poll.account, account=self._accounts[name])
        self._rota.done(name)
        if goes_on and not poll.is_past and not self._runtime.stopping.is_set():
            await self._go_on(poll)
        else:
            await self._end(poll, is_cut=goes_on)
        self._turn_ended.set()

    async def _hold_session(self, poll: Poll) -> bool:
        """Hold the next session of a poll; answers whether another one should follow."""
        try:
            report = await Session(await self._order(poll), self._desk).run()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody asked for it: something in the session was cancelled. The account must not be lost for that.
            poll.error = TryLater("the session was broken off")
            return False
        self._learn_of_host(poll.account, report)
        return poll.add(report)

    def _learn_of_host(self, account: AccountSettings, report: Report) -> None:
        error = report.error
        if error is not None and trouble_of(error) is Trouble.UNREACHABLE:
            self._hosts.failed(_host(account), str(error), now=self._runtime.spool.now())
        elif report.login is not None or isinstance(error, PeerSaidNo | PeerBroke):
            self._hosts.reached(_host(account))

    async def _order(self, poll: Poll) -> Order:
        fetch = self._runtime.settings.fetch
        asking = fetch.session_timeout.total_seconds() * _ASKING_SHARE
        rules = Rules(
            leave=poll.account.leave_on_server,
            limit=await self._limit(),
            oversize=fetch.oversize,
            put_off=frozenset(poll.put_off),
            unsure=poll.unsure,
            maildrop=maildrop_of(poll.account),
        )
        return Order(
            account=poll.account,
            fetch=fetch,
            rules=rules,
            message_limit=fetch.max_messages_per_session,
            ask_until=asyncio.get_running_loop().time() + asking,
            ask_limit=poll.ask_limit,
            one_by_one=poll.one_by_one,
            login=poll.login,
            adopts=poll.adopts,
            is_to_end=lambda: poll.is_cut_short,
            is_verbose=poll.is_verbose,
            count=poll.count,
        )

    async def _limit(self) -> Limit:
        configured = self._runtime.settings.fetch.max_message_octets
        return limit_of(configured, await self._runtime.call(Route(self._runtime.spool).state))

    async def _end(self, poll: Poll, *, is_cut: bool) -> None:
        """Note what came of a poll, and when the next one is due."""
        name, now = poll.account.name, self._runtime.spool.now()
        seconds = asyncio.get_running_loop().time() - poll.began_at

        def note() -> AccountState:
            before = self._desk.accounts.state(name)
            after = state_after(before, poll, now=now)
            next_at = now if is_cut else self._next_poll_at(poll, after, now=now)
            after = replace(after, next_poll_at=next_at)
            if poll.is_past:
                after = forgiven(after, login=self._logins.get(name), now=now)
            events = events_of(poll, before=before, after=after, seconds=seconds)
            self._desk.accounts.save(after, events)
            return after

        after = await self._runtime.call(note)
        await self._teller.leave(name)
        for request in poll.requests:
            await self._requests.note(request, name, outcome=poll.outcome, has_failed=poll.error is not None)
        if poll.error is not None:
            self._all_well = False
        del self._polls[name]
        if name not in self._accounts:
            return
        self._due[name] = now if poll.is_past or after.next_poll_at is None else after.next_poll_at
        if poll.is_past or not after.failures:
            self._forgiven[name] = after.failures
        if name in self._again:
            await self._begin(name, self._again.pop(name))
        elif self._goes_round(poll):
            await self._begin(name)
        elif self._runtime.mode is not Mode.RUN:
            del self._due[name]

    def _goes_round(self, poll: Poll) -> bool:
        """A drain is done with an account when a whole round admits nothing, or another one would have to wait."""
        if self._runtime.mode is not Mode.DRAIN or not poll.admitted or poll.error is not None:
            return False
        return poll.may_log_in_at is None or self._may_wait_until(poll.may_log_in_at)

    def _next_poll_at(self, poll: Poll, after: AccountState, *, now: datetime) -> datetime:
        opens_at = self._hosts.opens_at(_host(poll.account))
        after = replace(after, failures=after.failures - self._forgiven.get(poll.account.name, 0))
        return next_poll_at(poll, after, now=now, jitter=self._desk.random.random, host_opens_at=opens_at)

    async def _tell_of_room(self) -> None:
        news, self._room.news = self._room.news, []
        await self._runtime.emit(news)

    async def _wait(self) -> None:
        """Wait until a turn has ended, somebody rings, a poll is due, or the stage is to stop."""
        now = self._runtime.spool.now()
        times = [at for name, at in self._due.items() if name not in self._polls]
        due = min([*times, *self._later.values()], default=None)
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


def _too_soon(at: datetime) -> LoginTooSoon:
    return LoginTooSoon(f"the server allows the next login at {timestamp(at)} (LOGIN-DELAY)")


def _host(account: AccountSettings) -> str:
    return f"{account.host} {account.port}"
