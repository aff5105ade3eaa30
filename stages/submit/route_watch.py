"""Know whether the relay works, and let the others know: the circuit in memory, the route in the spool, the events.

**Invariants:** trouble is noted in the spool only when a probe confirms it; what is noted is in the order in which it
happened; an event tells of each closing and each opening, once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from spool.envelope import Reason
from spool.layout import Stage
from spool.route import Route, RouteState
from spool.settlement import Settlement, Verdict
from stages.runner import Runtime
from stages.submit.circuit import Circuit, Flow
from stages.submit.events import RouteClosed, RouteOpened
from stages.submit.supply import Supply
from stages.submit.tallies import Refusals

SIZE_ASKED_EVERY = timedelta(days=1)
_SIZE_NOTED_EVERY = timedelta(hours=1)


class RouteWatch:
    """The route as the sessions of this process find it; `before` is what the last process noted of it."""

    def __init__(self, runtime: Runtime, supply: Supply, *, before: RouteState) -> None:
        self._runtime = runtime
        self._route = Route(runtime.spool)
        self._circuit = Circuit.unknown(runtime.spool.now())
        self._supply = supply
        self._noted = RouteState(open_clock=before.open_clock)
        self._was_closed = not before.is_open
        self._is_noted_open = False
        self._is_noted_closed = False
        self._size_octets: int | None = None
        self._size_noted_at: datetime | None = None
        self._size_asked_at: datetime | None = None
        self.refusals = Refusals()

    @property
    def flows(self) -> bool:
        """Whether mail flows."""
        return self._circuit.flow is Flow.OPEN

    @property
    def is_sick(self) -> bool:
        """Whether the relay is known not to work."""
        return self._circuit.is_sick

    @property
    def is_probing(self) -> bool:
        """Whether a probe is under way that nothing was heard of yet."""
        return self._circuit.flow is Flow.PROBING

    @property
    def probe_at(self) -> datetime | None:
        """When to probe the relay; None while mail flows or a probe is under way."""
        return self._circuit.probe_at if self._circuit.flow is Flow.PAUSED else None

    @property
    def opened_at(self) -> datetime | None:
        """Since when the route is open, by the clock that messages age by."""
        return self._noted.opened_at

    def may_probe(self) -> bool:
        """Whether it is time to probe the relay."""
        return self._circuit.may_probe(self._runtime.spool.now())

    def paused_for(self) -> timedelta:
        """How long the probe has been due."""
        return self._runtime.spool.now() - self._circuit.probe_at

    def open_clock(self) -> int:
        """How long the route has been open in all, in milliseconds."""
        return self._noted.clock(self._runtime.spool.now())

    def must_ask_size(self) -> bool:
        """Whether it is time to ask for SIZE even with nothing to send; the answer counts as asked."""
        now = self._runtime.spool.now()
        if self._size_asked_at is not None and now - self._size_asked_at < SIZE_ASKED_EVERY:
            return False
        self._size_asked_at = now
        return True

    def begin_probe(self) -> None:
        """The probe is under way."""
        self._circuit = self._circuit.probing()

    def renew(self) -> None:
        """The relay is another one now, of which nothing is known: it is probed at once."""
        self._circuit = Circuit.unknown(self._runtime.spool.now())
        self._size_asked_at = None
        self._supply.flow(flows=False)

    def count(self, settled: Settlement) -> bool:
        """Count an acceptance or a refusal; True when the refusals in a row have become alarming."""
        if settled.having(Verdict.ACCEPTED):
            self.refusals = self.refusals.after_acceptance()
        elif len(settled.having(Verdict.REFUSED)) == len(settled.answers):
            self.refusals = self.refusals.after_refusal()
            return self.refusals.is_alarming
        return False

    async def works(self) -> None:
        """Note that the relay took part in a session."""
        if not self.flows:
            self._circuit = self._circuit.reopened()
            self._supply.flow(flows=self.flows)
        if self._is_noted_open:
            return
        self._is_noted_open = True
        events = [RouteOpened()] if self._was_closed or self._is_noted_closed else []
        self._was_closed = self._is_noted_closed = False
        self._noted = await self._runtime.call(lambda: self._open(events))
        self._runtime.ring(Stage.FETCH)

    async def trouble(self, reason: Reason) -> None:
        """Note that the route failed a session."""
        flowed = self.flows
        self._circuit = self._circuit.paused(self._runtime.spool.now())
        if flowed:
            self._supply.flow(flows=self.flows)
        if not self._circuit.is_sick or str(reason) == self._noted.trouble:
            return
        events = [] if self._was_closed or self._is_noted_closed else [RouteClosed(reason=str(reason))]
        self._is_noted_open, self._is_noted_closed = False, True
        self._noted = await self._runtime.call(lambda: self._close(reason, events))
        self._runtime.ring(Stage.FETCH)

    async def learn_size(self, size_octets: int | None) -> None:
        """Note the SIZE that the relay named; fetch judges by it."""
        now = self._runtime.spool.now()
        self._size_asked_at = now
        is_noted = self._size_noted_at is not None and now - self._size_noted_at < _SIZE_NOTED_EVERY
        if is_noted and size_octets == self._size_octets:
            return
        self._size_octets, self._size_noted_at = size_octets, now
        await self._runtime.call(lambda: self._route.learn_size(size_octets))
        self._runtime.ring(Stage.FETCH)

    async def keep_clock(self) -> None:
        """Write down how long the route has been open so far."""
        if self._is_noted_open:
            self._noted = await self._runtime.call(self._keep)

    def _open(self, events: list[RouteOpened]) -> RouteState:
        self._route.open(events)
        return self._route.state()

    def _close(self, reason: Reason, events: list[RouteClosed]) -> RouteState:
        self._route.close(str(reason), events)
        return self._route.state()

    def _keep(self) -> RouteState:
        self._route.stop_clock()
        self._route.open()
        return self._route.state()
