"""Nothing is waited for without end: a reply, a message, the session; and nobody waits for another's server.

Connecting and the TLS handshake have theirs in `tests/unit/stages/test_stream.py`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Manners, Pop3Session
from spool.accounts import Accounts
from spool.doorbell import ring
from spool.layout import Stage
from stages.fetch import polling
from stages.runner import Mode
from tests.support.dribbling import GREETING, Dribbling
from tests.support.fetching import Fetching, Provider, mail, until
from tests.support.odd_pop3 import SilentAfterLogin, SilentGreeting, StallsInRetrievals, silent_at

A_SHORT_TIME = timedelta(seconds=0.2)
A_LONG_TIME = timedelta(minutes=1)


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def mails(count: int) -> list[bytes]:
    return [mail(number) for number in range(count)]


def is_fetched_once_when_the_server_has_recovered(fetching: Fetching, provider: Provider) -> bool:
    provider.kind = Pop3Session
    fetching.fetch(timeout=A_LONG_TIME)
    fetching.clock.advance(timedelta(days=1))
    fetching.poll(provider)
    return sorted(fetching.contents()) == sorted(mails(3)) and provider.drop.messages == []


@pytest.mark.parametrize("verb", ["CAPA", "APOP", "STAT", "LIST", "UIDL", "RETR", "DELE"])
@pytest.mark.parametrize("manners", [Manners(), Manners(pipelining=False)], ids=["pipelined", "one by one"])
def test_a_reply_that_does_not_come_ends_the_session(fetching: Fetching, verb: str, manners: Manners) -> None:
    fetching.fetch(timeout=A_SHORT_TIME, session_timeout=A_LONG_TIME)
    provider = Provider(mails(3), session=silent_at(verb), manners=manners)
    assert not fetching.poll(provider).is_complete
    assert fetching.events("PollFailed") == ["poll failed: no octet from the server for 0.2 s"]
    assert len(provider.drop.messages) == 3
    assert is_fetched_once_when_the_server_has_recovered(fetching, provider)


def test_a_greeting_that_does_not_come_ends_the_session(fetching: Fetching) -> None:
    fetching.fetch(timeout=A_SHORT_TIME, session_timeout=A_LONG_TIME)
    provider = Provider(mails(3), session=SilentGreeting)
    assert not fetching.poll(provider).is_complete
    assert provider.commands == []
    assert fetching.events("PollFailed") == ["poll failed: no octet from the server for 0.2 s"]


def test_an_answer_to_quit_that_does_not_come_leaves_the_deletions_in_doubt(fetching: Fetching) -> None:
    """RFC 1939 section 6: they happen in the UPDATE state, which nobody has seen."""
    fetching.fetch(timeout=A_SHORT_TIME, session_timeout=A_LONG_TIME)
    provider = Provider(mails(3), session=silent_at("QUIT"))
    fetching.poll(provider)
    [text] = fetching.events("PollFailed")
    assert text.startswith("poll failed: QUIT was not confirmed: ")
    assert is_fetched_once_when_the_server_has_recovered(fetching, provider)


@pytest.mark.parametrize("manners", [Manners(), Manners(pipelining=False)], ids=["pipelined", "one by one"])
def test_a_message_that_stalls_ends_the_session_and_is_no_message(fetching: Fetching, manners: Manners) -> None:
    fetching.fetch(timeout=A_SHORT_TIME, session_timeout=A_LONG_TIME)
    provider = Provider(mails(3), session=StallsInRetrievals, manners=manners)
    assert not fetching.poll(provider).is_complete
    assert "poll failed: no octet from the server for 0.2 s" in fetching.events("PollFailed")
    assert fetching.contents() == []
    assert not provider.said("DELE")
    assert is_fetched_once_when_the_server_has_recovered(fetching, provider)


@pytest.mark.parametrize("at", [GREETING, "CAPA", "APOP", "STAT", "LIST", "UIDL", "RETR"])
def test_a_server_that_dribbles_for_ever_is_left_when_the_time_of_the_session_is_up(
    fetching: Fetching, at: str
) -> None:
    """There is always an octet before the time-out for silence."""
    fetching.fetch(timeout=A_LONG_TIME, session_timeout=A_SHORT_TIME)
    provider = Dribbling(mails(1), at=at)
    assert not fetching.poll(provider).is_complete
    assert fetching.events("PollFailed") == ["poll failed: the session took longer than 0:00:00.200000"]
    assert len(provider.drop.messages) == 1
    assert fetching.contents() == []


def test_three_stalled_servers_delay_nobody_who_has_the_fourth_place(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The good account is polled twice, while the others still have most of a minute before them."""
    monkeypatch.setattr(polling, "STOP_SECONDS", 0.1)
    fetching.fetch(timeout=A_LONG_TIME, session_timeout=A_LONG_TIME, concurrency=4, per_host=4)
    stalled = [
        Provider(mails(1), user="a", session=SilentAfterLogin),
        Provider(mails(1), user="b", session=SilentGreeting),
        Dribbling(mails(1), user="c", at="RETR"),
    ]
    good = Provider(mails(1), user="d")

    async def run() -> None:
        accounts = Accounts(fetching.spool)
        async with fetching.working(*stalled, good, mode=Mode.RUN):
            await until(lambda: all(provider.sessions for provider in stalled))
            await until(lambda: fetching.events("PollSucceeded") != [])
            good.deliver("d", mail(2))
            (request,) = accounts.ask(["d"])
            ring(fetching.spool, Stage.FETCH)
            await until(lambda: accounts.outcome(request) is not None)
            assert not any(session.ended for provider in stalled for session in provider.sessions)
            assert fetching.events("PollFailed") == []

    asyncio.run(run())
    assert fetching.contents() == [mail(0), mail(2)]
