"""A message is blamed for broken sessions only when the route was well without it."""

import pytest

from stages.submit.tallies import Breaks, Refusals, must_renew


def after_breaks(*acceptances: int) -> Breaks:
    breaks = Breaks()
    for accepted in acceptances:
        breaks = breaks.after_break(acceptances=accepted)
    return breaks


def test_three_breaks_with_acceptances_in_between_refuse_the_message() -> None:
    assert after_breaks(0, 1, 2).is_refused


@pytest.mark.parametrize("acceptances", [(), (0,), (0, 1), (5, 9)])
def test_fewer_than_three_breaks_refuse_nothing(acceptances: tuple[int, ...]) -> None:
    assert not after_breaks(*acceptances).is_refused


@pytest.mark.parametrize("acceptances", [(0,) * 50, (3,) * 50, (0, 1, 1, 1, 1)])
def test_breaks_without_acceptances_in_between_refuse_nothing(acceptances: tuple[int, ...]) -> None:
    """The route was sick all the time."""
    assert not after_breaks(*acceptances).is_refused


def test_the_last_try_is_alone() -> None:
    assert [after_breaks(*range(count)).must_be_alone for count in range(4)] == [False, False, True, False]


def test_a_message_goes_last_after_its_first_break() -> None:
    assert [after_breaks(*range(count)).goes_last for count in range(3)] == [False, True, True]


def test_ten_refusals_in_a_row_alarm_once() -> None:
    refusals, alarms = Refusals(), []
    for _ in range(25):
        refusals = refusals.after_refusal()
        alarms.append(refusals.is_alarming)
    assert [number for number, alarm in enumerate(alarms, start=1) if alarm] == [10]


def test_an_acceptance_ends_the_row_and_is_counted() -> None:
    refusals = Refusals()
    for _ in range(9):
        refusals = refusals.after_refusal()
    refusals = refusals.after_acceptance().after_refusal()
    assert (refusals.in_a_row, refusals.acceptances) == (1, 1)


@pytest.mark.parametrize(("errors", "renew"), [(0, False), (3, False), (4, True), (7, True)])
def test_a_session_is_renewed_before_the_relays_limit(errors: int, renew: bool) -> None:
    """Exchange closes at the fifth protocol error."""
    assert must_renew(errors, max_protocol_errors=4) is renew
