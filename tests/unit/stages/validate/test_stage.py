"""The validate stage: batches, quarantine, and what it leaves behind."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from spool.badmail import read_badmail
from spool.doorbell import ring
from spool.envelope import Arrival
from spool.journal import Outcome
from spool.layout import COMMAND_JOURNAL, Stage
from spool.opening import Spool, take_stage, utc_now
from spool.queue_id import QueueId
from spool.route import Route
from spool.staging import open_journal
from spool.states import State
from stages.runner import Mode, Runtime, run_stage
from stages.settings import AccountSettings, BareNewlines, InvalidReversePath, ValidateSettings
from stages.validate import stage
from stages.validate.examination import Rules
from stages.validate.stage import Examiner, ValidateStage
from tests.support.attempts import cut_off
from tests.support.fetching import until
from tests.support.settings import account, default_settings
from tests.support.spools import Clock, admit, arrival, letters, logged, make_spool, message

GOOD = b"From: alice@example.org\r\n\r\nHello.\r\n"
SETTINGS = ValidateSettings(
    invalid_reverse_path=InvalidReversePath.BADMAIL,
    bare_newlines=BareNewlines.NORMALISE,
    max_hops=50,
    default_domain=None,
)
RULES = Rules(settings=SETTINGS, accounts={"sales": account()}, gateway="gw.corp.example")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path)


def validate(spool: Spool, *, rules: Rules = RULES) -> list[int]:
    """Settle batches until nothing is staged; answers their sizes."""
    with take_stage(spool, Stage.VALIDATE) as tenure:
        examiner = Examiner(spool, tenure, rules=rules)
        sizes: list[int] = []
        while count := examiner.settle_batch():
            sizes.append(count)
        examiner.close()
    return sizes


def test_a_message_whose_release_was_noted_by_a_command_that_died_goes_on(spool: Spool) -> None:
    """With its envelope as it is: the recipients that are left, whatever the account says today."""
    queue_id = cut_off(spool, "a@corp.example", "b@corp.example")
    journal = open_journal(spool, COMMAND_JOURNAL)
    journal.note(Outcome.RELEASED, queue_id, details={"claim": 1})
    journal.close()
    assert validate(spool) == [1]
    row = message(spool, queue_id)
    assert (row.state, row.sender) == (State.READY, "alice@example.org")
    assert row.recipients == ("a@corp.example", "b@corp.example")


def state(spool: Spool, queue_id: str) -> State:
    return message(spool, queue_id).state


def test_one_round_leaves_nothing_staged(spool: Spool) -> None:
    receipts = admit(spool, *letters(3), arrival(GOOD))
    everything = dataclasses.replace(default_settings(spool.layout.root), accounts=(account(),))
    outcome = run_stage(Stage.VALIDATE, ValidateStage(), settings=everything, mode=Mode.ONCE)
    assert outcome.is_complete
    assert [state(spool, one.queue_id) for one in receipts] == [State.BADMAIL] * 3 + [State.READY]


def test_a_batch_has_256_messages_at_most(spool: Spool) -> None:
    admit(spool, *letters(200))
    admit(spool, *letters(100, prefix="v"))
    assert validate(spool) == [256, 44]


def test_a_malformed_message_costs_only_itself(spool: Spool) -> None:
    bad = [arrival(b"From: <broken\r\n\r\n%d" % number, uidl=f"bad{number}") for number in range(5)]
    receipts = admit(spool, *bad, arrival(GOOD))
    assert validate(spool) == [6]
    assert [state(spool, one.queue_id) for one in receipts] == [State.BADMAIL] * 5 + [State.READY]


def test_a_damaged_message_costs_only_itself(spool: Spool) -> None:
    first, second = admit(spool, arrival(GOOD, uidl="1"), arrival(GOOD + b"x", uidl="2"))
    stored = message(spool, first.queue_id).stored
    assert stored is not None
    content = bytearray(stored.path.read_bytes())
    content[stored.place.offset + stored.place.block_octets] ^= 1
    stored.path.write_bytes(content)
    validate(spool)
    assert (state(spool, first.queue_id), state(spool, second.queue_id)) == (State.DAMAGED, State.READY)


class Trap(dict[str, AccountSettings]):
    """Accounts that meet a fault of the program when one name is looked up."""

    def get(self, name: str, default: object = None) -> AccountSettings:
        if name == "trap":
            raise ZeroDivisionError("a fault of ours")
        return account()


def test_a_message_that_meets_a_fault_of_ours_is_in_badmail_and_the_others_go_on(spool: Spool) -> None:
    """It must neither get stuck nor be lost."""
    first, second = admit(spool, arrival(GOOD, account="trap"), arrival(GOOD))
    validate(spool, rules=dataclasses.replace(RULES, accounts=Trap()))
    assert (state(spool, first.queue_id), state(spool, second.queue_id)) == (State.BADMAIL, State.READY)
    filed = read_badmail(spool, QueueId(first.queue_id))
    assert filed is not None
    assert filed.reason.text == "could not be examined: ZeroDivisionError: a fault of ours"


def test_a_fault_of_ours_is_told_with_its_traceback(spool: Spool) -> None:
    admit(spool, arrival(GOOD, account="trap"))
    validate(spool, rules=dataclasses.replace(RULES, accounts=Trap()))
    (failed,) = [event for event in logged(spool) if event.name == "ExaminationFailed"]
    assert "Traceback" in str(failed.fields["traceback"])


def test_lifetime_begins_at_the_clock_of_the_route(tmp_path: Path) -> None:
    """An outage of the relay before this moment must age no message."""
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    Route(spool).open()
    clock.advance(timedelta(seconds=90))
    admit(spool, arrival(GOOD))
    validate(spool)
    with spool.index.read() as connection:
        assert connection.exec_driver_sql("SELECT queued_clock FROM messages").scalar() == 90_000


def test_many_large_messages_are_not_read_in_one_batch(spool: Spool) -> None:
    """A stop, and a commit, must not wait for gigabytes."""
    rows = [dataclasses.replace(message(spool, one.queue_id), octets=40_000_000) for one in admit(spool, *letters(3))]
    assert len(stage.up_to(rows, stage.BATCH_OCTETS)) == 1


def test_what_comes_next_is_held_to_the_checks_of_now(spool: Spool) -> None:
    before = dataclasses.replace(default_settings(spool.layout.root), accounts=(account(),))
    strict = dataclasses.replace(before.validate, bare_newlines=BareNewlines.BADMAIL)
    found: list[State] = []

    async def follow(runtime: Runtime) -> None:
        found.append(await admitted_and_seen(runtime, uidl="1"))
        runtime.renew(dataclasses.replace(before, validate=strict))
        found.append(await admitted_and_seen(runtime, uidl="2"))
        runtime.stopping.set()

    async def admitted_and_seen(runtime: Runtime, *, uidl: str) -> State:
        (receipt,) = admit(spool, arrival(GOOD + b"a bare\nline feed\r\n", uidl=uidl))
        ring(spool, Stage.VALIDATE)
        await until(lambda: state(spool, receipt.queue_id) is not State.STAGED)
        return state(spool, receipt.queue_id)

    run_stage(Stage.VALIDATE, ValidateStage(), settings=before, follow=follow)
    assert found == [State.READY, State.BADMAIL]


def test_what_an_account_has_left_here_goes_to_whom_it_was_for_when_it_is_removed(spool: Spool) -> None:
    """It is removed at the end of a migration: its last mail must not end in Badmail for that."""
    before = dataclasses.replace(default_settings(spool.layout.root), accounts=(account(),))

    async def follow(runtime: Runtime) -> None:
        runtime.renew(dataclasses.replace(before, accounts=(account("info"),)))
        found = admit(spool, arrival(GOOD), account_arrival("info", at=utc_now()))
        ring(spool, Stage.VALIDATE)
        await until(lambda: {state(spool, one.queue_id) for one in found} == {State.READY})
        assert [message(spool, one.queue_id).recipients for one in found] == [
            ("sales@corp.example",),
            ("info@corp.example",),
        ]
        runtime.stopping.set()

    run_stage(Stage.VALIDATE, ValidateStage(), settings=before, follow=follow)


def test_mail_of_an_account_that_validate_has_not_heard_of_yet_waits_for_that(spool: Spool) -> None:
    """Stages under unit files look at the file each by itself: fetch may have fetched before validate has read it."""
    before = dataclasses.replace(default_settings(spool.layout.root), accounts=(account(),))

    async def follow(runtime: Runtime) -> None:
        early, known = admit(spool, account_arrival("info", at=utc_now()), arrival(GOOD))
        ring(spool, Stage.VALIDATE)
        await until(lambda: state(spool, known.queue_id) is State.READY)
        assert state(spool, early.queue_id) is State.STAGED
        runtime.renew(dataclasses.replace(before, accounts=(account(), account("info"))))
        await until(lambda: state(spool, early.queue_id) is State.READY)
        runtime.stopping.set()

    run_stage(Stage.VALIDATE, ValidateStage(), settings=before, follow=follow)


def test_mail_of_an_account_that_nobody_hears_of_is_refused_in_the_end(tmp_path: Path) -> None:
    clock = Clock()
    spool = make_spool(tmp_path, clock=clock)
    (receipt,) = admit(spool, account_arrival("gone", at=clock()))
    with take_stage(spool, Stage.VALIDATE) as tenure:
        examiner = Examiner(spool, tenure, rules=RULES, patience=stage.PATIENCE)
        clock.advance(stage.PATIENCE - timedelta(seconds=1))
        assert examiner.settle_batch() == 0
        clock.advance(timedelta(seconds=1))
        assert examiner.settle_batch() == 1
        examiner.close()
    assert state(spool, receipt.queue_id) is State.BADMAIL


def account_arrival(name: str, *, at: datetime) -> Arrival:
    one = arrival(GOOD, uidl=name)
    return dataclasses.replace(one, origin=dataclasses.replace(one.origin, account=name, fetched_at=at))
