"""A fetch process whose configuration changes while it works: nothing is lost, and no other account feels it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Manners, Pop3Session
from spool.accounts import Accounts, Outcome
from spool.doorbell import ring
from spool.layout import Stage
from stages.runner import Mode, Runtime
from stages.secret import Secret
from stages.settings import AccountSettings
from tests.support.fetching import Fetching, Provider, mail, until
from tests.support.odd_pop3 import SilentAfterLogin
from tests.support.spools import logged

WRONG = Secret("mistyped")
ONE_BY_ONE = Manners(pipelining=False)
BY_PASS = Manners(apop=False)


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def mails(count: int, *, first: int = 0) -> list[bytes]:
    return [mail(number) for number in range(first, first + count)]


def renew(runtime: Runtime, *accounts: AccountSettings) -> None:
    runtime.renew(replace(runtime.settings, accounts=accounts))


class ActsAt(Pop3Session):
    """Does something when a command comes, before it is answered."""

    command: str
    act: Callable[[], None]

    def answer(self, line: bytes) -> bytes:
        if line == self.command.encode():
            type(self).act()
        return super().answer(line)


def acting_at(command: str) -> type[ActsAt]:
    return type("Acts", (ActsAt,), {"command": command, "act": lambda: None})


async def look_around(fetching: Fetching) -> None:
    """Let the stage look around, and have done so."""
    (request,) = Accounts(fetching.spool).ask(["nobody-has-this-name"])
    ring(fetching.spool, Stage.FETCH)
    await until(lambda: Accounts(fetching.spool).outcome(request) is not None)


def test_an_account_that_is_added_is_polled_at_once(fetching: Fetching) -> None:
    async def run() -> None:
        first, second = Provider(mails(1)), Provider(mails(2, first=1), user="info")
        async with second, fetching.working(first, mode=Mode.RUN) as (runtime, _):
            await until(lambda: fetching.contents() == mails(1))
            renew(runtime, *runtime.settings.accounts, fetching.account(second, name="info"))
            await until(lambda: len(fetching.events("PollSucceeded")) == 2)
            assert len(first.sessions) == 1

    asyncio.run(run())
    assert fetching.contents("info") == mails(2, first=1)


def test_an_account_that_is_enabled_again_is_polled_at_once(fetching: Fetching) -> None:
    async def run() -> None:
        provider = Provider(mails(1))
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            await until(lambda: fetching.events("PollSucceeded") != [])
            account = fetching.account(provider)
            renew(runtime, replace(account, enabled=False))
            await look_around(fetching)
            provider.deliver("sales", mail(5))
            fetching.clock.advance(timedelta(hours=2))
            await look_around(fetching)
            assert len(provider.sessions) == 1, "polled while disabled"
            renew(runtime, account)
            await until(lambda: len(fetching.contents()) == 2)

    asyncio.run(run())


def test_a_corrected_password_is_tried_at_once(fetching: Fetching) -> None:
    """After the third refusal the next try would be four hours away."""

    async def run() -> None:
        provider = Provider(mails(1))
        fetching.passwords["sales"] = WRONG
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            for refusals in (1, 2, 3):
                await until(partial(_has_refusals, fetching, refusals))
                fetching.clock.advance(timedelta(hours=2))
                ring(fetching.spool, Stage.FETCH)
            await look_around(fetching)
            tried = len(provider.sessions)
            del fetching.passwords["sales"]
            renew(runtime, fetching.account(provider))
            await until(lambda: fetching.contents() == mails(1))
            await until(lambda: fetching.events("AccountRecovered") != [])
            assert len(provider.sessions) == tried + 1

    asyncio.run(run())
    assert fetching.events("AccountRecovered") == ["polled again after 3 failures"]
    assert (fetching.state().refusals, fetching.state().last_error) == (0, None)


def _has_refusals(fetching: Fetching, count: int) -> bool:
    return Accounts(fetching.spool).state("sales").refusals == count


def test_a_password_that_is_wrong_again_is_told_again_and_backs_off_from_the_start(fetching: Fetching) -> None:
    async def run() -> None:
        provider = Provider(mails(1))
        fetching.passwords["sales"] = WRONG
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            await until(lambda: _has_refusals(fetching, 1))
            fetching.passwords["sales"] = Secret("mistyped too")
            renew(runtime, fetching.account(provider))
            await until(lambda: [one.count for one in logged(fetching.spool) if one.name == "PollFailed"] == [2])
            await until(lambda: _has_refusals(fetching, 1))

    asyncio.run(run())
    state = fetching.state()
    assert state.failures == 2
    assert state.next_poll_at is not None
    assert state.next_poll_at <= fetching.spool.now() + timedelta(minutes=15) * 1.1


def test_a_login_that_fails_by_the_old_password_after_the_change_is_not_waited_for(fetching: Fetching) -> None:
    async def run() -> None:
        session = acting_at(f"PASS {WRONG.reveal()}")
        provider = Provider(mails(1), session=session, manners=BY_PASS)
        fetching.passwords["sales"] = WRONG
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            right = replace(fetching.account(provider), password=Secret("secret"))
            session.act = staticmethod(lambda: renew(runtime, right))
            await until(lambda: fetching.contents() == mails(1))
            assert len(provider.sessions) == 2

    asyncio.run(run())


def test_an_account_that_is_removed_in_its_session_loses_nothing_and_is_left_in_order(fetching: Fetching) -> None:
    """What is in custody is deleted, QUIT is said, nothing more is asked for; another account's session goes on."""

    async def run() -> None:
        leaving, staying = acting_at("RETR 3"), acting_at("RETR 2")
        sales = Provider(mails(9), session=leaving, manners=ONE_BY_ONE)
        info = Provider(mails(100, first=20), user="info", session=staying, manners=ONE_BY_ONE)
        async with sales, fetching.working(info, mode=Mode.RUN) as (runtime, _):
            only, both = [fetching.account(info, name="info")], [fetching.account(sales), *runtime.settings.accounts]
            staying.act = staticmethod(lambda: renew(runtime, *both))
            leaving.act = staticmethod(lambda: renew(runtime, *only))
            await until(lambda: len(fetching.events("PollSucceeded")) == 2)
            assert len(fetching.contents("info")) == 100
            assert sales.sessions[-1].said_quit
            assert len(info.sessions) == 1, "the other session was cut"
            fetching.clock.advance(timedelta(days=1))
            await look_around(fetching)
            await until(lambda: len(info.sessions) == 2)
        assert len(sales.sessions) == 1
        fetched = len(fetching.contents("sales"))
        assert 3 <= fetched < 9
        assert fetching.contents("sales") == mails(fetched)
        assert sales.maildrop("sales") == mails(9)[fetched:]

    asyncio.run(run())
    assert fetching.state().last_success_at is not None, "its history is gone"


def test_an_account_that_is_removed_while_it_waits_is_not_polled_and_who_asked_is_told(fetching: Fetching) -> None:
    async def run() -> Outcome | None:
        stalls, waits = Provider(session=SilentAfterLogin), Provider(mails(1), user="info")
        accounts = Accounts(fetching.spool)
        fetching.fetch(concurrency=1, timeout=timedelta(seconds=1))
        async with waits, fetching.working(stalls, mode=Mode.RUN) as (runtime, _):
            await until(lambda: stalls.sessions != [] and stalls.sessions[-1].user is not None)
            sales = runtime.settings.accounts[0]
            renew(runtime, sales, fetching.account(waits, name="info"))
            (asked,) = accounts.ask(["info"])
            await look_around(fetching)
            assert accounts.outcome(asked) is None
            renew(runtime, sales)
            await until(lambda: accounts.outcome(asked) is not None)
        assert waits.sessions == []
        return accounts.outcome(asked)

    assert asyncio.run(run()) == Outcome(text="info: no such account is enabled any more", has_failed=True)


def test_a_session_of_an_account_whose_destination_changes_goes_on(fetching: Fetching) -> None:
    async def run() -> None:
        session = acting_at("RETR 2")
        provider = Provider(mails(5), session=session, manners=ONE_BY_ONE)
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            changed = replace(fetching.account(provider), deliver_to=("other@corp.example",))
            session.act = staticmethod(lambda: renew(runtime, changed))
            await until(lambda: fetching.events("PollSucceeded") != [])
        assert len(provider.sessions) == 1

    asyncio.run(run())
    assert fetching.contents() == mails(5)


def test_a_shorter_interval_is_kept_from_the_last_poll_on(fetching: Fetching) -> None:
    async def run() -> None:
        provider = Provider(mails(1))
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            await until(lambda: fetching.events("PollSucceeded") != [])
            began_at = fetching.spool.now()
            renew(runtime, replace(fetching.account(provider), interval=timedelta(minutes=5)))
            await until(lambda: fetching.state().next_poll_at == began_at + timedelta(minutes=5))
            fetching.clock.advance(timedelta(minutes=6))
            ring(fetching.spool, Stage.FETCH)
            await until(lambda: len(provider.sessions) == 2)

    asyncio.run(run())


def test_more_maildrops_at_once_are_polled_as_soon_as_that_is_allowed(fetching: Fetching) -> None:
    async def run() -> None:
        stalls, waits = Provider(session=SilentAfterLogin), Provider(mails(1), user="info")
        fetching.fetch(concurrency=1, timeout=timedelta(seconds=2))
        async with fetching.working(stalls, waits, mode=Mode.RUN) as (runtime, _):
            await until(lambda: stalls.sessions != [] and stalls.sessions[-1].user is not None)
            await look_around(fetching)
            assert waits.sessions == []
            fetch = replace(runtime.settings.fetch, concurrency=2)
            runtime.renew(replace(runtime.settings, fetch=fetch))
            await until(lambda: fetching.contents("info") == mails(1))
            assert not stalls.sessions[-1].ended

    asyncio.run(run())


def test_a_changed_demand_of_free_space_is_heeded(fetching: Fetching) -> None:
    async def run() -> None:
        async with fetching.working(Provider(mails(1)), mode=Mode.RUN) as (runtime, _):
            await until(lambda: fetching.events("PollSucceeded") != [])
            spool = replace(runtime.settings.spool, min_free_octets=10**18)
            runtime.renew(replace(runtime.settings, spool=spool))
            await until(lambda: fetching.events("FetchPaused") != [])

    asyncio.run(run())


def other_maildrop(*messages: bytes) -> Provider:
    """A maildrop of another user, which has the UIDLs that the first one had."""
    provider = Provider(user="info")
    for number, message in enumerate(messages):
        provider.put(b"u%d" % number, message)
    return provider


def first_maildrop(count: int) -> Provider:
    provider = Provider()
    for number, message in enumerate(mails(count)):
        provider.put(b"u%d" % number, message)
    return provider


def test_mail_of_another_maildrop_is_fetched_though_its_uidls_are_those_of_the_one_before(fetching: Fetching) -> None:
    """The ledger is by account and UIDL: with mail that stays, a UIDL had before would never be looked at again."""

    async def run() -> None:
        fetching.leave = None
        first, other = first_maildrop(2), other_maildrop(mail(10), mail(1))
        async with other, fetching.working(first, mode=Mode.RUN) as (runtime, _):
            await until(lambda: len(fetching.contents()) == 2)
            renew(runtime, fetching.account(other))
            await until(lambda: len(fetching.contents()) == 3)
            await until(lambda: other.sessions[-1].said_quit)
        assert fetching.contents() == [mail(0), mail(1), mail(10)]
        assert len(other.drop.messages) == 2, "what stays was deleted"

    asyncio.run(run())
    assert "the account has another host or user name" in fetching.events("UidlsDoubted")[0]


@pytest.mark.parametrize("is_empty_first", [False, True])
def test_another_maildrop_is_known_for_one_after_a_restart_too(fetching: Fetching, is_empty_first: bool) -> None:
    """A listing that shows nothing must not use the doubt up."""

    fetching.leave = None
    fetching.names = {"info": "sales"}
    fetching.poll(first_maildrop(2))
    if is_empty_first:
        fetching.poll(other_maildrop())
    fetching.poll(other_maildrop(mail(10), mail(11)))
    assert fetching.contents("sales") == [mail(0), mail(1), mail(10), mail(11)]


def test_what_was_learned_of_a_server_is_not_believed_of_another(fetching: Fetching) -> None:
    async def run() -> None:
        first, other = first_maildrop(1), other_maildrop(mail(1))
        async with other, fetching.working(first, mode=Mode.RUN) as (runtime, _):
            await until(lambda: fetching.events("PollSucceeded") != [])
            assert fetching.state().login is not None
            fetching.passwords["info"] = WRONG
            renew(runtime, fetching.account(other))
            await until(lambda: fetching.events("PollFailed") != [])
            assert fetching.state().login is None

    asyncio.run(run())


class Cancels(Secret):
    """A secret in whose use something is cancelled, the first time."""

    def __init__(self) -> None:
        super().__init__("secret")
        self.times = 0

    def reveal(self) -> str:
        self.times += 1
        if self.times == 1:
            raise asyncio.CancelledError
        return super().reveal()


def test_a_session_that_is_cancelled_from_inside_does_not_lose_its_account(fetching: Fetching) -> None:
    """A cancelled task is no error for its group: the account would have its turn for ever, and never another one."""

    async def run() -> None:
        fetching.passwords["sales"] = Cancels()
        async with fetching.working(Provider(mails(1)), mode=Mode.RUN) as (_, work):
            await until(lambda: fetching.events("PollFailed") != [])
            assert not work.done()
            fetching.clock.advance(timedelta(minutes=2))
            ring(fetching.spool, Stage.FETCH)
            await until(lambda: fetching.contents() == mails(1))

    asyncio.run(run())
    assert fetching.events("PollFailed") == ["poll failed: the session was broken off"]
