"""One session with the relay: opened, fed with messages, ended, and what became of each message noted.

**Invariants:** a line in the journal precedes each final dot, and the result follows its reply before this session's
next dot; content that turns out damaged never gets its final dot. Whatever ends a session, each message that it took
is concluded: settled, given back (marked where its final dot had left), or put back to be sent again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, assert_never

from spool.claims import Outbox
from spool.ended import Ended, GivenBack, Unreadable
from spool.envelope import Reason
from spool.errors import Damaged
from spool.events import Event
from spool.settlement import Settlement
from stages.runner import Runtime
from stages.settings import Ambiguous
from stages.smtp.client import SmtpClient
from stages.smtp.replies import RouteFailed
from stages.smtp.transaction import Submission, TransactionResult
from stages.submit.conclusion import Again, Circumstances, breaks_of, conclude
from stages.submit.events import FewerConnections, RefusalsInARow, SubmittedWithNullPath
from stages.submit.outgoing import Outgoing, submission
from stages.submit.relay import Relay
from stages.submit.retry import RetryPolicy
from stages.submit.route_watch import RouteWatch
from stages.submit.settler import Settler
from stages.submit.supply import Supply
from stages.submit.tallies import must_renew
from stages.submit.verdict import Course, Verdict, judge, sick_route

IDLE_SECONDS = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What the sessions of the process share. `stop_patience` is for replies that are due when we are told to stop."""

    runtime: Runtime
    relay: Relay
    outbox: Outbox
    supply: Supply
    settler: Settler
    watch: RouteWatch
    uniform: Callable[[float, float], float]
    stop_patience: timedelta

    @property
    def policy(self) -> RetryPolicy:
        """When what is postponed is tried again, by the settings of now."""
        submit = self.runtime.settings.submit
        return RetryPolicy(initial=submit.retry_initial, longest=submit.retry_max, lifetime=submit.queue_lifetime)


@dataclass(slots=True, kw_only=True)
class _Taken:
    outgoing: Outgoing
    dot_sent: bool = False


class Session:
    """One session. `is_single`: it sends its first message and no other; without one it only asks for SIZE."""

    def __init__(self, office: Office, *, is_single: bool = False) -> None:
        self._office = office
        self._is_single = is_single
        self._client: SmtpClient | None = None
        self._first: Outgoing | None = None
        self._taken: deque[_Taken] = deque()
        self._has_sent = False
        self._is_over = False
        self._is_hastened = False
        self._is_past = False
        self._is_counted = False
        self._patience: asyncio.Timeout | None = None

    async def run(self, first: Outgoing | None) -> bool:
        """Open, send `first` and whatever else there is, say goodbye; False where the relay did not let us in."""
        self._first = first
        if self._is_single and first is None:
            self._is_over = True
        try:
            client = await self._open()
            if client is None:
                return False
            await self._use(client)
            return True
        finally:
            self._leave_in_order()

    def hasten(self) -> None:
        """Come to an end: nothing more is sent, and the relay has a bounded time to answer."""
        self._is_hastened = self._is_over = True
        if self._patience is not None:
            grace = self._office.stop_patience.total_seconds() if self._taken else 0.0
            self._patience.reschedule(asyncio.get_running_loop().time() + grace)

    def finish(self) -> None:
        """Take no further message, because the relay is another one now; what was sent is answered in its own time.

        What becomes of this session says nothing of the relay any more.
        """
        self._is_past = self._is_over = True
        self._count_out()
        if self._client is None:
            self.hasten()

    async def _open(self) -> SmtpClient | None:
        office = self._office
        try:
            client = await self._patiently(office.relay.open())
        except RouteFailed as error:
            if self._is_past:
                return None
            reason = sick_route(error.phase, error.why, reply=error.reply, advice=error.advice)
            if office.supply.connections and office.watch.flows:
                limited = FewerConnections(connections=office.supply.connections, reason=str(reason))
                await office.runtime.emit([limited])
            else:
                await office.watch.trouble(reason)
            return None
        if client is not None and not self._is_past:
            await office.watch.learn_size(client.extensions.size)
        return client

    async def _use(self, client: SmtpClient) -> None:
        self._client = client
        if not self._is_past:
            self._office.supply.connections += 1
            self._is_counted = True
        try:
            await self._patiently(self._converse(client))
            await client.quit()
        finally:
            self._count_out()
            await client.close()

    def _count_out(self) -> None:
        if self._is_counted:
            self._office.supply.connections -= 1
            self._is_counted = False

    async def _converse(self, client: SmtpClient) -> None:
        while True:
            try:
                await client.submit_many(self._take, self._on_result)
            except Damaged as error:
                self._end(Unreadable(claim=self._taken.popleft().outgoing.claim, what=error.what))
                return
            if self._taken or self._must_end(client):
                return
            if not await self._office.supply.wait_idle(IDLE_SECONDS):
                return

    async def _patiently(self, work: Awaitable[T]) -> T | None:
        """Wait without a limit of our own until we are to hasten; None when the patience for that is over."""
        try:
            async with asyncio.timeout(None) as self._patience:
                if self._is_hastened:
                    self.hasten()
                return await work
        except TimeoutError:
            if self._patience is None or not self._patience.expired():
                raise
            return None
        finally:
            self._patience = None

    def _must_end(self, client: SmtpClient) -> bool:
        smtp = self._office.runtime.settings.smtp
        if self._is_over or not client.is_usable or self._office.supply.connections > smtp.connections:
            return True
        return must_renew(client.errors, max_protocol_errors=smtp.max_protocol_errors)

    def _take(self) -> Submission | None:
        outgoing, self._first = self._first, None
        if outgoing is None:
            if self._client is None or self._must_end(self._client):
                return None
            outgoing = self._office.supply.take(is_fresh=not self._has_sent)
        if outgoing is None:
            return None
        self._has_sent = True
        if self._is_single or breaks_of(outgoing.claim, epoch=self._office.runtime.tenure.epoch).must_be_alone:
            self._is_over = True
        taken = _Taken(outgoing=outgoing)
        self._taken.append(taken)
        return submission(outgoing, self._office.runtime, before_dot=lambda: self._note_dot(taken))

    def _note_dot(self, taken: _Taken) -> None:
        self._office.outbox.dot(taken.outgoing.claim)
        taken.dot_sent = True

    async def _on_result(self, _: Submission, facts: TransactionResult) -> None:
        office = self._office
        outgoing = self._taken.popleft().outgoing
        wanted = office.runtime.settings.validate.invalid_reverse_path
        verdict = judge(facts, refused_reverse_path=wanted)
        events = self._conclude(outgoing, verdict)
        if verdict.course is Course.PAUSE and verdict.reason is not None:
            self._is_over = True
            if not self._is_past:
                await office.watch.trouble(verdict.reason)
        elif facts.mail is not None and not self._is_past:
            await office.watch.works()
        await office.runtime.emit(events)
        await office.settler.room()

    def _conclude(self, outgoing: Outgoing, verdict: Verdict) -> list[Event]:
        """Note the result at once, before anything is awaited; return what else there is to tell."""
        office = self._office
        ended = conclude(
            outgoing.claim, verdict, around=self._circumstances(), policy=office.policy, uniform=office.uniform
        )
        events: list[Event] = []
        match ended:
            case Settlement():
                office.outbox.note(ended)
                if office.watch.count(ended):
                    refusals, why = office.watch.refusals.in_a_row, ended.answers[-1].reason
                    events.append(RefusalsInARow(refusals=refusals, reason=str(why)))
                self._end(ended)
            case GivenBack():
                self._end(ended)
            case Again(reason=reason):
                office.supply.put_back(outgoing.with_null_path() if reason else outgoing)
                if reason:
                    events.append(_null_path(outgoing, reason))
            case _:
                assert_never(ended)
        return events

    def _end(self, ended: Ended) -> None:
        self._office.settler.put(ended)
        self._office.supply.done()

    def _leave_in_order(self) -> None:
        """Leave no message behind: what got its final dot may have arrived, all else was not sent."""
        if self._first is not None:
            self._office.supply.put_back(self._first)
        for taken in reversed(self._taken):
            if taken.dot_sent:
                claim = taken.outgoing.claim
                what = "the session was ended before the reply to the final dot"
                self._end(GivenBack(claim=claim, breaks=claim.breaks, outcome_unknown=True, what=what))
            else:
                self._office.supply.put_back(taken.outgoing)
        self._taken.clear()

    def _circumstances(self) -> Circumstances:
        office = self._office
        return Circumstances(
            now=office.runtime.spool.now(),
            open_clock=office.watch.open_clock(),
            opened_at=office.watch.opened_at,
            acceptances=office.watch.refusals.acceptances,
            epoch=office.runtime.tenure.epoch,
            holds_unknown=office.runtime.settings.submit.ambiguous is Ambiguous.HOLD,
        )


def _null_path(outgoing: Outgoing, reason: Reason) -> SubmittedWithNullPath:
    message = outgoing.claim.message
    return SubmittedWithNullPath(
        queue_id=message.queue_id,
        account=message.account,
        reverse_path=outgoing.envelope.reverse_path,
        reason=str(reason),
    )
