"""Equal messages: TOP says whether they are as many, or one that came under two numbers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from spool.envelope import NO_UIDL
from spool.ledger import Entry
from stages.fetch.plan import Listed, Step, Wanted
from stages.fetch.proof import head_of
from stages.fetch.twins import Contents, Finding, Twin, Twins
from stages.pop3.client import Pop3Client

ONE = b"Subject: one\r\n\r\n"
TWO = b"Subject: two\r\n\r\n"


class Shows:
    """A server that answers TOP; counts how often."""

    def __init__(self, headers: dict[int, bytes] | None) -> None:
        self.asked: list[int] = []
        self._headers = headers

    async def top(self, number: int) -> bytes | None:
        self.asked.append(number)
        return None if self._headers is None else self._headers[number]


def wanted(number: int) -> Wanted:
    return Wanted(message=Listed(number=number, octets=18, uidl=NO_UIDL), step=Step.FETCH)


def ask(twins: Twins, server: Shows, *, number: int, content: bytes = ONE) -> Finding:
    twin = Twin(wanted=wanted(number), identity=content, head=head_of(content))
    return asyncio.run(twins.ask(cast(Pop3Client, server), twin))


def test_the_first_of_a_content_is_no_twin_and_the_second_is() -> None:
    twins = Twins(Contents())
    assert not twins.is_twin(wanted(1), ONE)
    twins.take(wanted(1), ONE)
    assert twins.is_twin(wanted(2), ONE)
    assert not twins.is_twin(wanted(2), TWO)


def entry(identity: bytes | None) -> Entry:
    return Entry(
        entry=1,
        uidl=NO_UIDL,
        identity=identity,
        copy=1,
        header=None,
        octets=None,
        had_at=datetime(2026, 1, 1, tzinfo=UTC),
        round=0,
        is_shown=True,
    )


@given(had=st.lists(st.binary(min_size=32, max_size=32)), other=st.binary(min_size=32, max_size=32))
def test_contents_know_what_was_had_and_nothing_else(had: list[bytes], other: bytes) -> None:
    """Noted in pieces, and asked in between; what was adopted has no content."""
    contents = Contents()
    contents.note([entry(None)])
    for identity in had:
        contents.note([entry(identity)])
        assert identity in contents
    assert all(identity in contents for identity in had)
    assert (other in contents) is any(other[:8] == identity[:8] for identity in had)


def test_what_is_in_the_ledger_is_a_twin_too() -> None:
    contents = Contents()
    contents.note([entry(b"1" * 32)])
    assert Twins(contents).is_twin(wanted(1), b"1" * 32)
    assert not Twins(contents).is_twin(wanted(1), b"2" * 32)


def test_a_true_twin_is_taken_when_it_comes_again() -> None:
    twins = Twins(Contents())
    twins.take(wanted(1), ONE)
    assert ask(twins, Shows({1: ONE, 2: ONE}), number=2) == Finding(is_true=True)
    assert not twins.is_twin(wanted(2), ONE)


def test_a_message_that_came_under_another_number_too_is_not_true() -> None:
    twins = Twins(Contents())
    twins.take(wanted(1), ONE)
    assert ask(twins, Shows({1: ONE, 2: TWO}), number=2) == Finding(is_true=False)


def test_the_one_that_came_first_may_be_the_wrong_one() -> None:
    twins = Twins(Contents())
    twins.take(wanted(1), ONE)
    assert ask(twins, Shows({1: TWO, 2: ONE}), number=2) == Finding(is_true=True, usurper=wanted(1))


def test_of_many_equal_messages_each_is_asked_about_once() -> None:
    """A thousand equal messages must not cost half a million questions."""
    twins, server = Twins(Contents()), Shows(dict.fromkeys(range(1, 51), ONE))
    twins.take(wanted(1), ONE)
    for number in range(2, 51):
        assert ask(twins, server, number=number) == Finding(is_true=True)
        twins.take(wanted(number), ONE)
    assert len(server.asked) == 50


def test_a_server_without_top_is_believed() -> None:
    """It may well hold two equal messages."""
    twins = Twins(Contents())
    twins.take(wanted(1), ONE)
    assert ask(twins, Shows(None), number=2) == Finding(is_true=True)
