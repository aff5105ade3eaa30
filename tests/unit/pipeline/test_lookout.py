"""What the spool remembers, for whoever looks at a maildrop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.lookout import forgotten, limit_in_force, limit_text, reading_if_any, remembered, view
from spool.accounts import Accounts, AccountState, Left, Why
from spool.envelope import Uidl
from spool.errors import IndexLost
from spool.opening import Spool
from spool.route import Route
from stages.fetch.limits import TRACE_OCTETS
from stages.fetch.outlook import Fate
from stages.fetch.plan import Limit, Listed
from stages.fetch.visit import Sight
from stages.pop3.replies import Capabilities
from tests.support.settings import account, default_settings
from tests.support.spools import admit, arrival, make_spool

NO_LIMIT = Limit(octets=None, source="SIZE of the relay")
FETCH = default_settings(Path("/")).fetch


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = make_spool(tmp_path)
    yield opened
    opened.close()


def test_where_no_spool_is_yet_nothing_is_known(tmp_path: Path) -> None:
    with reading_if_any(tmp_path / "spool") as nothing:
        assert nothing is None
        memory = remembered(nothing, "sales")
        assert (memory.state, memory.entries, memory.left) == (AccountState(name="sales"), (), ())
        assert not limit_in_force(FETCH, nothing).is_known
    assert list(tmp_path.iterdir()) == []


def test_a_lost_index_is_not_taken_for_a_new_spool(spool: Spool, tmp_path: Path) -> None:
    """All that was had would look new."""
    spool.layout.index.unlink()
    with pytest.raises(IndexLost), reading_if_any(tmp_path / "spool"):
        pass


def test_the_memory_is_that_of_the_account(spool: Spool) -> None:
    admit(spool, arrival(uidl="u1"), arrival(b"x: y\r\n\r\n", account="other", uidl="u2"))
    left = Left(uidl=Uidl(b"u3"), octets=5, why=Why.OVERSIZE)
    Accounts(spool).leave("sales", [left])
    Accounts(spool).save(AccountState(name="sales", listed_messages=2))
    memory = remembered(spool, "sales")
    assert [entry.uidl for entry in memory.entries] == [Uidl(b"u1")]
    assert (memory.left, memory.state.listed_messages) == ([left], 2)


def test_the_limit_is_the_one_that_fetch_would_observe(spool: Spool) -> None:
    Route(spool).learn_size(TRACE_OCTETS + 10)
    assert limit_in_force(FETCH, spool) == Limit(octets=10, source="SIZE of the relay")


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Limit(octets=10, source="fetch.max_message_size"), "10 octets (fetch.max_message_size)"),
        (NO_LIMIT, "no limit (SIZE of the relay)"),
        (Limit(octets=None, source="not reached yet", is_known=False), "not known: not reached yet"),
    ],
)
def test_a_limit_is_told_with_its_source(limit: Limit, text: str) -> None:
    assert limit_text(limit) == text


def sight() -> Sight:
    listing = [Listed(number=number, octets=9, uidl=Uidl(b"u%d" % number)) for number in (1, 2)]
    return Sight(capabilities=Capabilities(), listing=listing)


def test_what_the_ledger_has_is_had_and_the_rest_is_new(spool: Spool) -> None:
    admit(spool, arrival(uidl="u1"))
    seen = view(account(), sight(), fetch=FETCH, memory=remembered(spool, "sales"), limit=NO_LIMIT)
    assert seen.outlook is not None
    assert [one.fate for one in seen.outlook.messages] == [Fate.HAD, Fate.NEW]


def test_without_a_listing_there_is_no_outlook() -> None:
    assert view(account(), Sight(), fetch=FETCH, memory=forgotten("sales"), limit=NO_LIMIT).outlook is None


def test_where_the_spool_may_not_be_looked_at_nobody_is_told_that_it_is_the_first_time() -> None:
    seen = view(account(), sight(), fetch=FETCH, memory=forgotten("sales"), limit=NO_LIMIT)
    assert seen.outlook is not None
    assert not seen.outlook.is_first
