"""The validate stage: give each staged message its envelope, or send it to Badmail.

Up to 256 messages at a time are read, decided on and settled in one transaction, in the spool's thread; then submit is
rung.

**Invariants:** one malformed or damaged message costs only itself; none is left behind: each that was looked at is
ready, in Badmail or damaged when its batch is settled.
**Failures:** `SpoolFailed` and `StageHeld` end the stage; the batch in hand is then staged as before.
"""

from __future__ import annotations

import socket
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate

from spool.by_hand import finish_by_hand
from spool.envelope import Reason
from spool.errors import Damaged, SpoolError
from spool.events import Event
from spool.layout import Stage
from spool.locks import Tenure
from spool.opening import Spool
from spool.retention import compact
from spool.route import Route
from spool.rows import Message
from spool.safe_text import safe_text
from spool.staging import Finding, Staging, Unreadable
from stages.runner import Mode, Outcome, Runtime
from stages.settings import Settings
from stages.validate.events import ExaminationFailed
from stages.validate.examination import Rules, examine, rejected

BATCH_MESSAGES = 256
BATCH_OCTETS = 64 * 1024 * 1024
# A ring can be lost; this is how long that may hold a message back.
LOOK_SECONDS = 30.0
# Each process by itself learns of a changed configuration, within seconds of the others.
PATIENCE = timedelta(minutes=1)
TIDY_EVERY = timedelta(hours=1)
_MAX_TRACEBACK = 2_000


class ValidateStage:
    """Works on staged messages until there are none; woken by fetch and pickup."""

    def __init__(self) -> None:
        self._open: Examiner | None = None

    def begin(self, runtime: Runtime) -> None:
        """Finish what an earlier holder began."""
        rules = _rules(runtime.settings, gateway=socket.getfqdn())
        # Only a stage that runs on will hear of an account that fetch has heard of first.
        patience = PATIENCE if runtime.mode is Mode.RUN else timedelta(0)
        self._open = Examiner(runtime.spool, runtime.tenure, rules=rules, patience=patience)

    async def work(self, runtime: Runtime) -> Outcome:
        """Validate what is staged and wait for more; with `--once` until nothing is staged."""
        examiner, settings = self._examiner, runtime.settings
        while not runtime.stopping.is_set():
            if runtime.settings is not settings:
                settings = runtime.settings
                examiner.rules = _renewed(examiner.rules, settings)
            if await runtime.call(examiner.settle_batch):
                runtime.ring(Stage.SUBMIT)
            elif runtime.mode is Mode.ONCE:
                break
            else:
                await runtime.wait(LOOK_SECONDS)
        return Outcome(is_complete=True)

    def end(self, runtime: Runtime) -> None:
        """Close the journal."""
        self._examiner.close()

    @property
    def _examiner(self) -> Examiner:
        if self._open is None:
            raise AssertionError("the stage has not begun")
        return self._open


class Examiner:
    """Takes staged messages batch by batch; for the spool's thread. `rules` may be replaced between two batches.

    A message of an account that they do not know is let lie for `patience` after it was fetched.
    """

    def __init__(self, spool: Spool, tenure: Tenure, *, rules: Rules, patience: timedelta = timedelta(0)) -> None:
        """Finish what an earlier holder of the stage began; raises SpoolFailed."""
        self.rules = rules
        self._patience = patience
        self._spool = spool
        self._staging = Staging(spool, tenure)
        self._tidy_at = spool.now()

    def settle_batch(self) -> int:
        """Examine and settle the oldest staged messages; answers how many there were. Raises SpoolFailed."""
        self._tidy_if_due()
        waiting = [one for one in self._staging.waiting(BATCH_MESSAGES) if not self._is_early(one)]
        batch = up_to(waiting, BATCH_OCTETS)
        findings: list[Finding] = []
        events: list[Event] = []
        for message in batch:
            finding, told = self._examine(message)
            findings.append(finding)
            events += told
        if findings:
            clock = Route(self._spool).state().clock(self._spool.now())
            self._staging.settle(findings, queued_clock=clock, extra=events)
        return len(findings)

    def close(self) -> None:
        """Give the journal back."""
        self._staging.close()

    def _is_early(self, message: Message) -> bool:
        """Whether the account of a message was added, and this process was not told yet."""
        is_young = abs(self._spool.now() - message.fetched_at) < self._patience
        return is_young and not message.recipients and message.account not in self.rules.accounts

    def _examine(self, message: Message) -> tuple[Finding, Sequence[Event]]:
        try:
            examined = examine(self._spool, message, rules=self.rules)
        except Damaged as error:
            return Unreadable(message=message, what=error.what), ()
        except SpoolError:
            raise
        except Exception as error:  # noqa: BLE001 - quarantine: our own fault must cost this message alone
            return _quarantined(message, error)
        return examined.finding, examined.events

    def _tidy_if_due(self) -> None:
        now = self._spool.now()
        if now >= self._tidy_at:
            # A release that was noted by a command which died then is work for this stage.
            finish_by_hand(self._spool)
            compact(self._spool, self._staging.journal, owner=Stage.VALIDATE)
            self._tidy_at = now + TIDY_EVERY


def _rules(settings: Settings, *, gateway: str) -> Rules:
    accounts = {account.name: account for account in settings.accounts}
    return Rules(settings=settings.validate, accounts=accounts, gateway=gateway)


def _renewed(rules: Rules, settings: Settings) -> Rules:
    """The rules of changed settings; what an account that was removed has left here still goes to whom it was for."""
    new = _rules(settings, gateway=rules.gateway)
    return replace(new, accounts={**rules.accounts, **new.accounts})


def up_to(messages: Sequence[Message], octets: int) -> Sequence[Message]:
    """The first messages that have so many octets together; one at least, so that none is too large to be looked at."""
    totals = accumulate(message.octets for message in messages)
    count = sum(total <= octets for total in totals)
    return messages[: max(count, 1)]


def _quarantined(message: Message, error: Exception) -> tuple[Finding, Sequence[Event]]:
    said = safe_text(f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
    text = "".join(traceback.format_exception(error))
    event = ExaminationFailed(
        queue_id=message.queue_id, account=message.account, error=said, traceback=text[-_MAX_TRACEBACK:]
    )
    return rejected(message, Reason(stage="validate", text=f"could not be examined: {said}")), (event,)
