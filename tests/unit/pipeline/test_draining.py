"""The drain over four stage processes: what it waits for, and what it ends with.

What the fake stages do to the spool is real; they are told nothing and look for what they wait for.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.draining import LOOK_SECONDS, drain
from spool import queries
from spool.admission import Admission
from spool.claims import Outbox
from spool.envelope import Reason
from spool.errors import StageHeld
from spool.layout import Layout, Stage
from spool.locks import hold
from spool.opening import Spool, open_spool
from spool.queries import open_for_reading
from spool.route import Route
from spool.settlement import Answer, Verdict, settlement
from spool.staging import Staging
from stages.runner import Outcome, Runtime
from stages.settings import Settings
from tests.support.fake_stages import FakeMain
from tests.support.processes import WaitedTooLong, wait_until
from tests.support.settings import default_settings
from tests.support.spools import admit, arrival, letters, make_ready, passed

DONE = Outcome(is_complete=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return default_settings(tmp_path / "spool")


@pytest.fixture
def spool(settings: Settings) -> Iterator[Spool]:
    """The spool of the drain; closed before a test drains, because nothing may be open at a fork."""
    opened = open_spool(settings.spool.directory)
    yield opened
    opened.close()


def work_left(settings: Settings) -> queries.Work:
    opened = open_for_reading(settings.spool.directory)
    try:
        return queries.work(opened)
    finally:
        opened.close()


def lives(settings: Settings) -> int:
    """Count this life of the calling process."""
    book = settings.spool.directory / "lives"
    with book.open("a") as file:
        file.write(".")
    return len(book.read_text())


def pass_all(runtime: Runtime) -> Outcome:
    """What validate does, once."""
    staging = Staging(runtime.spool, runtime.tenure)
    wait_until(lambda: staging.waiting(1), "a staged message")
    staging.settle([passed(message) for message in staging.waiting(100)])
    staging.close()
    return DONE


def settle_all(runtime: Runtime, verdict: Verdict = Verdict.ACCEPTED) -> Outcome:
    """What submit does, once."""
    outbox = Outbox(runtime.spool, runtime.tenure)
    wait_until(lambda: queries.work(runtime.spool).movable, "a message to submit")
    later = runtime.spool.now() + timedelta(hours=1) if verdict is Verdict.POSTPONED else None
    for claim in outbox.claim(100):
        reason = Reason(stage="submit", text="said the test")
        answers = [Answer(recipient=one, verdict=verdict, reason=reason) for one in claim.message.recipients]
        settled = settlement(claim.message, claim.number, answers=answers, attempt_clock=0, next_attempt_at=later)
        outbox.dot(claim)
        outbox.note(settled)
        outbox.settle([settled])
    outbox.close()
    return DONE


def test_a_drain_with_nothing_to_do_is_a_success(settings: Settings) -> None:
    assert drain(settings, main=FakeMain()).code == 0


def test_a_message_goes_all_the_way_through(settings: Settings) -> None:
    def fetch(runtime: Runtime) -> Outcome:
        admission = Admission(runtime.spool, runtime.tenure)
        admission.admit([arrival()])
        admission.close()
        return DONE

    drained = drain(settings, main=FakeMain(fetch=fetch, validate=pass_all, submit=settle_all))
    assert drained.code == 0
    assert (drained.summary.fetched, drained.summary.delivered, drained.summary.queued) == (1, 1, 0)


def test_a_refused_message_is_no_failure(settings: Settings, spool: Spool) -> None:
    """Badmail is an end of a message, and the operator hears of it otherwise."""
    make_ready(spool, arrival())
    spool.close()
    drained = drain(settings, main=FakeMain(submit=lambda runtime: settle_all(runtime, Verdict.REFUSED)))
    assert (drained.code, drained.summary.badmail) == (0, 1)


def test_a_deferred_message_is_not_waited_for_and_makes_the_drain_a_temporary_failure(
    settings: Settings, spool: Spool
) -> None:
    make_ready(spool, arrival())
    spool.close()
    drained = drain(settings, main=FakeMain(submit=lambda runtime: settle_all(runtime, Verdict.POSTPONED)))
    assert (drained.code, drained.summary.queued) == (75, 1)


def test_a_failed_account_does_not_keep_other_mail_from_moving(settings: Settings, spool: Spool) -> None:
    make_ready(spool, arrival())
    spool.close()
    main = FakeMain(fetch=lambda _: Outcome(is_complete=False), submit=settle_all)
    drained = drain(settings, main=main)
    assert (drained.code, drained.summary.delivered) == (75, 1)


def test_a_route_that_is_down_ends_the_drain_with_the_mail_still_queued(settings: Settings, spool: Spool) -> None:
    make_ready(spool, *letters(3))
    spool.close()

    def submit(runtime: Runtime) -> Outcome:
        Route(runtime.spool).close("connect: refused")
        return DONE

    drained = drain(settings, main=FakeMain(submit=submit))
    assert (drained.code, drained.summary.queued) == (75, 3)


def test_a_route_that_was_down_yesterday_is_tried_before_the_drain_gives_up(settings: Settings, spool: Spool) -> None:
    """Or one outage would end every drain from then on before submit had its first answer."""
    make_ready(spool, arrival())
    Route(spool).close("connect: refused")
    spool.close()

    def submit(runtime: Runtime) -> Outcome:
        wait_until(lambda: not queries.is_running(runtime.spool, Stage.VALIDATE), "validate has ended")
        with suppress(WaitedTooLong):  # many looks of the drain
            wait_until(runtime.stopping.is_set, "the drain gives up", timeout=10 * LOOK_SECONDS)
            return DONE
        settle_all(runtime)
        Route(runtime.spool).open()
        return DONE

    drained = drain(settings, main=FakeMain(submit=submit))
    assert (drained.code, drained.summary.delivered) == (0, 1)


def test_validate_stays_until_nothing_is_staged(settings: Settings, spool: Spool) -> None:
    """Fetch and pickup end first; what they staged last must not be left behind."""
    admit(spool, arrival())
    spool.close()

    def validate(runtime: Runtime) -> Outcome:
        wait_until(lambda: not queries.is_running(runtime.spool, Stage.FETCH), "fetch has ended")
        return pass_all(runtime)

    assert drain(settings, main=FakeMain(validate=validate, submit=settle_all)).summary.delivered == 1


def test_a_stage_that_is_killed_is_started_again(settings: Settings, spool: Spool) -> None:
    admit(spool, arrival())
    spool.close()

    def validate(runtime: Runtime) -> Outcome:
        if lives(settings) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return pass_all(runtime)

    assert drain(settings, main=FakeMain(validate=validate, submit=settle_all)).code == 0


def test_a_stage_that_keeps_dying_ends_the_drain_after_three_new_starts(settings: Settings) -> None:
    def fetch(_: Runtime) -> Outcome:
        lives(settings)
        os.kill(os.getpid(), signal.SIGKILL)
        return DONE

    assert drain(settings, main=FakeMain(fetch=fetch)).code == 70
    assert lives(settings) == 5


def test_sigterm_stops_the_drain_before_its_end(settings: Settings, spool: Spool) -> None:
    make_ready(spool, arrival())
    spool.close()

    def submit(_: Runtime) -> Outcome:
        os.kill(os.getppid(), signal.SIGTERM)
        return DONE

    assert drain(settings, main=FakeMain(submit=submit)).code == 75
    assert work_left(settings).queued == 1


def test_a_stage_that_runs_already_is_named_with_its_pid(settings: Settings, spool: Spool) -> None:
    spool.close()
    with hold(Layout(settings.spool.directory), Stage.SUBMIT), pytest.raises(StageHeld) as refused:
        drain(settings, main=FakeMain())
    assert (refused.value.name, refused.value.pid) == ("submit", os.getpid())
