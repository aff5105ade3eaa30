"""Keep the sessions supplied while mail flows; leave the relay alone, and probe it, while it does not.

A changed relay is another relay: sessions with the former one finish what they sent, and new connections replace them.

**Invariants:** there is one probe at a time; no claim is held while the relay is known to be sick; a stage that ends
in order leaves no claim behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from spool.ended import Claim, GivenBack, Unreadable
from spool.envelope import Reason
from spool.retention import compact
from stages.runner import Mode
from stages.submit.conclusion import refuse
from stages.submit.notifier import Notifier
from stages.submit.outgoing import Gateway, Outgoing, Unsendable, prepare
from stages.submit.session import Office, Session
from stages.submit.verdict import STAGE

CLAIMED_AT_ONCE = 64
READ_AT_ONCE = 16
LOOK_EVERY = timedelta(seconds=30)
COMPACT_EVERY = timedelta(hours=1)
REST_SECONDS = 300.0
QUIET_PATIENCE = timedelta(seconds=30)


class Dispatch:
    """Claims and reads messages, and runs the sessions."""

    def __init__(self, office: Office, gateway: Gateway, *, notifier: Notifier | None = None) -> None:
        self._office = office
        self._gateway = gateway
        self._notifier = notifier
        self._notice: asyncio.Task[None] | None = None
        self._sessions: set[Session] = set()
        self._former: set[Session] = set()
        self._workers: asyncio.TaskGroup | None = None
        self._shift = 0
        self._on_duty: set[int] = set()
        self._renewed = asyncio.Event()
        self._look_at = office.runtime.spool.now()
        self._compacted_at = office.runtime.spool.now()

    async def run(self) -> None:
        """Work until told to stop or, once, until nothing is due; no claim is left then that was not put to settle."""
        office = self._office
        try:
            async with asyncio.TaskGroup() as workers:
                self._workers = workers
                self.call_on_duty()
                try:
                    await self._keep_supplied(workers)
                finally:
                    office.supply.close()
                    if self._notice is not None:
                        self._notice.cancel()
        finally:
            self._give_back(office.supply.empty())

    def hasten(self) -> None:
        """Begin nothing more, and bring all sessions to their end."""
        self._office.supply.close()
        for session in self._sessions | self._former:
            session.hasten()

    def call_on_duty(self) -> None:
        """Have as many connections as the settings allow; who is one too many goes when it would connect again."""
        if self._workers is None:
            return  # they are called when the work begins
        for number in range(self._office.runtime.settings.smtp.connections):
            if number not in self._on_duty:
                self._on_duty.add(number)
                self._workers.create_task(self._send(number, self._shift))

    def change_relay(self, *, is_elsewhere: bool) -> None:
        """Begin with a relay that was changed; one that is elsewhere need not wait for the sessions with the former."""
        for session in self._sessions:
            session.finish()
        if is_elsewhere:
            self._former |= self._sessions
            self._sessions = set()
        self._shift += 1
        self._on_duty = set()
        self._office.watch.renew()
        self._renewed.set()
        self.call_on_duty()

    def notify_by(self, notifier: Notifier | None) -> None:
        """Leave the next summary to another notifier, or to none."""
        self._notifier = notifier

    async def _send(self, number: int, shift: int) -> None:
        """Be one of the connections, as long as it is wanted."""
        office = self._office
        while await office.supply.wait_to_connect():
            if shift != self._shift:
                return
            if number >= office.runtime.settings.smtp.connections:
                self._on_duty.discard(number)
                return
            first = office.supply.take(is_fresh=True)
            if first is None:
                continue
            was_let_in = await self._hold(Session(office), first)
            if not was_let_in and office.watch.flows:
                await office.supply.wait_closed(REST_SECONDS)

    async def _hold(self, session: Session, first: Outgoing | None) -> bool:
        self._sessions.add(session)
        if self._office.runtime.stopping.is_set():
            session.hasten()
        try:
            return await session.run(first)
        finally:
            self._sessions.discard(session)
            self._former.discard(session)
            self._office.supply.woken.set()

    async def _keep_supplied(self, workers: asyncio.TaskGroup) -> None:
        runtime, watch = self._office.runtime, self._office.watch
        # The first question is for SIZE, and no message is to answer for the route.
        await self._probe(None, workers)
        while not runtime.stopping.is_set():
            self._office.supply.woken.clear()
            await self._compact_if_due()
            await self._heed_if_asked()
            if watch.flows:
                self._notify_if_due(workers)
                if await self._fill():
                    continue
                if runtime.mode is Mode.ONCE and self._is_done:
                    return
            elif watch.may_probe() and self._is_quiet:
                await self._probe(await self._message_to_probe(), workers)
                continue
            elif watch.is_sick:
                self._give_back(self._office.supply.empty())
                if runtime.mode is Mode.ONCE:
                    return
            await self._sleep()

    @property
    def _is_quiet(self) -> bool:
        """Whether a probe would say something: sessions under way may still show that the relay works.

        They may also wait for minutes for a reply, and then the probe goes beside them.
        """
        return not self._sessions or self._office.watch.paused_for() >= QUIET_PATIENCE

    @property
    def _is_done(self) -> bool:
        return self._office.supply.is_empty and self._office.settler.is_idle

    async def _fill(self) -> bool:
        """Claim or read something; False where there is nothing to do now."""
        supply, now = self._office.supply, self._office.runtime.spool.now()
        if supply.is_empty and self._office.watch.must_ask_size():
            await self._hold(Session(self._office, is_single=True), None)
            return True
        if supply.unread and supply.has_room:
            await self._read()
            return True
        if supply.is_low and (supply.is_news or now >= self._look_at):
            return await self._claim(CLAIMED_AT_ONCE)
        return False

    async def _claim(self, limit: int) -> bool:
        outbox, runtime, supply = self._office.outbox, self._office.runtime, self._office.supply
        supply.is_news = False
        claims = await runtime.call(lambda: outbox.claim(limit))
        supply.unread.extend(claims)
        if len(claims) == limit:
            supply.is_news = True
        due_at = await runtime.call(outbox.next_due_at)
        latest = runtime.spool.now() + LOOK_EVERY
        self._look_at = latest if due_at is None else min(latest, due_at)
        return bool(claims)

    async def _read(self) -> None:
        office = self._office
        count = min(READ_AT_ONCE, len(office.supply.unread))
        claims = [office.supply.unread.popleft() for _ in range(count)]
        found = await office.runtime.call(
            lambda: [prepare(office.runtime.spool, claim, gateway=self._gateway) for claim in claims]
        )
        for one in found:
            match one:
                case Outgoing():
                    office.supply.add(one)
                case Unreadable():
                    office.settler.put(one)
                case Unsendable(claim=claim, what=what):
                    refused = refuse(claim, Reason(stage=STAGE, text=what), open_clock=office.watch.open_clock())
                    office.outbox.note(refused)
                    office.settler.put(refused)

    async def _probe(self, message: Outgoing | None, workers: asyncio.TaskGroup) -> None:
        """Try the relay with one message, or with none; one that was changed meanwhile is not waited for."""
        watch = self._office.watch
        watch.begin_probe()
        self._renewed.clear()
        probe = workers.create_task(self._hold(Session(self._office, is_single=True), message))
        renewal = asyncio.ensure_future(self._renewed.wait())
        try:
            await asyncio.wait({probe, renewal}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            renewal.cancel()
        if probe.done() and probe.result() and watch.is_probing:
            await watch.works()

    async def _message_to_probe(self) -> Outgoing | None:
        """Choose the message that probes, of those that are due: first one that never broke a session."""
        supply = self._office.supply
        message = supply.take_probe(is_last_resort=False)
        if message is None:
            # What came back from the trouble is due as well.
            await self._office.settler.flush()
            if not supply.unread:
                await self._claim(1)
            if supply.unread:
                await self._read()
            message = supply.take_probe(is_last_resort=True)
        return message

    def _notify_if_due(self, workers: asyncio.TaskGroup) -> None:
        """Look for a summary to send, beside the sessions where there is room for one more; a round does at its end."""
        office = self._office
        if self._notifier is None or office.runtime.mode is not Mode.RUN:
            return
        is_busy = self._notice is not None and not self._notice.done()
        has_room = office.supply.connections < office.runtime.settings.smtp.connections
        if has_room and not is_busy and self._notifier.is_time_to_look():
            self._notice = workers.create_task(self._notifier.notify())

    async def _compact_if_due(self) -> None:
        office, now = self._office, self._office.runtime.spool.now()
        if now - self._compacted_at >= COMPACT_EVERY:
            self._compacted_at = now
            await office.watch.keep_clock()
            await office.runtime.call(
                lambda: compact(office.runtime.spool, office.outbox.journal, owner=office.runtime.tenure.stage)
            )

    async def _heed_if_asked(self) -> None:
        """End the claims of what the operator has decided about and no session has: his wish takes effect then."""
        office = self._office
        if not office.supply.is_asked:
            return
        office.supply.is_asked = False
        waiting = office.supply.waiting_ids
        wished = await office.runtime.call(lambda: office.outbox.wished(waiting)) if waiting else ()
        self._give_back(office.supply.withdraw(wished))

    async def _sleep(self) -> None:
        office, now = self._office, self._office.runtime.spool.now()
        probe_at = office.watch.probe_at
        wake_at = self._look_at if office.watch.flows and office.supply.is_low else probe_at
        pause = LOOK_EVERY if wake_at is None or wake_at <= now else min(wake_at - now, LOOK_EVERY)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause.total_seconds()):
                await office.supply.woken.wait()

    def _give_back(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._office.settler.put(GivenBack(claim=claim, breaks=claim.breaks))
