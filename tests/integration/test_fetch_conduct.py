"""How an account is treated whose server says no, not now, or not so often; and mail that was there before."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Manners, Pop3Session
from spool.accounts import Accounts, AccountState, Login, Outcome
from spool.doorbell import ring
from spool.layout import Stage
from stages.runner import Mode
from stages.secret import Secret
from tests.support.fetching import Fetching, Provider, mail, until
from tests.support.odd_pop3 import RefusesConnections
from tests.support.spools import logged

MINUTE = timedelta(minutes=1)
WITHOUT_UIDL = Manners(uidl=False)


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def mails(count: int) -> list[bytes]:
    return [mail(number) for number in range(count)]


class LoginDelay(Pop3Session):
    """Wants two and a half hours between two logins (RFC 2449 section 6.5)."""

    def capa(self, argument: str) -> bytes:
        return super().capa(argument).replace(b"USER\r\n", b"USER\r\nLOGIN-DELAY 9000\r\n")


class LoginDelayAndTrouble(LoginDelay):
    """The same, with a maildrop that cannot be listed."""

    def stat(self, argument: str) -> bytes:
        return self.err(b"[SYS/TEMP] not now")


def pause(fetching: Fetching, name: str = "sales") -> timedelta:
    """How long the account waits for its next poll."""
    state = fetching.state(name)
    assert state.last_attempt_at is not None
    assert state.next_poll_at is not None
    return state.next_poll_at - state.last_attempt_at


def test_a_host_that_takes_no_connections_is_tried_for_all_its_accounts_by_a_few(fetching: Fetching) -> None:
    fetching.users = 6
    fetching.fetch(per_host=2)
    provider = Provider(mails(1), session=RefusesConnections)
    assert not fetching.poll(provider).is_complete
    assert len(provider.sessions) == 2
    errors = {state.last_error for state in Accounts(fetching.spool).states().values()}
    assert errors == {"the server refuses the connection: too many connections"}
    assert len(fetching.events("PollFailed")) == 6


def test_a_running_stage_leaves_the_host_alone_for_a_while_and_polls_all_when_it_is_back(fetching: Fetching) -> None:
    async def run() -> None:
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            await until(lambda: len(fetching.events("PollFailed")) == 4)
            assert len(provider.sessions) == 1
            ring(fetching.spool, Stage.FETCH)
            await runtime.wait(0.05)
            assert len(provider.sessions) == 1
            provider.kind = Pop3Session
            fetching.clock.advance(2 * MINUTE)
            ring(fetching.spool, Stage.FETCH)
            await until(lambda: len(fetching.events("AccountRecovered")) == 4)

    fetching.users = 4
    fetching.fetch(per_host=1)
    provider = Provider(mails(1), session=RefusesConnections)
    asyncio.run(run())
    assert fetching.contents() == mails(1)


def test_whoever_asks_for_a_poll_has_the_host_tried_at_once(fetching: Fetching) -> None:
    async def run() -> None:
        async with fetching.working(provider, mode=Mode.RUN):
            await until(lambda: fetching.events("PollFailed") != [])
            provider.kind = Pop3Session
            (request,) = Accounts(fetching.spool).ask(["sales"])
            ring(fetching.spool, Stage.FETCH)
            await until(lambda: Accounts(fetching.spool).outcome(request) is not None)
            told = f"sales: fetched 1 message, {len(mail(0))} octets, deleted 1, left 0 at the server"
            assert Accounts(fetching.spool).outcome(request) == Outcome(text=told)

    provider = Provider(mails(1), session=RefusesConnections)
    asyncio.run(run())


def test_another_host_is_not_concerned(fetching: Fetching) -> None:
    fetching.poll(Provider(mails(1), user="a", session=RefusesConnections), Provider(mails(1), user="b"))
    assert [message.account for message in fetching.messages()] == ["b"]


def test_a_failure_that_may_pass_is_tried_again_soon(fetching: Fetching) -> None:
    provider = Provider(mails(1))
    provider.drop.locked = True
    assert not fetching.poll(provider).is_complete
    assert MINUTE <= pause(fetching) <= 1.1 * MINUTE
    assert fetching.events("PollFailed") == [
        "poll failed: login refused (APOP): [IN-USE] maildrop is open in another session"
    ]


def test_a_refused_login_is_tried_rarely_and_told_when_it_happens_again_and_again(fetching: Fetching) -> None:
    """Never declared dead on the first refusal: servers that throttle answer so too."""
    fetching.passwords["sales"] = Secret("wrong")
    provider = Provider(mails(1))
    pauses = []
    for _ in range(4):
        fetching.poll(provider)
        pauses.append(pause(fetching) // MINUTE)
    assert pauses == pytest.approx([15, 60, 240, 720], rel=0.1)
    assert len(fetching.events("PollFailed")) == 1
    (text,) = fetching.events("LoginsRefused")
    assert text.startswith("3 logins in a row were refused; the next try is at 2026-01-01T07:")
    fetching.passwords.clear()
    fetching.poll(provider)
    assert (fetching.state().refusals, fetching.contents()) == (0, mails(1))


def test_a_failure_that_lasts_is_told_again_once_a_day(fetching: Fetching) -> None:
    provider = Provider(mails(1), session=RefusesConnections)
    for _ in range(26):
        fetching.poll(provider)
    counts = [event.count for event in logged(fetching.spool) if event.name == "PollFailed"]
    assert (len(counts), sum(counts)) == (2, 26)


def test_no_login_comes_before_the_delay_that_the_server_asks_for(fetching: Fetching) -> None:
    """A single round does not wait for hours: it says when it may."""
    provider = Provider(mails(1), session=LoginDelay)
    fetching.poll(provider)
    assert not fetching.poll(provider).is_complete
    assert len(provider.sessions) == 1
    assert fetching.events("PollFailed") == [
        "poll failed: the server allows the next login at 2026-01-01T03:30:00.000Z (LOGIN-DELAY)"
    ]
    fetching.poll(provider)
    assert fetching.poll(provider).is_complete
    assert len(provider.sessions) == 2


def test_the_next_poll_is_not_due_before_the_delay_is_over(fetching: Fetching) -> None:
    fetching.poll(Provider(mails(1), session=LoginDelay))
    assert pause(fetching) == timedelta(seconds=9000)
    fetching.clock.advance(timedelta(hours=3))
    fetching.poll(Provider(mails(1), session=LoginDelayAndTrouble))
    assert pause(fetching) >= timedelta(seconds=9000)


def test_a_drain_that_has_everything_does_not_wait_for_the_delay(fetching: Fetching) -> None:
    provider = Provider(mails(3), session=LoginDelay)
    assert fetching.poll(provider, mode=Mode.DRAIN).is_complete
    assert len(provider.sessions) == 1


def test_a_drain_that_would_have_to_wait_for_hours_says_that_more_is_there(fetching: Fetching) -> None:
    fetching.fetch(max_messages_per_session=1)
    provider = Provider(mails(3), session=LoginDelay)
    assert not fetching.poll(provider, mode=Mode.DRAIN).is_complete
    assert (len(provider.sessions), fetching.contents()) == (1, mails(1))


def test_a_running_stage_waits_between_the_sessions_of_a_poll(fetching: Fetching) -> None:
    async def run() -> None:
        async with fetching.working(provider, mode=Mode.RUN) as (runtime, _):
            await until(lambda: len(fetching.messages()) == 1 and provider.sessions[-1].said_quit)
            ring(fetching.spool, Stage.FETCH)
            await runtime.wait(0.05)
            (request,) = Accounts(fetching.spool).ask(["sales"])
            ring(fetching.spool, Stage.FETCH)
            await runtime.wait(0.05)
            assert Accounts(fetching.spool).outcome(request) is None, "it is answered after the poll under way"
            assert len(provider.sessions) == 1
            fetching.clock.advance(timedelta(seconds=9000))
            ring(fetching.spool, Stage.FETCH)
            await until(lambda: len(fetching.messages()) == 2)
            await until(lambda: Accounts(fetching.spool).outcome(request) is not None)
            answer = Accounts(fetching.spool).outcome(request)
            assert answer == Outcome(
                text="sales: the server allows the next login at 2026-01-01T05:00:00.000Z (LOGIN-DELAY)",
                has_failed=True,
            )

    fetching.fetch(max_messages_per_session=1)
    provider = Provider(mails(2), session=LoginDelay)
    asyncio.run(run())


class HangsUpOnCapa(Pop3Session):
    """Knows no CAPA and takes the question for an attack."""

    def capa(self, argument: str) -> bytes:
        self.ended = True
        return b""


class HangsUpOnSecondCapa(HangsUpOnCapa):
    """Bears it before the login."""

    def capa(self, argument: str) -> bytes:
        return Pop3Session.capa(self, argument) if self.user is None else super().capa(argument)


@pytest.mark.parametrize("session", [HangsUpOnCapa, HangsUpOnSecondCapa])
def test_a_server_that_hangs_up_on_capa_again_is_asked_without_it_and_remembered(
    fetching: Fetching, session: type[Pop3Session]
) -> None:
    provider = Provider(mails(2), session=session)
    assert fetching.poll(provider).is_complete
    assert fetching.contents() == mails(2)
    asked = len(provider.said("CAPA"))
    provider.deliver("sales", mail(7))
    assert fetching.poll(provider).is_complete
    assert (len(fetching.contents()), len(provider.said("CAPA"))) == (3, asked)
    assert fetching.events("CapabilitiesSkipped") == ["the server hangs up on CAPA; it is not asked any more"]
    assert fetching.events("PollFailed") == []


def test_one_hang_up_on_capa_is_no_habit(fetching: Fetching) -> None:
    """A server that is started anew hangs up as well."""
    cuts = iter([True])

    class HangsUpOnce(HangsUpOnCapa):
        def capa(self, argument: str) -> bytes:
            return super().capa(argument) if next(cuts, False) else Pop3Session.capa(self, argument)

    provider = Provider(mails(2), session=HangsUpOnce)
    assert fetching.poll(provider).is_complete
    assert fetching.contents() == mails(2)
    assert fetching.events("CapabilitiesSkipped") == []


def test_a_password_that_was_hidden_is_not_sent_in_clear_because_capa_is_cut(fetching: Fetching) -> None:
    """Whoever cuts the line could wish for just that."""
    login = Login(at=fetching.spool.now(), mechanism="CRAM-MD5")
    Accounts(fetching.spool).save(AccountState(name="sales", login=login))
    provider = Provider(mails(1), session=HangsUpOnCapa)
    assert not fetching.poll(provider).is_complete
    assert provider.said("PASS") == provider.said("APOP") == []
    failed = "poll failed: the server hung up in answer to CAPA, which it answered before"
    assert fetching.events("PollFailed") == [failed]


class HangsUpOnPass(Pop3Session):
    """Some servers do that instead of saying that the password is wrong."""

    def password(self, argument: str) -> bytes:
        self.ended = True
        return b""


def test_a_server_that_hangs_up_on_the_password_is_tried_as_rarely_as_one_that_refuses_it(fetching: Fetching) -> None:
    fetching.poll(Provider(mails(1), session=HangsUpOnPass, manners=Manners(apop=False)))
    assert 15 * MINUTE <= pause(fetching) <= 1.1 * 15 * MINUTE


def test_what_logged_in_last_time_is_tried_first(fetching: Fetching) -> None:
    fetching.poll(Provider(mails(1)))
    login = fetching.state().login
    assert login is not None
    assert login.mechanism == "APOP"


def test_adopted_mail_is_not_fetched_and_what_comes_later_is(fetching: Fetching) -> None:
    fetching.leave = None
    provider = Provider(mails(3))
    (request,) = Accounts(fetching.spool).ask(["sales"], adopts=True)
    fetching.poll(provider)
    assert Accounts(fetching.spool).outcome(request) == Outcome(text="sales: 3 messages marked as had")
    assert fetching.events("Adopted") == ["3 messages at the provider were marked as had"]
    assert not provider.said("RETR")
    provider.deliver("sales", mail(9))
    fetching.poll(provider)
    assert fetching.contents() == [mail(9)]
    assert len(provider.drop.messages) == 4
    assert fetching.events("MailWasThere") == []


def test_adopting_twice_adopts_what_is_new_alone(fetching: Fetching) -> None:
    fetching.leave = None
    provider = Provider(mails(2))
    for expected in (2, 0, 1):
        (request,) = Accounts(fetching.spool).ask(["sales"], adopts=True)
        fetching.poll(provider)
        outcome = Accounts(fetching.spool).outcome(request)
        assert outcome == Outcome(text=f"sales: {expected} messages marked as had")
        if not expected:
            provider.deliver("sales", mail(7))
    assert fetching.contents() == []


def test_adopted_mail_is_never_deleted_unread(fetching: Fetching) -> None:
    """Its content is noted first; only then can a deletion compare."""
    provider = Provider(mails(2))
    Accounts(fetching.spool).ask(["sales"], adopts=True)
    fetching.poll(provider)
    fetching.poll(provider)
    assert (provider.said("RETR"), provider.said("DELE")) == (["RETR 1", "RETR 2"], [])
    fetching.poll(provider)
    assert (fetching.contents(), provider.drop.messages) == ([], [])


def test_a_server_without_uidl_has_nothing_to_adopt(fetching: Fetching) -> None:
    provider = Provider(mails(2), manners=WITHOUT_UIDL)
    Accounts(fetching.spool).ask(["sales"], adopts=True)
    assert not fetching.poll(provider).is_complete
    assert fetching.events("PollFailed") == ["poll failed: the server has no UIDL: nothing can be marked as had"]


@pytest.mark.parametrize(("leave", "told"), [(None, 1), (timedelta(days=14), 1), (timedelta(0), 0)])
def test_the_first_poll_of_mail_that_stays_offers_to_adopt_it(
    fetching: Fetching, leave: timedelta | None, told: int
) -> None:
    fetching.leave = leave
    fetching.fetch(max_messages_per_session=1)
    provider = Provider(mails(3))
    fetching.poll(provider)
    fetching.poll(provider)
    assert (
        fetching.events("MailWasThere")
        == [
            "3 messages were there before the first poll and are fetched; "
            "`pop3connector accounts adopt sales` marks what is there as had instead"
        ]
        * told
    )


def test_what_is_said_once_a_day_is_said_once_by_all_processes_of_that_day(fetching: Fetching) -> None:
    """A drain from cron is a new process each time."""
    provider = Provider(mails(1))
    for _ in range(24):
        fetching.poll(provider)
    assert len(fetching.events("PlainTextLogin")) == 1
    fetching.poll(provider)
    assert len(fetching.events("PlainTextLogin")) == 2
