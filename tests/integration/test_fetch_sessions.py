"""A session's limits, what stays at the provider and why, and what breaks."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Manners, Pop3Session
from spool.accounts import Accounts, Why
from spool.disk import Disk
from spool.route import Route
from stages.fetch.limits import TRACE_OCTETS
from stages.runner import Mode
from stages.settings import Oversize
from tests.support.fetching import Fetching, Provider, mail
from tests.support.odd_pop3 import CutsRetrievals, NotPop3, RepliesTooLong, SilentAfterLogin

MIB = 1024 * 1024


class CutsThePoison(Pop3Session):
    """The connection ends in the middle of each message that holds the word."""

    def retr(self, argument: str) -> bytes:
        reply = super().retr(argument)
        if b"poison" not in reply:
            return reply
        self.ended = True
        return reply[: len(reply) // 2]


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def mails(count: int) -> list[bytes]:
    return [mail(number) for number in range(count)]


def test_a_session_ends_after_so_many_messages_and_another_one_follows(fetching: Fetching) -> None:
    """So that deletions become fact on bad lines too."""
    fetching.fetch(max_messages_per_session=3)
    provider = Provider(mails(8))
    fetching.poll(provider)
    assert [sum(line.startswith("RETR") for line in session.commands) for session in provider.sessions] == [3, 3, 2]
    assert [sum(line.startswith("DELE") for line in session.commands) for session in provider.sessions] == [3, 3, 2]


def test_the_other_accounts_have_their_turn_before_another_session_follows(fetching: Fetching) -> None:
    fetching.fetch(max_messages_per_session=1, concurrency=1)
    first, second = Provider(mails(3), user="a"), Provider(mails(3), user="b")
    fetching.poll(first, second)
    accounts = [message.account for message in fetching.messages()]
    assert accounts == ["a", "b", "a", "b", "a", "b"]


def test_a_drain_is_done_when_a_whole_round_admits_nothing(fetching: Fetching) -> None:
    class Grows(Pop3Session):
        def quit(self, argument: str) -> bytes:
            maildrop = self.maildrop
            reply = super().quit(argument)
            if maildrop.delivered < 4:
                maildrop.deliver(mail(maildrop.delivered + 1))
            return reply

    provider = Provider([mail(1)], session=Grows)
    fetching.poll(provider, mode=Mode.DRAIN)
    assert fetching.contents() == [mail(1), mail(2), mail(3), mail(4)]
    assert not any(line.startswith("RETR") for line in provider.commands)


def test_an_oversize_message_stays_and_is_reported_once_with_the_limit_and_where_it_comes_from(
    fetching: Fetching,
) -> None:
    fetching.fetch(max_message_octets=1000)
    large = mail(2, "x" * 2000)
    provider = Provider([mail(1), large])
    assert fetching.poll(provider).is_complete
    fetching.poll(provider)
    assert provider.maildrop("sales") == [large]
    assert fetching.contents() == [mail(1)]
    assert fetching.events("LeftOversize") == [
        f"left at the provider: UIDL 00000002, {len(large)} octets, the limit is 1000 (fetch.max_message_size)"
    ]
    (left,) = Accounts(fetching.spool).left("sales")
    assert (left.why, left.limit_octets, left.limit_source) == (Why.OVERSIZE, 1000, "fetch.max_message_size")


def test_a_message_that_fits_after_the_limit_was_raised_is_fetched(fetching: Fetching) -> None:
    fetching.fetch(max_message_octets=1000)
    provider = Provider([mail(2, "x" * 2000)])
    fetching.poll(provider)
    fetching.fetch(max_message_octets=10_000)
    fetching.poll(provider)
    assert len(fetching.contents()) == 1
    assert fetching.left() == []


def test_oversize_badmail_fetches_and_objects(fetching: Fetching) -> None:
    """Validate puts it straight into Badmail, with the reason."""
    fetching.fetch(max_message_octets=1000, oversize=Oversize.BADMAIL)
    provider = Provider([mail(2, "x" * 2000)])
    fetching.poll(provider)
    (message,) = fetching.messages()
    assert message.reason is not None
    assert str(message.reason) == f"fetch: {message.octets} octets are larger than 1000, fetch.max_message_size"
    assert provider.drop.messages == []


def test_the_limit_is_the_size_of_the_relay_less_our_header(fetching: Fetching) -> None:
    Route(fetching.spool).learn_size(TRACE_OCTETS + 1000)
    fetching.fetch(max_message_octets=None)
    provider = Provider([mail(1), mail(2, "x" * 2000)])
    fetching.poll(provider)
    assert fetching.contents() == [mail(1)]
    assert "(SIZE of the relay)" in fetching.events("LeftOversize")[0]


def test_while_the_size_of_the_relay_is_not_known_large_messages_wait_unreported(fetching: Fetching) -> None:
    fetching.fetch(max_message_octets=None)
    provider = Provider([mail(1), mail(2, "x" * (11 * MIB))])
    fetching.poll(provider)
    assert fetching.contents() == [mail(1)]
    assert fetching.left() == []
    assert fetching.events("SizesWait") == ["1 large messages wait until the relay tells its size limit"]
    Route(fetching.spool).learn_size(None)
    fetching.poll(provider)
    assert len(fetching.contents()) == 2


def test_a_large_message_has_a_file_of_its_own(fetching: Fetching) -> None:
    large = mail(1, "\r\n".join(["x" * 70] * 50_000))
    provider = Provider([large, mail(2)])
    fetching.poll(provider)
    assert fetching.contents() == [large, mail(2)]
    assert len(list(fetching.spool.layout.large.iterdir())) == 1


def test_a_large_message_that_was_had_leaves_no_file(fetching: Fetching) -> None:
    class CutAtDele(Pop3Session):
        def dele(self, argument: str) -> bytes:
            self.ended = True
            return b""

    provider = Provider([mail(1, "\r\n".join(["x" * 70] * 50_000))], session=CutAtDele, manners=Manners(top=False))
    fetching.poll(provider)
    provider.kind = Pop3Session
    fetching.poll(provider)
    assert len(list(fetching.spool.layout.large.iterdir())) == 1
    assert provider.drop.messages == []


def test_a_large_message_that_is_cut_leaves_no_file(fetching: Fetching) -> None:
    provider = Provider([mail(1, "\r\n".join(["x" * 70] * 80_000))], session=CutsRetrievals)
    fetching.poll(provider)
    assert list(fetching.spool.layout.large.iterdir()) == []
    assert fetching.contents() == []


def test_a_message_that_breaks_a_session_comes_last_in_a_session_of_its_own(fetching: Fetching) -> None:
    provider = Provider([mail(1, "poison"), *mails(4)], session=CutsThePoison)
    fetching.poll(provider)
    assert sorted(fetching.contents()) == sorted(mails(4))
    provider.sessions.clear()
    provider.deliver("sales", mail(9))
    fetching.poll(provider)
    retrieved = [[line for line in session.commands if line.startswith("RETR")] for session in provider.sessions]
    assert retrieved == [["RETR 2"], ["RETR 1"]]


def test_after_three_breaks_a_message_stays_and_is_tried_once_a_day(fetching: Fetching) -> None:
    provider = Provider([mail(1, "poison")], session=CutsThePoison)
    for _ in range(5):
        fetching.poll(provider)
    assert len(provider.said("RETR")) == 3
    assert len(fetching.events("MessageBroke")) == 3
    assert fetching.events("LeftBroken") == [
        "left at the provider: UIDL 00000001 failed in 3 sessions; it is tried once a day"
    ]
    assert fetching.poll(provider).is_complete
    fetching.clock.advance(timedelta(days=1))
    provider.kind = Pop3Session
    fetching.poll(provider)
    assert len(fetching.contents()) == 1
    assert fetching.left() == []


def test_a_server_that_hangs_up_after_so_many_commands_is_emptied_all_the_same(fetching: Fetching) -> None:
    """Shorter sessions get further on a line that breaks."""
    provider = Provider(mails(20), manners=Manners(hang_up_after=14))
    assert fetching.poll(provider).is_complete
    assert sorted(fetching.contents()) == sorted(mails(20))
    assert provider.drop.messages == []


@pytest.mark.parametrize(
    ("session", "said"),
    [
        (NotPop3, "220 mail.isp.example ESMTP"),
        (RepliesTooLong, "a line of more than 8192 octets"),
    ],
)
def test_what_a_broken_server_said_is_quoted_in_one_event(
    fetching: Fetching, session: type[Pop3Session], said: str
) -> None:
    provider = Provider(mails(2), session=session)
    assert not fetching.poll(provider).is_complete
    (text,) = fetching.events("PollFailed")
    assert said in text
    assert fetching.state().failures == 1
    assert fetching.state().last_error is not None


def test_a_recovered_account_says_so(fetching: Fetching) -> None:
    provider = Provider(mails(2), session=NotPop3)
    fetching.poll(provider)
    fetching.poll(provider)
    provider.kind = Pop3Session
    fetching.poll(provider)
    assert fetching.events("AccountRecovered") == ["polled again after 2 failures"]
    assert fetching.state().failures == 0


def test_a_stalled_server_does_not_delay_another_account(fetching: Fetching) -> None:
    """The good account is done while the stalled one still waits for its time-out."""
    fetching.fetch(timeout=timedelta(seconds=1), max_messages_per_session=1)
    stalled, good = Provider(mails(1), user="a", session=SilentAfterLogin), Provider(mails(3), user="b")
    assert not fetching.poll(stalled, good).is_complete
    assert len(fetching.contents()) == 3
    names = [name for name in ("PollSucceeded", "PollFailed") if fetching.events(name)]
    assert names == ["PollSucceeded", "PollFailed"]


def test_a_session_has_a_time_of_its_own(fetching: Fetching) -> None:
    fetching.fetch(session_timeout=timedelta(seconds=0.3))
    assert not fetching.poll(Provider(mails(1), session=SilentAfterLogin)).is_complete
    assert fetching.events("PollFailed") == ["poll failed: the session took longer than 0:00:00.300000"]


def test_a_login_without_tls_is_warned_of_once_a_day(fetching: Fetching) -> None:
    fetching.poll(Provider(mails(1)), mode=Mode.DRAIN)
    assert fetching.events("PlainTextLogin") == ["logged in to 127.0.0.1 without TLS"]


def test_left_messages_are_forgotten_when_they_are_gone(fetching: Fetching) -> None:
    fetching.fetch(max_message_octets=1000)
    provider = Provider([mail(2, "x" * 2000)])
    fetching.poll(provider)
    assert [left.why for left in Accounts(fetching.spool).left("sales")] == [Why.OVERSIZE]
    provider.drop.messages = []
    fetching.poll(provider)
    assert fetching.left() == []


def test_a_session_whose_time_runs_out_while_the_disk_is_slow_is_over_and_the_account_is_polled_again(
    tmp_path: Path,
) -> None:
    """What it waited for comes all the same: the next session finds the message in custody, and deletes it."""
    is_armed, is_lost = threading.Event(), threading.Event()

    class SlowDisk(Disk):
        def sync_data(self, fd: int) -> None:
            if is_armed.is_set():
                assert is_lost.wait(20)
            super().sync_data(fd)

    class Arms(Pop3Session):
        def retr(self, argument: str) -> bytes:
            is_armed.set()
            return super().retr(argument)

        def lost(self) -> None:
            super().lost()
            is_lost.set()

    fetching = Fetching(tmp_path, disk=SlowDisk())
    fetching.fetch(session_timeout=timedelta(seconds=1))
    provider = Provider(mails(1), session=Arms)
    fetching.poll(provider)
    assert fetching.contents() == mails(1)
    assert provider.drop.messages == []
    assert fetching.events("SessionBroke") == ["a session ended early: the session took longer than 0:00:01"]
