"""What a session asks for, decided from a listing and the ledger alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from spool.accounts import AccountState, Left, Why
from spool.envelope import NO_UIDL, Uidl
from spool.ledger import Entry
from spool.message_file import header_digest
from stages.fetch.plan import (
    BREAKS_AT_MOST,
    PEEK_OVER_OCTETS,
    UNKNOWN_LIMIT_OCTETS,
    Facts,
    Limit,
    Listed,
    Memory,
    Plan,
    Rules,
    Stays,
    plan,
    used,
)
from stages.settings import Oversize

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
AT_ONCE = timedelta(0)
NO_LIMIT = Limit(octets=None, source="")
HEADER = header_digest(b"Subject: x\r\n")
BIG = PEEK_OVER_OCTETS + 1


def listed(*uidls: str, octets: int | None = 100) -> list[Listed]:
    return [
        Listed(number=number, octets=octets, uidl=Uidl(uidl.encode())) for number, uidl in enumerate(uidls, start=1)
    ]


def entry(uidl: str, number: int = 1, *, age: timedelta = DAY, round_number: int = 0, is_shown: bool = True) -> Entry:
    return Entry(
        entry=number,
        uidl=Uidl(uidl.encode()),
        identity=b"%d" % number,
        copy=1,
        header=HEADER,
        octets=100,
        had_at=NOW - age,
        round=round_number,
        is_shown=is_shown,
    )


def decide(
    listing: Sequence[Listed],
    entries: Sequence[Entry] = (),
    *,
    state: AccountState = AccountState(name="sales"),  # noqa: B008 - frozen
    left: Sequence[Left] = (),
    leave: timedelta | None = AT_ONCE,
    limit: Limit = NO_LIMIT,
    oversize: Oversize = Oversize.LEAVE,
    can_peek: bool = True,
) -> Plan:
    memory = Memory(state=state, entries=entries, left=left)
    rules = Rules(leave=leave, limit=limit, oversize=oversize, can_peek=can_peek)
    return plan(listing, memory=memory, rules=rules, now=NOW)


def steps(made: Plan) -> dict[int, str]:
    """By message number: what is asked."""
    asked = (*made.peeks, *made.retrievals)
    return {wanted.message.number: wanted.step.value for wanted in asked} | {
        wanted.message.number: "alone" for wanted in made.alone
    }


def state(**changes: object) -> AccountState:
    return dataclasses.replace(AccountState(name="sales"), **changes)  # type: ignore[arg-type]  # names are the tests'


@pytest.mark.parametrize(
    ("listing", "entries", "leave", "expected"),
    [
        pytest.param(listed("a", "b"), [], AT_ONCE, {1: "fetch", 2: "fetch"}, id="unknown"),
        pytest.param(listed("a"), [entry("a")], AT_ONCE, {1: "compare"}, id="not deleted yet"),
        pytest.param(listed("a", octets=BIG), [entry("a")], AT_ONCE, {1: "peek"}, id="large, not deleted yet"),
        pytest.param(listed("a"), [entry("a")], None, {}, id="kept for ever"),
        pytest.param(listed("a"), [entry("a")], 2 * DAY, {}, id="kept, too young"),
        pytest.param(listed("a"), [entry("a")], DAY, {1: "compare"}, id="age reached"),
        pytest.param(listed("a", "a"), [], None, {1: "fetch", 2: "fetch"}, id="two under one unknown UIDL"),
        pytest.param(listed("a", "a"), [entry("a")], None, {1: "compare", 2: "compare"}, id="one more under a UIDL"),
        pytest.param(listed("a", "a"), [entry("a"), entry("a", 2)], None, {}, id="as many as were had"),
        pytest.param(
            listed("a", octets=BIG), [entry("a"), entry("a", 2)], AT_ONCE, {1: "compare"}, id="a UIDL that was reused"
        ),
        pytest.param(listed("a", ""), [], None, {1: "fetch", 2: "compare"}, id="one without a UIDL"),
        pytest.param(listed("b", "a"), [entry("a")], AT_ONCE, {1: "fetch", 2: "compare"}, id="new ones come first"),
    ],
)
def test_the_ledger_decides_how_a_message_is_asked_for(
    listing: Sequence[Listed], entries: Sequence[Entry], leave: timedelta | None, expected: dict[int, str]
) -> None:
    assert steps(decide(listing, entries, leave=leave)) == expected


def test_of_messages_that_stay_no_entry_is_kept() -> None:
    """100,000 of them cost the listing and a mark each."""
    kept = [entry(f"u{number}", number) for number in range(100)]
    due = [entry("due", 100, age=3 * DAY)]
    rules = Rules(leave=2 * DAY, limit=NO_LIMIT)
    shown = listed("due", *(one.uidl.octets.decode() for one in kept))
    facts = Facts(shown, memory=Memory(state=state()), rules=rules, now=NOW)
    for one in (*kept, *due):
        facts.note([one])
    assert (facts.known, facts.vanished, facts.returned) == ({Uidl(b"due"): due}, [], [])


def test_new_messages_are_asked_for_before_those_that_are_only_compared() -> None:
    """Mail that is to be deleted again must not use up a session that new mail needs."""
    made = decide(listed("a", "b"), [entry("a")])
    assert [wanted.message.number for wanted in made.retrievals] == [2, 1]


@pytest.mark.parametrize(
    "change", [{"header": None}, {"header": header_digest(b"")}, {"identity": None, "header": None}]
)
def test_a_header_that_proves_nothing_is_not_asked_for(change: dict[str, bytes | None]) -> None:
    known = dataclasses.replace(entry("a"), **change)  # type: ignore[arg-type]  # names are the tests'
    assert steps(decide(listed("a", octets=BIG), [known])) == {1: "compare"}


def test_without_top_the_whole_message_is_compared() -> None:
    assert steps(decide(listed("a", octets=BIG), [entry("a")], can_peek=False)) == {1: "compare"}


@pytest.mark.parametrize(
    ("listing", "entries", "leave", "known_state", "reason"),
    [
        (listed("1", "2"), [entry("1")], AT_ONCE, state(), "each is the number of its message"),
        (listed("a", "c"), [entry("a"), entry("b", 2)], None, state(), "kept messages vanished"),
        (
            listed("a", "b"),
            [entry("a"), entry("b", 2)],
            None,
            state(expected_messages=1),
            "the count did not fall by the confirmed deletions",
        ),
        (listed("1", "2"), [], AT_ONCE, state(), None),
        ([], [entry("a")], None, state(), None),
        (listed("a", "b"), [entry("a"), entry("b", 2)], None, state(expected_messages=2), None),
        (listed("a", "b"), [entry("a")], None, state(expected_messages=1), None),
        (listed("a"), [entry("a"), entry("b", 2, age=3 * DAY)], 2 * DAY, state(), None),
        (listed("a"), [entry("a"), entry("b", 2, is_shown=False)], None, state(), None),
        # Adopted or imported: comparing could not find again what nobody saw.
        (listed("a"), [entry("a"), dataclasses.replace(entry("b", 2), identity=None)], None, state(), None),
    ],
)
def test_uidls_are_doubted_for_a_reason_alone(
    listing: Sequence[Listed],
    entries: Sequence[Entry],
    leave: timedelta | None,
    known_state: AccountState,
    reason: str | None,
) -> None:
    made = decide(listing, entries, leave=leave, state=known_state)
    assert (made.doubt, made.round) == (reason, 1 if reason else 0)


def used_up(entries: Sequence[Entry], made: Plan, *, listing: Sequence[Listed]) -> list[Entry]:
    """Of a session that asks for all that is to be retrieved."""
    return used(entries, made=made, listing=listing, asked={wanted.message.uidl for wanted in made.retrievals})


def test_in_doubt_everything_is_compared_but_what_was_compared_in_this_round() -> None:
    entries = [entry("a", 1, round_number=3), entry("b", 2, round_number=2)]
    made = decide(listed("a", "b", "c"), entries, leave=None, state=state(doubt_round=3, rounds=3))
    assert steps(made) == {2: "compare", 3: "compare"}
    assert used_up(entries, made, listing=listed("a", "b", "c")) == [entries[0]]


def test_two_messages_under_one_uidl_are_compared_again_until_both_were() -> None:
    entries = [entry("a", 1, round_number=3)]
    made = decide(listed("a", "a"), entries, leave=None, state=state(doubt_round=3, rounds=3))
    assert steps(made) == {1: "compare", 2: "compare"}
    assert used_up(entries, made, listing=listed("a", "a")) == []


@pytest.mark.parametrize(("expected_messages", "is_used"), [(1, True), (0, False), (None, False)])
def test_an_entry_of_this_round_that_is_gone_for_sure_stands_for_no_other_message(
    expected_messages: int | None, is_used: bool
) -> None:
    """An equal message that is still here is another one; where deletions are no facts it may be the same."""
    gone = entry("x", 1, round_number=3)
    known = state(doubt_round=3, rounds=3, expected_messages=expected_messages)
    made = decide(listed("y"), [gone], state=known)
    assert used_up([gone], made, listing=listed("y")) == ([gone] if is_used else [])


@pytest.mark.parametrize(
    ("listed_messages", "is_suspect"),
    [(3, False), (2, True), (None, True)],
)
def test_what_vanished_is_suspected_under_new_uidls_unless_the_count_fell(
    listed_messages: int | None, is_suspect: bool
) -> None:
    gone = entry("x")
    made = decide(listed("a", "b"), [gone], state=state(listed_messages=listed_messages))
    assert made.suspects == ((gone,) if is_suspect else ())


def test_messages_that_kept_their_uidls_are_not_what_vanished() -> None:
    rules = Rules(leave=AT_ONCE, limit=NO_LIMIT, unsure=frozenset({Uidl(b"a")}))
    memory = Memory(state=state(), entries=[entry("x")], left=())
    made = plan(listed("a", "b"), memory=memory, rules=rules, now=NOW)
    assert (made.suspects, made.doubt) == ((), None)


def test_uidls_that_change_from_session_to_session_are_doubted() -> None:
    rules = Rules(leave=AT_ONCE, limit=NO_LIMIT, unsure=frozenset({Uidl(b"a")}))
    memory = Memory(state=state(), entries=[entry("x")], left=())
    assert plan(listed("b", "c"), memory=memory, rules=rules, now=NOW).doubt == "they change from session to session"


def test_entries_that_vanish_and_return_are_noted() -> None:
    here, gone, back = entry("a"), entry("b", 2), entry("c", 3, is_shown=False)
    made = decide(listed("a", "c"), [here, gone, back])
    assert (made.vanished, made.returned) == ((gone,), (back,))


LIMIT = Limit(octets=1000, source="fetch.max_message_size")


def test_a_message_over_the_limit_is_left_and_reported_with_the_limit_and_its_source() -> None:
    made = decide(listed("a", octets=1001), limit=LIMIT)
    (left,) = made.reported
    assert steps(made) == {}
    assert made.left == made.reported
    assert (left.octets, left.limit_octets, left.limit_source) == (1001, 1000, "fetch.max_message_size")


def test_a_message_that_was_reported_is_not_reported_again() -> None:
    left = decide(listed("a", octets=1001), limit=LIMIT).left
    again = decide(listed("a", octets=1001), left=left, limit=LIMIT)
    assert (again.left, again.reported) == ((), ())
    lower = dataclasses.replace(LIMIT, octets=500)
    assert decide(listed("a", octets=1001), left=left, limit=lower).reported == ()


def test_a_message_at_the_limit_is_fetched() -> None:
    assert steps(decide(listed("a", octets=1000), limit=LIMIT)) == {1: "fetch"}


def test_oversize_badmail_fetches_with_an_objection() -> None:
    (wanted,) = decide(listed("a", octets=1001), limit=LIMIT, oversize=Oversize.BADMAIL).retrievals
    assert str(wanted.objection) == "fetch: 1001 octets are larger than 1000, fetch.max_message_size"


@pytest.mark.parametrize(("octets", "waits"), [(UNKNOWN_LIMIT_OCTETS, 0), (UNKNOWN_LIMIT_OCTETS + 1, 1), (None, 0)])
def test_until_the_limit_is_known_only_large_messages_wait(octets: int | None, waits: int) -> None:
    made = decide(listed("a", octets=octets), limit=Limit(octets=None, source="", is_known=False))
    assert (made.waiting, len(made.retrievals), made.reported) == (waits, 1 - waits, ())


def test_what_was_had_is_compared_whatever_its_size() -> None:
    """A limit that was lowered since must not leave deletions undone."""
    assert steps(decide(listed("a", octets=1001), [entry("a")], limit=LIMIT)) == {1: "compare"}


def test_what_fits_now_or_is_gone_is_left_no_more() -> None:
    left = decide(listed("a", "b", octets=1001), limit=LIMIT).left
    made = decide(listed("a", octets=1001), left=left)
    assert set(made.fitting) == set(left)
    assert steps(made) == {1: "fetch"}


@pytest.mark.parametrize(
    ("breaks", "tried_ago", "expected"),
    [
        (1, timedelta(0), {1: "alone", 2: "fetch"}),
        (BREAKS_AT_MOST - 1, timedelta(0), {1: "alone", 2: "fetch"}),
        (BREAKS_AT_MOST, DAY / 2, {2: "fetch"}),
        (BREAKS_AT_MOST, DAY, {1: "alone", 2: "fetch"}),
    ],
)
def test_a_message_that_broke_sessions_comes_last_then_stays_then_is_tried_once_a_day(
    breaks: int, tried_ago: timedelta, expected: dict[int, str]
) -> None:
    left = Left(uidl=Uidl(b"a"), octets=100, why=Why.BROKEN, breaks=breaks, tried_at=NOW - tried_ago)
    assert steps(decide(listed("a", "b"), left=[left])) == expected


def test_a_message_that_broke_this_poll_waits_for_the_next() -> None:
    left = Left(uidl=Uidl(b"a"), octets=100, why=Why.BROKEN, breaks=1, tried_at=NOW)
    memory = Memory(state=state(), entries=(), left=[left])
    rules = Rules(leave=AT_ONCE, limit=NO_LIMIT, put_off=frozenset({(Uidl(b"a"), 100)}))
    assert plan(listed("a"), memory=memory, rules=rules, now=NOW).alone == ()


def test_messages_without_uidls_are_all_compared() -> None:
    had = dataclasses.replace(entry("a"), uidl=NO_UIDL)
    assert steps(decide(listed("", ""), [had])) == {1: "compare", 2: "compare"}


def test_what_may_be_new_and_is_not_asked_for_has_its_reason() -> None:
    """What was had is left out: of 100,000 kept messages a plan says nothing."""
    listing = [
        *listed("had", "fits"),
        Listed(number=3, octets=1001, uidl=Uidl(b"large")),
        *listed("", "", "", "bad")[3:],
    ]
    broken = Left(uidl=Uidl(b"bad"), octets=100, why=Why.BROKEN, breaks=BREAKS_AT_MOST, tried_at=NOW)
    made = decide(listing, [entry("had")], leave=None, limit=LIMIT, left=[broken])
    assert made.stays == {3: Stays.OVERSIZE, 4: Stays.BROKEN}
    unknown = Limit(octets=None, source="", is_known=False)
    assert decide(listed("a", octets=UNKNOWN_LIMIT_OCTETS + 1), limit=unknown).stays == {1: Stays.WAITING}


HERE = "pop.isp.example sales"


def at(maildrop: str | None, *, was: str | None, uidl: str = "a", is_empty: bool = False) -> Plan:
    """The plan for a maildrop whose messages stay, where another one was listed last."""
    memory = Memory(state=state(maildrop=was, rounds=4), entries=[entry("a")])
    rules = Rules(leave=None, limit=NO_LIMIT, maildrop=maildrop)
    return plan([] if is_empty else listed(uidl), memory=memory, rules=rules, now=NOW)


def test_uidls_of_another_maildrop_are_not_those_that_were_had() -> None:
    """The ledger knows an account by its name: its message would stay at the provider, unread, as had."""
    made = at(HERE, was="pop.other.example sales")
    assert (made.doubt, made.round) == ("the account has another host or user name", 5)
    assert steps(made) == {1: "compare"}


@pytest.mark.parametrize(("maildrop", "was"), [(HERE, HERE), (HERE, None), (None, HERE)])
def test_uidls_of_the_same_maildrop_and_of_one_that_was_not_noted_are_trusted(
    maildrop: str | None, was: str | None
) -> None:
    made = at(maildrop, was=was)
    assert (made.doubt, steps(made)) == (None, {})


def test_an_empty_listing_of_another_maildrop_leaves_nothing_to_doubt() -> None:
    assert at(HERE, was="pop.other.example sales", is_empty=True).doubt is None
