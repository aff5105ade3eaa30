"""Status as values: what the configuration and the spool say together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.health import health
from spool.accounts import Accounts, AccountState, Left, Why
from spool.envelope import Uidl
from spool.opening import Spool
from spool.route import Route
from stages.fetch.plan import BREAKS_AT_MOST
from stages.settings import Settings
from tests.support.settings import account, default_settings
from tests.support.spools import START, make_spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = make_spool(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    disabled = replace(account("old"), enabled=False)
    return replace(default_settings(tmp_path / "spool"), accounts=(account("sales"), disabled))


def test_an_account_that_was_never_polled_is_there(spool: Spool, settings: Settings) -> None:
    """The one that is missing from a list is the one that nobody looks after."""
    sales, old = health(spool, settings).accounts
    assert (sales.name, sales.is_enabled, sales.last_success_at) == ("sales", True, None)
    assert (old.name, old.is_enabled) == ("old", False)


def test_an_account_tells_of_its_last_polls_and_what_was_left(spool: Spool, settings: Settings) -> None:
    accounts = Accounts(spool)
    accounts.save(AccountState(name="sales", last_success_at=START, last_error="login refused", remote_messages=7))
    oversize = Left(uidl=Uidl(b"u1"), octets=10**9, why=Why.OVERSIZE, limit_octets=1000, limit_source="SIZE")
    broken = Left(uidl=Uidl(b"u2"), octets=10, why=Why.BROKEN, breaks=BREAKS_AT_MOST)
    accounts.leave("sales", [oversize, broken])
    sales = health(spool, settings).accounts[0]
    assert sales.left == [oversize, broken]
    assert (sales.last_success_at, sales.last_error, sales.remote_messages, sales.oversize) == (
        START,
        "login refused",
        7,
        1,
    )


def test_a_message_that_is_tried_again_at_the_next_poll_is_not_told_as_left(spool: Spool, settings: Settings) -> None:
    Accounts(spool).leave("sales", [Left(uidl=Uidl(b"u"), octets=10, why=Why.BROKEN, breaks=BREAKS_AT_MOST - 1)])
    assert health(spool, settings).accounts[0].left == []


def test_an_account_that_left_the_configuration_is_not_shown(spool: Spool, settings: Settings) -> None:
    Accounts(spool).save(AccountState(name="gone", last_error="login refused"))
    assert [one.name for one in health(spool, settings).accounts] == ["sales", "old"]


def test_the_limit_is_unknown_until_the_relay_was_asked(spool: Spool, settings: Settings) -> None:
    limits = health(spool, settings).limits
    assert (limits.max_message_octets, limits.says_who) == (None, "the relay was not reached yet")


@pytest.mark.parametrize(("size", "limit"), [(10000, 10000 - 4096), (None, None)])
def test_the_limit_is_the_relays_less_room_for_our_header(
    spool: Spool, settings: Settings, size: int | None, limit: int | None
) -> None:
    Route(spool).learn_size(size)
    limits = health(spool, settings).limits
    assert (limits.max_message_octets, limits.says_who) == (limit, "SIZE of the relay")


def test_a_configured_limit_goes_before_the_relays(spool: Spool, settings: Settings) -> None:
    Route(spool).learn_size(1000)
    configured = replace(settings, fetch=replace(settings.fetch, max_message_octets=5))
    limits = health(spool, configured).limits
    assert (limits.max_message_octets, limits.says_who) == (5, "fetch.max_message_size")


def test_a_route_that_is_down_is_told_with_its_trouble(spool: Spool, settings: Settings) -> None:
    Route(spool).close("connect: refused")
    route = health(spool, settings).route
    assert (route.is_open, route.closed_at, route.trouble) == (False, START, "connect: refused")
