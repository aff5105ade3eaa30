"""In step: only a confirmed message is kept, and whatever a server does in a window costs no message."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Manners, Pop3Session, wire_form
from tests.support.fetching import Fetching, Provider, mail
from tests.support.odd_pop3 import EmptyRetrievals, NeverStuffs, UnaskedReplies
from tests.support.spools import logged

_TENTH = timedelta(seconds=0.2)


class TwoSizes(Pop3Session):
    """LIST is wrong for message 3 alone."""

    def list_(self, argument: str) -> bytes:
        listing = super().list_(argument)
        size = b"%d" % self.octets(self.listing[3])
        return listing.replace(b"3 " + size, b"3 1") if 3 in self.listing else listing


class ThrowsAwayInput(Pop3Session):
    """Offers PIPELINING, and answers only every other RETR."""

    def retr(self, argument: str) -> bytes:
        return b"" if self.pipelined and int(argument) % 2 == 0 else super().retr(argument)


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def mails(count: int) -> list[bytes]:
    return [mail(number) for number in range(count)]


def test_a_first_message_shows_what_sizes_are_worth_and_exact_ones_save_the_sentinels(fetching: Fetching) -> None:
    provider = Provider([mail(number, "x" * number) for number in range(5)])
    fetching.poll(provider)
    assert provider.said("UIDL") == ["UIDL"]
    assert fetching.state().sizes_exact is True
    assert fetching.events("SizesInexact") == []


def test_sizes_that_are_equal_tell_nothing_in_a_window_and_need_sentinels(fetching: Fetching) -> None:
    """An answer that slipped by one command would have the right size."""
    provider = Provider([*mails(4), mail(5, "of another size")])
    fetching.poll(provider)
    # The first was asked for alone.
    assert len(provider.said("UIDL")) == 1 + 3
    assert sorted(fetching.contents()) == sorted([*mails(4), mail(5, "of another size")])


@pytest.mark.parametrize("manners", [Manners(added_octets=3), Manners(added_octets=3, uidl=False)])
def test_sizes_that_are_not_exact_keep_their_sentinels(fetching: Fetching, manners: Manners) -> None:
    """Each message has its TOP too; once, and from then on before the RETRs of a window."""
    provider = Provider(manners=manners)
    for start, sentinels in ((0, 6), (5, 5)):  # the very first message came short, and was asked for again
        for number in range(start, start + 5):
            provider.deliver("sales", mail(number))
        fetching.poll(provider)
        verb = "UIDL" if manners.uidl else "LIST"
        assert len([line for line in provider.commands if line.startswith(verb + " ")]) == sentinels
        assert len([line for line in provider.commands if line.startswith("TOP ")]) == 5
    assert sorted(fetching.contents()) == sorted(mails(10))
    assert fetching.state().sizes_exact is False
    assert len(fetching.events("SizesInexact")) == 1


def test_a_wrong_size_in_a_window_without_sentinels_costs_the_connection_and_no_message(fetching: Fetching) -> None:
    """The account goes on one by one in the same poll; from then on there are sentinels."""
    provider = Provider(mails(5))
    fetching.poll(provider)
    provider.kind = TwoSizes
    for number in range(10, 15):
        provider.deliver("sales", mail(number))
    assert fetching.poll(provider).is_complete
    assert sorted(fetching.contents()) == sorted([*mails(5), *(mail(number) for number in range(10, 15))])
    assert provider.drop.messages == []
    assert fetching.state().sizes_exact is False
    assert len(fetching.events("FellOutOfStep")) == 1


@pytest.mark.parametrize("session", [NeverStuffs, UnaskedReplies])
@pytest.mark.parametrize("manners", [Manners(), Manners(pipelining=False)])
def test_nothing_forged_is_stored_and_nothing_true_is_deleted(
    fetching: Fetching, session: type[Pop3Session], manners: Manners
) -> None:
    """A sender's lone dot line must not end his message early on a server that does not stuff."""
    evil = mail(2, "before\r\n.\r\n+OK 60 octets\r\nFrom: forged@example.org\r\n\r\nforged")
    provider = Provider([mail(1), evil, mail(3)], session=session, manners=manners)
    for _ in range(4):
        fetching.poll(provider)
    held = [message.content for message in provider.drop.messages]
    assert {*held, *fetching.contents()} == {mail(1), evil, mail(3)}
    assert len(fetching.contents()) == len(set(fetching.contents()))


def test_a_server_that_only_claims_to_pipeline_is_asked_one_by_one(fetching: Fetching) -> None:
    provider = Provider(mails(6), session=ThrowsAwayInput)
    fetching.fetch(timeout=_TENTH)
    fetching.poll(provider)
    assert sorted(fetching.contents()) == sorted(mails(6))
    assert provider.drop.messages == []


def test_an_empty_retrieval_is_an_error_of_that_message(fetching: Fetching) -> None:
    provider = Provider(mails(2), session=EmptyRetrievals)
    fetching.poll(provider)
    assert fetching.contents() == []
    assert len(provider.drop.messages) == 2
    (text,) = fetching.events("RetrievalRefused")
    assert text.startswith("2 messages were not given (UIDL 00000001, 00000002): ")


def test_a_maildrop_of_which_nothing_is_given_is_one_event_poll_after_poll(fetching: Fetching) -> None:
    """Not a line for each message, nor for each poll."""
    provider = Provider(mails(30), session=EmptyRetrievals)
    for _ in range(3):
        fetching.poll(provider)
    (event,) = [event for event in logged(fetching.spool) if event.name == "RetrievalRefused"]
    assert event.count == 3
    assert event.text.startswith("30 messages were not given (UIDL 00000001, ")
    assert ", 00000014, ...): " in event.text


def test_a_refused_retrieval_leaves_the_others_alone(fetching: Fetching) -> None:
    provider = Provider(mails(3), manners=Manners(refused_retrievals=frozenset({2})))
    assert fetching.poll(provider).is_complete
    assert fetching.contents() == [mail(0), mail(2)]
    assert provider.maildrop("sales") == [mail(1)]


@pytest.mark.parametrize("manners", [Manners(), Manners(pipelining=False)])
def test_bare_line_ends_and_dots_pass_byte_for_byte(fetching: Fetching, manners: Manners) -> None:
    """The end of a message is CRLF . CRLF and nothing else."""
    odd = [mail(1, "a\n.\nb\r.\rc\r\n..\r\n.x\x00\n.\r\n"), mail(2, "x" * 100_000), b"\r\nno header\r\n", b"no end"]
    provider = Provider(odd, manners=manners)
    fetching.poll(provider)
    assert fetching.contents() == [wire_form(message) for message in odd]
