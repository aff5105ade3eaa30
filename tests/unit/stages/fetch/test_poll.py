"""Whether another session of a poll should follow."""

from __future__ import annotations

import pytest

from spool.envelope import Uidl
from stages.errors import StageError, TryLater
from stages.fetch.plan import Key
from stages.fetch.poll import BROKEN_IN_A_ROW, Poll
from stages.fetch.session import Report
from tests.support.settings import account

LOST = TryLater("the connection was lost")
KEY: Key = (Uidl(b"a"), 100)


def report(
    *,
    admitted: int = 0,
    octets: int = 0,
    deleted: int = 0,
    resolved: int = 0,
    listed: int | None = 10,
    remaining: int | None = None,
    compared: int = 0,
    is_more: bool = True,
    unsure: frozenset[Uidl] = frozenset(),
    broke: Key | None = None,
    needs_one_by_one: bool = False,
    error: StageError | None = None,
) -> Report:
    return Report(
        admitted=admitted,
        octets=octets,
        deleted=deleted,
        resolved=resolved,
        listed=listed,
        remaining=remaining,
        compared=compared,
        is_more=is_more,
        unsure=unsure,
        broke=broke,
        needs_one_by_one=needs_one_by_one,
        error=error,
    )


@pytest.fixture
def poll() -> Poll:
    return Poll(account=account(), began_at=0.0)


def test_a_poll_ends_when_nothing_is_left_to_ask_for(poll: Poll) -> None:
    assert not poll.add(report(admitted=3, is_more=False))


def test_a_poll_goes_on_while_messages_are_admitted_or_compared_or_go(poll: Poll) -> None:
    assert poll.add(report(admitted=3))
    assert poll.add(report(compared=1))
    assert poll.add(report(listed=9))


def test_a_poll_ends_when_nothing_moves_any_more(poll: Poll) -> None:
    """A server that never deletes would be asked for ever."""
    assert poll.add(report())
    assert not poll.add(report())


def test_what_is_unsure_is_decided_by_another_session(poll: Poll) -> None:
    poll.add(report())
    assert poll.add(report(unsure=frozenset({Uidl(b"a")})))
    assert poll.unsure == {Uidl(b"a")}
    poll.add(report(listed=None, error=LOST))
    assert poll.unsure == {Uidl(b"a")}
    poll.add(report())
    assert poll.unsure == frozenset()


def test_a_failed_login_ends_the_poll(poll: Poll) -> None:
    assert not poll.add(report(listed=None, is_more=False, error=LOST))
    assert poll.error is LOST


def test_a_message_that_broke_the_session_is_put_off_and_the_poll_goes_on_without_it(poll: Poll) -> None:
    assert poll.add(report(broke=KEY, error=LOST))
    assert poll.put_off == {KEY}


def test_a_poll_in_which_a_message_was_put_off_has_failed(poll: Poll) -> None:
    poll.add(report(broke=KEY, error=LOST))
    poll.add(report(admitted=3, is_more=False))
    assert poll.error is LOST


def test_a_later_session_makes_good_for_a_lost_connection(poll: Poll) -> None:
    assert poll.add(report(resolved=5, error=LOST))
    poll.add(report(admitted=3, is_more=False))
    assert poll.error is None


def test_a_window_that_failed_is_given_up_for_the_rest_of_the_poll(poll: Poll) -> None:
    assert poll.add(report(needs_one_by_one=True))
    poll.add(report(admitted=1))
    assert poll.one_by_one


def test_on_a_line_that_breaks_sessions_become_shorter_and_grow_again(poll: Poll) -> None:
    poll.add(report(resolved=9, error=LOST))
    assert poll.ask_limit == 4
    poll.add(report(admitted=4))
    assert poll.ask_limit == 8


def test_sessions_that_break_one_after_another_end_the_poll(poll: Poll) -> None:
    goes_on = [poll.add(report(resolved=9, error=LOST)) for _ in range(BROKEN_IN_A_ROW)]
    assert goes_on == [True] * (BROKEN_IN_A_ROW - 1) + [False]


def test_a_poll_that_starts_over_forgets_what_sessions_taught_and_keeps_what_they_brought(poll: Poll) -> None:
    """The account was changed: nothing is known of the server that it has now."""
    poll.requests.add(7)
    poll.add(report(admitted=3))
    poll.add(report(error=LOST, broke=KEY, resolved=4, needs_one_by_one=True, unsure=frozenset({Uidl(b"a")})))
    other = account("other")
    poll.start_over(other, login=None)
    fresh = Poll(account=other, began_at=0.0, requests={7}, admitted=3)
    assert (poll.account, poll.error, poll.put_off, poll.ask_limit) == (other, None, set(), None)
    assert (poll.one_by_one, poll.unsure, poll.login) == (False, frozenset(), None)
    assert (poll.requests, poll.outcome) == (fresh.requests, fresh.outcome)
    for _ in range(BROKEN_IN_A_ROW - 1):
        assert poll.add(report(error=LOST, resolved=1))


def test_the_outcome_says_what_was_fetched_and_deleted_and_what_is_left(poll: Poll) -> None:
    poll.add(report(admitted=3, octets=1200, deleted=3, remaining=7))
    poll.add(report(admitted=1, octets=34, deleted=1, remaining=6, is_more=False))
    assert poll.outcome == "fetched 4 messages, 1234 octets, deleted 4, left 6 at the server"


def test_the_outcome_says_that_there_was_nothing_new(poll: Poll) -> None:
    poll.add(report(listed=2, is_more=False))
    assert poll.outcome == "nothing new, deleted 0, left 2 at the server"


def test_the_outcome_of_a_failed_poll_is_its_error_and_what_came_before_it(poll: Poll) -> None:
    poll.add(report(listed=None, error=LOST))
    assert poll.outcome == "failed: the connection was lost"
    poll.add(report(admitted=1, octets=1, deleted=0, remaining=5))
    poll.add(report(listed=None, error=LOST))
    assert poll.outcome == ("failed: the connection was lost (before that fetched 1 message, 1 octet, deleted 0)")
