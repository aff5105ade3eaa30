"""What is remembered of accounts between polls."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from spool.accounts import Accounts, AccountState, Left, Login, Outcome, Why
from spool.envelope import Uidl
from spool.events import SpoolWarning
from tests.support.spools import START, Clock, logged, make_spool

FULL = AccountState(
    name="sales",
    last_success_at=START,
    last_attempt_at=START + timedelta(seconds=1),
    last_error="-ERR no",
    failures=3,
    refusals=2,
    login=Login(at=START, delay_seconds=60, mechanism="APOP", skips_capabilities=True),
    next_poll_at=START + timedelta(minutes=15),
    remote_messages=7,
    listed_messages=8,
    expected_messages=5,
    doubt_round=2,
    rounds=9,
    sizes_exact=False,
    maildrop="pop.isp.example sales",
)
OVERSIZE = Left(
    uidl=Uidl(b"\xff big"),
    octets=50_000_000,
    why=Why.OVERSIZE,
    limit_octets=10_000_000,
    limit_source="SIZE",
    reported_at=START,
)
BROKEN = Left(uidl=Uidl(b"u2"), octets=10, why=Why.BROKEN, breaks=3, tried_at=START)
POLLED = Outcome(text="polled")
FAILED = Outcome(text="failed: no", has_failed=True)


def accounts(tmp_path: Path, clock: Clock | None = None) -> Accounts:
    return Accounts(make_spool(tmp_path, clock=clock))


@pytest.mark.parametrize("state", [FULL, AccountState(name="info"), replace(FULL, sizes_exact=None)])
def test_a_state_is_read_back(tmp_path: Path, state: AccountState) -> None:
    memory = accounts(tmp_path)
    memory.save(state)
    assert memory.states() == {state.name: state}
    assert memory.state(state.name) == state


def test_an_account_that_was_never_polled_has_a_blank_state(tmp_path: Path) -> None:
    assert accounts(tmp_path).state("sales") == AccountState(name="sales")


def test_a_later_state_replaces_the_earlier_one_whole(tmp_path: Path) -> None:
    memory = accounts(tmp_path)
    memory.save(FULL)
    memory.save(AccountState(name="sales"))
    assert memory.states() == {"sales": AccountState(name="sales")}


def test_a_state_is_saved_with_the_events_that_led_to_it(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    Accounts(spool).save(FULL, events=[SpoolWarning(what="polled")])
    Accounts(spool).leave("sales", [OVERSIZE], events=[SpoolWarning(what="left")])
    assert [event.text for event in logged(spool)] == ["polled", "left"]


def test_what_stays_at_the_provider_is_read_back_for_its_account(tmp_path: Path) -> None:
    memory = accounts(tmp_path)
    memory.leave("sales", [OVERSIZE, BROKEN])
    assert sorted(memory.left("sales"), key=lambda one: one.octets) == [BROKEN, OVERSIZE]
    assert memory.left("info") == []


def test_what_is_known_of_it_is_replaced(tmp_path: Path) -> None:
    memory = accounts(tmp_path)
    memory.leave("sales", [replace(BROKEN, breaks=1)])
    memory.leave("sales", [BROKEN])
    assert memory.left("sales") == [BROKEN]


def test_what_is_forgotten_is_that_message_alone(tmp_path: Path) -> None:
    """A server reuses UIDLs: another size is another message."""
    memory = accounts(tmp_path)
    other = replace(OVERSIZE, octets=60_000_000)
    memory.leave("sales", [OVERSIZE, other])
    memory.leave("info", [OVERSIZE])
    memory.forget_left("sales", [OVERSIZE])
    assert (memory.left("sales"), memory.left("info")) == ([other], [OVERSIZE])


def test_what_stays_is_listed_by_account_the_largest_first(tmp_path: Path) -> None:
    memory = accounts(tmp_path)
    small = replace(OVERSIZE, octets=1)
    memory.leave("sales", [small, OVERSIZE])
    memory.leave("info", [BROKEN])
    assert memory.left_by_account() == {"sales": [OVERSIZE, small], "info": [BROKEN]}


def test_a_request_waits_until_it_is_answered(tmp_path: Path) -> None:
    memory = accounts(tmp_path)
    first, second = memory.ask(["sales", "info"])
    assert [(one.request, one.account) for one in memory.asked()] == [(first, "sales"), (second, "info")]
    memory.answer(first, POLLED)
    assert [one.request for one in memory.asked()] == [second]
    assert (memory.outcome(first), memory.outcome(second)) == (POLLED, None)


def test_a_request_that_names_no_account_means_all(tmp_path: Path) -> None:
    memory = accounts(tmp_path)
    memory.ask([])
    assert [one.account for one in memory.asked()] == [""]


def test_a_request_to_adopt_says_so(tmp_path: Path) -> None:
    memory = accounts(tmp_path)
    memory.ask(["sales"], adopts=True)
    memory.ask(["sales"])
    assert [one.adopts for one in memory.asked()] == [True, False]


def test_answers_are_kept_for_a_day_and_open_requests_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    memory = accounts(tmp_path, clock)
    old, waiting, new = memory.ask(["a", "b", "c"])
    memory.answer(old, POLLED)
    clock.advance(timedelta(days=1, seconds=1))
    memory.answer(new, FAILED)
    assert (memory.outcome(old), memory.outcome(new)) == (None, FAILED)
    assert [one.request for one in memory.asked()] == [waiting]
