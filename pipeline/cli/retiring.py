"""`accounts retire`: empty a maildrop, wait for what came from it, prove both, and disable the account.

A running fetch process polls; where none runs, everything is moved through by a drain in this process.

**Invariants:** the account is disabled only after a visit that found an empty maildrop and a look at the index that
found nothing on its way, the one behind the other; else it stays as it was.
**Failures:** `CommandFailed` with what is missing; errors of the spool and of the configuration.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pipeline.cli.account_changing import write_enabled
from pipeline.cli.invocation import Invocation
from pipeline.cli.naming import account_named
from pipeline.cli.output import print_facts, print_json, rfc3339, shown
from pipeline.config import find
from pipeline.config.grammar import duration
from pipeline.endings import CommandFailed
from pipeline.events import AccountRetired
from pipeline.exit_codes import ExitCode
from pipeline.lookout import View, limit_in_force, reading_if_any, remembered, view
from pipeline.privileges import as_owner_of
from pipeline.retirement import POLLS_AT_MOST, Obstacle, counted_since, is_moving, of_maildrop, of_queue
from pipeline.supervisor import note
from spool.accounts import Accounts
from spool.by_account import AccountRecord, record_of
from spool.doorbell import ring
from spool.layout import Stage
from spool.opening import utc_now
from spool.queries import is_running, open_for_reading
from spool.states import State
from stages.fetch.trouble import Trouble, trouble_of
from stages.fetch.visit import visit
from stages.settings import AccountSettings, Settings

_LOOK_SECONDS = 0.2
_PAUSE_SECONDS = 2.0
_FINISHED = (State.SUBMITTED, State.REPLAYED, State.DISCARDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """How far it has come: what the index has, and what is in the way."""

    record: AccountRecord
    obstacles: Sequence[Obstacle]
    at_provider: int


def retire(invocation: Invocation, name: str, *, wait: str, json: bool) -> int:
    """Retire an account, or say what keeps it from that; answers the exit code."""
    settings = invocation.settings()
    account = account_named(settings, name)
    try:
        patience = duration(wait)
    except ValueError as error:
        raise CommandFailed(ExitCode.USAGE, f"--wait: {error}") from None
    file = find(invocation.config, os.environ)
    _require_writable(file)
    work = _Retiring(settings, account, patience=patience)
    with as_owner_of(settings.spool.directory):
        found = work.look() if not account.enabled else work.run()
    is_retired = not found.obstacles
    if is_retired and account.enabled:
        write_enabled(file, name, enabled=False)
        counted = [found.record.states.get(state, 0) for state in (State.SUBMITTED, State.BADMAIL)]
        with as_owner_of(settings.spool.directory):
            note(settings, AccountRetired(account=name, delivered=counted[0], badmail=counted[1]))
    since = counted_since(utc_now(), settings.spool.history)
    if json:
        print_json(_as_json(account, found, since=since))
    else:
        _print(account, found, since=since)
    if not is_retired:
        enables = "" if account.enabled else f"; it is disabled: `pop3connector accounts enable {name}` first"
        raise _not_retired(account, f"{len(found.obstacles)} missing, see above{enables}")
    return ExitCode.OK


def _require_writable(file: Path) -> None:
    """Before hours of polling: whoever may not write the configuration cannot disable an account."""
    place = os.path.dirname(os.path.realpath(file))
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, "the account could not be disabled here: permission denied", place)


def _not_retired(account: AccountSettings, why: str, *, code: ExitCode = ExitCode.TEMPORARY) -> CommandFailed:
    stays = " and stays enabled" if account.enabled else ""
    return CommandFailed(code, f"account {account.name} is not retired{stays}: {why}")


class _Retiring:
    """The work on one account."""

    def __init__(
        self,
        settings: Settings,
        account: AccountSettings,
        *,
        patience: timedelta,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._account = account
        self._patience = patience.total_seconds()
        self._clock = clock
        self._sleep = sleep
        self._until: float | None = None

    def run(self) -> _Found:
        """Poll, wait and look until nothing is in the way, or what is there does not go; raises CommandFailed."""
        fewest, polls = None, 0
        while True:
            by_others = self._fetch_runs()
            trouble = self._ask_for_poll() if by_others else self._drain()
            if by_others:
                self._wait_for_queue()
            found = self.look()
            found = replace(found, obstacles=[*trouble, *found.obstacles])
            polls = 0 if fewest is None or found.at_provider < fewest else polls + 1
            fewest = found.at_provider
            hopes = all(obstacle.may_pass for obstacle in found.obstacles) and (by_others or found.at_provider > 0)
            if not found.obstacles or not hopes or polls >= POLLS_AT_MOST or not self._has_patience():
                return found
            self._sleep(_PAUSE_SECONDS)

    def look(self) -> _Found:
        """Visit the maildrop, then look at the index; raises what ended the visit."""
        self._wait_for_login()
        seen = self._visit()
        record = self._record()
        messages = of_maildrop(seen)
        return _Found(record=record, obstacles=[*messages, *of_queue(record)], at_provider=len(messages))

    def _fetch_runs(self) -> bool:
        with reading_if_any(self._settings.spool.directory) as spool:
            return spool is not None and is_running(spool, Stage.FETCH)

    def _ask_for_poll(self) -> Sequence[Obstacle]:
        """Let the running fetch process empty the maildrop; raises CommandFailed where it could not."""
        spool = open_for_reading(self._settings.spool.directory)
        try:
            accounts = Accounts(spool)
            (request,) = accounts.ask([self._account.name])
            ring(spool, Stage.FETCH)
            while (outcome := accounts.outcome(request)) is None:
                if not is_running(spool, Stage.FETCH):
                    raise CommandFailed(ExitCode.UNAVAILABLE, "the fetch process ended before the poll was done")
                self._sleep(_LOOK_SECONDS)
        finally:
            spool.close()
        if outcome.has_failed:
            raise _not_retired(self._account, outcome.text)
        return ()

    def _drain(self) -> Sequence[Obstacle]:
        """Empty the maildrop and move everything through, with stages of our own; answers what is wrong behind it.

        Whether the maildrop is empty then is for the visit to say. Raises CommandFailed where nobody could poll it, or
        somebody stopped it.
        """
        from pipeline.draining import drain  # noqa: PLC0415 - where stages run none is needed
        from pipeline.process import import_stages  # noqa: PLC0415 - as above

        # The others stay in the configuration: their messages go on as well.
        accounts = tuple(replace(one, enabled=one.name == self._account.name) for one in self._settings.accounts)
        alone = replace(self._settings, accounts=accounts)
        import_stages(alone)
        drained = drain(alone)
        if drained.code not in (ExitCode.OK, ExitCode.TEMPORARY):
            raise _not_retired(self._account, "the stages did not work, see above", code=ExitCode(drained.code))
        of_account = [text for text in drained.troubles if text.startswith(f"account {self._account.name}: ")]
        if of_account:
            raise _not_retired(self._account, of_account[0])
        if drained.was_stopped:
            raise CommandFailed(ExitCode.INTERRUPTED, f"account {self._account.name} is not retired and stays enabled")
        return [Obstacle(text=text, may_pass=True) for text in drained.troubles]

    def _wait_for_queue(self) -> None:
        """Wait until nothing is on its way, as long as there is patience."""
        spool = open_for_reading(self._settings.spool.directory)
        try:
            while is_moving(record_of(spool, self._account.name)) and self._has_patience():
                self._sleep(_LOOK_SECONDS)
        finally:
            spool.close()

    def _wait_for_login(self) -> None:
        """RFC 2449 section 6.5: a visit is a login too."""
        with reading_if_any(self._settings.spool.directory) as spool:
            state = None if spool is None else Accounts(spool).states().get(self._account.name)
        login = state.login if state else None
        if login is None or not login.delay_seconds:
            return
        at = login.at + timedelta(seconds=login.delay_seconds)
        while utc_now() < at:
            if not self._has_patience():
                raise CommandFailed(
                    ExitCode.TEMPORARY,
                    f"the server allows the next login at {rfc3339(at)} (LOGIN-DELAY): wait longer, with --wait",
                )
            self._sleep(_LOOK_SECONDS)

    def _visit(self) -> View:
        fetch = self._settings.fetch
        while True:
            sight = asyncio.run(visit(self._account, fetch))
            if sight.error is None:
                break
            if trouble_of(sight.error) is not Trouble.IN_USE or not self._has_patience():
                raise sight.error
            self._sleep(_PAUSE_SECONDS)
        with reading_if_any(self._settings.spool.directory) as spool:
            limit = limit_in_force(fetch, spool)
            return view(self._account, sight, fetch=fetch, memory=remembered(spool, self._account.name), limit=limit)

    def _record(self) -> AccountRecord:
        with reading_if_any(self._settings.spool.directory) as spool:
            if spool is None:
                return AccountRecord(states={}, fetched=0, first_at=None, last_at=None, unfinished={}, ledger=0)
            return record_of(spool, self._account.name)

    def _has_patience(self) -> bool:
        if self._until is None:
            self._until = self._clock() + self._patience
        return self._clock() < self._until


def _print(account: AccountSettings, found: _Found, *, since: datetime) -> None:
    record = found.record
    retired = "no" if found.obstacles else "yes: disabled, and its maildrop is empty"
    badmail = record.waiting(State.BADMAIL)
    print_facts(
        [
            ("account", account.name),
            ("retired", retired if account.enabled or found.obstacles else f"{retired}, already"),
            ("counted since", f"{rfc3339(since)} (spool.history)"),
            ("fetched", record.fetched),
            ("first message", rfc3339(record.first_at)),
            ("last message", rfc3339(record.last_at)),
            *(
                (state.value, record.states.get(state, 0))
                for state in (State.SUBMITTED, State.REPLAYED, State.DISCARDED)
            ),
            ("in Badmail", len(badmail)),
            ("at the provider", found.at_provider),
        ]
    )
    lines = [*(f"Badmail  {one}" for one in badmail), *(f"missing  {one.text}" for one in found.obstacles)]
    if lines:
        print()
    for line in lines:
        print(shown(line))


def _as_json(account: AccountSettings, found: _Found, *, since: datetime) -> dict[str, object]:
    record = found.record
    return {
        "account": account.name,
        "is_retired": not found.obstacles,
        "since": rfc3339(since),
        "fetched": record.fetched,
        "first_at": rfc3339(record.first_at),
        "last_at": rfc3339(record.last_at),
        **{state.value: record.states.get(state, 0) for state in (State.SUBMITTED, State.REPLAYED, State.DISCARDED)},
        "badmail": list(record.waiting(State.BADMAIL)),
        "remote_messages": found.at_provider,
        "missing": [obstacle.text for obstacle in found.obstacles],
    }
