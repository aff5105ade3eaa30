"""What is remembered and told of a poll that is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from spool.accounts import AccountState, Login
from spool.events import Event
from stages.errors import StageError, TryLater
from stages.fetch.aftermath import events_of, next_poll_at, state_after
from stages.fetch.events import AccountRecovered, LoginsRefused, PollFailed, PollSucceeded
from stages.fetch.poll import Poll
from stages.fetch.trouble import HostClosed
from stages.pop3.client import LoginRefused
from tests.support.settings import account
from tests.support.spools import START

REFUSED = LoginRefused("login refused", b"[AUTH] no", code="AUTH")
LOST = TryLater("the connection was lost")
BEFORE = AccountState(name="sales")
LOGIN = Login(at=START)


def poll(error: StageError | None = None, *, admitted: int = 0, login: Login | None = None) -> Poll:
    return Poll(account=account(), began_at=0.0, error=error, admitted=admitted, login=login)


def after(before: AccountState, *errors: StageError | None) -> AccountState:
    """The state after a poll for each of these."""
    for error in errors:
        before = state_after(before, poll(error), now=START)
    return before


def told(over: Poll, *, before: AccountState = BEFORE) -> list[type[Event]]:
    state = state_after(before, over, now=START)
    events = events_of(over, before=before, after=state, seconds=1.0)
    return [type(event) for event in events]


def test_failures_are_counted_until_a_poll_goes_well() -> None:
    failed = after(BEFORE, LOST, REFUSED, LOST)
    assert (failed.failures, failed.last_error, failed.last_success_at) == (3, str(LOST), None)
    mended = after(failed, None)
    assert (mended.failures, mended.refusals, mended.last_error, mended.last_success_at) == (0, 0, None, START)


def test_a_line_that_breaks_between_refusals_says_nothing_about_the_password() -> None:
    assert after(BEFORE, REFUSED, LOST, REFUSED).refusals == 2


def test_a_login_that_succeeds_ends_the_row_of_refusals_whatever_comes_behind_it() -> None:
    broken = poll(LOST, login=LOGIN)
    state = state_after(after(BEFORE, REFUSED, REFUSED), broken, now=START)
    assert (state.refusals, state.failures, state.login) == (0, 3, LOGIN)


def test_a_login_of_an_earlier_poll_is_kept() -> None:
    assert state_after(replace(BEFORE, login=LOGIN), poll(LOST), now=START).login == LOGIN


@pytest.mark.parametrize(
    ("over", "before", "expected"),
    [
        (poll(), BEFORE, []),
        (poll(admitted=3), BEFORE, [PollSucceeded]),
        (poll(), after(BEFORE, LOST), [AccountRecovered]),
        (poll(LOST), BEFORE, [PollFailed]),
        (poll(LOST, admitted=3), BEFORE, [PollSucceeded, PollFailed]),
        (poll(LOST), after(BEFORE, LOST), [PollFailed]),
        (poll(REFUSED), after(BEFORE, LOST), [PollFailed]),
        (poll(REFUSED), after(BEFORE, REFUSED), [PollFailed]),
        (poll(REFUSED), after(BEFORE, REFUSED, REFUSED), [PollFailed, LoginsRefused]),
        (poll(REFUSED), after(BEFORE, REFUSED, REFUSED, REFUSED), [PollFailed]),
        (poll(LOST), after(BEFORE, REFUSED, REFUSED, REFUSED), [PollFailed]),
    ],
)
def test_what_came_of_a_poll_is_told(over: Poll, before: AccountState, expected: list[type[Event]]) -> None:
    assert told(over, before=before) == expected


def due(over: Poll, state: AccountState, *, host_opens_in: timedelta | None = None) -> timedelta:
    opens_at = START + host_opens_in if host_opens_in is not None else None
    return next_poll_at(over, state, now=START, jitter=lambda: 0.0, host_opens_at=opens_at) - START


def test_after_a_good_poll_the_account_is_due_after_its_interval() -> None:
    assert due(poll(), after(BEFORE, None)) == timedelta(minutes=15)


def test_the_login_delay_of_the_server_comes_on_top_of_nothing_and_below_nothing() -> None:
    """RFC 2449 section 6.5: the later of interval and delay."""
    short, long = (replace(LOGIN, delay_seconds=seconds) for seconds in (60, 3600))
    assert due(poll(login=short), BEFORE) == timedelta(minutes=15)
    assert due(poll(login=long), BEFORE) == timedelta(hours=1)
    assert due(poll(LOST, login=long), after(BEFORE, LOST)) == timedelta(hours=1)


def test_an_account_whose_host_is_left_alone_waits_for_the_host() -> None:
    waiting = timedelta(minutes=8)
    assert due(poll(HostClosed("refused")), after(BEFORE, LOST), host_opens_in=waiting) == waiting
    assert due(poll(LOST), after(BEFORE, LOST), host_opens_in=waiting) == timedelta(minutes=1)
