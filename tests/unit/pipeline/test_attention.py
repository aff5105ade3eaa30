"""What needs somebody, and how badly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.attention import Gravity, Limit, Thresholds, attention
from pipeline.health import AccountHealth, Health, Limits
from spool.accounts import Left, Why
from spool.envelope import Uidl
from spool.layout import Stage
from spool.queries import StageRecord, StateTotal
from spool.route import RouteState
from spool.states import State
from tests.support.spools import START

HOUR = timedelta(hours=1)
NOW = START + timedelta(days=10)


SALES = AccountHealth(
    name="sales",
    is_enabled=True,
    last_success_at=NOW,
    last_error=None,
    failures=0,
    next_poll_at=None,
    remote_messages=0,
    oversize=0,
    left=(),
    interval=HOUR,
)


def stages(*, stopped: tuple[Stage, ...] = (), since: timedelta = HOUR) -> list[StageRecord]:
    return [
        StageRecord(stage=stage, is_running=stage not in stopped, pid=1, started_at=NOW - since, stopped_at=None)
        for stage in Stage
    ]


WELL = Health(
    stages=stages(),
    accounts=[SALES],
    queue={state: StateTotal(state=state) for state in State},
    route=RouteState(),
    limits=Limits(max_message_octets=None, says_who="", warning=None, min_free_octets=100, free_octets=10**9),
    ignored_in_pickup=0,
)


def queue(state: State, messages: int, *, age: timedelta = timedelta(0)) -> Health:
    total = StateTotal(state=state, messages=messages, oldest_at=NOW - age)
    return replace(WELL, queue={**WELL.queue, state: total})


def told(found: Health, thresholds: Thresholds | None = None) -> list[tuple[Gravity, str]]:
    matters = attention(found, now=NOW, thresholds=thresholds or Thresholds())
    assert all(matter.mend for matter in matters)
    return [(matter.gravity, matter.what) for matter in matters]


def test_where_all_is_well_nothing_is_said() -> None:
    assert told(WELL) == []


@pytest.mark.parametrize(
    ("found", "gravity", "said"),
    [
        (replace(WELL, stages=stages(stopped=tuple(Stage))), Gravity.CRITICAL, "no stage is running"),
        (replace(WELL, stages=stages(stopped=(Stage.SUBMIT,))), Gravity.CRITICAL, "submit is not running"),
        (replace(WELL, limits=replace(WELL.limits, free_octets=150)), Gravity.WARNING, "150 B are free"),
        (replace(WELL, limits=replace(WELL.limits, free_octets=99)), Gravity.CRITICAL, "and fetch stops"),
        (replace(WELL, limits=replace(WELL.limits, warning="a trap")), Gravity.NOTICE, "a trap"),
        (
            replace(WELL, route=RouteState(closed_at=NOW - HOUR / 2, trouble="refused")),
            Gravity.WARNING,
            "the relay cannot be used since 30 min: refused",
        ),
        (
            replace(WELL, route=RouteState(closed_at=NOW - 2 * HOUR, trouble="refused")),
            Gravity.CRITICAL,
            "the relay cannot be used since 2 h: refused",
        ),
        (queue(State.DAMAGED, 2), Gravity.CRITICAL, "2 damaged"),
        (queue(State.HELD, 3, age=9 * HOUR), Gravity.WARNING, "3 held"),
        (queue(State.DEFERRED, 1, age=2 * HOUR), Gravity.WARNING, "the oldest queued message is 2 h old"),
        (queue(State.READY, 1, age=50 * HOUR), Gravity.CRITICAL, "the oldest queued message is 2 d old"),
        (queue(State.BADMAIL, 100), Gravity.WARNING, "100 refused messages in Badmail"),
        (queue(State.BADMAIL, 1000), Gravity.CRITICAL, "1000 refused messages in Badmail"),
        (replace(WELL, ignored_in_pickup=4), Gravity.NOTICE, "4 in Pickup left alone"),
    ],
)
def test_each_matter_has_its_gravity(found: Health, gravity: Gravity, said: str) -> None:
    ((seen, what),) = told(found)
    assert seen is gravity
    assert said in what


@pytest.mark.parametrize(
    ("sales", "gravity", "said"),
    [
        (replace(SALES, last_success_at=NOW - 3 * HOUR), Gravity.WARNING, "sales: no successful poll for 3 h"),
        (
            replace(SALES, last_success_at=NOW - 12 * HOUR, last_error="no"),
            Gravity.CRITICAL,
            "no successful poll for 12 h: no",
        ),
        (replace(SALES, failures=1, last_error="cut"), Gravity.NOTICE, "sales: the last poll failed: cut"),
        (replace(SALES, failures=2), Gravity.NOTICE, "sales: 2 polls failed"),
        (
            replace(SALES, left=(Left(uidl=Uidl(b"u"), octets=1, why=Why.OVERSIZE),)),
            Gravity.NOTICE,
            "1 left at the provider",
        ),
    ],
)
def test_an_account_is_judged_by_its_own_interval(sales: AccountHealth, gravity: Gravity, said: str) -> None:
    ((seen, what),) = told(replace(WELL, accounts=[sales]))
    assert seen is gravity
    assert said in what


def test_an_account_that_never_had_a_success_is_judged_since_fetch_runs() -> None:
    new = replace(SALES, last_success_at=None)
    assert told(replace(WELL, accounts=[new])) == []
    ((gravity, _),) = told(replace(WELL, accounts=[new], stages=stages(since=5 * HOUR)))
    assert gravity is Gravity.WARNING


def test_a_disabled_account_is_nobodys_trouble() -> None:
    assert told(replace(WELL, accounts=[replace(SALES, is_enabled=False, last_success_at=START, failures=9)])) == []


def test_the_worst_comes_first() -> None:
    found = replace(queue(State.BADMAIL, 100), ignored_in_pickup=1, stages=stages(stopped=(Stage.FETCH,)))
    assert [gravity for gravity, _ in told(found)] == [Gravity.CRITICAL, Gravity.WARNING, Gravity.NOTICE]


def test_thresholds_are_the_operators() -> None:
    strict = Thresholds(
        last_success=Limit(warning=1, critical=10**9),
        queued=Limit(warning=60, critical=120),
        badmail=Limit(warning=1, critical=2),
        free=Limit(warning=10**10, critical=1),
    )
    found = replace(queue(State.BADMAIL, 1), accounts=[replace(SALES, last_success_at=NOW - HOUR)])
    assert [gravity for gravity, _ in told(found, strict)] == [Gravity.WARNING] * 3
    assert told(queue(State.READY, 1, age=HOUR), strict)[0][0] is Gravity.CRITICAL
