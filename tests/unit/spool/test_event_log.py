"""The operational log: trouble that lasts is one event with a count, what is about a message never is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import update

from spool import models
from spool.event_log import COMMAND, Event, Level, LoggedEvent, emit, is_heard_again, read_events, was_said
from spool.layout import Stage
from spool.opening import Spool, open_spool, take_stage
from tests.support.spools import START, logged, make_spool

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broke(Event):
    """Something broke."""

    level: ClassVar[Level] = Level.WARNING
    figures: ClassVar[frozenset[str]] = frozenset({"times"})
    ended_by: ClassVar[str] = "Mended"
    says: ClassVar[str] = "{what} broke {times} times"
    what: str = "it"
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended(Event):
    """It works again."""

    says: ClassVar[str] = "works again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits(Event):
    """Something waits: no warning, and yet said again and again."""

    figures: ClassVar[frozenset[str]] = frozenset({"messages"})
    says: ClassVar[str] = "{messages} wait"
    messages: int


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path)


def say(spool: Spool, *events: Event, after: timedelta = timedelta(0)) -> None:
    with spool.index.write() as connection:
        emit(connection, events, now=START + after)


def counts(spool: Spool) -> list[int]:
    return [event.count for event in logged(spool)]


def test_the_same_trouble_ten_thousand_times_is_one_event_with_a_count(spool: Spool) -> None:
    say(spool, *[Broke(account="sales")] * 10_000)
    (event,) = logged(spool)
    assert (event.count, event.at, event.last_at) == (10_000, START, START)


def test_what_is_said_again_is_told_in_its_newest_words(spool: Spool) -> None:
    say(spool, Broke(times=1))
    say(spool, Broke(times=2), after=SECOND)
    (event,) = logged(spool)
    assert (event.at, event.last_at, event.newest_at) == (START, START + SECOND, START + SECOND)
    assert (event.text, event.fields) == ("it broke 2 times", {"what": "it", "times": 2})


@pytest.mark.parametrize("second", [Broke(account="other"), Broke(what="that"), Mended(), Waits(messages=1)])
def test_other_trouble_and_that_of_others_is_an_event_of_its_own(spool: Spool, second: Event) -> None:
    say(spool, Broke(), second)
    assert counts(spool) == [1, 1]


@pytest.mark.parametrize("level", [Level.INFO, Level.WARNING, Level.CRITICAL])
def test_what_names_a_message_is_never_put_together(spool: Spool, level: Level) -> None:
    """I7: no message ends without an event."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Ended(Event):
        """A message ended."""

        says: ClassVar[str] = "ended"

    Ended.level = level
    say(spool, Ended(queue_id="a"), Ended(queue_id="a"), Ended(queue_id="b"))
    assert [event.queue_id for event in logged(spool)] == ["a", "a", "b"]


def test_good_news_is_told_each_time(spool: Spool) -> None:
    say(spool, Mended(), Mended())
    assert counts(spool) == [1, 1]


def test_what_is_no_warning_is_put_together_where_its_figures_say_so(spool: Spool) -> None:
    say(spool, Waits(messages=1), Waits(messages=2))
    assert [event.text for event in logged(spool)] == ["2 wait"]


def test_what_lasts_longer_than_a_day_is_a_new_event(spool: Spool) -> None:
    for after in (timedelta(0), DAY - SECOND, DAY, DAY + SECOND):
        say(spool, Broke(), after=after)
    assert counts(spool) == [2, 2]


def test_what_comes_again_after_it_ended_is_a_new_event(spool: Spool) -> None:
    """Whoever watches a mirror must hear of the second outage of a day."""
    say(spool, Broke(), Broke(), Mended(account="other"), Broke(), Mended(), Broke(), Broke())
    assert counts(spool) == [3, 1, 1, 2]


def test_what_lies_ahead_since_the_clock_was_set_back_is_left_alone(spool: Spool) -> None:
    say(spool, Broke(), after=DAY)
    say(spool, Broke())
    assert counts(spool) == [1, 1]


def test_events_of_a_failed_transaction_are_not_counted(spool: Spool) -> None:
    def fail() -> None:
        with spool.index.write() as connection:
            emit(connection, [Broke()], now=START)
            raise KeyError

    say(spool, Broke())
    with pytest.raises(KeyError):
        fail()
    assert counts(spool) == [1]


def test_an_event_knows_which_process_wrote_it(spool: Spool) -> None:
    say(spool, Broke(what="by a command"))
    with take_stage(spool, Stage.SUBMIT):
        say(spool, Broke(what="by submit"))
    with spool.index.acting_as("run"):
        say(spool, Broke(what="by the supervisor"))
    say(spool, Broke(what="by a command again"))
    told = [event.process for event in logged(spool) if event.name == "Broke"]
    assert told == [COMMAND, "submit", "run", COMMAND]


def test_events_of_an_earlier_version_have_no_process(spool: Spool) -> None:
    say(spool, Broke())
    with spool.index.write() as connection:
        connection.execute(update(models.events).values(process="", topic=None))
    say(spool, Broke())
    assert [(event.process, event.count) for event in logged(spool)] == [("", 1), (COMMAND, 1)]


@pytest.mark.parametrize(
    ("count", "is_heard"), [(1, True), (2, True), (3, False), (10, True), (20, False), (100, True)]
)
def test_who_listens_hears_of_the_second_time_and_of_powers_of_ten(count: int, is_heard: bool) -> None:
    assert is_heard_again(count) is is_heard


def listening(tmp_path: Path) -> tuple[Spool, list[Sequence[LoggedEvent]]]:
    heard: list[Sequence[LoggedEvent]] = []
    return open_spool(tmp_path / "spool", on_events=heard.append), heard


def test_a_listener_hears_of_what_was_committed_with_its_numbers(tmp_path: Path) -> None:
    spool, heard = listening(tmp_path)
    say(spool, Mended(account="a"), Broke(), Mended(account="b"))
    (events,) = heard
    assert list(events) == list(logged(spool))
    assert [event.event for event in events] == [1, 2, 3]


def test_a_listener_hears_nothing_of_a_transaction_that_failed(tmp_path: Path) -> None:
    spool, heard = listening(tmp_path)

    def fail() -> None:
        with spool.index.write() as connection:
            emit(connection, [Broke()], now=START)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert heard == []


def test_the_listener_is_called_when_the_commit_is_done(tmp_path: Path) -> None:
    """What it hears of can be read by others."""
    seen: list[int] = []
    path = tmp_path / "spool"

    def look(events: Sequence[LoggedEvent]) -> None:
        other = open_spool(path)
        seen.append(len(logged(other)))
        other.close()

    say(open_spool(path, on_events=look), Broke())
    assert seen == [1]


def test_a_listener_hears_of_a_repetition_now_and_then(tmp_path: Path) -> None:
    spool, heard = listening(tmp_path)
    say(spool, *[Broke()] * 100)
    assert [event.count for events in heard for event in events] == [1, 2, 10, 100]


def read(spool: Spool, **wanted: object) -> list[str]:
    with spool.index.read() as connection:
        return [event.text for event in read_events(connection, **wanted)]  # type: ignore[arg-type]


def test_what_was_said_again_stands_where_it_was_said_last(spool: Spool) -> None:
    say(spool, Broke(what="a"))
    say(spool, Broke(what="b"), after=SECOND)
    say(spool, Broke(what="a"), after=2 * SECOND)
    assert read(spool) == ["b broke 1 times", "a broke 1 times"]
    assert read(spool, last=1) == ["a broke 1 times"]


def test_since_counts_what_was_said_again_since(spool: Spool) -> None:
    say(spool, Broke(what="a"), Broke(what="b"))
    say(spool, Broke(what="a"), after=2 * SECOND)
    assert read(spool, since=START + SECOND) == ["a broke 1 times"]
    assert read(spool, said_again_since=START) == ["a broke 1 times"]
    assert len(read(spool, since=START)) == 2


def test_events_are_read_by_their_names(spool: Spool) -> None:
    say(spool, Broke(), Mended(), Waits(messages=1))
    assert read(spool, names=["Mended", "Waits"]) == ["works again", "1 wait"]


@pytest.mark.parametrize(
    ("since", "until", "was"),
    [
        (START - SECOND, START, True),
        (START, START + 9 * SECOND, True),
        (START + 9 * SECOND, START + 20 * SECOND, False),
        (START - 2 * SECOND, START - SECOND, False),
    ],
)
def test_the_log_is_asked_whether_something_was_said(spool: Spool, since: object, until: object, was: bool) -> None:
    say(spool, Broke(account="sales"))
    if was and until != START:
        say(spool, Broke(account="sales"), after=5 * SECOND)
    with spool.index.read() as connection:
        said = [
            was_said(connection, Broke, account=name, since=since, until=until)  # type: ignore[arg-type]
            for name in ("sales", "other")
        ]
    assert said == [was, False]
