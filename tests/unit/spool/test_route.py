"""The route: its SIZE, and a clock that runs only while it is open."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from spool.events import SpoolWarning
from spool.opening import Spool
from spool.route import Route, RouteState
from tests.support.spools import START, Clock, logged, make_spool

MINUTE = timedelta(minutes=1)
MS = 60_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Spool:
    return make_spool(tmp_path, clock=clock)


def test_a_route_that_was_never_used_counts_as_open_and_its_clock_stands(spool: Spool, clock: Clock) -> None:
    state = Route(spool).state()
    assert state == RouteState()
    assert state.is_open
    assert state.clock(clock() + MINUTE) == 0


def test_the_clock_runs_while_the_route_is_open(spool: Spool, clock: Clock) -> None:
    route = Route(spool)
    route.open()
    clock.advance(MINUTE)
    assert route.state().clock(clock()) == MS


def test_an_outage_of_the_relay_ages_no_message(spool: Spool, clock: Clock) -> None:
    """Section 9: lifetime runs only while the route is open."""
    route = Route(spool)
    route.open()
    clock.advance(MINUTE)
    route.close("refused")
    clock.advance(timedelta(days=30))
    assert route.state().clock(clock()) == MS
    route.open()
    clock.advance(MINUTE)
    assert route.state().clock(clock()) == 2 * MS


def test_opening_an_open_route_does_not_set_its_clock_back(spool: Spool, clock: Clock) -> None:
    route = Route(spool)
    route.open()
    clock.advance(MINUTE)
    route.open()
    assert route.state().clock(clock()) == MS


def test_a_closed_route_tells_since_when_and_why_until_it_opens(spool: Spool, clock: Clock) -> None:
    route = Route(spool)
    route.close("refused")
    clock.advance(MINUTE)
    route.close("time-out")
    state = route.state()
    assert (state.is_open, state.closed_at, state.trouble) == (False, START, "time-out")
    route.open()
    state = route.state()
    assert (state.is_open, state.closed_at, state.trouble) == (True, None, None)


def test_the_clock_stands_while_submit_does_not_run(spool: Spool, clock: Clock) -> None:
    route = Route(spool)
    route.open()
    clock.advance(MINUTE)
    route.stop_clock()
    clock.advance(timedelta(days=3))
    assert route.state().clock(clock()) == MS
    assert route.state().is_open
    route.open()
    clock.advance(MINUTE)
    assert route.state().clock(clock()) == 2 * MS


def test_a_clock_that_a_killed_process_left_running_does_not_count(spool: Spool, clock: Clock) -> None:
    """Nobody knows until when it ran; a machine that was off for a week expires no mail."""
    Route(spool).open()
    clock.advance(timedelta(days=7))
    before = Route(spool).begin()
    assert (before.opened_at, Route(spool).state().clock(clock())) == (START, 0)


def test_a_clock_of_the_wall_that_goes_back_never_turns_the_route_s_back(spool: Spool, clock: Clock) -> None:
    route = Route(spool)
    route.open()
    clock.advance(-timedelta(days=1))
    assert route.state().clock(clock()) == 0


@pytest.mark.parametrize("size", [10_000_000, None])
def test_the_size_is_known_from_the_moment_it_was_told(spool: Spool, size: int | None) -> None:
    """RFC 1870: a relay may name no limit, which is not the same as not yet asked."""
    Route(spool).learn_size(size)
    state = Route(spool).state()
    assert (state.size_octets, state.size_known_at) == (size, START)


def test_the_size_outlives_the_route_s_troubles(spool: Spool) -> None:
    route = Route(spool)
    route.learn_size(5)
    route.open()
    route.close("refused")
    assert route.state().size_octets == 5


def test_events_are_written_with_the_change_they_tell_of(spool: Spool) -> None:
    Route(spool).open([SpoolWarning(what="open")])
    Route(spool).close("refused", [SpoolWarning(what="closed")])
    assert [event.text for event in logged(spool)] == ["open", "closed"]
