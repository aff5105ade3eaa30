"""A maildrop whose messages stay at the provider: what a poll of it costs the server, and the other accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from pipeline.demo.pop3_server import Pop3Session
from spool.accounts import Accounts, Outcome
from spool.admission import Admission
from spool.envelope import Uidl
from spool.journal import Journal
from spool.layout import Stage
from spool.ledger import Entry, Ledger
from spool.opening import take_stage
from spool.staging import open_journal
from stages.fetch.custody import Custody
from stages.fetch.desk import Desk
from stages.fetch.limits import Expected
from stages.runner import Mode, Runtime
from tests.support.fetching import Fetching, Provider, mail

MANY = 1500
LISTED_AND_LEFT = ["CAPA", "APOP", "CAPA", "STAT", "LIST", "UIDL", "QUIT"]


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    fetching = Fetching(tmp_path)
    fetching.fetch(max_messages_per_session=MANY)
    return fetching


def verbs(provider: Provider) -> list[str]:
    """What was said in the last session."""
    return [line.split(" ")[0] for line in provider.commands]


@pytest.mark.parametrize("leave", [None, timedelta(days=14)], ids=["for ever", "14d"])
def test_a_poll_that_finds_nothing_new_takes_the_listing_and_no_more(
    fetching: Fetching, leave: timedelta | None
) -> None:
    """No command for any single message: 100,000 of them would be 100,000 round trips."""
    fetching.leave = leave
    provider = Provider(map(mail, range(MANY)))
    fetching.poll(provider)
    assert len(fetching.messages()) == MANY
    provider.sessions.clear()
    fetching.poll(provider)
    assert [verbs(provider)] == [LISTED_AND_LEFT]
    assert len(provider.sessions) == 1


def test_a_poll_of_adopted_mail_takes_the_listing_and_no_more(fetching: Fetching) -> None:
    fetching.leave = None
    provider = Provider(map(mail, range(MANY)))
    (request,) = Accounts(fetching.spool).ask(["sales"], adopts=True)
    fetching.poll(provider)
    assert Accounts(fetching.spool).outcome(request) == Outcome(text=f"sales: {MANY} messages marked as had")
    fetching.poll(provider)
    assert verbs(provider) == LISTED_AND_LEFT
    assert fetching.messages() == []


def test_an_adoption_that_was_cut_off_is_finished_by_the_next(fetching: Fetching) -> None:
    """A large maildrop is adopted in pieces."""
    fetching.leave = None
    provider = Provider(map(mail, range(MANY)))
    some = [Uidl(kept.uidl) for kept in provider.drop.messages[: MANY // 3]]
    Ledger(fetching.spool, journal_of(fetching)).adopt("sales", some)
    Accounts(fetching.spool).ask(["sales"], adopts=True)
    fetching.poll(provider)
    assert len(Ledger(fetching.spool).entries("sales")) == MANY


def test_of_many_kept_messages_the_new_one_alone_is_asked_for(fetching: Fetching) -> None:
    fetching.leave = None
    provider = Provider(map(mail, range(MANY)))
    fetching.poll(provider)
    provider.deliver("sales", mail(MANY))
    fetching.poll(provider)
    assert verbs(provider) == [*LISTED_AND_LEFT[:-1], "RETR", "QUIT"]
    assert len(fetching.messages()) == MANY + 1


def test_other_sessions_have_their_turn_while_a_long_ledger_is_read(fetching: Fetching) -> None:
    """A commit that waits for a whole ledger would hold up every account."""
    Ledger(fetching.spool, journal_of(fetching)).adopt("sales", [Uidl(b"%d" % number) for number in range(MANY)])
    order: list[str] = []

    def take(entries: Sequence[Entry]) -> None:
        order.append("entries")

    async def run() -> None:
        with take_stage(fetching.spool, Stage.FETCH) as tenure:
            runtime = Runtime(fetching.settings, fetching.spool, tenure=tenure, mode=Mode.ONCE)
            admission = Admission(fetching.spool, tenure)
            desk = Desk(
                runtime=runtime,
                custody=Custody(runtime, admission, on_write=lambda: None),
                accounts=Accounts(fetching.spool),
                ledger=Ledger(fetching.spool),
                random=Random(),
                has_room=lambda: True,
                has_room_for=lambda _: True,
                expected=Expected(),
            )
            runtime.listen()
            try:
                await asyncio.gather(
                    desk.recall("sales", take), runtime.call(lambda: order.append("commit of another account"))
                )
            finally:
                runtime.close()

    asyncio.run(run())
    assert order.count("entries") == MANY
    assert order.index("commit of another account") < MANY


def test_many_accounts_read_their_ledgers_at_once(fetching: Fetching) -> None:
    """Each reads from one state of the index, and of those there are few at a time."""
    fetching.leave = None
    fetching.users = 24
    fetching.fetch(concurrency=32, per_host=32)
    provider = Provider(session=SharedMaildrop)
    names = [f"sales{number or ''}" for number in range(fetching.users)]
    for name in names:
        Ledger(fetching.spool, journal_of(fetching)).adopt(name, [Uidl(b"%d" % number) for number in range(1100)])
    assert fetching.poll(provider).is_complete
    assert len(provider.sessions) == fetching.users


class SharedMaildrop(Pop3Session):
    """Lets several sessions in at once."""

    def log_in(self, user: str, is_right: Callable[[str], bool]) -> bytes:
        self.maildrops[user].locked = False
        return super().log_in(user, is_right)


def journal_of(fetching: Fetching) -> Journal:
    return open_journal(fetching.spool, Stage.FETCH)
