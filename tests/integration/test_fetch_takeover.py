"""What another fetcher had is entered as had, and what the ledger's other rules make of it then.

The sentences of design section 6 on imported UIDLs, each with its test: they are not fetched, never deleted unread,
kept as long as listings show them, and a rebuild knows them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from spool.accounts import Accounts, Outcome
from spool.envelope import Uidl
from spool.handover import PART, Handover
from spool.ledger import Ledger
from stages.runner import Mode
from tests.support.fetching import Fetching, Provider, mail, until
from tests.support.rebuilding import rebuilt

KEEP = None
AT_ONCE = timedelta(0)


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def hand_over(fetching: Fetching, uidls: Iterable[bytes], *, account: str = "sales") -> int:
    (request,) = Handover(fetching.spool).ask(account, map(Uidl, uidls))
    return request


def half_had(count: int = 4) -> Provider:
    """A maildrop whose messages u0, u1 ... were had by another fetcher up to the middle."""
    provider = Provider()
    for number in range(count):
        provider.put(b"u%d" % number, mail(number))
    return provider


def test_what_another_fetcher_had_is_not_fetched_by_the_first_poll(fetching: Fetching) -> None:
    fetching.leave = KEEP
    provider = half_had()
    request = hand_over(fetching, [b"u0", b"u1"])
    fetching.poll(provider)
    assert fetching.contents() == [mail(2), mail(3)]
    assert provider.said("RETR") == ["RETR 3", "RETR 4"]
    assert Accounts(fetching.spool).outcome(request) == Outcome(text="sales: 2 UIDLs were entered as had")
    assert fetching.events("TakenOver") == ["2 UIDLs that another fetcher had were entered as had; 0 were known"]
    fetching.poll(provider)
    assert len(provider.drop.messages) == len(fetching.contents()) + 2 == 4


def test_entering_needs_no_login_and_no_account(fetching: Fetching) -> None:
    """The list is entered before the account is in the configuration, so that no poll can come first."""
    request = hand_over(fetching, [b"u0", b"u1"])
    fetching.poll()
    assert Accounts(fetching.spool).outcome(request) is not None
    assert len(Ledger(fetching.spool).entries("sales")) == 2


def test_a_running_fetch_process_enters_at_the_bell(fetching: Fetching) -> None:
    async def ring() -> None:
        async with fetching.working(mode=Mode.RUN) as (runtime, _):
            request = hand_over(fetching, [b"u0"])
            runtime.ring(runtime.tenure.stage)
            await until(lambda: Accounts(fetching.spool).outcome(request) is not None)

    asyncio.run(ring())
    assert [entry.uidl.octets for entry in Ledger(fetching.spool).entries("sales")] == [b"u0"]


def test_a_list_that_is_handed_over_twice_is_entered_once(fetching: Fetching) -> None:
    hand_over(fetching, [b"u0", b"u1"])
    fetching.poll()
    hand_over(fetching, [b"u1", b"u2"])
    fetching.poll()
    assert [entry.uidl.octets for entry in Ledger(fetching.spool).entries("sales")] == [b"u0", b"u1", b"u2"]
    assert fetching.events("TakenOver")[-1].startswith("1 UIDLs")


def test_a_list_is_entered_whole_in_parts(fetching: Fetching) -> None:
    Handover(fetching.spool).ask("sales", (Uidl(b"%d" % number) for number in range(PART + 1)))
    fetching.poll()
    assert len(Ledger(fetching.spool).entries("sales")) == PART + 1
    assert len(fetching.events("TakenOver")) == 2


def test_old_entries_of_a_list_put_no_uidl_in_doubt(fetching: Fetching) -> None:
    """Other fetchers keep UIDLs of mail that is long gone: that it is gone must not make us download all the rest."""
    fetching.leave = KEEP
    provider = half_had(2)
    hand_over(fetching, [b"u0", *(b"gone%d" % number for number in range(10))])
    fetching.poll(provider)
    fetching.poll(provider)
    assert fetching.events("UidlsDoubted") == []
    assert provider.said("RETR") == ["RETR 2"]


def test_an_entry_waits_for_the_first_listing_however_late(fetching: Fetching) -> None:
    """The 30 days of a UIDL that no listing shows begin with a listing."""
    fetching.leave = KEEP
    hand_over(fetching, [b"u0", b"u1", b"gone"])
    fetching.poll()
    fetching.clock.advance(timedelta(days=100))
    provider = half_had(2)
    fetching.poll(provider)
    assert (provider.said("RETR"), len(Ledger(fetching.spool).entries("sales"))) == ([], 3)
    fetching.clock.advance(timedelta(days=31))
    fetching.poll(provider)
    assert [entry.uidl.octets for entry in Ledger(fetching.spool).entries("sales")] == [b"u0", b"u1"]


def test_had_mail_that_shall_not_stay_is_read_once_compared_and_deleted_and_never_admitted(fetching: Fetching) -> None:
    """Never deleted unread: the first poll notes its content, the next one compares and deletes."""
    fetching.leave = AT_ONCE
    provider = half_had()
    hand_over(fetching, [b"u0", b"u1"])
    fetching.poll(provider)
    assert [message.uidl for message in provider.drop.messages] == [b"u0", b"u1"]
    fetching.poll(provider)
    assert provider.drop.messages == []
    assert fetching.contents() == [mail(2), mail(3)]


def test_had_mail_with_an_age_goes_when_that_is_reached(fetching: Fetching) -> None:
    fetching.leave = timedelta(days=14)
    provider = half_had(2)
    hand_over(fetching, [b"u0", b"u1"])
    fetching.poll(provider)
    fetching.clock.advance(timedelta(days=15))
    fetching.poll(provider)
    assert (len(provider.said("RETR")), len(provider.said("DELE"))) == (2, 0)
    fetching.poll(provider)
    assert (provider.drop.messages, fetching.contents()) == ([], [])


def test_a_rebuilt_index_knows_what_another_fetcher_had(fetching: Fetching) -> None:
    """No record in any segment tells of it: the journal does, also after it was compacted."""
    fetching.leave = KEEP
    provider = half_had()
    hand_over(fetching, [b"u0", b"u1"])
    fetching.poll(provider)
    fetching.poll(provider)
    with rebuilt(fetching.spool, clock=fetching.clock) as (spool, _):
        found = {entry.uidl.octets: entry.identity is None for entry in Ledger(spool).entries("sales")}
    assert found == {b"u0": True, b"u1": True, b"u2": False, b"u3": False}
