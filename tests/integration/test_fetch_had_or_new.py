"""Had or new: whatever a server does with its UIDLs, no message is lost and none is admitted twice.

The rules of ARCHITECTURE.md's ledger, sentence by sentence, and the tests that hold them (those marked (s) are in
test_fetch_sessions.py, (i) in test_fetch_in_step.py, (l) in test_lying_servers.py):

- Every DELE of a message that was not downloaded in its session is preceded, before the session's first DELE, by TOP or
  by RETR: `test_whatever_is_compared_is_compared_before_the_first_dele`, `test_a_large_message_is_compared_by_its_...`.
- Deletion was asked for and did not happen, or was never sent; the same message is there: it is deleted:
  `test_a_deletion_that_did_not_happen_...`. Another message of that UIDL and size: it is new:
  `test_another_message_under_a_known_uidl_is_new_mail`. Age reached: `test_a_kept_message_is_deleted_when_its_age_...`.
- Adopted UIDLs are never deleted unread: `test_an_adopted_uidl_is_neither_fetched_nor_deleted_unread`,
  `test_an_adopted_message_whose_age_is_reached_is_read_before_it_is_deleted`.
- A listing in which every UIDL equals its number is doubted: `test_numbers_as_uidls_do_not_hide_new_mail`.
- Fields that servers rewrite make no mail new: `test_a_read_mark_does_not_make_old_mail_new`.
- Without UIDL content decides, and nothing can be left: the tests `test_without_uidls_...`.
- The count did not fall by what QUIT confirmed: `test_deletions_that_the_count_does_not_show_are_a_doubt`.
- Kept UIDLs vanish while mail is there: `test_a_user_who_deletes_kept_mail_elsewhere_...`,
  `test_uidls_changed_overnight_by_the_provider_deliver_nothing_of_1_000_kept_messages_again`; new UIDLs each session:
  `test_uidls_that_change_each_session_bring_nothing_twice`.
- Comparing goes on over as many sessions as it takes, where the last one stopped, and does not count to the limit of a
  session: `test_a_round_of_comparing_goes_on_...`, `test_what_is_compared_does_not_count_to_the_limit_of_a_session`.
- Compared entries get their present UIDL, vanished ones stay: the test of the 1,000, and
  `test_what_vanished_is_noted_for_the_ledger_to_forget`.
- Two equal messages, under one UIDL and under two, are two: the tests `test_equal_messages_...`.
- A maildrop listed empty once and full again: `test_a_maildrop_listed_empty_once_and_full_again_brings_nothing_twice`.
- A drain is done when a round admits nothing; a message that broke a session comes last, and stays after three: (s).
- An empty or cut RETR is an error of that message: (i), (l). Another message than was asked for: (l).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Deletion, Manners, Pop3Session, StoredMessage
from spool.accounts import Accounts
from spool.envelope import Uidl
from spool.layout import Stage
from spool.ledger import Ledger
from spool.staging import open_journal
from stages.runner import Mode
from tests.support.fetching import Fetching, Provider, mail
from tests.support.odd_pop3 import (
    AddsReadMark,
    ForgetsDeletions,
    FreshUidls,
    NumbersAsUidls,
    OneUidlForAll,
    RefusesQuit,
    RenumbersAfterDele,
)

LARGE = "x" * 70 + "\r\n"
LARGE_BODY = LARGE * 1000


class FreshAndForgetful(FreshUidls, ForgetsDeletions):
    """Deletions are confirmed and do not happen, and every session has new UIDLs."""


class FreshAndCut(FreshUidls):
    """Every session has new UIDLs, and the first DELE cuts the connection."""

    def dele(self, argument: str) -> bytes:
        self.ended = True
        return b""


class CutAtDele(Pop3Session):
    """The connection ends at the first DELE."""

    def dele(self, argument: str) -> bytes:
        self.ended = True
        return b""


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def mails(count: int) -> list[bytes]:
    return [mail(number) for number in range(count)]


def test_every_message_is_fetched_once_and_the_maildrop_is_empty(fetching: Fetching) -> None:
    provider = Provider(mails(7))
    assert fetching.poll(provider, mode=Mode.DRAIN).is_complete
    assert fetching.contents() == mails(7)
    assert provider.drop.messages == []


@pytest.mark.parametrize("manners", [Manners(), Manners(pipelining=False), Manners(added_octets=5)])
def test_deletions_come_after_the_last_retrieval_and_in_descending_order(fetching: Fetching, manners: Manners) -> None:
    """A server that renumbers after each DELE cannot make us delete another message."""
    provider = Provider(mails(5), manners=manners)
    fetching.poll(provider)
    verbs = [line for line in provider.commands if line.startswith(("RETR", "DELE", "QUIT"))]
    assert verbs[-6:] == ["DELE 5", "DELE 4", "DELE 3", "DELE 2", "DELE 1", "QUIT"]
    assert all(line.startswith("RETR") for line in verbs[:-6])


def test_a_server_that_renumbers_after_each_dele_loses_nothing(fetching: Fetching) -> None:
    provider = Provider([*mails(3), mail(4, "y" * 5000), *mails(2)], session=RenumbersAfterDele)
    fetching.fetch(max_message_octets=4000)
    fetching.poll(provider)
    assert [message.content for message in provider.drop.messages] == [mail(4, "y" * 5000)]


@pytest.mark.parametrize("session", [ForgetsDeletions, RefusesQuit, CutAtDele])
@pytest.mark.parametrize("body", ["small", LARGE_BODY], ids=["small", "large"])
def test_a_deletion_that_did_not_happen_is_asked_for_again_and_nothing_is_admitted_twice(
    fetching: Fetching, session: type[Pop3Session], body: str
) -> None:
    """Deletion is a fact only when the next UIDL no longer shows the message."""
    provider = Provider([mail(1, body), mail(2, body)], session=session)
    fetching.poll(provider)
    fetching.poll(provider)
    provider.kind = Pop3Session
    fetching.poll(provider)
    assert len(fetching.contents()) == 2
    assert provider.drop.messages == []


def test_a_large_message_is_compared_by_its_header(fetching: Fetching) -> None:
    """TOP n 0 against the header hash in the ledger."""
    provider = Provider([mail(1, LARGE_BODY)], session=CutAtDele)
    fetching.poll(provider)
    provider.kind = Pop3Session
    fetching.poll(provider)
    assert "TOP 1 0" in provider.commands
    assert "RETR 1" not in provider.commands
    assert provider.drop.messages == []


class RefusesTop(Pop3Session):
    """TOP is offered, and refused."""

    def top(self, argument: str) -> bytes:
        return self.err(b"[SYS/TEMP] not now")


class AddsToTop(Pop3Session):
    """TOP shows a field that RETR does not."""

    def top(self, argument: str) -> bytes:
        status, header = super().top(argument).split(b"\r\n", 1)
        return status + b"\r\nX-Shown-By: TOP\r\n" + header


@pytest.mark.parametrize("session", [RefusesTop, AddsToTop])
def test_a_large_message_whose_header_decides_nothing_is_compared_whole_and_not_admitted_again(
    fetching: Fetching, session: type[Pop3Session]
) -> None:
    """Its entry in the ledger stands for no other message."""
    provider = Provider([mail(1, LARGE_BODY)], session=CutAtDele)
    fetching.poll(provider)
    provider.kind = session
    fetching.poll(provider)
    assert provider.commands[-4:] == ["TOP 1 0", "RETR 1", "DELE 1", "QUIT"]
    assert len(fetching.contents()) == 1
    assert provider.drop.messages == []


@pytest.mark.parametrize("manners", [Manners(top=False), Manners()])
@pytest.mark.parametrize("body", ["HELLO.", LARGE_BODY], ids=["small", "large"])
def test_another_message_under_a_known_uidl_is_new_mail(fetching: Fetching, manners: Manners, body: str) -> None:
    """Servers do reuse UIDLs; size and UIDL are the same here."""
    provider = Provider(session=CutAtDele, manners=manners)
    provider.put(b"u1", mail(1, body))
    fetching.poll(provider)
    provider.drop.messages = [StoredMessage(uidl=b"u1", content=mail(2, body))]
    provider.kind = Pop3Session
    fetching.poll(provider)
    assert fetching.contents() == [mail(1, body), mail(2, body)]
    assert provider.drop.messages == []
    assert fetching.events("UidlReused") == ["UIDL u1 stands for another message now"]


def test_a_read_mark_does_not_make_old_mail_new(fetching: Fetching) -> None:
    """The hashes leave out the fields that servers rewrite between sessions."""

    class Marks(AddsReadMark, ForgetsDeletions):
        pass

    provider = Provider(mails(3), session=Marks)
    fetching.poll(provider)
    fetching.poll(provider)
    assert len(fetching.contents()) == 3


@pytest.mark.parametrize("session", [Pop3Session, OneUidlForAll, NumbersAsUidls])
def test_equal_messages_in_one_listing_are_as_many_messages(fetching: Fetching, session: type[Pop3Session]) -> None:
    """Identity counts copies: under one UIDL and under several."""
    provider = Provider([mail(1), mail(1), mail(1)], session=session)
    fetching.poll(provider, mode=Mode.DRAIN)
    assert fetching.contents() == [mail(1)] * 3
    assert provider.drop.messages == []


@pytest.mark.parametrize("session", [OneUidlForAll, NumbersAsUidls])
def test_equal_messages_that_were_not_deleted_are_matched_copy_by_copy(
    fetching: Fetching, session: type[Pop3Session]
) -> None:
    """k entries match k messages; the next equal one is new."""

    class Odd(session, ForgetsDeletions):  # type: ignore[misc, valid-type]  # mypy knows no base that is a value
        pass

    provider = Provider([mail(1), mail(1)], session=Odd)
    fetching.poll(provider)
    provider.deliver("sales", mail(1))
    fetching.poll(provider)
    assert fetching.contents() == [mail(1)] * 3


def test_an_equal_message_is_not_taken_for_one_that_was_just_deleted(fetching: Fetching) -> None:
    """It was in the listing beside it: the count fell, so that what vanished is gone."""

    class CutAfterOneDele(Pop3Session):
        def dele(self, argument: str) -> bytes:
            self.ended = True
            return super().dele(argument)

    fetching.fetch(max_messages_per_session=2)
    manners = Manners(deletion=Deletion.AT_DELE)
    provider = Provider([mail(1), mail(1), mail(1)], session=CutAfterOneDele, manners=manners)
    fetching.poll(provider, mode=Mode.DRAIN)
    provider.kind = Pop3Session
    fetching.poll(provider, mode=Mode.DRAIN)
    assert fetching.contents() == [mail(1)] * 3
    assert provider.drop.messages == []


def test_an_equal_message_that_comes_after_its_like_was_deleted_is_another_message(fetching: Fetching) -> None:
    """Its UIDL is the same in two sessions: this server's UIDLs do not change, so it is no old message renamed."""
    provider = Provider([mail(1)])
    fetching.poll(provider, mode=Mode.DRAIN)
    provider.deliver("sales", mail(1))
    fetching.poll(provider)
    assert fetching.contents() == [mail(1), mail(1)]
    assert provider.drop.messages == []
    assert fetching.events("UidlsDoubted") == []


def test_numbers_as_uidls_do_not_hide_new_mail(fetching: Fetching) -> None:
    """A listing in which every UIDL equals its number is doubted: number 1 is another message next time."""
    provider = Provider(mails(3), session=NumbersAsUidls)
    fetching.leave = None
    fetching.poll(provider)
    del provider.drop.messages[0]
    provider.deliver("sales", mail(7))
    fetching.poll(provider)
    assert fetching.contents() == [*mails(3), mail(7)]


@pytest.mark.parametrize("session", [FreshUidls, FreshAndForgetful, FreshAndCut])
@pytest.mark.parametrize("leave", [timedelta(0), None])
def test_uidls_that_change_each_session_bring_nothing_twice(
    fetching: Fetching, session: type[Pop3Session], leave: timedelta | None
) -> None:
    provider = Provider(mails(5), session=session)
    fetching.leave = leave
    for number in range(5, 8):
        fetching.poll(provider)
        provider.deliver("sales", mail(number))
    fetching.poll(provider)
    assert sorted(fetching.contents()) == sorted(mails(8))


def test_uidls_changed_overnight_by_the_provider_deliver_nothing_of_1_000_kept_messages_again(
    fetching: Fetching,
) -> None:
    """Known kept UIDLs vanished while mail is there: compared by content, over as many sessions as it takes."""
    provider = Provider(mails(1000))
    fetching.leave = None
    fetching.poll(provider)
    renamed = [StoredMessage(uidl=b"new-" + kept.uidl, content=kept.content) for kept in provider.drop.messages]
    provider.drop.messages = [*renamed, StoredMessage(uidl=b"fresh", content=mail(99))]
    fetching.poll(provider, mode=Mode.DRAIN)
    assert len(fetching.contents()) == 1001
    assert fetching.state().doubt_round == 0
    assert {entry.uidl.octets for entry in Ledger(fetching.spool).entries("sales")} == {
        message.uidl for message in provider.drop.messages
    }


def test_a_round_of_comparing_goes_on_where_the_last_session_stopped(fetching: Fetching) -> None:
    """Comparisons are not repeated under UIDLs that were compared already in this round."""

    class CutsAtTen(Pop3Session):
        def retr(self, argument: str) -> bytes:
            self.ended = len([line for line in self.commands if line.startswith("RETR")]) == 10
            return super().retr(argument)

    provider = Provider(mails(25))
    fetching.leave = None
    fetching.poll(provider)
    provider.drop.messages = [
        StoredMessage(uidl=b"new-" + kept.uidl, content=kept.content) for kept in provider.drop.messages
    ]
    provider.kind = CutsAtTen
    provider.sessions.clear()
    while fetching.state().doubt_round or not provider.sessions:
        fetching.poll(provider)
    assert len(provider.said("RETR")) < 60
    assert len(fetching.contents()) == 25


@pytest.mark.parametrize(("leave", "retrievals"), [(None, 5), (timedelta(0), 10)])
def test_a_maildrop_listed_empty_once_and_full_again_brings_nothing_twice(
    fetching: Fetching, leave: timedelta | None, retrievals: int
) -> None:
    """Kept messages are not even asked for; those that should have gone are compared, and go."""
    provider = Provider(mails(5), session=ForgetsDeletions)
    fetching.leave = leave
    fetching.poll(provider)
    full, provider.drop.messages = provider.drop.messages, []
    fetching.poll(provider)
    provider.drop.messages = full
    provider.kind = Pop3Session
    fetching.poll(provider)
    assert len(fetching.contents()) == 5
    assert len(provider.said("RETR")) == retrievals
    assert len(provider.drop.messages) == (0 if leave == timedelta(0) else 5)


def test_whatever_is_compared_is_compared_before_the_first_dele(fetching: Fetching) -> None:
    """A server that renumbers after a DELE must not be asked about a number behind one."""
    provider = Provider([mail(1), mail(2, LARGE_BODY), mail(3)], session=CutAtDele)
    fetching.poll(provider)
    provider.kind = Pop3Session
    provider.deliver("sales", mail(4))
    fetching.poll(provider)
    verbs = [line.split(" ")[0] for line in provider.commands]
    assert verbs.count("TOP") == 1
    assert verbs.count("RETR") == 3
    assert verbs.count("DELE") == 4
    assert verbs.index("DELE") > max(at for at, verb in enumerate(verbs) if verb in {"TOP", "RETR"})


def test_deletions_that_the_count_does_not_show_are_a_doubt(fetching: Fetching) -> None:
    """QUIT confirmed them, kept messages are there, and the maildrop holds as many as before."""
    provider = Provider(mails(3), session=ForgetsDeletions)
    fetching.leave = timedelta(days=14)
    fetching.poll(provider)
    fetching.clock.advance(timedelta(days=10))
    provider.deliver("sales", mail(3))
    fetching.poll(provider)
    fetching.clock.advance(timedelta(days=5))
    fetching.poll(provider)  # the first three are old enough, and their deletion is confirmed
    fetching.poll(provider)
    assert fetching.events("UidlsDoubted") == [
        "UIDLs are doubted (the count did not fall by the confirmed deletions): all messages are compared by content"
    ]
    assert fetching.contents() == mails(4)


def test_what_is_compared_does_not_count_to_the_limit_of_a_session(fetching: Fetching) -> None:
    provider = Provider(mails(10))
    fetching.leave = None
    fetching.poll(provider)
    provider.drop.messages = [
        StoredMessage(uidl=b"new-" + kept.uidl, content=kept.content) for kept in provider.drop.messages
    ]
    fetching.fetch(max_messages_per_session=3)
    provider.sessions.clear()
    fetching.poll(provider)
    asked = [sum(line.startswith("RETR") for line in session.commands) for session in provider.sessions]
    assert asked[0] == 10
    assert fetching.contents() == mails(10)


def test_kept_messages_are_fetched_once_and_nothing_is_sent_for_them_again(fetching: Fetching) -> None:
    """A poll that finds nothing new takes the server's listing and no more."""
    provider = Provider(mails(5))
    fetching.leave = timedelta(days=14)
    fetching.poll(provider)
    fetching.poll(provider)
    verbs = {line.split(" ")[0] for line in provider.commands}
    assert verbs == {"CAPA", "USER", "APOP", "STAT", "LIST", "UIDL", "QUIT"} - {"USER"}


@pytest.mark.parametrize("body", ["small", LARGE_BODY], ids=["small", "large"])
def test_a_kept_message_is_deleted_when_its_age_is_reached(fetching: Fetching, body: str) -> None:
    provider = Provider([mail(1, body)])
    fetching.leave = timedelta(days=14)
    fetching.poll(provider)
    fetching.clock.advance(timedelta(days=15))
    fetching.poll(provider)
    assert provider.drop.messages == []
    assert len(fetching.contents()) == 1


def test_a_user_who_deletes_kept_mail_elsewhere_costs_a_comparison_and_no_mail(fetching: Fetching) -> None:
    provider = Provider(mails(5))
    fetching.leave = None
    fetching.poll(provider)
    del provider.drop.messages[2]
    fetching.poll(provider)
    fetching.poll(provider)
    assert len(fetching.contents()) == 5
    assert fetching.events("UidlsDoubted") == [
        "UIDLs are doubted (kept messages vanished): all messages are compared by content"
    ]
    assert "RETR 1" not in provider.commands


def test_an_adopted_uidl_is_neither_fetched_nor_deleted_unread(fetching: Fetching) -> None:
    """Adopted or imported UIDLs have no hash; once read, they can be compared."""
    provider = Provider()
    provider.put(b"old", mail(1))
    Ledger(fetching.spool, open_journal(fetching.spool, Stage.FETCH)).adopt("sales", [Uidl(b"old")])
    fetching.poll(provider)
    assert "DELE 1" not in provider.commands
    fetching.poll(provider)
    assert provider.drop.messages == []
    assert fetching.contents() == []


def test_an_adopted_message_whose_age_is_reached_is_read_before_it_is_deleted(fetching: Fetching) -> None:
    """Read in one session, compared and deleted in the next: what was never seen is deleted by no guess."""
    provider = Provider()
    provider.put(b"old", mail(1))
    fetching.leave = timedelta(days=14)
    Ledger(fetching.spool, open_journal(fetching.spool, Stage.FETCH)).adopt("sales", [Uidl(b"old")])
    fetching.poll(provider)
    assert not provider.said("RETR")
    fetching.clock.advance(timedelta(days=15))
    fetching.poll(provider)
    assert provider.commands[-2:] == ["RETR 1", "QUIT"]
    fetching.poll(provider)
    assert provider.commands[-3:] == ["RETR 1", "DELE 1", "QUIT"]
    assert fetching.contents() == []


def test_without_uidls_content_decides(fetching: Fetching) -> None:
    class Forgets(ForgetsDeletions):
        pass

    provider = Provider([mail(1), mail(1), mail(2)], session=Forgets, manners=Manners(uidl=False))
    fetching.poll(provider)
    provider.deliver("sales", mail(3))
    fetching.poll(provider)
    provider.kind = Pop3Session
    fetching.poll(provider)
    assert sorted(fetching.contents()) == [mail(1), mail(1), mail(2), mail(3)]
    assert provider.drop.messages == []


def test_without_uidls_an_equal_message_that_comes_after_the_deletion_is_another_one(fetching: Fetching) -> None:
    """The count showed that the first one went."""
    provider = Provider([mail(1)], manners=Manners(uidl=False))
    fetching.poll(provider)
    fetching.poll(provider)
    provider.deliver("sales", mail(1))
    fetching.poll(provider)
    assert fetching.contents() == [mail(1), mail(1)]
    assert provider.drop.messages == []


def test_without_uidls_twins_are_two_messages_over_broken_sessions(fetching: Fetching) -> None:
    """One twin is deleted in one session; the other must not be taken for it in the next."""
    twins = [mail(1), mail(2), mail(3), mail(2), mail(4), mail(5)]
    provider = Provider(twins, manners=Manners(uidl=False, pipelining=False, hang_up_after=12))
    fetching.poll(provider, mode=Mode.DRAIN)
    provider.manners = Manners(uidl=False)
    fetching.poll(provider, mode=Mode.DRAIN)
    assert sorted(fetching.contents()) == sorted(twins)
    assert provider.drop.messages == []


@pytest.mark.parametrize("cut", range(7, 13))
def test_a_server_that_begins_to_offer_uidls_shows_nothing_new(fetching: Fetching, cut: int) -> None:
    provider = Provider(mails(5), manners=Manners(uidl=False, pipelining=False, hang_up_after=cut))
    fetching.poll(provider, mode=Mode.DRAIN)
    provider.manners = Manners()
    provider.deliver("sales", mail(9))
    fetching.poll(provider, mode=Mode.DRAIN)
    assert sorted(fetching.contents()) == sorted([*mails(5), mail(9)])
    assert provider.drop.messages == []


def test_without_uidls_nothing_can_be_left_on_the_server(fetching: Fetching) -> None:
    provider = Provider(mails(2), manners=Manners(uidl=False))
    fetching.leave = timedelta(days=1)
    assert not fetching.poll(provider).is_complete
    assert fetching.events("PollFailed") == [
        "poll failed: the server has no UIDL: set leave_on_server = false for this account"
    ]
    assert len(provider.drop.messages) == 2


def test_deletions_that_act_on_a_drop_are_deletions(fetching: Fetching) -> None:
    provider = Provider(mails(3), manners=Manners(deletion=Deletion.ON_DROP))
    fetching.poll(provider, mode=Mode.DRAIN)
    assert fetching.contents() == mails(3)


def test_what_vanished_is_noted_for_the_ledger_to_forget(fetching: Fetching) -> None:
    provider = Provider(mails(2))
    fetching.poll(provider)
    fetching.poll(provider)
    assert [entry.is_shown for entry in Ledger(fetching.spool).entries("sales")] == [False, False]
    assert Accounts(fetching.spool).states()["sales"].remote_messages == 0
