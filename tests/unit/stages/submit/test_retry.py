"""Old trouble is asked again ever more seldom, and given up only while the relay was there to be asked."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.submit.retry import Attempt, Expired, RetryPolicy, TryAgain, after_postponement

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POLICY = RetryPolicy(initial=timedelta(minutes=1), longest=timedelta(hours=1), lifetime=timedelta(days=5))


def lowest(low: float, _high: float) -> float:
    return low


def highest(_low: float, high: float) -> float:
    return high


def attempt(
    number: int = 1, *, age: timedelta = timedelta(), reopened_at: datetime | None = NOW - timedelta(hours=1)
) -> Attempt:
    first = timedelta(days=100)
    return Attempt(number=number, made_at=NOW, open_time=first + age, open_time_at_first=first, reopened_at=reopened_at)


@pytest.mark.parametrize(("number", "minutes"), [(1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60), (10**9, 60)])
def test_the_longest_pause_doubles_up_to_retry_max(number: int, minutes: int) -> None:
    decision = after_postponement(attempt(number), POLICY, uniform=highest)
    assert decision == TryAgain(next_attempt_at=NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize("number", [1, 2, 50])
def test_no_pause_is_shorter_than_retry_initial(number: int) -> None:
    """Greylisting servers refuse those who come back too early."""
    decision = after_postponement(attempt(number), POLICY, uniform=lowest)
    assert decision == TryAgain(next_attempt_at=NOW + timedelta(minutes=1))


@given(st.integers(1, 10**6), st.randoms())
def test_every_pause_lies_within_the_configured_bounds(number: int, random: Random) -> None:
    decision = after_postponement(attempt(number), POLICY, uniform=random.uniform)
    assert isinstance(decision, TryAgain)
    assert POLICY.initial <= decision.next_attempt_at - NOW <= POLICY.longest


def test_a_retry_max_below_retry_initial_gives_retry_initial() -> None:
    policy = RetryPolicy(initial=timedelta(hours=2), longest=timedelta(hours=1), lifetime=timedelta(days=5))
    assert after_postponement(attempt(), policy, uniform=highest) == TryAgain(next_attempt_at=NOW + timedelta(hours=2))


def test_a_message_expires_when_the_route_was_open_for_its_lifetime() -> None:
    decision = after_postponement(attempt(9, age=timedelta(days=5)), POLICY, uniform=lowest)
    assert decision == Expired(age=timedelta(days=5))


def test_a_message_does_not_expire_a_moment_before_its_lifetime() -> None:
    age = timedelta(days=5) - timedelta(microseconds=1)
    assert isinstance(after_postponement(attempt(9, age=age), POLICY, uniform=lowest), TryAgain)


def test_an_attempt_from_before_the_route_reopened_expires_nothing() -> None:
    old = attempt(9, age=timedelta(days=9), reopened_at=NOW + timedelta(seconds=1))
    assert isinstance(after_postponement(old, POLICY, uniform=lowest), TryAgain)


def test_an_attempt_made_at_the_moment_of_reopening_may_expire() -> None:
    assert isinstance(
        after_postponement(attempt(9, age=timedelta(days=9), reopened_at=NOW), POLICY, uniform=lowest), Expired
    )


def test_nothing_expires_while_the_route_pauses() -> None:
    paused = attempt(9, age=timedelta(days=9), reopened_at=None)
    assert isinstance(after_postponement(paused, POLICY, uniform=lowest), TryAgain)
