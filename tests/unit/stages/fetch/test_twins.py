"""Equal messages: TOP says whether they are as many, or one that came under two numbers."""

from __future__ import annotations

import asyncio
from typing import cast

from spool.envelope import NO_UIDL
from stages.fetch.plan import Listed, Step, Wanted
from stages.fetch.proof import head_of
from stages.fetch.twins import Finding, Twin, Twins
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
    twins = Twins([])
    assert not twins.is_twin(wanted(1), ONE)
    twins.take(wanted(1), ONE)
    assert twins.is_twin(wanted(2), ONE)
    assert not twins.is_twin(wanted(2), TWO)


def test_a_true_twin_is_taken_when_it_comes_again() -> None:
    twins = Twins([])
    twins.take(wanted(1), ONE)
    assert ask(twins, Shows({1: ONE, 2: ONE}), number=2) == Finding(is_true=True)
    assert not twins.is_twin(wanted(2), ONE)


def test_a_message_that_came_under_another_number_too_is_not_true() -> None:
    twins = Twins([])
    twins.take(wanted(1), ONE)
    assert ask(twins, Shows({1: ONE, 2: TWO}), number=2) == Finding(is_true=False)


def test_the_one_that_came_first_may_be_the_wrong_one() -> None:
    twins = Twins([])
    twins.take(wanted(1), ONE)
    assert ask(twins, Shows({1: TWO, 2: ONE}), number=2) == Finding(is_true=True, usurper=wanted(1))


def test_of_many_equal_messages_each_is_asked_about_once() -> None:
    """A thousand equal messages must not cost half a million questions."""
    twins, server = Twins([]), Shows(dict.fromkeys(range(1, 51), ONE))
    twins.take(wanted(1), ONE)
    for number in range(2, 51):
        assert ask(twins, server, number=number) == Finding(is_true=True)
        twins.take(wanted(number), ONE)
    assert len(server.asked) == 50


def test_a_server_without_top_is_believed() -> None:
    """It may well hold two equal messages."""
    twins = Twins([])
    twins.take(wanted(1), ONE)
    assert ask(twins, Shows(None), number=2) == Finding(is_true=True)
