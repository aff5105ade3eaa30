"""What another fetcher had, on its way into the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from spool import models
from spool.accounts import Accounts, Outcome
from spool.envelope import Uidl
from spool.handover import PART, Handover
from tests.support.spools import make_spool

DONE = Outcome(text="entered")


def test_a_list_waits_until_it_is_answered(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    handover = Handover(spool)
    (first,) = handover.ask("sales", [Uidl(b"a b"), Uidl(b"%")])
    (second,) = handover.ask("info", [Uidl(b"c")])
    parts = list(handover.parts())
    assert [(part.request, part.account) for part in parts] == [(first, "sales"), (second, "info")]
    assert [list(part.uidls) for part in parts] == [[Uidl(b"a b"), Uidl(b"%")], [Uidl(b"c")]]
    Accounts(spool).answer(first, DONE)
    assert [part.request for part in handover.parts()] == [second]


@pytest.mark.parametrize(("count", "parts"), [(0, 0), (PART, 1), (PART + 1, 2)])
def test_a_long_list_is_asked_for_in_parts(tmp_path: Path, count: int, parts: int) -> None:
    """None is too large to be held."""
    handover = Handover(make_spool(tmp_path))
    assert len(handover.ask("sales", (Uidl(b"%d" % number) for number in range(count)))) == parts
    assert [uidl for part in handover.parts() for uidl in part.uidls] == [b"%d" % number for number in range(count)]


def test_no_poll_is_asked_for(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    Handover(spool).ask("sales", [Uidl(b"a")])
    assert Accounts(spool).asked() == []


def test_what_was_entered_is_not_kept_a_second_time(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    (request,) = Handover(spool).ask("sales", [Uidl(b"a")])
    Accounts(spool).answer(request, DONE)
    with spool.index.read() as connection:
        assert connection.execute(select(models.requests.c.uidls)).scalars().all() == [None]
    assert Accounts(spool).outcome(request) == DONE
