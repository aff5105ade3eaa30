"""Decide when a postponed message is tried again, and when it has been tried long enough.

**Invariants:** pure; clock and randomness come in. A message expires only by an attempt that was postponed since the
route last opened, and its age is time during which the route was open: an outage of the relay, however long, sends
nothing to Badmail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

# 2 ** 40 minutes are longer than any lifetime; the bound keeps the power finite.
_MOST_DOUBLINGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The operator's `retry_initial`, `retry_max` and `queue_lifetime`."""

    initial: timedelta
    longest: timedelta
    lifetime: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """Deferred until then."""

    next_attempt_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Tried for `age` of open route: Badmail."""

    age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that was postponed.

    `number` counts the attempts of this message, this one included. `open_time` and `open_time_at_first` are the
    route's (`Circuit.open_time`) now and when the message was first ready. `reopened_at` is the route's, None while
    it pauses.
    """

    number: int
    made_at: datetime
    open_time: timedelta
    open_time_at_first: timedelta
    reopened_at: datetime | None


def after_postponement(
    attempt: Attempt, policy: RetryPolicy, *, uniform: Callable[[float, float], float]
) -> TryAgain | Expired:
    """Decide about a message that the relay has just postponed; `uniform` is `random.Random.uniform`."""
    age = attempt.open_time - attempt.open_time_at_first
    was_open = attempt.reopened_at is not None and attempt.made_at >= attempt.reopened_at
    if was_open and age >= policy.lifetime:
        return Expired(age=age)
    return TryAgain(next_attempt_at=attempt.made_at + _pause(attempt.number, policy, uniform=uniform))


def _pause(number: int, policy: RetryPolicy, *, uniform: Callable[[float, float], float]) -> timedelta:
    """Draw between the shortest pause and one that doubles with each attempt: full jitter, but never a hasty retry."""
    shortest = policy.initial.total_seconds()
    longest = max(policy.longest.total_seconds(), shortest)
    ceiling = min(shortest * 2 ** min(number, _MOST_DOUBLINGS), longest)
    return timedelta(seconds=uniform(shortest, ceiling))
