"""What is remembered and told of a poll that is over, and when the account is due again: pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from spool.accounts import AccountState
from spool.events import Event
from spool.message_file import timestamp
from stages.fetch.events import AccountRecovered, LoginsRefused, PollFailed, PollSucceeded
from stages.fetch.pacing import Failing, delay_after
from stages.fetch.poll import Poll
from stages.fetch.trouble import Trouble, trouble_of

# From so many on it is more likely the password than a server that throttles.
REFUSALS_THAT_TELL = 3


def next_poll_at(
    poll: Poll, state: AccountState, *, now: datetime, jitter: Callable[[], float], host_opens_at: datetime | None
) -> datetime:
    """When an account is due again; `state` is the one after this poll."""
    interval = poll.account.interval
    earliest = poll.may_log_in_at or now
    if poll.error is None:
        return max(now + interval, earliest)
    trouble = trouble_of(poll.error)
    if trouble is Trouble.UNREACHABLE and host_opens_at is not None:
        return host_opens_at
    delay = timedelta(seconds=poll.login.delay_seconds) if poll.login and poll.login.delay_seconds else None
    failing = Failing(trouble=trouble, failures=state.failures, refusals=state.refusals)
    return max(now + delay_after(failing, interval=interval, login_delay=delay, jitter=jitter), earliest)


def state_after(state: AccountState, poll: Poll, *, now: datetime) -> AccountState:
    """The account's state when a poll is over, but for the time of the next one."""
    has_logged_in = poll.login is not None and poll.login != state.login
    state = replace(state, last_attempt_at=now, login=poll.login or state.login)
    if poll.error is None:
        return replace(state, last_success_at=now, last_error=None, failures=0, refusals=0)
    # A line that broke says nothing about the password; a login that succeeded does.
    is_refused = trouble_of(poll.error) is Trouble.LOGIN_REFUSED
    refusals = state.refusals + 1 if is_refused else 0 if has_logged_in else state.refusals
    return replace(state, last_error=str(poll.error), failures=state.failures + 1, refusals=refusals)


def events_of(poll: Poll, *, before: AccountState, after: AccountState, seconds: float) -> list[Event]:
    """What is to be told of a poll that is over."""
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
    if poll.error is None:
        if before.failures:
            events.append(AccountRecovered(account=name, failures=before.failures))
        return events
    error = str(poll.error)
    events.append(PollFailed(account=name, error=error))
    if after.refusals == REFUSALS_THAT_TELL > before.refusals:
        next_at = timestamp(after.next_poll_at) if after.next_poll_at else "now"
        events.append(LoginsRefused(account=name, refusals=after.refusals, next_poll_at=next_at, error=error))
    return events
