"""The largest message that may be fetched, and where that limit comes from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from spool.route import RouteState
from stages.fetch.limits import has_answered, limit_of, size_trap
from stages.fetch.plan import Limit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("configured", "route", "expected"),
    [
        (5, RouteState(size_known_at=NOW, size_octets=9999), Limit(octets=5, source="fetch.max_message_size")),
        (None, RouteState(size_known_at=NOW, size_octets=10_000), Limit(octets=5904, source="SIZE of the relay")),
        (None, RouteState(size_known_at=NOW), Limit(octets=None, source="SIZE of the relay")),
        (None, RouteState(size_known_at=NOW, size_octets=100), Limit(octets=0, source="SIZE of the relay")),
        (None, RouteState(), Limit(octets=None, source="the relay was not reached yet", is_known=False)),
    ],
)
def test_the_limit_is_the_configured_one_or_the_relay_s_less_our_header(
    configured: int | None, route: RouteState, expected: Limit
) -> None:
    assert limit_of(configured, route) == expected


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (RouteState(), False),
        (RouteState(size_known_at=NOW), True),
        (RouteState(closed_at=NOW), True),
        (RouteState(size_known_at=NOW - timedelta(days=1)), False),
        (RouteState(size_known_at=NOW - timedelta(days=1), closed_at=NOW), True),
    ],
)
def test_the_relay_has_answered_when_it_did_in_this_run(route: RouteState, expected: bool) -> None:
    assert has_answered(route, since=NOW) is expected


@pytest.mark.parametrize(
    ("configured", "relay", "is_trap"),
    [(None, 10_000, False), (10_000, None, False), (5904, 10_000, False), (5905, 10_000, True), (50_000, 10_000, True)],
)
def test_a_limit_above_what_the_relay_takes_is_warned_of(
    configured: int | None, relay: int | None, is_trap: bool
) -> None:
    """Mail that is deleted at the provider and then refused: the trap of limits that do not know of each other."""
    warning = size_trap(configured, relay)
    assert (warning is not None) is is_trap
    assert warning is None or f"fetch.max_message_size is {configured} octets" in warning
