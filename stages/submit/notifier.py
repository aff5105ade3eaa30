"""Tell the postmaster what is in Badmail, once a day at most: a summary, submitted in a session of its own.

The summary is no message of the spool. Should the relay refuse it, or the session break, an event says so, and the next
try is the next day's: it cannot end in Badmail, be deferred, or be the reason for another one.

**Invariants:** nothing that becomes of a summary touches the route, a message or a claim; the try is on record before a
connection is opened.
**Failures:** `SpoolFailed`, `StageHeld`; never for what the relay does.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from spool.envelope import Reason
from spool.events import Event
from spool.queue_id import new_queue_id
from spool.summaries import Digest, Summaries
from stages.runner import Runtime
from stages.smtp.commands import Envelope
from stages.smtp.replies import RouteFailed
from stages.smtp.transaction import Submission
from stages.submit.events import SummaryFailed, SummarySubmitted
from stages.submit.relay import Relay
from stages.submit.summary import Letterhead, compose, is_summary
from stages.submit.verdict import STAGE, Accepted, judge, sick_route

LOOK_EVERY = timedelta(minutes=5)
# Less than a final dot deserves: what is told twice is told on another day.
PATIENCE = timedelta(minutes=2)


class Notifier:
    """Summaries to `recipient`; `gateway` is how we introduce ourselves, `patience` is for the whole of a try."""

    def __init__(
        self, runtime: Runtime, relay: Relay, *, recipient: str, gateway: str, patience: timedelta = PATIENCE
    ) -> None:
        self._runtime = runtime
        self._relay = relay
        self._recipient = recipient
        self._gateway = gateway
        self._patience = patience.total_seconds()
        self._summaries = Summaries(runtime.spool, runtime.tenure, is_own=is_summary)
        self._look_at = runtime.spool.now()

    def is_time_to_look(self) -> bool:
        """Whether to call `notify`; what is due is not looked up each time. The answer counts as looked."""
        now = self._runtime.spool.now()
        if self._look_at - LOOK_EVERY <= now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY
        return True

    async def notify(self) -> None:
        """Submit a summary, where one is due."""
        digest = await self._runtime.call(self._summaries.begin)
        if digest is None:
            return
        try:
            async with asyncio.timeout(self._patience):
                said = await self._submit(compose(digest, self._letterhead()))
        except TimeoutError:
            said = Reason(stage=STAGE, text=f"it took longer than {self._patience:g} s")
        match said:
            case Accepted(reply=reply):
                count, to = len(digest.new), self._recipient
                await self._note(digest, SummarySubmitted(recipient=to, messages=count, reply=str(reply)))
            case Reason():
                await self._runtime.emit([SummaryFailed(recipient=self._recipient, reason=str(said))])

    async def _note(self, digest: Digest, event: Event) -> None:
        await self._runtime.call(lambda: self._summaries.told(digest, [event]))

    async def _submit(self, content: bytes) -> Accepted | Reason:
        try:
            client = await self._relay.open()
        except RouteFailed as error:
            return sick_route(error.phase, error.why, reply=error.reply)
        envelope = Envelope(reverse_path="", recipients=(self._recipient,), octets=len(content))
        try:
            # No message of the spool depends on it, so no journal line need precede the final dot.
            facts = await client.submit(Submission(envelope=envelope, content=content, before_dot=lambda: None))
            await client.quit()
        finally:
            await client.close()
        (outcome,) = judge(facts).outcomes
        return outcome if isinstance(outcome, Accepted) else outcome.reason

    def _letterhead(self) -> Letterhead:
        domain = self._runtime.settings.validate.default_domain or self._gateway
        return Letterhead(
            sender=f"postmaster@{domain}",
            recipient=self._recipient,
            gateway=self._gateway,
            message_id=f"{new_queue_id()}@{domain}",
            written_at=self._runtime.spool.now(),
        )
