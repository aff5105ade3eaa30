"""The fetch process: custody in groups, requests to poll now, the disk, and how it ends."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Manners, Pop3Session
from spool.accounts import Accounts, Outcome
from spool.doorbell import ring
from spool.errors import SpoolFailed
from spool.layout import Stage
from spool.route import Route
from stages.fetch import polling
from stages.passwords import PasswordVariable
from stages.runner import Mode
from tests.support.faulty_disk import FaultyDisk
from tests.support.fetching import Fetching, Provider, mail, until
from tests.support.odd_pop3 import SilentAfterLogin


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def mails(count: int) -> list[bytes]:
    return [mail(number) for number in range(count)]


class LooksAtTheSpool(Pop3Session):
    """Notes, at each DELE, how many messages have a committed row."""

    fetching: Fetching
    seen: list[int]

    def dele(self, argument: str) -> bytes:
        self.seen.append(len(self.fetching.messages()))
        return super().dele(argument)


def test_a_message_is_not_deleted_before_its_row_is_committed(fetching: Fetching) -> None:
    """I1: no DELE without a receipt."""
    LooksAtTheSpool.fetching, LooksAtTheSpool.seen = fetching, []
    fetching.poll(Provider(mails(30), session=LooksAtTheSpool))
    assert LooksAtTheSpool.seen == [30] * 30


def test_messages_of_many_sessions_are_committed_in_groups(tmp_path: Path) -> None:
    """No sync for each message: what arrived during the last commit is the next batch."""
    disk = FaultyDisk()
    fetching = Fetching(tmp_path, disk=disk)
    fetching.poll(*[Provider(mails(100), user=f"user{number}") for number in range(4)])
    syncs = [step for step in disk.steps if step.startswith("sync fetch-") and step.endswith(".seg")]
    assert len(fetching.messages()) == 400
    assert len(syncs) < 100


def test_a_disk_that_fails_twice_ends_the_stage_and_deletes_nothing(tmp_path: Path) -> None:
    """A second error is an alarm and ends the session."""
    disk = FaultyDisk()
    fetching = Fetching(tmp_path, disk=disk)

    class FillsTheDisk(Pop3Session):
        def retr(self, argument: str) -> bytes:
            disk.fail(1, error=errno.ENOSPC, lasting=True)
            return super().retr(argument)

    provider = Provider(mails(5), session=FillsTheDisk)
    with pytest.raises(SpoolFailed, match="No space left on device"):
        fetching.poll(provider)
    disk.mend()
    provider.kind = Pop3Session
    assert not provider.said("DELE")
    assert len(provider.drop.messages) == 5
    assert fetching.events("CustodyFailed")
    fetching.poll(provider)
    assert sorted(fetching.contents()) == sorted(mails(5))
    assert provider.drop.messages == []


def test_fetching_stops_while_the_disk_is_nearly_full_and_says_so_once(fetching: Fetching) -> None:
    provider = Provider(mails(2))
    fetching.min_free_octets(10**18)
    assert not fetching.poll(provider).is_complete
    assert provider.sessions == []
    fetching.min_free_octets(0)
    assert fetching.poll(provider).is_complete
    assert len(fetching.contents()) == 2
    assert len(fetching.events("FetchPaused")) == 1


def test_an_unreadable_password_costs_the_account_its_poll_alone(fetching: Fetching) -> None:
    fetching.passwords["bad"] = PasswordVariable("NO_SUCH_VARIABLE")
    assert not fetching.poll(Provider(mails(1), user="bad"), Provider(mails(1), user="good")).is_complete
    assert fetching.events("PollFailed") == ["poll failed: the environment variable NO_SUCH_VARIABLE is not set"]
    assert [message.account for message in fetching.messages()] == ["good"]


def test_a_request_polls_at_once_and_is_answered_with_what_came_of_it(fetching: Fetching) -> None:
    async def ask() -> Outcome | None:
        provider = Provider(mails(1))
        accounts = Accounts(fetching.spool)
        async with fetching.working(provider, mode=Mode.RUN):
            await until(lambda: fetching.events("PollSucceeded") != [])
            provider.deliver("sales", mail(2))
            (request,) = accounts.ask(["sales"])
            ring(fetching.spool, Stage.FETCH)
            await until(lambda: accounts.outcome(request) is not None)
            return accounts.outcome(request)

    octets = len(mail(2))
    told = f"sales: fetched 1 message, {octets} octets, deleted 1, left 0 at the server"
    assert asyncio.run(ask()) == Outcome(text=told)
    assert fetching.contents() == [mail(0), mail(2)]


def test_a_request_for_all_is_answered_when_the_last_account_was_polled(fetching: Fetching) -> None:
    (request,) = Accounts(fetching.spool).ask([])
    fetching.fetch(timeout=timedelta(seconds=0.3))
    fetching.poll(Provider(mails(2), user="a"), Provider(user="b", session=SilentAfterLogin))
    octets = sum(map(len, mails(2)))
    of_a = f"a: fetched 2 messages, {octets} octets, deleted 2, left 0 at the server"
    assert Accounts(fetching.spool).outcome(request) == Outcome(
        text=f"{of_a}; b: failed: no octet from the server for 0.3 s", has_failed=True
    )


def test_a_request_for_an_unknown_account_is_answered_at_once(fetching: Fetching) -> None:
    (request,) = Accounts(fetching.spool).ask(["nobody"])
    fetching.poll(Provider())
    assert Accounts(fetching.spool).outcome(request) == Outcome(
        text="nobody: no such account is enabled", has_failed=True
    )


def test_after_a_restart_an_account_that_was_polled_lately_waits_for_its_time(fetching: Fetching) -> None:
    async def run(provider: Provider, seen: int) -> None:
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            await until(lambda: len(provider.sessions) == seen and provider.sessions[-1].ended)
            # The bell makes the stage look once more before it is told to stop.
            ring(fetching.spool, Stage.FETCH)
            await runtime.wait(0.05)

    provider = Provider(mails(1))
    asyncio.run(run(provider, 1))
    asyncio.run(run(provider, 1))
    assert len(provider.sessions) == 1
    fetching.clock.advance(timedelta(hours=1))
    asyncio.run(run(provider, 2))


def test_a_stage_that_is_to_stop_deletes_what_is_in_custody_and_says_quit(fetching: Fetching) -> None:
    """SIGTERM: no further RETR; the rest waits for the next start."""

    stop: list[Callable[[], None]] = []

    class StopsAtThree(Pop3Session):
        def retr(self, argument: str) -> bytes:
            if argument == "3":
                stop[0]()
            return super().retr(argument)

    async def run() -> None:
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, work):
            stop.append(runtime.stopping.set)
            await work

    provider = Provider(mails(9), session=StopsAtThree, manners=Manners(pipelining=False))
    asyncio.run(run())
    assert provider.commands[-1] == "QUIT"
    assert fetching.contents() == mails(3)
    assert provider.maildrop("sales") == mails(9)[3:]


def test_a_session_that_does_not_end_is_cut_when_the_stage_is_to_stop(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "STOP_SECONDS", 0.1)

    async def run() -> None:
        provider = Provider(mails(1), session=SilentAfterLogin)
        async with fetching.working(provider, mode=Mode.RUN):
            await until(lambda: bool(provider.sessions) and provider.sessions[-1].user is not None)

    asyncio.run(run())
    assert fetching.contents() == []


def test_a_drain_waits_for_the_first_answer_of_the_relay_before_it_judges_sizes(fetching: Fetching) -> None:
    async def run() -> None:
        provider = Provider([mail(1, "x" * 20_000)])
        async with fetching.working(provider, mode=Mode.DRAIN) as (_, work):
            await asyncio.sleep(0)
            Route(fetching.spool).learn_size(10_000)
            ring(fetching.spool, Stage.FETCH)
            await work

    fetching.fetch(max_message_octets=None)
    asyncio.run(run())
    assert fetching.contents() == []
    assert len(fetching.events("LeftOversize")) == 1
