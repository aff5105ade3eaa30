"""What keeps an account from being retired."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.lookout import View
from pipeline.retirement import Obstacle, counted_since, is_moving, of_maildrop, of_queue
from spool.by_account import AccountRecord
from spool.envelope import Uidl
from spool.queue_id import QueueId
from spool.states import FINAL, State
from stages.fetch.outlook import Fate, Foreseen, Outlook
from stages.fetch.plan import Limit, Listed
from stages.fetch.visit import Sight
from stages.settings import Oversize
from tests.support.settings import account

ID = QueueId("01j0e5v3xk7m2q9r4s")
EMPTY = AccountRecord(states=Counter(), fetched=0, first_at=None, last_at=None, unfinished={}, ledger=0)


def seen(*messages: Foreseen) -> View:
    outlook = Outlook(messages=messages, doubt=None, is_first=False)
    limit = Limit(octets=1000, source="SIZE of the relay")
    return View(account=account(), sight=Sight(), limit=limit, oversize=Oversize.LEAVE, outlook=outlook)


def foreseen(fate: Fate, *, is_asked_for: bool, uidl: bytes = b"u1") -> Foreseen:
    return Foreseen(message=Listed(number=1, uidl=Uidl(uidl), octets=2000), fate=fate, is_asked_for=is_asked_for)


def record(state: State) -> AccountRecord:
    return replace(EMPTY, unfinished={ID: state})


def test_an_empty_maildrop_and_nothing_on_its_way_is_no_obstacle() -> None:
    assert (of_maildrop(seen()), of_queue(EMPTY), is_moving(EMPTY)) == ([], [], False)


def test_a_maildrop_that_nobody_saw_is_not_taken_for_empty() -> None:
    with pytest.raises(ValueError, match="nobody has seen"):
        of_maildrop(replace(seen(), outlook=None))


@pytest.mark.parametrize(
    ("fate", "is_asked_for", "why", "may_pass"),
    [
        (Fate.NEW, True, "is not fetched yet", True),
        (Fate.COMPARE, True, "is not fetched yet", True),
        (Fate.HAD, True, "was had and is not deleted yet", True),
        (Fate.HAD, False, "was had and stays there: set leave_on_server = false", False),
        (Fate.OVERSIZE, False, "has 2000 octets, over the size limit", False),
        (Fate.OVERSIZE, True, "is not fetched yet", True),
        (Fate.BROKEN, False, "broke the sessions in which it was retrieved", False),
        (Fate.WAITING, False, "is large, and the relay has not told its size limit yet", True),
    ],
)
def test_each_message_in_the_maildrop_is_one_by_what_fetch_would_do_with_it(
    fate: Fate, is_asked_for: bool, why: str, may_pass: bool
) -> None:
    """Waiting helps where fetch would take it or delete it."""
    (obstacle,) = of_maildrop(seen(foreseen(fate, is_asked_for=is_asked_for)))
    assert obstacle == Obstacle(text=f"message 1 at the provider (UIDL u1) {why}", may_pass=may_pass)


def test_a_message_without_uidl_goes_by_its_number() -> None:
    (obstacle,) = of_maildrop(seen(foreseen(Fate.NEW, is_asked_for=True, uidl=b"")))
    assert obstacle.text == "message 1 at the provider is not fetched yet"


@pytest.mark.parametrize("state", sorted(set(State) - FINAL - {State.BADMAIL}))
def test_each_message_that_is_not_done_with_is_one(state: State) -> None:
    """Held and damaged ones wait for a person, and for nothing else."""
    (obstacle,) = of_queue(record(state))
    assert obstacle.text.startswith(f"{ID} ")
    assert obstacle.may_pass == is_moving(record(state)) == (state in (State.STAGED, State.READY, State.DEFERRED))


def test_badmail_is_where_a_message_may_end() -> None:
    assert of_queue(record(State.BADMAIL)) == []


def test_the_counts_go_back_as_far_as_the_history() -> None:
    now = datetime(2026, 2, 1, tzinfo=UTC)
    assert counted_since(now, timedelta(days=30)) == datetime(2026, 1, 2, tzinfo=UTC)
