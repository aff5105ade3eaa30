"""A sick relay is left alone and asked by one probe at a time; a suspicion is checked at once."""

from datetime import UTC, datetime, timedelta

from stages.submit.circuit import FIRST_INTERVAL, LONGEST_INTERVAL, Circuit, Flow

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OPEN = Circuit.unknown(NOW).reopened()


def test_nothing_is_known_of_the_route_before_the_first_probe() -> None:
    circuit = Circuit.unknown(NOW)
    assert circuit.flow is Flow.PAUSED
    assert circuit.may_probe(NOW)


def test_the_first_trouble_is_a_suspicion_that_is_checked_at_once() -> None:
    paused = OPEN.paused(NOW)
    assert paused.flow is Flow.PAUSED
    assert paused.may_probe(NOW)
    assert not paused.is_sick


def test_a_probe_that_fails_shows_that_the_route_is_sick() -> None:
    assert OPEN.paused(NOW).probing().paused(NOW).is_sick


def test_a_sick_route_is_probed_only_when_the_interval_is_over() -> None:
    sick = OPEN.paused(NOW).probing().paused(NOW)
    assert not sick.may_probe(NOW + FIRST_INTERVAL - timedelta(microseconds=1))
    assert sick.may_probe(NOW + FIRST_INTERVAL)


def test_a_clock_set_back_does_not_put_off_the_probe() -> None:
    sick = OPEN.paused(NOW).probing().paused(NOW)
    assert sick.may_probe(NOW - timedelta(hours=1))


def test_an_open_route_needs_no_probe() -> None:
    assert not OPEN.may_probe(NOW + timedelta(hours=1))


def test_there_is_no_second_probe_beside_the_first() -> None:
    assert not OPEN.paused(NOW).probing().may_probe(NOW + timedelta(hours=1))


def test_the_interval_doubles_with_each_failed_probe_up_to_the_longest() -> None:
    circuit = OPEN.paused(NOW)
    intervals = []
    for _ in range(8):
        circuit = circuit.probing().paused(NOW)
        intervals.append(circuit.interval)
    assert intervals == [min(FIRST_INTERVAL * 2**power, LONGEST_INTERVAL) for power in range(8)]
    assert intervals[-1] == LONGEST_INTERVAL


def test_connections_that_fail_together_lengthen_no_interval() -> None:
    """Four connections lose the same relay at once: that is one failure."""
    paused = OPEN.paused(NOW)
    assert paused.paused(NOW + timedelta(seconds=1)) == paused


def test_a_successful_probe_opens_the_route_and_forgets_the_interval() -> None:
    reopened = OPEN.paused(NOW).probing().paused(NOW).probing().reopened()
    assert reopened.flow is Flow.OPEN
    assert not reopened.is_sick
    assert reopened.paused(NOW).may_probe(NOW)
