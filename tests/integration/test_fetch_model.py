"""Fetch agrees with a plain model: each mail that ever was in a maildrop is admitted once, whatever servers do."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.demo.pop3_server import Deletion, Manners, Pop3Session, StoredMessage
from stages.runner import Mode
from tests.support.fetching import Fetching, Provider, mail
from tests.support.odd_pop3 import (
    CutsRetrievals,
    EmptyRetrievals,
    ForgetsDeletions,
    FreshUidls,
    NumbersAsUidls,
    OneUidlForAll,
    RefusesQuit,
    RenumbersAfterDele,
)


class FreshAndForgetful(FreshUidls, ForgetsDeletions):
    """New UIDLs in every session, and no deletion happens."""


class CutAtDele(Pop3Session):
    """The connection ends at the first DELE."""

    def dele(self, argument: str) -> bytes:
        self.ended = True
        return b""


class HangsUp(Pop3Session):
    """The connection ends after twelve commands."""

    def answer(self, line: bytes) -> bytes:
        reply = super().answer(line)
        self.ended = self.ended or len(self.commands) >= 12
        return reply


class HalfDeleted(Pop3Session):
    """QUIT is confirmed, and only every other message goes."""

    def quit(self, argument: str) -> bytes:
        self.deleted = dict(list(self.deleted.items())[::2])
        return super().quit(argument)


KINDS = (
    Pop3Session,
    CutAtDele,
    CutsRetrievals,
    EmptyRetrievals,
    ForgetsDeletions,
    HalfDeleted,
    HangsUp,
    RefusesQuit,
    RenumbersAfterDele,
)
# Of these a server is one for ever: nobody could tell the messages apart who saw them under both kinds of UIDL.
UIDL_KINDS = (FreshUidls, FreshAndForgetful, NumbersAsUidls, OneUidlForAll)
MANNERS = (
    Manners(),
    Manners(pipelining=False),
    Manners(top=False),
    Manners(added_octets=7),
    Manners(deletion=Deletion.AT_DELE),
    Manners(deletion=Deletion.ON_DROP),
)


@dataclass
class Maildrop:
    """What the test does to the maildrop, and what it ever held."""

    provider: Provider
    delivered: list[bytes] = field(default_factory=list)
    free_uidls: list[bytes] = field(default_factory=list)

    def deliver(self, *, copy: bool, reuse: bool) -> None:
        content = self.delivered[-1] if copy and self.delivered else mail(len(self.delivered))
        self.delivered.append(content)
        shown = {kept.uidl for kept in self.provider.drop.messages}
        free = [uidl for uidl in self.free_uidls if uidl not in shown]
        if reuse and free:
            self.provider.drop.messages.append(StoredMessage(uidl=free[0], content=content))
        else:
            self.provider.deliver("sales", content)
        self.free_uidls.append(self.provider.drop.messages[-1].uidl)


# An example is a handful of polls with a spool of its own: some hundred times the price of a usual one.
EXAMPLES = 25 if os.environ.get("HYPOTHESIS_PROFILE", "ordinary") == "ordinary" else 1000

step = st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(KINDS), st.sampled_from(MANNERS))


@settings(max_examples=EXAMPLES)
@given(steps=st.lists(step, min_size=1, max_size=5), copies=st.booleans(), limit=st.integers(1, 4))
def test_each_mail_is_admitted_once_by_a_server_that_is_right_about_uidls_or_reuses_them(
    steps: list[tuple[int, bool, type[Pop3Session], Manners]], copies: bool, limit: int
) -> None:
    """Reused UIDLs, deletions that fail in every way, breaks, and equal messages."""
    with tempfile.TemporaryDirectory() as directory:
        fetching, maildrop = Fetching(Path(directory)), Maildrop(Provider())
        fetching.fetch(max_messages_per_session=limit)
        for mails, reuse, kind, manners in steps:
            for _ in range(mails):
                # An equal mail under a reused UIDL cannot be told from one that was not deleted.
                maildrop.deliver(copy=copies, reuse=reuse and not copies)
            maildrop.provider.kind, maildrop.provider.manners = kind, manners
            fetching.poll(maildrop.provider)
            assert_nothing_lost(fetching, maildrop)
        finish(fetching, maildrop)


@settings(max_examples=EXAMPLES)
@given(
    mails=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    kind=st.sampled_from(UIDL_KINDS),
    manners=st.sampled_from(MANNERS),
    leave=st.sampled_from([timedelta(0), timedelta(days=14), None]),
    limit=st.integers(1, 4),
)
def test_each_mail_is_admitted_once_by_a_server_whose_uidls_mean_nothing(
    mails: list[int], kind: type[Pop3Session], manners: Manners, leave: timedelta | None, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        fetching, maildrop = Fetching(Path(directory)), Maildrop(Provider(session=kind, manners=manners))
        fetching.leave = leave
        fetching.fetch(max_messages_per_session=limit)
        for count in mails:
            for _ in range(count):
                maildrop.deliver(copy=False, reuse=False)
            fetching.poll(maildrop.provider)
            assert_nothing_lost(fetching, maildrop)
        fetching.poll(maildrop.provider, mode=Mode.DRAIN)
        assert sorted(fetching.contents()) == sorted(maildrop.delivered)


def assert_nothing_lost(fetching: Fetching, maildrop: Maildrop) -> None:
    """What the maildrop no longer holds is in custody, and nothing is in custody twice."""
    held = [message.content for message in maildrop.provider.drop.messages]
    admitted = fetching.contents()
    for content in set(maildrop.delivered):
        assert admitted.count(content) <= maildrop.delivered.count(content)
        assert admitted.count(content) + held.count(content) >= maildrop.delivered.count(content)


def finish(fetching: Fetching, maildrop: Maildrop) -> None:
    """The server comes to its senses; what broke sessions is tried again in time."""
    maildrop.provider.kind, maildrop.provider.manners = Pop3Session, Manners()
    for _ in range(2):
        fetching.clock.advance(timedelta(days=2))
        fetching.poll(maildrop.provider, mode=Mode.DRAIN)
    assert sorted(fetching.contents()) == sorted(maildrop.delivered)
    assert maildrop.provider.drop.messages == []
