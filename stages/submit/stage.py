"""Submit ready messages to the relay, as the process that holds the submit stage.

    Dispatch: claim, read --> Supply --> Session (1 to `connections`) --> Settler: settle
                   ^                        |
                   +----- RouteWatch <------+      in trouble nothing flows but the probe

**Failures:** `SpoolFailed` ends the stage; what was noted is settled, and what was claimed given back, by its next
start.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from spool.by_hand import finish_by_hand
from spool.claims import Outbox
from spool.layout import Stage
from spool.retention import compact
from spool.route import Route, RouteState
from stages.runner import Mode, Outcome, Runtime
from stages.settings import Ambiguous, Settings, SmtpSettings
from stages.submit.conclusion import breaks_of
from stages.submit.dispatch import Dispatch
from stages.submit.notifier import Notifier
from stages.submit.outgoing import Gateway
from stages.submit.relay import Relay, name_for_helo
from stages.submit.route_watch import RouteWatch
from stages.submit.session import Office
from stages.submit.settler import Settler
from stages.submit.supply import Supply

STOP_PATIENCE = timedelta(seconds=20)


class SubmitStage:
    """The stage; one object for one run. Told to stop, it gives the relay `stop_patience` for its last replies."""

    def __init__(self, *, stop_patience: timedelta = STOP_PATIENCE) -> None:
        self._stop_patience = stop_patience
        self._outbox: Outbox | None = None
        self._before = RouteState()
        self._host_name = ""

    def begin(self, runtime: Runtime) -> None:
        """Settle what an earlier process left, and learn our own name."""
        holds_unknown = runtime.settings.submit.ambiguous is Ambiguous.HOLD
        # What a command noted that died then is the operator's word too.
        finish_by_hand(runtime.spool)
        self._outbox = Outbox(runtime.spool, runtime.tenure, holds_unknown=holds_unknown)
        # His wish may have sent messages back.
        runtime.ring(Stage.VALIDATE)
        compact(runtime.spool, self._outbox.journal, owner=runtime.tenure.stage)
        self._before = Route(runtime.spool).begin()
        self._host_name = socket.getfqdn()

    async def work(self, runtime: Runtime) -> Outcome:
        """Submit until told to stop or, once, until nothing is due; complete where nothing is left."""
        if self._outbox is None:
            raise AssertionError("work before begin")
        office = self._office(runtime, self._outbox)
        accounts = _deliver_to(runtime.settings)
        notifier = self._notifier(runtime, office.relay)
        dispatch = Dispatch(office, Gateway(name=self._host_name, deliver_to=accounts), notifier=notifier)

        def take_over(was: Settings, settings: Settings) -> None:
            accounts.update(_deliver_to(settings))
            office.outbox.holds_unknown = settings.submit.ambiguous is Ambiguous.HOLD
            if settings.submit.notify != was.submit.notify:
                dispatch.notify_by(self._notifier(runtime, office.relay))
            if _way_to(settings.smtp) != _way_to(was.smtp):
                office.relay.renew(settings.smtp)
                dispatch.change_relay(is_elsewhere=_place(settings.smtp) != _place(was.smtp))
            dispatch.call_on_duty()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(office.settler.run())
                listeners = [
                    group.create_task(_hear(runtime, office.supply, take_over=take_over)),
                    group.create_task(_heed(runtime, dispatch)),
                ]
                await dispatch.run()
                await office.settler.flush()
                if notifier and office.watch.flows and _is_at_its_end(runtime):
                    await notifier.notify()
                office.settler.close()
                for listener in listeners:
                    listener.cancel()
        except BaseExceptionGroup as several:
            raise _first(several) from several
        is_left = await runtime.call(self._outbox.next_due_at) is not None
        return Outcome(is_complete=not office.watch.is_sick and not is_left)

    def end(self, runtime: Runtime) -> None:
        """Close the journal; nobody watches the route from now on."""
        Route(runtime.spool).stop_clock()
        if self._outbox is not None:
            self._outbox.close()

    def _notifier(self, runtime: Runtime, relay: Relay) -> Notifier | None:
        recipient = runtime.settings.submit.notify
        if recipient is None:
            return None
        return Notifier(runtime, relay, recipient=recipient, gateway=name_for_helo(self._host_name))

    def _office(self, runtime: Runtime, outbox: Outbox) -> Office:
        supply = Supply(lambda claim: breaks_of(claim, epoch=runtime.tenure.epoch))
        return Office(
            runtime=runtime,
            relay=Relay(runtime.settings.smtp, helo=name_for_helo(self._host_name), dialogue=runtime.verbose_log.relay),
            outbox=outbox,
            supply=supply,
            settler=Settler(runtime, outbox, supply=supply),
            watch=RouteWatch(runtime, supply, before=self._before),
            uniform=random.uniform,
            stop_patience=self._stop_patience,
        )


def _is_at_its_end(runtime: Runtime) -> bool:
    """Whether a round has come to its end by itself; a drain is told when that is."""
    return runtime.mode is Mode.DRAIN or (runtime.mode is Mode.ONCE and not runtime.stopping.is_set())


async def _hear(runtime: Runtime, supply: Supply, *, take_over: Callable[[Settings, Settings], None]) -> None:
    """Look whenever the doorbell rings: for what is due, what the operator has decided, and changed settings."""
    settings = runtime.settings
    while not runtime.stopping.is_set():
        if runtime.settings is not settings:
            was, settings = settings, runtime.settings
            take_over(was, settings)
        await runtime.wait(None)
        supply.ask()


def _deliver_to(settings: Settings) -> dict[str, tuple[str, ...]]:
    return {account.name: account.deliver_to for account in settings.accounts}


def _way_to(smtp: SmtpSettings) -> SmtpSettings:
    """What a session is opened by."""
    return replace(smtp, connections=0, max_protocol_errors=0)


def _place(smtp: SmtpSettings) -> tuple[str, int]:
    return smtp.host, smtp.port


async def _heed(runtime: Runtime, dispatch: Dispatch) -> None:
    await runtime.stopping.wait()
    dispatch.hasten()


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first: the runner's caller knows errors, not groups of them."""
    error = several.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
