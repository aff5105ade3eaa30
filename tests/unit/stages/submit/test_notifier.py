"""The postmaster is told of Badmail once a day at most; whatever the relay says to that, it costs nobody anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from pipeline.demo.smtp_sink import Accepted, Part, Refusal, SinkRules, SmtpSink
from spool.journal import read_journal
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.queries import messages as listed
from spool.route import Route
from spool.states import State
from stages.runner import Mode, Runtime
from stages.settings import RelayProtocol, Settings
from stages.submit.notifier import LOOK_EVERY, Notifier
from stages.submit.relay import Relay
from tests.support.dropping import refused
from tests.support.spools import Clock, arrival, letters, logged, make_ready, make_spool, message
from tests.support.submit_stage import event_names, relay_settings, submit_once, submitting

POSTMASTER = "postmaster@corp.example"
DAY = timedelta(days=1)
CLOSED_PORT = 1
ALL = SinkRules()
NOT_TO_THE_POSTMASTER = Refusal(part=Part.RECIPIENT, marker=b"postmaster", reply="550 5.1.1 unknown")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    opened = make_spool(tmp_path, clock=clock)
    yield opened
    opened.close()


def notifying(spool: Spool, port: int, *, recipient: str | None = POSTMASTER) -> Settings:
    settings = relay_settings(spool.layout.root, port)
    return replace(settings, submit=replace(settings.submit, notify=recipient))


def once(spool: Spool, rules: SinkRules = ALL, *, recipient: str | None = POSTMASTER) -> list[Accepted]:
    """One round before a sink; answers the summaries that it accepted."""

    async def run() -> list[Accepted]:
        async with SmtpSink(rules) as sink:
            await submit_once(spool, notifying(spool, sink.port, recipient=recipient))
            return summaries(sink)

    return asyncio.run(run())


def summaries(sink: SmtpSink) -> list[Accepted]:
    return [one for one in sink.accepted if one.recipients == (POSTMASTER,)]


def reason_of_failure(spool: Spool) -> str:
    (event,) = [event for event in logged(spool) if event.name == "SummaryFailed"]
    return str(event.fields["reason"])


def test_the_postmaster_is_told_what_is_in_badmail(spool: Spool) -> None:
    queue_id = refused(spool)
    (told,) = once(spool)
    # RFC 5321 section 4.5.5: nobody returns what has the null reverse-path.
    assert told.reverse_path == ""
    assert b"Auto-Submitted: auto-generated\r\n" in told.content
    assert queue_id.encode() in told.content
    (event,) = [event for event in logged(spool) if event.name == "SummarySubmitted"]
    assert (event.fields["recipient"], event.fields["messages"]) == (POSTMASTER, 1)


def test_what_the_round_itself_sent_to_badmail_is_told_at_its_end(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    (told,) = once(spool, SinkRules(refusals=(Refusal(part=Part.CONTENT, marker=b"hello", reply="550 spam"),)))
    assert queue_id.encode() in told.content


def test_nobody_is_told_where_nobody_is_named(spool: Spool) -> None:
    refused(spool)
    assert once(spool, recipient=None) == []


def test_nobody_is_told_of_an_empty_badmail(spool: Spool) -> None:
    make_ready(spool, arrival())
    assert once(spool) == []


def test_a_restart_on_the_same_day_tells_nothing_twice(spool: Spool, clock: Clock) -> None:
    refused(spool)
    assert len(once(spool)) == 1
    refused(spool, arrival(uidl="late"))
    assert once(spool) == []
    clock.advance(DAY)
    assert len(once(spool)) == 1


def test_a_clock_that_was_set_back_tells_nothing_twice(spool: Spool, clock: Clock) -> None:
    refused(spool)
    once(spool)
    refused(spool, arrival(uidl="late"))
    clock.advance(-timedelta(hours=3))
    assert once(spool) == []
    clock.advance(DAY)
    assert len(once(spool)) == 1


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (NOT_TO_THE_POSTMASTER, "550 5.1.1"),
        (Refusal(part=Part.RECIPIENT, marker=b"postmaster", reply="451 4.7.1 greylisted"), "451 4.7.1"),
        (Refusal(part=Part.CONTENT, marker=b"Auto-Submitted", reply="554 5.7.1 spam"), "554 5.7.1"),
        (Refusal(part=Part.CONTENT, marker=b"Auto-Submitted", reply=""), "connection lost"),
        (Refusal(part=Part.CONTENT, marker=b"Auto-Submitted", reply="421 4.3.2 bye"), "421 4.3.2"),
        (Refusal(part=Part.RECIPIENT, marker=b"postmaster", reply="530 5.7.0 log in"), "530 5.7.0"),
    ],
)
def test_a_relay_that_does_not_take_the_summary_makes_no_loop(
    spool: Spool, clock: Clock, refusal: Refusal, said: str
) -> None:
    """No message of the spool comes of it, no claim, no line; the route stays open; tomorrow is another day."""
    refused(spool)
    before = (listed(spool, frozenset(State)), len(read_journal(spool.layout.journal(Stage.SUBMIT)).lines))
    for _ in range(3):
        assert once(spool, SinkRules(refusals=(refusal,))) == []
    assert (listed(spool, frozenset(State)), len(read_journal(spool.layout.journal(Stage.SUBMIT)).lines)) == before
    assert said in reason_of_failure(spool)
    assert Route(spool).state().is_open
    assert "RouteClosed" not in event_names(spool)
    clock.advance(DAY)
    assert len(once(spool)) == 1


def test_a_refused_summary_is_not_counted_among_the_refusals_in_a_row(spool: Spool) -> None:
    """Nine messages in a row were refused, and the summary: no alarm, and it breaks no row either."""
    make_ready(spool, *letters(9))
    refusals = (NOT_TO_THE_POSTMASTER, Refusal(part=Part.REVERSE_PATH, marker=b"alice", reply="550 no"))
    once(spool, SinkRules(refusals=refusals))
    assert "SummaryFailed" in event_names(spool)
    assert "RefusalsInARow" not in event_names(spool)


def test_a_relay_that_cannot_be_reached_costs_no_try(spool: Spool) -> None:
    refused(spool)
    asyncio.run(submit_once(spool, notifying(spool, CLOSED_PORT)))
    assert "SummaryFailed" not in event_names(spool)
    assert len(once(spool)) == 1


def test_a_summary_that_came_back_and_was_refused_is_no_reason_for_another_one(spool: Spool, clock: Clock) -> None:
    """The postmaster's mailbox may be one that we fetch; it would go on day by day."""
    refused(spool)
    (told,) = once(spool)
    subject = told.content.split(b"Subject: ")[1].split(b"\r\n")[0].decode()
    clock.advance(DAY)
    refused(spool, arrival(told.content, uidl="back"), sender="", subject=subject)
    assert once(spool) == []


def test_the_stage_tells_while_it_runs(spool: Spool) -> None:
    refused(spool)

    async def run() -> list[Accepted]:
        async with SmtpSink() as sink, submitting(spool, notifying(spool, sink.port)) as running:
            await running.until(lambda: "SummarySubmitted" in event_names(spool))
            return summaries(sink)

    assert len(asyncio.run(run())) == 1


def test_a_drain_tells_at_its_end_though_it_is_told_to_stop(spool: Spool) -> None:
    queue_id = refused(spool)

    async def run() -> list[Accepted]:
        async with SmtpSink() as sink:
            async with submitting(spool, notifying(spool, sink.port), mode=Mode.DRAIN) as running:
                await running.until(lambda: Route(spool).state().opened_at is not None)
            return summaries(sink)

    (told,) = asyncio.run(run())
    assert queue_id.encode() in told.content


class Keeper:
    """What aiosmtpd asks: keeps what it gets, and answers the postmaster's message when it may."""

    def __init__(self) -> None:
        self.accepted: list[Envelope] = []
        self.has_summary = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if POSTMASTER in envelope.rcpt_tos:
            self.has_summary.set()
            await self.may_answer.wait()
        self.accepted.append(envelope)
        return "250 2.0.0 kept"


@asynccontextmanager
async def listening(keeper: Keeper, kind: type[SMTP] = SMTP) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(keeper, hostname="relay", loop=loop), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def test_the_postmaster_is_told_by_lmtp_too(spool: Spool) -> None:
    """RFC 2033."""
    queue_id = refused(spool)
    keeper = Keeper()

    async def run() -> None:
        keeper.may_answer.set()
        async with listening(keeper, LMTP) as port:
            settings = notifying(spool, port)
            await submit_once(spool, replace(settings, smtp=replace(settings.smtp, protocol=RelayProtocol.LMTP)))

    asyncio.run(run())
    (told,) = keeper.accepted
    assert (told.mail_from, told.rcpt_tos) == ("<>", [POSTMASTER])
    assert isinstance(told.content, bytes)
    assert queue_id.encode() in told.content
    assert "SummarySubmitted" in event_names(spool)


def test_mail_flows_while_the_relay_is_slow_to_take_the_summary(spool: Spool) -> None:
    """It has a task of its own, which a stop cuts short; and that was the try of the day."""
    refused(spool)
    keeper = Keeper()

    async def run() -> None:
        async with listening(keeper) as port:
            settings = notifying(spool, port)
            async with submitting(spool, settings) as running:
                await keeper.has_summary.wait()
                (queue_id,) = await running.runtime.call(lambda: make_ready(spool, arrival(uidl="next")))
                running.runtime.ring(Stage.SUBMIT)
                await running.until(lambda: message(spool, queue_id).state is State.SUBMITTED)
            assert len(keeper.accepted) == 1

    asyncio.run(run())
    assert once(spool) == []


def test_a_relay_that_is_too_slow_is_not_waited_for(spool: Spool) -> None:
    refused(spool)
    keeper = Keeper()

    async def run() -> None:
        async with listening(keeper) as port:
            settings = notifying(spool, port)
            with take_stage(spool, Stage.SUBMIT) as tenure:
                runtime = Runtime(settings, spool, tenure=tenure, mode=Mode.ONCE)
                runtime.listen()
                relay = Relay(settings.smtp, helo="gw.corp.example")
                hasty = timedelta(seconds=0.2)
                await Notifier(runtime, relay, recipient=POSTMASTER, gateway="gw.corp.example", patience=hasty).notify()
                runtime.close()

    asyncio.run(run())
    assert keeper.has_summary.is_set()
    assert reason_of_failure(spool) == "submit: it took longer than 0.2 s"


def test_what_is_due_is_not_looked_up_each_time(spool: Spool, clock: Clock) -> None:
    """Nor is it never looked up again after a clock was set back."""

    async def run() -> list[bool]:
        settings = notifying(spool, CLOSED_PORT)
        with take_stage(spool, Stage.SUBMIT) as tenure:
            runtime = Runtime(settings, spool, tenure=tenure, mode=Mode.RUN)
            runtime.listen()
            relay = Relay(settings.smtp, helo="gw.corp.example")
            one = Notifier(runtime, relay, recipient=POSTMASTER, gateway="gw.corp.example")
            looked = []
            for step in (timedelta(), LOOK_EVERY / 2, LOOK_EVERY / 2, -DAY, LOOK_EVERY / 2):
                clock.advance(step)
                looked.append(one.is_time_to_look())
            runtime.close()
        return looked

    assert asyncio.run(run()) == [True, False, True, True, False]
