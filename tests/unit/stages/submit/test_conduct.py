"""Whatever the relay does, whose fault it is decides who pays: the message, the session, or nobody."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink
from spool.admission import Admission
from spool.doorbell import ring
from spool.envelope import Arrival
from spool.events import Level
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId
from spool.route import Route
from spool.states import State
from stages.settings import Settings, TlsMode
from stages.submit.relay import name_for_helo
from tests.support.processes import free_port
from tests.support.scripted_server import ScriptedServer, parse
from tests.support.spools import (
    Clock,
    admit,
    arrival,
    letters,
    logged,
    make_ready,
    make_spool,
    message,
    passed,
    queue_ids,
    staging,
)
from tests.support.submit_stage import (
    Submitting,
    event_names,
    messages,
    once,
    refusing,
    relay_settings,
    submit_once,
    submitting,
)

SEED = 20260301
SHORT, LONG = timedelta(seconds=0.3), timedelta(seconds=10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    opened = make_spool(tmp_path, clock=clock)
    yield opened
    opened.close()


class Watchful(SmtpSink):
    """A sink that remembers which part it was asked about in which session; with one connection at a time."""

    def __init__(self, rules: SinkRules, *, part: Part) -> None:
        super().__init__(rules)
        self.asked: list[tuple[int, bytes]] = []
        self._part = part

    def verdict(self, part: Part, octets: bytes) -> str | None:
        if part is self._part:
            self.asked.append((len(self.connections) - 1, octets))
        return super().verdict(part, octets)


def batched(arrivals: Sequence[Arrival]) -> Iterator[Sequence[Arrival]]:
    for start in range(0, len(arrivals), 250):
        yield arrivals[start : start + 250]


def ready_for(spool: Spool, recipients: Sequence[str]) -> list[QueueId]:
    """A ready message for each of these recipients, in this order."""
    arrivals = letters(len(recipients), prefix=f"{len(queue_ids(spool))}-")
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        ids = [receipt.queue_id for batch in batched(arrivals) for receipt in admission.admit(batch)]
        admission.close()
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        waiting = staged.waiting(len(ids))
        staged.settle([passed(one, recipients=[recipients[ids.index(one.queue_id)]]) for one in waiting])
    return ids


@pytest.mark.parametrize(("limit", "tries"), [(5, 1), (2, 2), (1, 2)])
def test_500_malformed_messages_in_a_row_never_cost_a_good_one_more_than_one_renewal(
    spool: Spool, limit: int, tries: int
) -> None:
    """Exchange ends a session at its fifth error, others sooner: whichever side ends it, good mail waits for one."""
    good = [f"good{number}@corp.example" for number in range(50)]
    among = [*good[10:], *["bad@corp.example"] * 100]
    random.Random(SEED).shuffle(among)
    ids = ready_for(spool, ["bad@corp.example"] * 500 + good[:10] + among)
    rules = SinkRules(
        refusals=(Refusal(part=Part.RECIPIENT, marker=b"bad@", reply="501 5.1.3 malformed"),),
        max_protocol_errors=limit,
    )

    async def run() -> Watchful:
        async with Watchful(rules, part=Part.RECIPIENT) as sink:
            await submit_once(spool, relay_settings(spool.layout.root, sink.port))
        return sink

    sink = asyncio.run(run())
    states = Counter(row.state for row in messages(spool, ids))
    assert states == {State.BADMAIL: 600, State.SUBMITTED: 50}
    asked = Counter(recipient for _, recipient in sink.asked if recipient.startswith(b"good"))
    assert set(asked) == {one.encode() for one in good}
    assert max(asked.values()) <= tries
    for (before, _), (session, recipient) in zip(sink.asked, sink.asked[1:], strict=False):
        assert not recipient.startswith(b"good") or session - before <= 1
    assert "RouteClosed" not in event_names(spool)


HELLO = f"S: 220 relay\nC: EHLO {name_for_helo(socket.getfqdn())}\n"
GREETED = f"{HELLO}S: 250 relay\n"
WITH_TLS = f"{HELLO}S: 250-relay\nS: 250 STARTTLS\nC: STARTTLS\n"
SICK = {
    "greeting 421": "S: 421 4.3.2 busy\n",
    "greeting 450": "S: 450 later\n",
    "greeting 554": "S: 554 no service\n",
    "no greeting": "",
    "a silent relay": "SILENT\n",
    "another protocol": "S: +OK POP3 ready\n",
    "a cut at EHLO": HELLO,
    "EHLO 421": f"{HELLO}S: 421 bye\n",
    "EHLO 451": f"{HELLO}S: 451 later\n",
    "EHLO and HELO 5xx": f"{HELLO}S: 502 what\n{HELLO.partition(chr(10))[2].replace('EHLO', 'HELO')}S: 554 no\n",
    "421 behind EHLO": f"{GREETED}S: 421 4.3.2 busy\n",
    "a second reply to EHLO": f"{GREETED}S: 250 relay\nSILENT\n",
    "421 at MAIL": f"{GREETED}C: MAIL FROM:<alice@example.org>\nS: 421 bye\n",
    "a cut at MAIL": f"{GREETED}C: MAIL FROM:<alice@example.org>\n",
    "silence at MAIL": f"{GREETED}C: MAIL FROM:<alice@example.org>\nSILENT\n",
    "530 at MAIL": f"{GREETED}C: MAIL FROM:<alice@example.org>\nS: 530 5.7.0 log in\nC: QUIT\nS: 221 bye\n",
    "a full relay": f"{GREETED}C: MAIL FROM:<alice@example.org>\nS: 452 4.3.1 full\nC: QUIT\nS: 221 bye\n",
}
WITHOUT_TLS = {
    "no STARTTLS": f"{GREETED}",
    "STARTTLS refused": f"{WITH_TLS}S: 454 not now\n",
    "a cut at STARTTLS": WITH_TLS,
    "no handshake": f"{WITH_TLS}S: 220 go\nANYTHING\nS: what\n",
}


def settings_for(spool: Spool, port: int, *, tls: TlsMode, is_silent: bool) -> Settings:
    settings = relay_settings(spool.layout.root, port, timeout=SHORT if is_silent else LONG)
    return replace(settings, smtp=replace(settings.smtp, tls=tls))


@pytest.mark.parametrize(
    ("script", "tls"),
    [*((script, TlsMode.NONE) for script in SICK.values()), *((one, TlsMode.STARTTLS) for one in WITHOUT_TLS.values())],
    ids=[*SICK, *WITHOUT_TLS],
)
def test_a_session_that_cannot_be_opened_charges_no_message(spool: Spool, script: str, tls: TlsMode) -> None:
    """The first session, which asks for SIZE, went well or not: the message, a probe, and that is all."""
    ids = make_ready(spool, *letters(3))
    well = f"{HELLO}S: 250-relay\nS: 250 STARTTLS\nC: STARTTLS\nCUT\n" if tls is not TlsMode.NONE else ""
    quits = well or f"{GREETED}C: QUIT\nS: 221 bye\n"

    async def run() -> int:
        async with ScriptedServer(parse(quits), parse(script)).listening() as server:
            outcome = await submit_once(spool, settings_for(spool, server.port, tls=tls, is_silent="SILENT" in script))
            assert not outcome.is_complete
            return server.connections

    assert asyncio.run(run()) <= 3
    rows = [(row.state, row.attempts, row.is_claimed, row.possible_duplicate) for row in messages(spool, ids)]
    assert rows == [(State.READY, 0, False, False)] * 3
    assert not Route(spool).state().is_open
    assert event_names(spool).count("RouteClosed") == 1


def test_a_cut_right_after_our_own_5xx_blames_the_session(spool: Spool) -> None:
    """As a 421 does: a fresh session at once, and the route stays open."""
    ids = make_ready(spool, *letters(2))
    refused = f"{GREETED}C: MAIL FROM:<alice@example.org>\nS: 550 no\n"

    async def run() -> None:
        scripts = (f"{GREETED}C: QUIT\nS: 221 bye\n", f"{refused}C: RSET\n", f"{refused}C: QUIT\nS: 221 bye\n")
        async with ScriptedServer(*map(parse, scripts)).listening() as server:
            await submit_once(spool, relay_settings(spool.layout.root, server.port))

    asyncio.run(run())
    assert {row.state for row in messages(spool, ids)} == {State.BADMAIL}
    assert "RouteClosed" not in event_names(spool)


@pytest.mark.parametrize("at", [Part.REVERSE_PATH, Part.RECIPIENT])
@pytest.mark.parametrize("reply", ["", "421 4.3.2 shutting down"])
def test_an_outage_however_long_sends_nothing_to_badmail_and_then_everything_goes_out(
    spool: Spool, clock: Clock, at: Part, reply: str
) -> None:
    """Mail that waited before the outage is no older behind it; the lifetime of 5 days runs while the route is open."""
    deferred = make_ready(spool, *letters(3, prefix="old"))
    once(spool, refusing(Part.RECIPIENT, "451 4.7.1 greylisted"))
    ids = deferred + make_ready(spool, *letters(5, prefix="new"))

    def is_left_alone() -> bool:
        return not Route(spool).state().is_open and not any(row.is_claimed for row in messages(spool, ids))

    async def a_day_passes(running: Submitting, sink: SmtpSink) -> None:
        before = len(sink.connections)
        clock.advance(timedelta(days=1))
        ring(spool, Stage.SUBMIT)
        await running.until(lambda: len(sink.connections) > before and is_left_alone())

    async def run() -> None:
        sink = SmtpSink(refusing(at, reply))
        async with sink, submitting(spool, relay_settings(spool.layout.root, sink.port)) as running:
            await running.until(is_left_alone)
            for _ in range(6):
                await a_day_passes(running, sink)
            sink.rules = SinkRules()
            clock.advance(timedelta(hours=2))
            ring(spool, Stage.SUBMIT)
            await running.until(lambda: {row.state for row in messages(spool, ids)} == {State.SUBMITTED})

    asyncio.run(run())
    assert "Refused" not in event_names(spool)
    assert [row.attempts for row in messages(spool, ids)] == [2] * 3 + [1] * 5
    names = [name for name in event_names(spool) if name.startswith("Route")]
    assert names == ["RouteClosed", "RouteOpened"]


def test_a_relay_that_is_away_for_six_days_gets_everything_when_it_is_back(spool: Spool, clock: Clock) -> None:
    ids = make_ready(spool, *letters(10))
    port = free_port()

    async def run() -> None:
        async with submitting(spool, relay_settings(spool.layout.root, port)) as running:
            await running.until(lambda: not Route(spool).state().is_open)
            for _ in range(6):
                clock.advance(timedelta(days=1))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: {row.state for row in messages(spool, ids)} == {State.READY})
            async with SmtpSink(port=port):
                clock.advance(timedelta(hours=1))
                ring(spool, Stage.SUBMIT)
                await running.until(lambda: {row.state for row in messages(spool, ids)} == {State.SUBMITTED})

    asyncio.run(run())
    assert [row.attempts for row in messages(spool, ids)] == [1] * 10
    assert [name for name in event_names(spool) if name.startswith("Route")] == ["RouteClosed", "RouteOpened"]


@pytest.mark.parametrize("reply", ["421 4.7.0 go away", ""])
def test_a_message_that_breaks_three_sessions_while_others_pass_is_badmail_and_its_last_try_is_alone(
    spool: Spool, clock: Clock, reply: str
) -> None:
    """Whether the relay says goodbye or just hangs up; nobody else's message is in the session that decides."""
    (breaker,) = make_ready(spool, arrival(b"Subject: breaker\r\n\r\n"))

    async def run() -> Watchful:
        sink = Watchful(refusing(Part.CONTENT, reply, marker=b"breaker"), part=Part.CONTENT)
        async with sink, submitting(spool, relay_settings(spool.layout.root, sink.port)) as running:
            for number in range(4):
                await others_pass(running, letters(3, prefix=f"round{number}-"))
            await running.until(lambda: message(spool, breaker).state is State.BADMAIL)
        return sink

    async def others_pass(running: Submitting, others: Sequence[Arrival]) -> None:
        ids = await running.runtime.call(lambda: make_ready(spool, *others))
        clock.advance(timedelta(minutes=10))
        ring(spool, Stage.SUBMIT)
        await running.until(lambda: {row.state for row in messages(spool, ids)} == {State.SUBMITTED})

    sink = asyncio.run(run())
    tried = [session for session, content in sink.asked if b"breaker" in content]
    assert len(tried) >= 3
    assert sink.connections[tried[-1]].transactions == 1
    row = message(spool, breaker)
    assert row.reason is not None
    assert row.reason.text.startswith("it stopped the session 3 times while other mail passed; at last: ")


class Door:
    """A relay of which only the door is seen: it hangs up on whoever comes or, told so, lets them wait."""

    def __init__(self) -> None:
        self.is_silent = False
        self.open = 0
        self.most_open = 0
        self.visits = 0

    @asynccontextmanager
    async def ajar(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        with suppress(OSError):
            if self.is_silent:
                await reader.read()
        writer.close()
        self.open -= 1


def test_a_sick_relay_is_asked_by_one_probe_at_a_time(spool: Spool, clock: Clock) -> None:
    """However much mail comes and however much time passes, and with four connections to spare."""
    make_ready(spool, *letters(20))
    door = Door()

    async def run() -> None:
        async with door.ajar() as port:
            settings = relay_settings(spool.layout.root, port, connections=4)
            async with submitting(spool, settings) as running:
                await running.until(lambda: not Route(spool).state().is_open)
                door.is_silent, before = True, door.visits
                for _ in range(10):
                    clock.advance(timedelta(hours=1))
                    await running.runtime.call(lambda: admit(spool, arrival()))
                    ring(spool, Stage.SUBMIT)
                    await running.until(lambda: door.visits > before)
                assert (door.visits, door.open) == (before + 1, 1)

    asyncio.run(run())
    assert door.most_open == 1
    assert event_names(spool).count("RouteClosed") == 1


def test_new_and_deferred_mail_take_turns_on_the_wire(spool: Spool, clock: Clock) -> None:
    """So that old trouble never starves new mail."""
    make_ready(spool, *[arrival(b"Subject: old\r\n\r\n%d" % number, uidl=f"old{number}") for number in range(6)])
    once(spool, refusing(Part.CONTENT, "451 4.7.1 later"))
    make_ready(spool, *[arrival(b"Subject: new\r\n\r\n%d" % number, uidl=f"new{number}") for number in range(6)])
    clock.advance(timedelta(hours=2))
    _, sink = once(spool)
    subjects = [one.content.partition(b"Subject: ")[2][:3] for one in sink.accepted]
    assert subjects == [b"new", b"old"] * 6


def test_ten_refusals_in_a_row_are_critical_and_an_acceptance_in_between_is_not(spool: Spool) -> None:
    rules = refusing(Part.RECIPIENT, "550 5.1.1 unknown", marker=b"bad@")
    ready_for(spool, (["bad@corp.example"] * 9 + ["good@corp.example"]) * 2)
    once(spool, rules)
    assert "RefusalsInARow" not in event_names(spool)
    ready_for(spool, ["bad@corp.example"] * 25)
    once(spool, rules)
    assert [event.level for event in logged(spool) if event.name == "RefusalsInARow"] == [Level.CRITICAL]
