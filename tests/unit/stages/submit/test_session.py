"""What a session puts on the wire and into the journal, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest

from pipeline.demo.smtp_sink import Accepted, SinkRules, SmtpSink
from spool.admission import Admission
from spool.doorbell import ring
from spool.envelope import Needs
from spool.journal import Outcome, read_journal
from spool.layout import Stage
from spool.opening import Spool, take_stage
from spool.queue_id import QueueId
from spool.route import Route
from spool.states import State
from stages.mail.received import Hop, trace_field
from stages.passwords import PasswordSource, PasswordVariable
from stages.runner import Outcome as Completed
from stages.secret import Secret
from stages.settings import Ambiguous
from stages.submit.relay import name_for_helo
from tests.support.scripted_server import ScriptedServer, parse
from tests.support.spools import (
    START,
    arrival,
    letters,
    logged,
    make_large_ready,
    make_ready,
    make_spool,
    message,
    passed,
    staging,
)
from tests.support.submit_stage import Submitting, event_names, messages, relay_settings, submit_once, submitting

LARGE = b"Subject: large\r\n\r\n" + b"All work and no play makes Jack a dull boy.\r\n" * 40_000


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = make_spool(tmp_path)
    yield opened
    opened.close()


class WatchedSink(SmtpSink):
    """A sink that calls `on_message` when it has a message and before it answers."""

    def __init__(self, on_message: Callable[[Accepted], None], rules: SinkRules = SinkRules()) -> None:  # noqa: B008
        super().__init__(rules)
        self._on_message = on_message

    def keep(self, message: Accepted) -> None:
        self._on_message(message)
        super().keep(message)


def queue_id_of(accepted: Accepted) -> str:
    """The queue id that the trace field names."""
    return accepted.content.split(b" id ")[1].split()[0].decode()


def test_a_line_in_the_journal_precedes_each_final_dot(spool: Spool) -> None:
    """A killed process must know which messages may have arrived."""
    seen = []

    def look(accepted: Accepted) -> None:
        lines = read_journal(spool.layout.journal(Stage.SUBMIT)).lines
        seen.append((queue_id_of(accepted), Outcome.DOT) in {(line.queue_id, line.outcome) for line in lines})

    async def run() -> None:
        async with WatchedSink(look) as sink:
            await submit_once(spool, relay_settings(spool.layout.root, sink.port, connections=3))

    make_ready(spool, *letters(30))
    asyncio.run(run())
    assert seen == [True] * 30


def test_the_result_is_in_the_journal_before_the_next_final_dot_of_the_connection(spool: Spool) -> None:
    """So that a kill leaves one ambiguous message for each connection, and no more."""
    earlier: dict[int, list[str]] = {}
    unnoted: list[str] = []

    def look(accepted: Accepted) -> None:
        lines = read_journal(spool.layout.journal(Stage.SUBMIT)).lines
        settled = {line.queue_id for line in lines if line.outcome is Outcome.SUBMITTED}
        before = earlier.setdefault(accepted.connection, [])
        unnoted.extend(queue_id for queue_id in before if queue_id not in settled)
        before.append(queue_id_of(accepted))

    async def run() -> None:
        async with WatchedSink(look) as sink:
            await submit_once(spool, relay_settings(spool.layout.root, sink.port, connections=2))

    make_ready(spool, *letters(40))
    asyncio.run(run())
    assert not unnoted
    assert max(map(len, earlier.values())) > 1


def test_a_stop_lets_the_transaction_in_hand_come_to_its_end(spool: Spool) -> None:
    """The final dot is out: its reply is worth waiting for, but nothing new is begun."""
    ids = make_ready(spool, *letters(50))

    async def run() -> None:
        stop = asyncio.Event()
        sink = WatchedSink(lambda _: stop.set())
        async with sink, submitting(spool, relay_settings(spool.layout.root, sink.port)):
            await stop.wait()

    asyncio.run(run())
    states = [row.state for row in messages(spool, ids)]
    assert State.SUBMITTED in states
    assert State.READY in states
    assert not any(row.possible_duplicate for row in messages(spool, ids))


HELLO = f"S: 220 relay\nC: EHLO {name_for_helo(socket.getfqdn())}\nS: 250 relay\n"
PROBE = HELLO + "C: QUIT\nS: 221 bye\n"
MAIL = "C: MAIL FROM:<alice@example.org>\n"
RCPT = "C: RCPT TO:<sales@corp.example>\n"
BODY = b"Subject: x\r\n\r\nbody\r\n"


@asynccontextmanager
async def scripted(*scripts: str) -> AsyncIterator[int]:
    """A relay that speaks these scripts, one for each connection, behind the first that only asks for SIZE."""
    async with ScriptedServer(*(parse(script) for script in (PROBE, *scripts))).listening() as server:
        yield server.port


def content_lines(queue_id: QueueId) -> str:
    """The message of `BODY` as a script expects it, without the final dot."""
    hop = Hop(peer_host="pop.isp.example", gateway=socket.getfqdn(), recipients=("sales@corp.example",))
    trace = trace_field(hop, peer_address="192.0.2.1", queue_id=queue_id, fetched_at=START)
    return "".join(f"C: {line}\n" for line in (trace + BODY).decode().split("\r\n")[:-1])


def test_a_refused_message_is_followed_by_rset(spool: Spool) -> None:
    """RFC 5321 section 4.1.1.5: whatever the relay kept of it must not reach the next transaction."""
    ids = make_ready(spool, *letters(2))

    async def run() -> None:
        async with scripted(
            f"{HELLO}{MAIL}S: 550 no\nC: RSET\nS: 250 ok\n{MAIL}S: 550 no\nC: QUIT\nS: 221 bye\n"
        ) as port:
            await submit_once(spool, relay_settings(spool.layout.root, port))

    asyncio.run(run())
    assert {row.state for row in messages(spool, ids)} == {State.BADMAIL}


@pytest.mark.parametrize(("host_name", "said"), [("gw.corp.example", "gw.corp.example"), ("my_host", "localhost")])
def test_a_host_name_that_smtp_does_not_allow_is_not_said(host_name: str, said: str) -> None:
    """RFC 5321 section 4.1.3; some relays hang up on an underscore."""
    assert name_for_helo(host_name) == said


def test_a_session_is_renewed_before_the_limit_of_protocol_errors(spool: Spool) -> None:
    make_ready(spool, *letters(3))
    refused = f"{MAIL}S: 550 no\n"
    two_errors = f"{HELLO}{refused}C: RSET\nS: 250 ok\n{refused}C: QUIT\nS: 221 bye\n"
    one_error = f"{HELLO}{refused}C: QUIT\nS: 221 bye\n"

    async def run() -> None:
        async with scripted(two_errors, one_error) as port:
            settings = relay_settings(spool.layout.root, port)
            smtp = replace(settings.smtp, max_protocol_errors=2)
            assert (await submit_once(spool, replace(settings, smtp=smtp))).is_complete

    asyncio.run(run())


@pytest.mark.parametrize(("ambiguous", "state"), [(Ambiguous.RESEND, State.READY), (Ambiguous.HOLD, State.HELD)])
def test_a_stop_waits_for_the_last_reply_only_so_long(spool: Spool, ambiguous: Ambiguous, state: State) -> None:
    """The supervisor will not wait for ten minutes; the message is marked, because the relay may have it."""
    (queue_id,) = make_ready(spool, arrival(BODY))
    script = f"{HELLO}{MAIL}S: 250 ok\n{RCPT}S: 250 ok\nC: DATA\nS: 354 go\n{content_lines(queue_id)}C: .\nSILENT\n"

    def is_under_way() -> bool:
        lines = read_journal(spool.layout.journal(Stage.SUBMIT)).lines
        return any(line.outcome is Outcome.DOT for line in lines)

    async def run() -> None:
        async with scripted(script) as port:
            settings = relay_settings(spool.layout.root, port)
            settings = replace(settings, submit=replace(settings.submit, ambiguous=ambiguous))
            async with submitting(spool, settings, stop_patience=timedelta(seconds=0.1)) as running:
                await running.until(is_under_way)

    asyncio.run(run())
    row = message(spool, queue_id)
    assert (row.state, row.possible_duplicate, row.is_claimed) == (state, True, False)
    assert ("ended before the reply to the final dot" in str(row.reason)) == (state is State.HELD)


def test_a_time_out_after_the_final_dot_marks_a_possible_duplicate(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival(BODY))
    script = f"{HELLO}{MAIL}S: 250 ok\n{RCPT}S: 250 ok\nC: DATA\nS: 354 go\n{content_lines(queue_id)}C: .\nSILENT\n"
    greets_no_more = "S: 421 busy\n"

    async def run() -> None:
        async with scripted(script, greets_no_more) as port:
            await submit_once(spool, relay_settings(spool.layout.root, port, timeout=timedelta(seconds=0.2)))

    asyncio.run(run())
    row = message(spool, queue_id)
    assert (row.state, row.attempts, row.possible_duplicate) == (State.READY, 0, True)


def test_an_idle_connection_that_the_relay_closed_blames_nobody(spool: Spool) -> None:
    """RFC 5321 section 4.5.3.2.7: a relay may close an idle session; a fresh one takes the message."""
    (first,) = make_ready(spool, arrival(BODY))
    accepted = f"{MAIL}S: 250 ok\n{RCPT}S: 250 ok\nC: DATA\nS: 354 go\n{content_lines(first)}C: .\nS: 250 ok\n"

    async def submit_two(running: Submitting) -> None:
        await running.until(lambda: message(spool, first).state is State.SUBMITTED)
        (second,) = await running.runtime.call(lambda: make_ready(spool, arrival(b"Subject: y\r\n\r\n")))
        ring(spool, Stage.SUBMIT)
        await running.until(lambda: message(spool, second).state is State.BADMAIL)

    async def run() -> None:
        async with scripted(f"{HELLO}{accepted}S: 421 idle\nCUT\n", f"{HELLO}{MAIL}S: 550 no\nC: QUIT\n") as port:
            settings = relay_settings(spool.layout.root, port)
            async with submitting(spool, settings) as running:
                await submit_two(running)

    asyncio.run(run())
    assert "RouteClosed" not in event_names(spool)


def test_a_large_message_is_streamed_whole(spool: Spool) -> None:
    (queue_id,) = make_large_ready(spool, LARGE)

    async def run() -> SmtpSink:
        async with SmtpSink() as sink:
            await submit_once(spool, relay_settings(spool.layout.root, sink.port))
        return sink

    (accepted,) = asyncio.run(run()).accepted
    assert accepted.content.endswith(LARGE)
    assert message(spool, queue_id).state is State.SUBMITTED


def test_a_large_message_that_is_damaged_never_gets_its_final_dot(spool: Spool) -> None:
    """Its SHA-256 is known to differ only when all of it was read, and sent."""
    (damaged,) = make_large_ready(spool, LARGE)
    (good,) = make_ready(spool, arrival(BODY))
    stored = message(spool, damaged).stored
    assert stored is not None
    octets = bytearray(stored.path.read_bytes())
    octets[-3] ^= 1
    stored.path.write_bytes(octets)

    async def run() -> SmtpSink:
        async with SmtpSink() as sink:
            await submit_once(spool, relay_settings(spool.layout.root, sink.port))
        return sink

    sink = asyncio.run(run())
    assert [queue_id_of(accepted) for accepted in sink.accepted] == [good]
    assert message(spool, damaged).state is State.DAMAGED


def sent_with(spool: Spool, content: bytes, *, needs: Needs = Needs()) -> Accepted:  # noqa: B008 - a frozen value
    """Send one message and return it as the relay has it."""
    with take_stage(spool, Stage.FETCH) as tenure:
        admission = Admission(spool, tenure)
        admission.admit([arrival(content)])
        admission.close()
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle([replace(passed(one), needs=needs) for one in staged.waiting(10)])

    async def run() -> SmtpSink:
        async with SmtpSink(SinkRules(size_limit_octets=10**6)) as sink:
            await submit_once(spool, relay_settings(spool.layout.root, sink.port))
        return sink

    (accepted,) = asyncio.run(run()).accepted
    return accepted


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\nbody\r\n", b"Subject: x\n\nbare\rends\n\nand no last one"])
def test_size_tells_the_octets_that_are_sent(spool: Spool, content: bytes) -> None:
    """RFC 1870 section 5: with CRLF line ends, without dot-stuffing, and with our trace field."""
    accepted = sent_with(spool, content)
    assert f"SIZE={len(accepted.content)}" in accepted.mail_parameters


def test_eight_bit_content_is_declared(spool: Spool) -> None:
    accepted = sent_with(spool, b"Subject: x\r\n\r\n\xe9\r\n", needs=Needs(eightbit=True))
    assert "BODY=8BITMIME" in accepted.mail_parameters


def test_a_message_that_needs_smtputf8_asks_for_it(spool: Spool) -> None:
    accepted = sent_with(spool, "Subject: é\r\n\r\n".encode(), needs=Needs(eightbit=True, smtputf8=True))
    assert "SMTPUTF8" in accepted.mail_parameters


def test_a_relay_without_smtputf8_gets_eight_bit_headers_as_they_are(spool: Spool) -> None:
    """Most relays let them pass, and none of our business is to judge them."""
    (queue_id,) = make_ready(spool, arrival(b"Subject: \xe9\r\n\r\n"))

    async def run() -> SmtpSink:
        async with SmtpSink(SinkRules(smtputf8=False)) as sink:
            await submit_once(spool, relay_settings(spool.layout.root, sink.port))
        return sink

    assert len(asyncio.run(run()).accepted) == 1
    assert message(spool, queue_id).state is State.SUBMITTED


def submit_with_login(spool: Spool, password: PasswordSource) -> None:
    async def run() -> None:
        async with SmtpSink(logins={"gateway": "right"}) as sink:
            settings = relay_settings(spool.layout.root, sink.port)
            smtp = replace(settings.smtp, username="gateway", password=password)
            await submit_once(spool, replace(settings, smtp=smtp))

    asyncio.run(run())


def test_the_relay_is_logged_in_to(spool: Spool) -> None:
    (queue_id,) = make_ready(spool, arrival())
    submit_with_login(spool, Secret("right"))
    assert message(spool, queue_id).state is State.SUBMITTED


@pytest.mark.parametrize("password", [Secret("wrong"), PasswordVariable("NO_SUCH_VARIABLE_OF_OURS")])
def test_a_failed_login_is_the_fault_of_the_route(spool: Spool, password: PasswordSource) -> None:
    (queue_id,) = make_ready(spool, arrival())
    submit_with_login(spool, password)
    row = message(spool, queue_id)
    assert (row.state, row.attempts) == (State.READY, 0)
    assert "AUTH" in (Route(spool).state().trouble or "")
    assert not any("wrong" in event.text for event in logged(spool))


class NarrowRelay(SmtpSink):
    """A sink that takes one connection at a time, as a relay with a limit for each client does."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._inner = self.port
        self._used = False
        self._door = await asyncio.start_server(self._let_in, "127.0.0.1", 0)
        self.port = self._door.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._door.close()
        await super().__aexit__(*error)

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._used:
            writer.write(b"421 4.7.0 too many connections\r\n")
            writer.close()
            return
        self._used = True
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._inner)
        await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
        self._used = False


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65536):
        writer.write(octets)
    writer.close()


def test_a_relay_that_allows_fewer_connections_still_gets_everything(spool: Spool) -> None:
    """Its refusal of the second connection says nothing against the first."""
    ids = make_ready(spool, *letters(100))

    async def run() -> Completed:
        async with NarrowRelay() as relay:
            return await submit_once(spool, relay_settings(spool.layout.root, relay.port, connections=4))

    assert asyncio.run(run()).is_complete
    assert {row.state for row in messages(spool, ids)} == {State.SUBMITTED}
    assert "RouteClosed" not in event_names(spool)
    assert "FewerConnections" in event_names(spool)
