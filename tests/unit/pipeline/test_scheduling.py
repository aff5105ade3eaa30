"""When a stage that died is started again."""

from __future__ import annotations

import signal

import pytest

from pipeline.scheduling import GiveUp, History, StartAgain, after_death, exit_code_for, how_it_ended


def delays(deaths: int, *, lived_seconds: float = 0.5) -> list[float]:
    history, seconds = History(), []
    for _ in range(deaths):
        decision = after_death(-signal.SIGKILL, lived_seconds, history=history)
        assert isinstance(decision, StartAgain)
        history = decision.history
        seconds.append(decision.seconds)
    return seconds


def test_the_delay_doubles_from_one_second_to_a_minute() -> None:
    assert delays(9) == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_stage_that_lived_for_a_while_starts_again_at_once() -> None:
    assert delays(3, lived_seconds=3600) == [1, 1, 1]


@pytest.mark.parametrize("code", [74, 75, 77, 78])
def test_what_only_somebody_can_mend_ends_the_run_at_its_start(code: int) -> None:
    """Configuration, permission, index, disk, another holder: starting again would say the same for ever."""
    assert after_death(code, 0.3, history=History()) == GiveUp(code=code)


@pytest.mark.parametrize("code", [74, 75, 77, 78])
def test_the_same_in_the_middle_of_a_run_is_tried_again(code: int) -> None:
    """A disk that was full for a minute must not end a service that ran for a year."""
    assert isinstance(after_death(code, 11, history=History()), StartAgain)
    assert isinstance(after_death(code, 0.3, history=History(has_settled=True)), StartAgain)


@pytest.mark.parametrize("code", [0, 70, -9, -15])
def test_a_bug_or_a_signal_never_ends_the_run(code: int) -> None:
    assert isinstance(after_death(code, 0.1, history=History()), StartAgain)


def test_a_death_is_told_by_code_or_signal() -> None:
    assert [how_it_ended(code) for code in (70, -9, -250)] == ["exit code 70", "SIGKILL", "signal 250"]


def test_a_signal_is_passed_on_as_a_failure_of_the_software() -> None:
    assert [exit_code_for(code) for code in (0, 74, -9)] == [0, 74, 70]
