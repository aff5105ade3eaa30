"""A sick relay is left alone, asked by one probe at a time, and its absence ages no message."""

from datetime import UTC, datetime, timedelta

from spool.envelope import Reason
from stages.submit.circuit import FIRST_PROBE_AFTER, LONGEST_PROBE_INTERVAL, Circuit, RouteState

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SICK = Reason(stage="submit", text="connect: refused")
SICKER = Reason(stage="submit", text="greeting: 421")


def hours(count: int) -> timedelta:
    return timedelta(hours=count)


def test_a_sick_route_is_probed_only_when_the_interval_is_over() -> None:
    paused = Circuit.opened(NOW).paused(NOW, reason=SICK)
    assert not paused.may_probe(NOW + FIRST_PROBE_AFTER - timedelta(microseconds=1))
    assert paused.may_probe(NOW + FIRST_PROBE_AFTER)


def test_an_open_route_needs_no_probe() -> None:
    assert not Circuit.opened(NOW).may_probe(NOW + hours(1))


def test_there_is_no_second_probe_beside_the_first() -> None:
    probing = Circuit.opened(NOW).paused(NOW, reason=SICK).probing()
    assert not probing.may_probe(NOW + hours(1))


def test_the_interval_doubles_with_each_failed_probe_up_to_the_longest() -> None:
    circuit = Circuit.opened(NOW).paused(NOW, reason=SICK)
    intervals = []
    for _ in range(8):
        intervals.append(circuit.interval)
        circuit = circuit.probing().paused(NOW, reason=SICK)
    assert intervals == [min(FIRST_PROBE_AFTER * 2**power, LONGEST_PROBE_INTERVAL) for power in range(8)]
    assert intervals[-1] == LONGEST_PROBE_INTERVAL


def test_connections_that_fail_together_lengthen_no_interval() -> None:
    """Four connections lose the same relay at once: that is one failure."""
    paused = Circuit.opened(NOW).paused(NOW, reason=SICK)
    assert paused.paused(NOW, reason=SICKER) == paused


def test_a_successful_probe_opens_the_route_and_forgets_the_interval() -> None:
    circuit = Circuit.opened(NOW).paused(NOW, reason=SICK).probing().paused(NOW, reason=SICK).probing()
    reopened = circuit.reopened(NOW + hours(1))
    assert reopened.state is RouteState.OPEN
    assert reopened.paused(NOW + hours(2), reason=SICK).interval == FIRST_PROBE_AFTER


def test_the_pause_keeps_when_it_began_and_tells_the_latest_reason() -> None:
    paused = Circuit.opened(NOW).paused(NOW, reason=SICK).probing().paused(NOW + hours(1), reason=SICKER)
    assert (paused.since, paused.reason) == (NOW, SICKER)


def test_open_time_stands_still_while_the_route_is_not_open() -> None:
    paused = Circuit.opened(NOW).paused(NOW + hours(2), reason=SICK)
    assert paused.open_time(NOW + hours(50)) == hours(2)
    assert paused.probing().open_time(NOW + hours(50)) == hours(2)


def test_open_time_goes_on_where_it_stopped() -> None:
    reopened = Circuit.opened(NOW).paused(NOW + hours(2), reason=SICK).probing().reopened(NOW + hours(50))
    assert reopened.open_time(NOW + hours(51)) == hours(3)


def test_open_time_of_an_earlier_process_counts() -> None:
    assert Circuit.opened(NOW, open_for=hours(7)).open_time(NOW + hours(1)) == hours(8)


def test_a_clock_set_back_takes_no_open_time_away() -> None:
    circuit = Circuit.opened(NOW, open_for=hours(7))
    assert circuit.open_time(NOW - hours(1)) == hours(7)


def test_an_open_route_stays_as_it_is_when_a_session_succeeds() -> None:
    circuit = Circuit.opened(NOW)
    assert circuit.reopened(NOW + hours(1)) == circuit


def test_the_route_tells_since_when_it_is_open_only_while_it_is() -> None:
    circuit = Circuit.opened(NOW)
    assert circuit.reopened_at == NOW
    assert circuit.paused(NOW, reason=SICK).reopened_at is None
