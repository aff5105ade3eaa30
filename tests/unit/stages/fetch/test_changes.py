"""What a changed account keeps of what was learned of its server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from spool.accounts import AccountState, Login
from stages.fetch.changes import (
    Change,
    change_of,
    enabled_accounts,
    forgiven,
    known_of,
    login_after,
    maildrop_of,
    rescheduled,
)
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from stages.trust import Trust
from tests.support.settings import account, default_settings
from tests.support.spools import START

SALES = account()
LOGIN = Login(at=START, delay_seconds=60, mechanism="PLAIN", skips_capabilities=True)
NOW = START + timedelta(hours=1)


@pytest.mark.parametrize("change", [{"host": "pop.other.example"}, {"username": "sales2"}])
def test_another_host_or_user_is_another_maildrop_of_which_no_login_is_known(change: dict[str, str]) -> None:
    """Its LOGIN-DELAY is a demand of another server, or of another user's server."""
    other = replace(SALES, **change)  # type: ignore[arg-type]  # texts
    assert change_of(SALES, other) is Change.MAILDROP
    assert maildrop_of(SALES) != maildrop_of(other)
    assert login_after(LOGIN, was=SALES, account=other) is None


@pytest.mark.parametrize(
    "change",
    [
        {"port": 110},
        {"tls": TlsMode.NONE},
        {"trust": Trust(ca_file=Path("/ca.pem"))},
        {"auth": AuthMethod.APOP},
        {"password": Secret("other")},
    ],
    ids=str,
)
def test_another_way_in_leaves_the_login_delay_and_forgets_the_mechanism(change: dict[str, object]) -> None:
    """RFC 2449 section 6.5: LOGIN-DELAY is between two logins of a user, however he logs in."""
    other = replace(SALES, **change)  # type: ignore[arg-type]  # values of these fields
    assert change_of(SALES, other) is Change.LOGIN
    assert maildrop_of(SALES) == maildrop_of(other)
    assert login_after(LOGIN, was=SALES, account=other) == Login(at=START, delay_seconds=60)
    assert login_after(None, was=SALES, account=other) is None


def test_another_destination_or_interval_changes_nothing_about_the_login() -> None:
    other = replace(SALES, deliver_to=("a@b.example",), interval=timedelta(hours=2), leave_on_server=None)
    assert change_of(SALES, other) is Change.REST
    assert login_after(LOGIN, was=SALES, account=other) == LOGIN


def test_only_enabled_accounts_are_polled(tmp_path: Path) -> None:
    settings = replace(default_settings(tmp_path), accounts=(SALES, replace(account("info"), enabled=False)))
    assert enabled_accounts(settings) == {"sales": SALES}


FULL = AccountState(
    name="sales",
    last_error="no",
    failures=4,
    refusals=3,
    login=LOGIN,
    listed_messages=8,
    expected_messages=5,
    doubt_round=2,
    rounds=2,
    sizes_exact=False,
    maildrop="pop.isp.example sales",
)


@pytest.mark.parametrize("noted", [None, "pop.isp.example sales"])
def test_what_is_known_of_a_maildrop_stays_known_of_it(noted: str | None) -> None:
    """What was noted before maildrops were is taken for the account's."""
    state = replace(FULL, maildrop=noted)
    assert known_of(state, maildrop_of(SALES)) == state


def test_of_another_maildrop_nothing_is_known_but_which_one_was_listed_last() -> None:
    """The number of rounds goes on: entries of the ledger bear the numbers of those that were."""
    known = known_of(FULL, "pop.other.example sales")
    assert (known.login, known.listed_messages, known.expected_messages, known.sizes_exact) == (None,) * 4
    assert (known.doubt_round, known.rounds, known.maildrop) == (0, 2, "pop.isp.example sales")


def test_who_is_forgiven_is_due_now_and_has_failed_nevertheless() -> None:
    state = forgiven(FULL, login=None, now=NOW)
    assert (state.next_poll_at, state.refusals, state.login) == (NOW, 0, None)
    assert (state.failures, state.last_error) == (4, "no")


MINUTES = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("due", "was", "interval", "is_failing", "expected"),
    [
        (10, 15, 60, False, 55),
        (55, 60, 15, False, 10),
        (10, 60, 15, False, 0),
        (1, 15, 60, True, 1),
        (240, 1440, 1000, True, 0),
        (240, 60, 15, True, 195),
    ],
)
def test_a_changed_interval_counts_from_the_last_poll_and_puts_no_retry_off(
    due: int, was: int, interval: int, is_failing: bool, expected: int
) -> None:
    at = rescheduled(
        NOW + due * MINUTES, was=was * MINUTES, interval=interval * MINUTES, is_failing=is_failing, now=NOW
    )
    assert at == NOW + expected * MINUTES
