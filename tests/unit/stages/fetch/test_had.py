"""k entries match k messages."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from spool.envelope import NO_UIDL, Uidl
from spool.ledger import Entry
from stages.fetch.had import Had


def entry(number: int, uidl: str, identity: bytes | None, copy: int = 1) -> Entry:
    return Entry(
        entry=number,
        uidl=Uidl(uidl.encode()),
        identity=identity,
        copy=copy,
        header=None,
        octets=None,
        had_at=datetime(2026, 1, 1, tzinfo=UTC),
        round=0,
        is_shown=True,
    )


A, B = Uidl(b"a"), Uidl(b"b")


@given(entries=st.integers(0, 5), messages=st.integers(0, 7))
def test_as_many_messages_are_had_as_there_are_entries(entries: int, messages: int) -> None:
    had = Had([entry(number, "a", b"x", number) for number in range(1, entries + 1)])
    found = [had.claim(A, b"x", everywhere=True) for _ in range(messages)]
    assert sum(one is not None for one in found) == min(entries, messages)


def test_trusted_uidls_match_their_own_entries_alone() -> None:
    had = Had([entry(1, "a", b"x")])
    assert had.claim(B, b"x", everywhere=False) is None
    assert had.claim(A, b"y", everywhere=False) is None
    assert had.claim(A, b"x", everywhere=False) is not None


def test_the_entry_under_the_message_s_own_uidl_is_taken_first() -> None:
    had = Had([entry(1, "a", b"x"), entry(2, "b", b"x")])
    found = had.claim(B, b"x", everywhere=True)
    assert found is not None
    assert found.entry == 2


def test_a_suspect_is_matched_under_any_uidl() -> None:
    suspect = entry(1, "a", b"x")
    had = Had([suspect])
    had.suspect([suspect])
    assert had.claim(B, b"x", everywhere=False) == suspect


def test_an_entry_that_stands_for_another_message_is_not_matched() -> None:
    used = entry(1, "a", b"x")
    had = Had([used])
    had.use_up([used])
    assert had.claim(A, b"x", everywhere=True) is None


def test_an_entry_without_content_is_matched_by_its_uidl_alone_and_once() -> None:
    had = Had([entry(1, "a", None)])
    assert had.claim(A, b"x", everywhere=True) is None
    assert had.claim_adopted(B) is None
    assert had.claim_adopted(A) is not None
    assert had.claim_adopted(A) is None


def test_copies_of_one_content_under_one_uidl_are_numbered_through() -> None:
    had = Had([entry(1, "a", b"x", 1), entry(2, "a", b"x", 3)])
    assert [had.next_copy(A, b"x") for _ in range(3)] == [2, 4, 5]
    assert had.next_copy(B, b"x") == 1
    assert had.next_copy(NO_UIDL, b"x") == 1
