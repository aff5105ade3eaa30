"""Run the submit stage in the test's own event loop, against a server of the same loop; make what it works with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink
from spool.ended import Claim
from spool.envelope import NO_UIDL, Needs
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId, new_queue_id
from spool.rows import Message
from spool.states import State
from stages.runner import Mode, Outcome, Runtime
from stages.settings import Settings
from stages.submit.stage import STOP_PATIENCE, SubmitStage
from tests.support.settings import account, default_settings
from tests.support.spools import START, logged, message

PATIENCE_SECONDS = 30.0
ACCEPTS_ALL = SinkRules()


def relay_settings(
    directory: Path, port: int, *, connections: int = 1, timeout: timedelta = timedelta(seconds=10)
) -> Settings:
    """Settings for a relay on loopback, one connection unless told otherwise."""
    settings = default_settings(directory)
    smtp = replace(
        settings.smtp, host="127.0.0.1", port=port, connections=connections, timeout=timeout, final_dot_timeout=timeout
    )
    return replace(settings, smtp=smtp, accounts=(account(),))


@asynccontextmanager
async def submitting(
    spool: Spool, settings: Settings, *, mode: Mode = Mode.RUN, stop_patience: timedelta = STOP_PATIENCE
) -> AsyncIterator[Submitting]:
    """The stage at work; it is told to stop when the block ends, and its end is awaited."""
    with take_stage(spool, Stage.SUBMIT) as tenure:
        runtime = Runtime(settings, spool, tenure=tenure, mode=mode)
        stage = SubmitStage(stop_patience=stop_patience)
        try:
            await runtime.call(lambda: stage.begin(runtime))
            runtime.listen()
            task = asyncio.ensure_future(stage.work(runtime))
            running = Submitting(runtime, task)
            try:
                yield running
                runtime.stopping.set()
                await running.ended()
            finally:
                task.cancel()
                await asyncio.wait({task})
                await runtime.call(lambda: stage.end(runtime))
        finally:
            runtime.close()


class Submitting:
    """A stage at work."""

    def __init__(self, runtime: Runtime, task: asyncio.Task[Outcome]) -> None:
        self.runtime = runtime
        self._task = task

    async def ended(self) -> Outcome:
        """Wait until the work is over."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.shield(self._task)

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until something has become true in the spool, looking again after whatever else there is to do."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.runtime.call(fact):
                if self._task.done():
                    raise AssertionError("the stage ended before that") from self._task.exception()


async def submit_once(spool: Spool, settings: Settings) -> Outcome:
    """Submit until nothing is due."""
    async with submitting(spool, settings, mode=Mode.ONCE) as running:
        return await running.ended()


def once(spool: Spool, rules: SinkRules = ACCEPTS_ALL, *, connections: int = 1) -> tuple[Outcome, SmtpSink]:
    """Submit what is due to a sink."""

    async def run() -> tuple[Outcome, SmtpSink]:
        async with SmtpSink(rules) as sink:
            settings = relay_settings(spool.layout.root, sink.port, connections=connections)
            return await submit_once(spool, settings), sink

    return asyncio.run(run())


@asynccontextmanager
async def to_sink(
    spool: Spool, rules: SinkRules = ACCEPTS_ALL, *, mode: Mode = Mode.RUN
) -> AsyncIterator[tuple[Submitting, SmtpSink]]:
    """The stage at work before a sink."""
    async with SmtpSink(rules) as sink:
        settings = relay_settings(spool.layout.root, sink.port)
        async with submitting(spool, settings, mode=mode) as running:
            yield running, sink


def refusing(part: Part, reply: str, *, marker: bytes = b"") -> SinkRules:
    """Rules that answer so where that part of a transaction has the marker in it."""
    return SinkRules(refusals=(Refusal(part=part, marker=marker, reply=reply),))


def claim(*recipients: str, breaks: Mapping[str, int] | None = None, octets: int = 1) -> Claim:
    """A claim as `Outbox.claim` returns it, of a message that has no bytes."""
    message = Message(
        queue_id=new_queue_id(),
        state=State.READY,
        account="sales",
        uidl=NO_UIDL,
        peer="pop.isp.example [192.0.2.1]",
        octets=octets,
        sha256=b"",
        sender="alice@example.org",
        recipients=recipients or ("sales@corp.example",),
        accepted=(),
        subject="",
        message_id="",
        needs=Needs(),
        reason=None,
        fetched_at=START,
        changed_at=START,
        attempts=0,
        next_attempt_at=None,
        possible_duplicate=False,
        is_claimed=True,
        parent=None,
        replay_id=None,
        replay=None,
        stored=None,
    )
    return Claim(message=message, number=1, breaks=breaks or {}, queued_clock=0, attempt_clock=None)


def messages(spool: Spool, ids: list[QueueId]) -> list[Message]:
    """The rows of these messages."""
    return [message(spool, queue_id) for queue_id in ids]


def event_names(spool: Spool) -> list[str]:
    """The names of all events so far."""
    return [event.name for event in logged(spool)]
