"""When an account is polled again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stages.fetch.pacing import Failing, Hosts, delay_after, is_due
from stages.fetch.trouble import Trouble
from tests.support.spools import START

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
QUARTER = 15 * MINUTE


def nought() -> float:
    return 0.0


def delays(
    trouble: Trouble, *, interval: timedelta = QUARTER, login_delay: timedelta | None = None, times: int = 9
) -> list[timedelta]:
    """The delays of so many troubles in a row."""
    return [
        delay_after(
            Failing(trouble=trouble, failures=number, refusals=number),
            interval=interval,
            login_delay=login_delay,
            jitter=nought,
        )
        for number in range(1, times + 1)
    ]


@pytest.mark.parametrize("trouble", [Trouble.UNREACHABLE, Trouble.IN_USE, Trouble.TEMPORARY])
def test_what_may_pass_is_tried_again_after_a_minute_and_then_less_and_less_often(trouble: Trouble) -> None:
    """A short outage is over before the interval is; a long one is not hammered."""
    assert delays(trouble) == [MINUTE * minutes for minutes in (1, 2, 4, 8, 16, 32, 60, 60, 60)]


def test_a_refused_login_is_repeated_rarely_and_for_ever() -> None:
    """Providers lock accounts, and those that throttle call a right password wrong."""
    assert delays(Trouble.LOGIN_REFUSED, interval=5 * MINUTE, times=7) == [
        QUARTER,
        HOUR,
        4 * HOUR,
        12 * HOUR,
        24 * HOUR,
        24 * HOUR,
        24 * HOUR,
    ]


def test_a_permanent_fault_of_the_server_is_tried_again_within_hours() -> None:
    found = delays(Trouble.PERMANENT, times=12)
    assert (found[0], found[-1]) == (QUARTER, 6 * HOUR)


def test_a_server_that_wants_more_time_gets_at_least_the_interval() -> None:
    assert delays(Trouble.TOO_SOON)[:6] == [QUARTER] * 4 + [16 * MINUTE, 32 * MINUTE]


def test_what_only_the_operator_can_mend_is_looked_at_every_interval() -> None:
    assert set(delays(Trouble.CONFIGURATION)) == {QUARTER}


@pytest.mark.parametrize("trouble", [trouble for trouble in Trouble if trouble is not Trouble.CONFIGURATION])
def test_no_trouble_is_tried_again_before_the_login_delay_is_over(trouble: Trouble) -> None:
    """RFC 2449 section 6.5."""
    assert min(delays(trouble, login_delay=20 * MINUTE)) == 20 * MINUTE


def test_accounts_that_failed_together_do_not_come_back_together() -> None:
    failing = Failing(trouble=Trouble.TEMPORARY, failures=1, refusals=0)
    late = delay_after(failing, interval=QUARTER, login_delay=None, jitter=lambda: 1.0)
    assert late == timedelta(seconds=66)


def test_a_long_row_of_failures_overflows_nothing() -> None:
    failing = Failing(trouble=Trouble.TEMPORARY, failures=10**9, refusals=10**9)
    assert delay_after(failing, interval=QUARTER, login_delay=None, jitter=nought) == HOUR


def test_something_is_due_when_its_time_has_come_or_lies_impossibly_far_ahead() -> None:
    """A clock that was a year ahead must not keep an account waiting for a year."""
    assert [is_due(START + ahead, START) for ahead in (-HOUR, timedelta(0), HOUR, timedelta(days=365))] == [
        True,
        True,
        False,
        True,
    ]


def test_a_host_that_was_not_reached_is_left_alone_for_a_while_and_no_other() -> None:
    hosts = Hosts(jitter=nought)
    hosts.failed("a", "refused", now=START)
    assert hosts.why_closed("a", START + 59 * timedelta(seconds=1)) == "refused"
    assert hosts.why_closed("a", START + MINUTE) is None
    assert hosts.why_closed("b", START) is None
    assert hosts.opens_at("a") == START + MINUTE


def test_those_that_tried_at_once_count_as_one_failure() -> None:
    hosts = Hosts(jitter=nought)
    for _ in range(4):
        hosts.failed("a", "refused", now=START)
    assert hosts.opens_at("a") == START + MINUTE
    hosts.failed("a", "refused", now=START + MINUTE)
    assert hosts.opens_at("a") == START + 3 * MINUTE


def test_a_host_that_was_reached_is_open_and_its_failures_are_forgotten() -> None:
    hosts = Hosts(jitter=nought)
    hosts.failed("a", "refused", now=START)
    hosts.reached("a")
    assert hosts.opens_at("a") is None
    hosts.failed("a", "refused", now=START)
    assert hosts.opens_at("a") == START + MINUTE
