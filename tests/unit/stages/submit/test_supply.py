"""Sessions get what is to be sent, in the right order, and nothing while mail does not flow."""

from __future__ import annotations

import asyncio

import pytest

from stages.smtp.commands import Envelope
from stages.submit.conclusion import breaks_of
from stages.submit.outgoing import Outgoing
from stages.submit.supply import HELD_OCTETS, Supply
from tests.support.submit_stage import claim

PATIENCE_SECONDS = 5.0


def supply(*, flows: bool = True) -> Supply:
    made = Supply(lambda claim: breaks_of(claim, epoch=1))
    made.flow(flows=flows)
    return made


def outgoing(*, breaks: int = 0, octets: int = 1) -> Outgoing:
    one = claim(breaks={"count": breaks, "acceptances": 0, "epoch": 1} if breaks else None)
    envelope = Envelope(reverse_path="", recipients=one.message.recipients, octets=octets)
    return Outgoing(claim=one, envelope=envelope, trace=b"", content=b"x" * octets)


def test_nothing_is_taken_while_mail_does_not_flow() -> None:
    held = supply(flows=False)
    held.add(outgoing())
    assert held.take(is_fresh=True) is None


def test_the_probe_takes_a_message_while_mail_does_not_flow() -> None:
    held = supply(flows=False)
    held.add(offered := outgoing())
    assert held.take_probe(is_last_resort=False) is offered


def test_a_message_that_broke_sessions_probes_only_as_the_last_resort() -> None:
    held = supply(flows=False)
    held.add(breaker := outgoing(breaks=1))
    assert held.take_probe(is_last_resort=False) is None
    assert held.take_probe(is_last_resort=True) is breaker


def test_a_message_that_broke_a_session_goes_behind_the_others() -> None:
    held = supply()
    held.add(breaker := outgoing(breaks=1))
    held.add(sound := outgoing())
    assert [held.take(is_fresh=False), held.take(is_fresh=False)] == [sound, breaker]


def test_a_message_whose_next_break_decides_gets_a_session_of_its_own() -> None:
    held = supply()
    held.add(breaker := outgoing(breaks=2))
    assert held.take(is_fresh=False) is None
    assert held.take(is_fresh=True) is breaker


def test_an_idle_session_makes_room_for_a_message_that_goes_alone() -> None:
    held = supply()
    held.add(outgoing(breaks=2))

    async def act() -> bool:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await held.wait_idle(10 * PATIENCE_SECONDS)

    assert not asyncio.run(act())


def test_what_was_put_back_is_next() -> None:
    held = supply()
    first, second = outgoing(), outgoing()
    held.add(first)
    held.add(second)
    taken = held.take(is_fresh=True)
    assert taken is first
    held.put_back(first)
    assert held.take(is_fresh=True) is first


@pytest.mark.parametrize("is_done", [False, True])
def test_a_message_in_hand_keeps_the_supply_from_being_empty(is_done: bool) -> None:
    held = supply()
    held.add(outgoing())
    held.take(is_fresh=True)
    if is_done:
        held.done()
    assert held.is_empty is is_done


def test_nothing_more_is_read_when_enough_is_held_in_memory() -> None:
    held = supply()
    held.add(outgoing(octets=HELD_OCTETS))
    assert not held.has_room


def test_what_was_taken_makes_room() -> None:
    held = supply()
    held.add(outgoing(octets=HELD_OCTETS))
    held.take(is_fresh=True)
    assert held.has_room


def test_emptying_returns_all_claims_that_no_session_has() -> None:
    held = supply()
    offered = [outgoing(), outgoing(breaks=1)]
    for one in offered:
        held.add(one)
    unread = outgoing().claim
    held.unread.append(unread)
    assert held.empty() == [*(one.claim for one in offered), unread]
    assert held.is_empty


def test_no_session_is_opened_for_what_an_idle_one_will_take() -> None:
    async def act() -> None:
        held = supply()
        idle = asyncio.ensure_future(held.wait_idle(PATIENCE_SECONDS))
        await asyncio.sleep(0)
        opening = asyncio.ensure_future(held.wait_to_connect())
        held.add(outgoing())
        assert await idle
        assert not opening.done()
        held.close()
        assert not await opening

    asyncio.run(act())


def test_closing_ends_every_wait() -> None:
    async def act() -> list[bool | None]:
        held = supply()
        waits = (held.wait_to_connect(), held.wait_idle(PATIENCE_SECONDS), held.wait_closed(PATIENCE_SECONDS))
        together = asyncio.gather(*waits)
        await asyncio.sleep(0)
        held.close()
        return list(await together)

    assert asyncio.run(act()) == [False, False, None]


def test_what_no_session_has_can_be_withdrawn() -> None:
    """The operator has decided about it: it is neither read into memory nor sent any more."""
    held = supply()
    taken, waiting, breaker, kept = outgoing(), outgoing(octets=HELD_OCTETS), outgoing(breaks=1), outgoing()
    held.add(taken)
    assert held.take(is_fresh=True) is taken
    for one in (waiting, breaker, kept):
        held.add(one)
    held.unread.append(unread := claim())
    assert taken.claim.message.queue_id not in held.waiting_ids
    was_full = not held.has_room
    gone = held.withdraw({one.message.queue_id for one in (taken.claim, waiting.claim, breaker.claim, unread)})
    assert gone == [waiting.claim, breaker.claim, unread]
    assert (was_full, held.has_room) == (True, True)
    assert (held.waiting_ids, held.take(is_fresh=True)) == ([kept.claim.message.queue_id], kept)
    assert not held.unread


def test_a_ring_asks_for_what_is_due_and_for_what_was_decided() -> None:
    held = supply()
    held.is_news = False
    held.ask()
    assert (held.is_asked, held.is_news) == (True, True)
