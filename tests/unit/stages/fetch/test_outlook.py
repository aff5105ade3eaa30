"""What fetch would do, message by message: the plan told in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.accounts import AccountState, Left, Why
from spool.envelope import Uidl
from spool.ledger import Entry
from stages.fetch.outlook import Fate, Outlook, foresee
from stages.fetch.plan import BREAKS_AT_MOST, PEEK_OVER_OCTETS, Limit, Listed, Memory, Rules, plan
from stages.settings import Oversize

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
AT_ONCE = timedelta(0)
POLLED = AccountState(name="sales", listed_messages=1)
NO_LIMIT = Limit(octets=None, source="SIZE of the relay")
LIMIT = Limit(octets=1000, source="fetch.max_message_size")
NOT_KNOWN = Limit(octets=None, source="the relay was not reached yet", is_known=False)


def listed(*uidls: str, octets: int = 100) -> list[Listed]:
    return [
        Listed(number=number, octets=octets, uidl=Uidl(uidl.encode())) for number, uidl in enumerate(uidls, start=1)
    ]


def entry(uidl: str, *, age: timedelta = DAY) -> Entry:
    return Entry(
        entry=1,
        uidl=Uidl(uidl.encode()),
        identity=b"i",
        copy=1,
        header=b"h",
        octets=100,
        had_at=NOW - age,
        round=0,
        is_shown=True,
    )


def look(
    listing: Sequence[Listed],
    entries: Sequence[Entry] = (),
    *,
    left: Sequence[Left] = (),
    state: AccountState = POLLED,
    leave: timedelta | None = AT_ONCE,
    limit: Limit = NO_LIMIT,
    oversize: Oversize = Oversize.LEAVE,
) -> Outlook:
    memory = Memory(state=state, entries=entries, left=left)
    return foresee(listing, memory=memory, rules=Rules(leave=leave, limit=limit, oversize=oversize), now=NOW)


def fates(outlook: Outlook) -> list[tuple[str, bool]]:
    return [(one.fate.value, one.is_asked_for) for one in outlook.messages]


def broken(uidl: str, breaks: int) -> Left:
    return Left(uidl=Uidl(uidl.encode()), octets=100, why=Why.BROKEN, breaks=breaks, tried_at=NOW)


@pytest.mark.parametrize(
    ("listing", "entries", "leave", "expected"),
    [
        pytest.param(listed("a"), [], AT_ONCE, [("new", True)], id="unknown"),
        pytest.param(listed("a"), [entry("b")], AT_ONCE, [("new", True)], id="others were had"),
        pytest.param(listed(""), [], AT_ONCE, [("new", True)], id="no UIDL, nothing was had"),
        pytest.param(listed(""), [entry("")], AT_ONCE, [("compare", True)], id="no UIDL, something was had"),
        pytest.param(listed("a"), [entry("a")], None, [("had", False)], id="kept for ever"),
        pytest.param(listed("a"), [entry("a")], 2 * DAY, [("had", False)], id="kept, too young"),
        pytest.param(listed("a"), [entry("a")], DAY, [("had", True)], id="age reached"),
        pytest.param(listed("a", octets=PEEK_OVER_OCTETS + 1), [entry("a")], DAY, [("had", True)], id="TOP will do"),
        pytest.param(listed("a", "a"), [entry("a")], None, [("compare", True)] * 2, id="one more under a UIDL"),
        pytest.param(listed("1"), [entry("1")], None, [("compare", True)], id="each UIDL is its number"),
    ],
)
def test_a_message_is_new_or_had_or_must_be_seen_to_know(
    listing: list[Listed], entries: list[Entry], leave: timedelta | None, expected: list[tuple[str, bool]]
) -> None:
    assert fates(look(listing, entries, leave=leave)) == expected


@pytest.mark.parametrize(("oversize", "is_asked_for"), [(Oversize.LEAVE, False), (Oversize.BADMAIL, True)])
@pytest.mark.parametrize("entries", [[], [entry("b")]], ids=["nothing had", "something had"])
def test_a_message_over_the_limit_is_oversize_wherever_it_goes(
    oversize: Oversize, is_asked_for: bool, entries: list[Entry]
) -> None:
    made = look(listed("a", octets=1001), entries, limit=LIMIT, oversize=oversize)
    assert fates(made) == [("oversize", is_asked_for)]


def test_an_oversize_message_that_was_reported_before_is_still_oversize() -> None:
    """The plan notes only what is news; an operator wants to see all."""
    reported = Left(
        uidl=Uidl(b"a"),
        octets=1001,
        why=Why.OVERSIZE,
        limit_octets=LIMIT.octets,
        limit_source=LIMIT.source,
        reported_at=NOW - DAY,
    )
    assert fates(look(listed("a", octets=1001), left=[reported], limit=LIMIT)) == [("oversize", False)]


def test_a_message_that_was_had_is_had_whatever_its_size() -> None:
    assert fates(look(listed("a", octets=1001), [entry("a")], leave=None, limit=LIMIT)) == [("had", False)]


def test_large_messages_wait_while_the_limit_is_not_known() -> None:
    outlook = look([*listed("a", octets=20_000_000), *listed("x", "b")[1:]], limit=NOT_KNOWN)
    assert fates(outlook) == [("waiting", False), ("new", True)]
    assert (outlook.count(Fate.WAITING), outlook.count(Fate.HAD)) == (1, 0)


@pytest.mark.parametrize(("breaks", "fate"), [(1, ("new", True)), (BREAKS_AT_MOST, ("broken", False))])
def test_a_message_is_broken_after_three_breaks_and_before_that_it_is_tried_again(
    breaks: int, fate: tuple[str, bool]
) -> None:
    assert fates(look(listed("a"), left=[broken("a", breaks)])) == [fate]


def test_a_broken_message_is_tried_again_the_next_day() -> None:
    yesterday = replace(broken("a", BREAKS_AT_MOST), tried_at=NOW - DAY)
    assert fates(look(listed("a"), left=[yesterday])) == [("new", True)]


def test_a_doubt_is_told_when_it_begins_and_while_it_lasts() -> None:
    begun = look(listed("b"), [entry("a")], leave=None)
    going_on = look(listed("b"), [entry("a")], leave=None, state=replace(POLLED, doubt_round=1, rounds=1))
    assert begun.doubt == "kept messages vanished"
    assert going_on.doubt == "a comparison is under way"
    assert fates(begun) == fates(going_on) == [("compare", True)]
    assert look(listed("a"), [entry("a")], leave=None).doubt is None


@pytest.mark.parametrize(
    ("state", "entries", "is_first"),
    [
        pytest.param(AccountState(name="sales"), [], True, id="never listed"),
        pytest.param(AccountState(name="sales", failures=3), [], True, id="never got in"),
        pytest.param(POLLED, [], False, id="listed"),
        pytest.param(AccountState(name="sales"), [entry("a")], False, id="adopted"),
    ],
)
def test_the_first_look_at_a_maildrop_is_known(state: AccountState, entries: list[Entry], is_first: bool) -> None:
    assert look(listed("a"), entries, state=state, leave=None).is_first is is_first


LEFT = st.builds(
    Left,
    uidl=st.sampled_from([Uidl(b"a"), Uidl(b"b"), Uidl(b"")]),
    octets=st.sampled_from([100, 1001]),
    why=st.sampled_from(Why),
    breaks=st.integers(0, 4),
    tried_at=st.sampled_from([NOW, NOW - DAY]),
)


@given(
    messages=st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.sampled_from([100, 1001, 20_000_000])), max_size=5),
    entries=st.lists(st.builds(entry, st.sampled_from(["a", "b", ""])), max_size=3),
    left=st.lists(LEFT, max_size=3, unique_by=lambda one: (one.uidl, one.octets)),
    leave=st.sampled_from([None, AT_ONCE, 2 * DAY]),
    limit=st.sampled_from([NO_LIMIT, LIMIT, NOT_KNOWN]),
    oversize=st.sampled_from(Oversize),
)
def test_what_is_foreseen_is_what_the_plan_asks_for(
    *,
    messages: list[tuple[str, int]],
    entries: list[Entry],
    left: list[Left],
    leave: timedelta | None,
    limit: Limit,
    oversize: Oversize,
) -> None:
    """No rule of its own: each message once, asked for just where the session would ask."""
    listing = [
        Listed(number=number, octets=octets, uidl=Uidl(uidl.encode()))
        for number, (uidl, octets) in enumerate(messages, start=1)
    ]
    memory = Memory(state=POLLED, entries=entries, left=left)
    rules = Rules(leave=leave, limit=limit, oversize=oversize)
    made = plan(listing, memory=memory, rules=rules, now=NOW)
    foreseen = foresee(listing, memory=memory, rules=rules, now=NOW).messages
    asked = {wanted.message.number for wanted in (*made.peeks, *made.retrievals, *made.alone)}
    assert [one.message for one in foreseen] == listing
    assert {one.message.number for one in foreseen if one.is_asked_for} == asked
    assert sum(one.fate is Fate.WAITING for one in foreseen) == made.waiting
    assert all(not one.is_asked_for for one in foreseen if one.fate in (Fate.WAITING, Fate.BROKEN))
