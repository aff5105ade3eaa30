"""What the relay answers becomes of the message what the table of replies says, and the route is known to all."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink
from spool.claims import Outbox
from spool.disk import Disk
from spool.doorbell import ring
from spool.ended import GivenBack
from spool.errors import SpoolFailed
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.route import Route
from spool.states import State
from stages.runner import Mode, Outcome
from stages.settings import Ambiguous, InvalidReversePath
from tests.support.spools import Clock, arrival, letters, logged, make_ready, make_spool, message
from tests.support.submit_stage import (
    Submitting,
    event_names,
    messages,
    once,
    refusing,
    relay_settings,
    submit_once,
    submitting,
    to_sink,
)

CLOSED_PORT = 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    opened = make_spool(tmp_path, clock=clock)
    yield opened
    opened.close()


def test_an_accepted_message_is_submitted_under_our_trace_field_alone(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(b"Subject: x\r\n\r\n.\r\n..body\r\n"))
    outcome, sink = once(spool)
    trace = (
        f"Received: from pop.isp.example ([192.0.2.1]) by {_gateway(sink)} (pop3connector/1.0)"
        f" with POP3 id {queue_id} for <sales@corp.example>; Thu, 01 Jan 2026 00:00:00 +0000"
    )
    (accepted,) = sink.accepted
    header, _, rest = accepted.content.partition(b"Subject:")
    assert b" ".join(header.split()).decode() == trace
    assert rest == b" x\r\n\r\n.\r\n..body\r\n"
    assert (accepted.reverse_path, accepted.recipients) == ("alice@example.org", ("sales@corp.example",))
    assert message(spool, queue_id).state is State.SUBMITTED
    assert outcome.is_complete


def _gateway(sink: SmtpSink) -> str:
    return sink.accepted[0].content.split(b" by ")[1].split()[0].decode()


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("reply", ["550 5.7.1 no", "554 no", "501 5.1.7 no"])
def test_a_refusal_in_any_phase_sends_the_message_to_badmail(spool: Spool, part: Part, reply: str) -> None:
    """A 5xx is a verdict on the message: never dropped, never bounced."""
    (queue_id,) = make_ready(spool, arrival())
    outcome, _ = once(spool, refusing(part, reply))
    row = message(spool, queue_id)
    assert row.state is State.BADMAIL
    assert row.reason is not None
    assert row.reason.code == int(reply[:3])
    assert spool.layout.badmail_message(queue_id).exists()
    assert outcome.is_complete


@pytest.mark.parametrize("part", Part)
def test_a_temporary_refusal_in_any_phase_defers_the_message(spool: Spool, part: Part) -> None:
    (queue_id,) = make_ready(spool, arrival())
    outcome, _ = once(spool, refusing(part, "451 4.7.1 later"))
    row = message(spool, queue_id)
    assert (row.state, row.attempts) == (State.DEFERRED, 1)
    assert row.next_attempt_at is not None
    assert row.next_attempt_at > spool.now()
    assert not outcome.is_complete


def test_each_recipient_has_its_own_verdict(spool: Spool) -> None:
    """One accepted, one put off, one refused: the refused one becomes a Badmail message of its own."""
    (queue_id,) = make_ready(spool, arrival(), recipients=["a@corp.example", "b@corp.example", "c@corp.example"])
    rules = SinkRules(
        refusals=(
            Refusal(part=Part.RECIPIENT, marker=b"b@", reply="451 4.2.0 busy"),
            Refusal(part=Part.RECIPIENT, marker=b"c@", reply="550 5.1.1 unknown"),
        )
    )
    _, sink = once(spool, rules)
    row = message(spool, queue_id)
    assert [one.recipients for one in sink.accepted] == [("a@corp.example",)]
    assert (row.state, row.recipients) == (State.DEFERRED, ("b@corp.example",))
    assert [one["recipient"] for one in row.accepted] == ["a@corp.example"]
    (divided,) = [event for event in logged(spool) if event.name == "Divided"]
    child = message(spool, str(divided.fields["child"]))
    assert (child.state, child.recipients, child.parent) == (State.BADMAIL, ("c@corp.example",), queue_id)


def test_a_recipient_that_was_accepted_is_not_sent_to_again(spool: Spool, clock: Clock) -> None:
    (queue_id,) = make_ready(spool, arrival(), recipients=["a@corp.example", "b@corp.example"])
    once(spool, refusing(Part.RECIPIENT, "451 4.2.0 busy", marker=b"b@"))
    clock.advance(timedelta(hours=2))
    _, sink = once(spool)
    assert [one.recipients for one in sink.accepted] == [("b@corp.example",)]
    assert message(spool, queue_id).state is State.SUBMITTED


def test_the_trace_field_is_the_same_at_each_attempt(spool: Spool, clock: Clock) -> None:
    """Also when fewer recipients are left: a changed field would break signatures over it and duplicate detection."""
    make_ready(spool, arrival(), recipients=["a@corp.example", "b@corp.example"])
    _, first = once(spool, refusing(Part.RECIPIENT, "451 4.2.0 busy", marker=b"b@"))
    clock.advance(timedelta(hours=2))
    _, second = once(spool)
    assert first.accepted[0].content == second.accepted[0].content


def test_a_message_larger_than_the_relay_takes_is_refused_with_the_limit_named(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(b"Subject: x\r\n\r\n" + b"x" * 70 * 30))
    once(spool, SinkRules(size_limit_octets=1000))
    row = message(spool, queue_id)
    assert row.state is State.BADMAIL
    assert row.reason is not None
    assert "SIZE 1000" in row.reason.text


def test_the_size_of_the_relay_is_learned_with_nothing_to_send(spool: Spool) -> None:
    """Fetch judges by it before anything is there to be sent."""
    once(spool, SinkRules(size_limit_octets=12345))
    known = Route(spool).state()
    assert (known.size_octets, known.size_known_at) == (12345, spool.now())


def test_a_relay_that_tells_no_limit_is_known_to_tell_none(spool: Spool) -> None:
    once(spool)
    known = Route(spool).state()
    assert (known.size_octets, known.size_known_at) == (None, spool.now())


def test_an_unreachable_relay_closes_the_route_and_charges_no_message(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    outcome = asyncio.run(submit_once(spool, relay_settings(spool.layout.root, CLOSED_PORT)))
    row = message(spool, queue_id)
    assert not Route(spool).state().is_open
    assert "RouteClosed" in event_names(spool)
    assert (row.state, row.attempts, row.is_claimed) == (State.READY, 0, False)
    assert not outcome.is_complete


def test_the_opening_of_a_closed_route_is_an_event_even_after_a_restart(spool: Spool) -> None:
    asyncio.run(submit_once(spool, relay_settings(spool.layout.root, CLOSED_PORT)))
    once(spool)
    assert event_names(spool)[-2:] == ["RouteClosed", "RouteOpened"]
    assert Route(spool).state().is_open


def test_a_relay_that_is_still_down_after_a_restart_is_no_news(spool: Spool) -> None:
    for _ in range(2):
        asyncio.run(submit_once(spool, relay_settings(spool.layout.root, CLOSED_PORT)))
    assert event_names(spool).count("RouteClosed") == 1


def test_the_clock_of_the_route_stands_still_while_it_is_closed(spool: Spool, clock: Clock) -> None:
    """An outage of the relay ages no message."""

    async def run() -> None:
        settings = relay_settings(spool.layout.root, CLOSED_PORT)
        async with submitting(spool, settings) as running:
            await running.until(lambda: not Route(spool).state().is_open)
            clock.advance(timedelta(days=6))

    asyncio.run(run())
    assert Route(spool).state().clock(spool.now()) == 0


def test_mail_flows_again_when_the_relay_is_back(spool: Spool, clock: Clock) -> None:
    """However long it was away, its messages are as fresh as before."""
    (queue_id,) = make_ready(spool, arrival())

    async def run() -> None:
        async with SmtpSink() as sink:
            sink.rules = refusing(Part.REVERSE_PATH, "421 4.3.2 shutting down")
            async with submitting(spool, relay_settings(spool.layout.root, sink.port)) as running:
                await running.until(lambda: not Route(spool).state().is_open)
                sink.rules = SinkRules()
                clock.advance(timedelta(days=6))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: message(spool, queue_id).state is State.SUBMITTED)

    asyncio.run(run())
    assert event_names(spool)[-3:] == ["RouteClosed", "RouteOpened", "Submitted"]


def test_a_sick_relay_is_left_alone_until_the_next_probe(spool: Spool) -> None:
    """No ring of new mail makes it busier than it is."""
    make_ready(spool, *letters(3))

    async def run() -> int:
        async with to_sink(spool, refusing(Part.REVERSE_PATH, "421 4.3.2 shutting down")) as (running, sink):
            await running.until(lambda: not Route(spool).state().is_open)
            before = len(sink.connections)
            for _ in range(5):
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: True)
            return len(sink.connections) - before

    assert asyncio.run(run()) == 0


def test_no_claim_is_held_while_the_relay_is_sick(spool: Spool) -> None:
    """A drain ends then, and what it leaves must be free."""
    ids = make_ready(spool, *letters(100))

    async def run() -> None:
        async with to_sink(spool, refusing(Part.REVERSE_PATH, "421 4.3.2 shutting down")) as (running, _):
            await running.until(lambda: not Route(spool).state().is_open)
            await running.until(lambda: not any(row.is_claimed for row in messages(spool, ids)))

    asyncio.run(run())


def test_the_size_is_asked_for_once_a_day(spool: Spool, clock: Clock) -> None:
    async def run() -> None:
        async with to_sink(spool) as (running, _):
            await running.until(lambda: Route(spool).state().size_known_at is not None)
            clock.advance(timedelta(hours=25))
            ring(spool, Stage.SUBMIT)
            await running.until(lambda: Route(spool).state().size_known_at == clock.at)

    asyncio.run(run())


def test_a_kill_costs_the_clock_of_the_route_no_more_than_an_hour(spool: Spool, clock: Clock) -> None:
    """It is written down now and then: what ran since is not known to the next process."""

    async def run() -> None:
        async with to_sink(spool) as (running, _):
            await running.until(lambda: Route(spool).state().opened_at is not None)
            clock.advance(timedelta(hours=2))
            ring(spool, Stage.SUBMIT)
            await running.until(lambda: Route(spool).state().open_clock == 2 * 3_600_000)

    asyncio.run(run())


def test_a_clock_that_a_killed_process_left_running_does_not_count(spool: Spool, clock: Clock) -> None:
    Route(spool).open()
    clock.advance(timedelta(days=30))
    once(spool)
    assert Route(spool).state().clock(spool.now()) == 0


def test_a_message_whose_envelope_cannot_be_sent_is_refused_and_stops_nothing(spool: Spool) -> None:
    (odd,) = make_ready(spool, arrival(), recipients=["a\x1bb@corp.example"])
    (good,) = make_ready(spool, arrival(b"Subject: y\r\n\r\n", uidl="u2"))
    once(spool)
    assert [row.state for row in messages(spool, [odd, good])] == [State.BADMAIL, State.SUBMITTED]


class FailingDisk(Disk):
    """A disk that syncs no journal of submit any more once it is `full`."""

    is_full = False

    def sync_data(self, fd: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().sync_data(fd)


def test_a_spool_that_fails_ends_the_stage_with_its_error(tmp_path: Path) -> None:
    """What is not durable is not settled; the next start goes by what was noted."""
    disk = FailingDisk()
    spool = make_spool(tmp_path, disk=disk)
    (queue_id,) = make_ready(spool, arrival())

    async def run() -> None:
        async with to_sink(spool) as (running, _):
            disk.is_full = True
            with pytest.raises(SpoolFailed):
                await running.ended()
            raise Abandoned

    with pytest.raises(Abandoned):
        asyncio.run(run())
    assert message(spool, queue_id).state is State.READY
    spool.close()


class Abandoned(Exception):
    """The end of a test whose stage is over already."""


def test_a_cut_before_the_final_dot_charges_nothing(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    once(spool, refusing(Part.RECIPIENT, ""))
    row = message(spool, queue_id)
    assert (row.state, row.attempts, row.possible_duplicate, row.is_claimed) == (State.READY, 0, False, False)
    assert not Route(spool).state().is_open


def test_a_cut_after_the_final_dot_marks_a_possible_duplicate(spool: Spool) -> None:
    """Nobody knows whether the relay has it; it is sent again, and marked."""
    (queue_id,) = make_ready(spool, arrival())
    once(spool, refusing(Part.CONTENT, ""))
    row = message(spool, queue_id)
    assert (row.state, row.attempts, row.possible_duplicate) == (State.READY, 0, True)
    assert "PossibleDuplicate" in event_names(spool)


def test_a_message_that_the_relay_may_have_is_held_where_that_is_wanted(spool: Spool) -> None:
    """It is not sent again, however often the relay is asked."""
    held, good = make_ready(spool, arrival(b"Subject: lost\r\n\r\n"), *letters(1))

    async def run() -> SmtpSink:
        async with SmtpSink(refusing(Part.CONTENT, "", marker=b"lost")) as sink:
            settings = relay_settings(spool.layout.root, sink.port)
            submit = replace(settings.submit, ambiguous=Ambiguous.HOLD)
            for _ in range(3):
                await submit_once(spool, replace(settings, submit=submit))
            return sink

    sink = asyncio.run(run())
    row = message(spool, held)
    assert (row.state, row.possible_duplicate) == (State.HELD, True)
    assert str(row.reason) == (
        "submit: the relay may have it: final dot: connection lost: the relay closed the connection"
    )
    assert message(spool, good).state is State.SUBMITTED
    assert sum(connection.transactions for connection in sink.connections) == 2


def test_one_message_that_breaks_its_session_does_not_stop_the_others(spool: Spool) -> None:
    """It goes behind all that are due, and another one shows that the relay works."""
    ids = make_ready(spool, arrival(b"Subject: breaker\r\n\r\n"), *letters(5))
    once(spool, refusing(Part.CONTENT, "421 4.7.0 go away", marker=b"breaker"))
    assert [row.state for row in messages(spool, ids)] == [State.READY, *[State.SUBMITTED] * 5]


def test_a_lone_message_that_breaks_its_session_answers_for_the_route(spool: Spool) -> None:
    """A probe without a message would find the relay well, and the message would be tried again without a pause."""
    (breaker,) = make_ready(spool, arrival(b"Subject: breaker\r\n\r\n"))
    _, sink = once(spool, refusing(Part.CONTENT, "421 4.7.0 go away", marker=b"breaker"))
    asked_for_size, broken, probe = sink.connections
    assert (asked_for_size.transactions, broken.transactions, probe.transactions) == (0, 1, 1)
    assert message(spool, breaker).state is State.READY
    assert not Route(spool).state().is_open


def test_a_message_that_broke_a_session_is_claimed_when_nothing_else_is_due(spool: Spool, clock: Clock) -> None:
    """Not even the turns of fresh and deferred messages bring it to the front."""
    (deferred,) = make_ready(spool, arrival(b"Subject: late\r\n\r\n", uidl="late"))
    once(spool, refusing(Part.CONTENT, "451 4.7.1 later"))
    clock.advance(timedelta(hours=1))
    (breaker,) = make_ready(spool, arrival())
    with take_stage(spool, Stage.SUBMIT) as tenure:
        outbox = Outbox(spool, tenure)
        claims = {claim.message.queue_id: claim for claim in outbox.claim(2)}
        outbox.settle([GivenBack(claim=claims[breaker], breaks={"count": 1}, next_attempt_at=spool.now())])
        outbox.settle([GivenBack(claim=claims[deferred], breaks={})])
        claimed = [one.message.queue_id for one in outbox.claim(2)]
        outbox.close()
    assert claimed == [deferred, breaker]


def test_a_message_that_breaks_three_sessions_while_others_pass_goes_to_badmail(spool: Spool, clock: Clock) -> None:
    (breaker,) = make_ready(spool, arrival(b"Subject: breaker\r\n\r\n"))
    rules = refusing(Part.CONTENT, "421 4.7.0 go away", marker=b"breaker")
    states = []
    for number in range(3):
        make_ready(spool, *letters(2, prefix=f"round{number}-"))
        once(spool, rules)
        states.append(message(spool, breaker).state)
        clock.advance(timedelta(minutes=1))
    assert states[-1] is State.BADMAIL
    reason = message(spool, breaker).reason
    assert reason is not None
    assert reason.code == 421


def test_a_relay_that_drops_every_connection_sends_nothing_to_badmail(spool: Spool, clock: Clock) -> None:
    """However often it is tried: without an acceptance in between no message is to blame."""
    ids = make_ready(spool, *letters(3))
    for _ in range(6):
        once(spool, refusing(Part.REVERSE_PATH, ""))
        clock.advance(timedelta(days=1))
    assert {(row.state, row.attempts) for row in messages(spool, ids)} == {(State.READY, 0)}


def test_malformed_messages_cost_the_good_ones_nothing(spool: Spool) -> None:
    """The stall of the ancestor: five 501 and the relay hangs up; fifty of them, and all good mail arrives at once."""
    arrivals = [arrival(b"Subject: %d\r\n\r\n" % n, uidl=f"u{n}") for n in range(60)]
    ids = make_ready(spool, *arrivals[:50], recipients=["bad@corp.example"])
    good = make_ready(spool, *arrivals[50:])
    rules = SinkRules(
        refusals=(Refusal(part=Part.RECIPIENT, marker=b"bad@", reply="501 5.1.3 malformed"),), max_protocol_errors=5
    )
    outcome, sink = once(spool, rules)
    assert {row.state for row in messages(spool, ids)} == {State.BADMAIL}
    assert {row.state for row in messages(spool, good)} == {State.SUBMITTED}
    assert outcome.is_complete
    assert max(connection.protocol_errors for connection in sink.connections) == 4


def test_a_421_right_after_our_own_5xx_blames_the_session(spool: Spool) -> None:
    """The relay's limit is lower than we were told: a fresh session at once, and the route stays open."""
    arrivals = [arrival(b"Subject: %d\r\n\r\n" % n, uidl=f"u{n}") for n in range(8)]
    bad = make_ready(spool, *arrivals[:6], recipients=["bad@corp.example"])
    good = make_ready(spool, *arrivals[6:])
    rules = SinkRules(
        refusals=(Refusal(part=Part.RECIPIENT, marker=b"bad@", reply="501 5.1.3 malformed"),), max_protocol_errors=2
    )
    once(spool, rules)
    assert {row.state for row in messages(spool, bad)} == {State.BADMAIL}
    assert {row.state for row in messages(spool, good)} == {State.SUBMITTED}
    assert "RouteClosed" not in event_names(spool)


def test_a_refused_sender_is_submitted_with_the_null_path_where_so_configured(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())

    async def run() -> SmtpSink:
        async with SmtpSink(refusing(Part.REVERSE_PATH, "501 5.1.7 no", marker=b"alice")) as sink:
            settings = relay_settings(spool.layout.root, sink.port)
            validate = replace(settings.validate, invalid_reverse_path=InvalidReversePath.NULL)
            await submit_once(spool, replace(settings, validate=validate))
        return sink

    sink = asyncio.run(run())
    assert [one.reverse_path for one in sink.accepted] == [""]
    assert message(spool, queue_id).state is State.SUBMITTED
    assert "SubmittedWithNullPath" in event_names(spool)


def test_a_refused_null_path_is_refused(spool: Spool) -> None:
    """Once is enough: the second refusal is a verdict."""
    (queue_id,) = make_ready(spool, arrival())

    async def run() -> None:
        async with SmtpSink(refusing(Part.REVERSE_PATH, "501 5.1.7 no")) as sink:
            settings = relay_settings(spool.layout.root, sink.port)
            validate = replace(settings.validate, invalid_reverse_path=InvalidReversePath.NULL)
            await submit_once(spool, replace(settings, validate=validate))

    asyncio.run(run())
    assert message(spool, queue_id).state is State.BADMAIL


def test_ten_refusals_in_a_row_raise_one_critical_event(spool: Spool) -> None:
    make_ready(spool, *letters(12))
    once(spool, refusing(Part.CONTENT, "554 5.7.1 no"))
    assert event_names(spool).count("RefusalsInARow") == 1


def test_a_message_whose_bytes_were_damaged_is_not_sent(spool: Spool) -> None:
    """I2; the others go."""
    damaged, good = make_ready(spool, *letters(2))
    stored = message(spool, damaged).stored
    assert stored is not None
    octets = bytearray(stored.path.read_bytes())
    octets[stored.place.offset + stored.place.block_octets] ^= 1
    stored.path.write_bytes(octets)
    _, sink = once(spool)
    assert len(sink.accepted) == 1
    assert [row.state for row in messages(spool, [damaged, good])] == [State.DAMAGED, State.SUBMITTED]


def test_a_message_that_expires_goes_to_badmail_after_an_attempt(spool: Spool, clock: Clock) -> None:
    (queue_id,) = make_ready(spool, arrival())

    async def run() -> None:
        async with to_sink(spool, refusing(Part.CONTENT, "451 4.7.1 later")) as (running, _):
            await running.until(lambda: message(spool, queue_id).state is State.DEFERRED)
            clock.advance(timedelta(days=6))
            ring(spool, Stage.SUBMIT)
            await running.until(lambda: message(spool, queue_id).state is State.BADMAIL)

    asyncio.run(run())
    row = message(spool, queue_id)
    assert row.reason is not None
    assert row.reason.text.startswith("expired after 6 days")


def test_a_ring_brings_new_mail_out_at_once(spool: Spool) -> None:
    async def run() -> int:
        async with to_sink(spool) as (running, sink):
            await running.until(lambda: Route(spool).state().opened_at is not None)
            (queue_id,) = await running.runtime.call(lambda: make_ready(spool, arrival()))
            ring(spool, Stage.SUBMIT)
            await running.until(lambda: message(spool, queue_id).state is State.SUBMITTED)
            return len(sink.accepted)

    assert asyncio.run(run()) == 1


@pytest.mark.parametrize("connections", [1, 4])
def test_a_thousand_messages_arrive_exactly_once(spool: Spool, connections: int) -> None:
    batches = letters(1000)
    ids = [queue_id for start in range(0, 1000, 250) for queue_id in make_ready(spool, *batches[start : start + 250])]
    _, sink = once(spool, connections=connections)
    assert sorted(one.content.split(b"Subject: ")[1] for one in sink.accepted) == sorted(
        one.content.split(b"Subject: ")[1] for one in batches if isinstance(one.content, bytes)
    )
    assert {row.state for row in messages(spool, ids)} == {State.SUBMITTED}


def test_a_stop_leaves_no_claim_behind(spool: Spool) -> None:
    ids = make_ready(spool, *letters(200))

    async def run() -> None:
        async with to_sink(spool) as (running, _):
            await running.until(lambda: any(row.state is State.SUBMITTED for row in messages(spool, ids)))

    asyncio.run(run())
    rows = messages(spool, ids)
    assert not any(row.is_claimed for row in rows)
    assert {row.state for row in rows} == {State.READY, State.SUBMITTED}
    assert {row.attempts for row in rows if row.state is State.READY} == {0}


def test_the_drain_goes_on_until_it_is_told_to_stop(spool: Spool) -> None:
    """Only the supervisor sees whether more will come."""

    async def deliver(running: Submitting, prefix: str) -> None:
        ids = await running.runtime.call(lambda: make_ready(spool, *letters(3, prefix=prefix)))
        ring(spool, Stage.SUBMIT)
        await running.until(lambda: all(row.state is State.SUBMITTED for row in messages(spool, ids)))

    async def run() -> Outcome:
        async with to_sink(spool, mode=Mode.DRAIN) as (running, _):
            await deliver(running, "first")
            await deliver(running, "second")
            running.runtime.stopping.set()
            return await running.ended()

    assert asyncio.run(run()).is_complete
