"""When a summary of Badmail is due, and what it tells: once a day at most, whatever clocks and processes do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from spool.errors import StageHeld
from spool.layout import Stage
from spool.locks import begin_tenure
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId
from spool.summaries import SHOWN_AT_MOST, Digest, Summaries
from tests.support.dropping import refused
from tests.support.rebuilding import rebuilt
from tests.support.spools import Clock, letters, make_ready, make_spool

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
OWN = "Summary"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    opened = make_spool(tmp_path, clock=clock)
    yield opened
    opened.close()


@contextmanager
def summaries(spool: Spool) -> Iterator[Summaries]:
    with take_stage(spool, Stage.SUBMIT) as tenure:
        yield Summaries(spool, tenure, is_own=lambda sender, subject: sender == "" and OWN in subject)


def begin(spool: Spool) -> Digest | None:
    """Begin as a process of its own does."""
    with summaries(spool) as one:
        return one.begin()


def tell(spool: Spool) -> Digest | None:
    """The same, and the relay accepts it."""
    with summaries(spool) as one:
        digest = one.begin()
        if digest:
            one.told(digest)
        return digest


def refuse(spool: Spool, count: int, *, prefix: str = "u") -> list[QueueId]:
    return [refused(spool, one) for one in letters(count, prefix=prefix)]


def shown(digest: Digest | None) -> list[QueueId]:
    assert digest is not None
    return [message.queue_id for message in digest.messages]


def test_nothing_in_badmail_is_nothing_to_tell(spool: Spool) -> None:
    make_ready(spool, *letters(2))
    assert begin(spool) is None


def test_what_came_to_badmail_is_told_at_once_where_nothing_was_told_before(spool: Spool) -> None:
    ids = refuse(spool, 3)
    digest = begin(spool)
    assert (set(shown(digest)), digest and set(digest.new), digest and digest.total) == (set(ids), set(ids), 3)


def test_a_try_that_came_to_nothing_is_the_try_of_its_day(spool: Spool, clock: Clock) -> None:
    """Killed after that, or refused by the relay: each life of the process sees the same."""
    refuse(spool, 1)
    assert begin(spool)
    clock.advance(DAY - SECOND)
    assert begin(spool) is None
    clock.advance(SECOND)
    assert begin(spool)


def test_what_was_not_accepted_is_still_new_the_day_after(spool: Spool, clock: Clock) -> None:
    ids = refuse(spool, 2)
    begin(spool)
    clock.advance(DAY)
    assert set(shown(tell(spool))) == set(ids)


def test_what_was_told_is_no_reason_to_tell_again(spool: Spool, clock: Clock) -> None:
    refuse(spool, 2)
    tell(spool)
    clock.advance(30 * DAY)
    assert begin(spool) is None


def test_what_was_told_is_shown_behind_what_is_new(spool: Spool, clock: Clock) -> None:
    old = refuse(spool, 2)
    tell(spool)
    clock.advance(DAY)
    new = refuse(spool, 2, prefix="n")
    digest = tell(spool)
    assert shown(digest) == [*new[::-1], *old[::-1]]
    assert digest is not None
    assert (set(digest.new), digest.total) == (set(new), 4)


def test_what_came_after_the_summary_of_the_day_waits_for_the_next(spool: Spool, clock: Clock) -> None:
    refuse(spool, 1)
    tell(spool)
    (late,) = refuse(spool, 1, prefix="late")
    clock.advance(DAY - SECOND)
    assert begin(spool) is None
    clock.advance(SECOND)
    digest = begin(spool)
    assert digest is not None
    assert digest.new == (late,)


def test_the_list_is_bounded_and_the_counts_are_not(spool: Spool, clock: Clock) -> None:
    refuse(spool, SHOWN_AT_MOST + 3)
    digest = tell(spool)
    assert digest is not None
    assert (len(digest.messages), len(digest.new), digest.total) == (
        SHOWN_AT_MOST,
        SHOWN_AT_MOST + 3,
        SHOWN_AT_MOST + 3,
    )
    clock.advance(DAY)
    assert begin(spool) is None


def test_a_clock_that_was_set_back_hastens_no_summary(spool: Spool, clock: Clock) -> None:
    refuse(spool, 1)
    tell(spool)
    refuse(spool, 1, prefix="n")
    clock.advance(-timedelta(hours=1))
    assert begin(spool) is None
    clock.advance(timedelta(hours=23))
    assert begin(spool) is None


def test_a_clock_that_was_wrong_by_years_costs_a_day_and_no_more(spool: Spool, clock: Clock) -> None:
    clock.advance(3650 * DAY)
    refuse(spool, 1)
    begin(spool)
    clock.advance(-3650 * DAY)
    assert begin(spool) is None
    clock.advance(DAY)
    assert begin(spool)


def test_a_summary_that_came_back_is_no_reason_for_another_one(spool: Spool, clock: Clock) -> None:
    """Where the postmaster's mailbox is one that we fetch, and the relay refuses what we fetched."""
    refused(spool, sender="", subject=f"Fwd: {OWN} of the day")
    assert begin(spool) is None
    (other,) = refuse(spool, 1, prefix="n")
    assert len(shown(tell(spool))) == 2
    clock.advance(DAY)
    assert begin(spool) is None
    assert other


def test_mail_of_a_sender_is_not_taken_for_a_summary(spool: Spool) -> None:
    """Nobody can hide from the postmaster by a Subject."""
    refused(spool, sender="mallory@example.org", subject=OWN)
    assert begin(spool)


def test_a_process_that_lost_the_stage_tells_nothing(spool: Spool) -> None:
    refuse(spool, 1)
    with summaries(spool) as one:
        begin_tenure(spool.index, Stage.SUBMIT, now=spool.now())
        with pytest.raises(StageHeld):
            one.begin()


def test_after_a_rebuild_everything_is_new(spool: Spool) -> None:
    """What was told stood in the index alone."""
    ids = refuse(spool, 2)
    tell(spool)
    with rebuilt(spool) as (after, _):
        assert set(shown(begin(after))) == set(ids)
