"""What leaves the client, when, and what it leaves behind when something of ours fails."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from aiosmtpd.smtp import SMTP, Session
from aiosmtpd.smtp import Envelope as Received

from stages.errors import OurBug
from stages.settings import TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import Envelope
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.replies import Phase, RouteFailed
from stages.smtp.transaction import BreakKind, Objection, Submission, TransactionResult
from stages.stream import TlsSettings
from stages.trust import Trust
from tests.support.scripted_server import ScriptedServer, parse

ENVELOPE = "C: MAIL FROM:<a@example.org>\nS: 250 ok\nC: RCPT TO:<r@corp.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"
HELLO = "S: 220 relay\nC: EHLO gw.corp.example\nS: 250 relay\n"


class Relay:
    """An aiosmtpd handler that keeps what it accepts."""

    def __init__(self) -> None:
        self.received: list[Received] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Received) -> str:
        self.received.append(envelope)
        return "250 2.0.0 queued"


def endpoint(port: int, *, tls: TlsMode = TlsMode.NONE, trust: TlsSettings | None = None) -> SmtpEndpoint:
    return SmtpEndpoint(
        host="127.0.0.1",
        port=port,
        tls=tls,
        trust=trust or TlsSettings(server_name="127.0.0.1"),
        helo_name="gw.corp.example",
    )


def submission(
    content: bytes | AsyncIterator[bytes],
    *,
    before_dot: Callable[[], None] = lambda: None,
    reverse_path: str = "a@example.org",
    octets: int = 1,
) -> Submission:
    envelope = Envelope(
        reverse_path=reverse_path,
        recipients=("r@corp.example",),
        octets=octets,
        smtputf8=not reverse_path.isascii(),
        eightbit=True,
    )
    return Submission(envelope=envelope, content=content, before_dot=before_dot)


def with_aiosmtpd(act: Callable[[SmtpClient], Awaitable[None]]) -> list[Received]:
    """Let `act` use a session with aiosmtpd; return what that accepted."""
    relay = Relay()

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(relay, enable_SMTPUTF8=True), "127.0.0.1", 0
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            client = await SmtpClient.open(endpoint(port), timeout=5, final_dot_timeout=5)
            try:
                await act(client)
            finally:
                await client.quit()

    asyncio.run(run())
    return relay.received


def with_script(script: str, act: Callable[[SmtpClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with ScriptedServer(parse(HELLO + script)).listening() as server:
            client = await SmtpClient.open(endpoint(server.port), timeout=5, final_dot_timeout=5)
            try:
                await act(client)
            finally:
                await client.close()

    asyncio.run(run())


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_a_message_arrives_with_its_octets() -> None:
    message = b"Subject: x\r\n\r\n.\r\n..two\r\n8-bit \xe4\r\n"

    async def act(client: SmtpClient) -> None:
        result = await client.submit(submission(message))
        (final,) = result.finals
        assert final is not None
        assert (final.code, final.text) == (250, "queued")

    (received,) = with_aiosmtpd(act)
    assert received.content == message


def test_a_message_in_chunks_arrives_as_one_that_came_whole() -> None:
    async def act(client: SmtpClient) -> None:
        await client.submit(submission(chunks(b"a\r", b"\n", b".", b"\r\n.b\n", *[b"c" * 98 + b"\r\n"] * 1000, b"\r")))

    (received,) = with_aiosmtpd(act)
    assert received.content == b"a\r\n.\r\n.b\r\n" + (b"c" * 98 + b"\r\n") * 1000 + b"\r\n"


def test_bare_line_ends_arrive_as_crlf() -> None:
    async def act(client: SmtpClient) -> None:
        await client.submit(submission(b"a\n.\nMAIL FROM:<forged@example.org>\r.\rb"))

    (received,) = with_aiosmtpd(act)
    assert received.content == b"a\r\n.\r\nMAIL FROM:<forged@example.org>\r\n.\r\nb\r\n"


def test_an_address_beyond_ascii_arrives_by_smtputf8() -> None:
    async def act(client: SmtpClient) -> None:
        await client.submit(submission(b"x\r\n", reverse_path="jürgen@example.org"))

    (received,) = with_aiosmtpd(act)
    assert (received.mail_from, received.smtp_utf8) == ("jürgen@example.org", True)


def test_a_message_over_the_relays_size_is_not_offered() -> None:
    """aiosmtpd tells 32 MiB."""

    async def act(client: SmtpClient) -> None:
        assert client.extensions.size is not None
        result = await client.submit(submission(b"x\r\n", octets=client.extensions.size + 1))
        assert (result.objection, result.mail) == (Objection.SIZE, None)

    assert with_aiosmtpd(act) == []


def test_many_messages_go_over_one_session_in_their_order() -> None:
    waiting = [submission(b"%d\r\n" % number) for number in range(50)]
    results: list[TransactionResult] = []

    async def note(_submission: Submission, result: TransactionResult) -> None:
        results.append(result)

    async def act(client: SmtpClient) -> None:
        assert await client.submit_many(lambda: waiting.pop(0) if waiting else None, note) is None

    received = with_aiosmtpd(act)
    assert [envelope.content for envelope in received] == [b"%d\r\n" % number for number in range(50)]
    assert [result.is_first for result in results] == [True] + [False] * 49


def test_the_dot_is_noted_before_the_relay_can_have_the_message() -> None:
    """The journal's line is what makes a lost reply one ambiguous message and not a lost one."""
    order: list[str] = []

    class Noting(Relay):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Received) -> str:
            order.append("relay has it")
            return await super().handle_DATA(server, session, envelope)

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: SMTP(Noting()), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            client = await SmtpClient.open(endpoint(port), timeout=5, final_dot_timeout=5)
            await client.submit(submission(b"x\r\n", before_dot=lambda: order.append("noted")))
            await client.submit(submission(chunks(b"x\r\n"), before_dot=lambda: order.append("noted")))
            await client.quit()

    asyncio.run(run())
    assert order == ["noted", "relay has it"] * 2


@pytest.mark.parametrize("is_streamed", [False, True])
def test_no_dot_is_sent_when_it_could_not_be_noted(is_streamed: bool) -> None:
    def full_disk() -> None:
        raise OSError("no space")

    async def act(client: SmtpClient) -> None:
        content = chunks(b"x\r\n") if is_streamed else b"x\r\n"
        with pytest.raises(OSError, match="no space"):
            await client.submit(submission(content, before_dot=full_disk))
        assert not client.is_usable

    assert with_aiosmtpd(act) == []


def test_no_dot_is_sent_when_the_content_cannot_be_read() -> None:
    """Half a message with a dot behind it would be a whole message to the relay."""

    async def damaged() -> AsyncIterator[bytes]:
        yield b"half\r\n"
        raise OSError("damaged")

    async def act(client: SmtpClient) -> None:
        with pytest.raises(OSError, match="damaged"):
            await client.submit(submission(damaged()))
        assert not client.is_usable

    assert with_aiosmtpd(act) == []


def test_a_session_that_is_over_takes_no_message() -> None:
    async def act(client: SmtpClient) -> None:
        await client.close()
        with pytest.raises(OurBug):
            await client.submit(submission(b"x\r\n"))

    assert with_aiosmtpd(act) == []


def test_content_is_not_read_before_the_relay_wants_it() -> None:
    reads: list[str] = []

    async def content() -> AsyncIterator[bytes]:
        reads.append("read")
        yield b"x\r\n"

    async def act(client: SmtpClient) -> None:
        await client.submit(submission(content()))
        assert reads == []

    with_script("C: MAIL FROM:<a@example.org>\nS: 450 later\n", act)


def test_the_next_content_waits_until_the_result_was_passed_on() -> None:
    """The result must be in the journal before the connection's next line is."""
    order: list[str] = []
    waiting = [submission(b"x\r\n", before_dot=lambda: order.append("dot")) for _ in range(3)]

    async def note(_submission: Submission, _result: TransactionResult) -> None:
        await asyncio.sleep(0)
        order.append("result")

    async def act(client: SmtpClient) -> None:
        await client.submit_many(lambda: waiting.pop(0) if waiting else None, note)

    with_aiosmtpd(act)
    assert order == ["dot", "result"] * 3


def early(reply: str) -> TransactionResult:
    """What comes of a long message to which the relay replies in its middle."""
    results: list[TransactionResult] = []

    async def act(client: SmtpClient) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield b"first\r\n"
            while not client._connection.has_news:  # noqa: ASYNC110 - the stream has no event for it
                await asyncio.sleep(0)
            yield b"second\r\n"
            raise AssertionError("read on though the relay had replied")

        results.append(await client.submit(submission(content())))
        assert not client.is_usable

    with_script(f"{ENVELOPE}C: first\n{reply}", act)
    return results[0]


def test_a_refusal_in_the_middle_of_the_content_is_the_final_reply() -> None:
    """Relays refuse what grows too large; the rest could pass for commands, so the session ends there."""
    result = early("S: 552 5.3.4 too big\nSILENT\n")
    (final,) = result.finals
    assert final is not None
    assert (final.code, result.dot_sent, result.broken) == (552, False, None)


def test_a_goodbye_in_the_middle_of_the_content_leaves_nothing_open() -> None:
    result = early("S: 421 4.3.2 shutting down\nSILENT\n")
    assert result.broken is not None
    assert (result.broken.kind, result.broken.phase, result.dot_sent) == (BreakKind.GOODBYE, Phase.CONTENT, False)


def test_an_acceptance_in_the_middle_of_the_content_is_nonsense() -> None:
    result = early("S: 250 thanks\nSILENT\n")
    assert result.broken is not None
    assert (result.broken.kind, result.broken.phase, result.finals) == (BreakKind.VIOLATION, Phase.CONTENT, (None,))


def test_a_relay_that_is_not_there_is_a_sick_route() -> None:
    async def run() -> None:
        with pytest.raises(RouteFailed, match="cannot connect") as caught:
            await SmtpClient.open(endpoint(1), timeout=5, final_dot_timeout=5)
        assert caught.value.phase is Phase.CONNECT

    asyncio.run(run())


def open_tls(tmp_path: Path, *, issued_to: str, tls: TlsMode, script: str) -> bool:
    """Open a session with a relay whose certificate is for `issued_to`; return whether it has TLS."""

    async def run() -> bool:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(issued_to).configure_cert(context)
        trust = TlsSettings(server_name="127.0.0.1", trust=Trust(ca_file=tmp_path / "ca.pem"))
        server = ScriptedServer(parse(script), tls=context)
        async with server.listening(implicit_tls=tls is TlsMode.IMPLICIT):
            relay = endpoint(server.port, tls=tls, trust=trust)
            client = await SmtpClient.open(relay, timeout=5, final_dot_timeout=5)
            await client.quit()
            return client.is_tls

    return asyncio.run(run())


def test_implicit_tls_protects_the_greeting_already(tmp_path: Path) -> None:
    """RFC 8314 section 3.3."""
    script = HELLO + "C: QUIT\nS: 221 bye\n"
    assert open_tls(tmp_path, issued_to="127.0.0.1", tls=TlsMode.IMPLICIT, script=script)


def test_a_certificate_for_another_name_is_a_sick_route(tmp_path: Path) -> None:
    with pytest.raises(RouteFailed, match="certificate is not for"):
        open_tls(
            tmp_path,
            issued_to="other.example",
            tls=TlsMode.STARTTLS,
            script=HELLO.replace("250 relay", "250-relay") + "S: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nSTARTTLS\n",
        )


def test_a_message_that_needs_smtputf8_is_not_offered_where_there_is_none() -> None:
    """RFC 6531 section 3.2."""

    async def act(client: SmtpClient) -> None:
        result = await client.submit(submission(b"x\r\n", reverse_path="jürgen@example.org"))
        assert (result.objection, result.mail) == (Objection.SMTPUTF8, None)

    with_script("SILENT\n", act)


def test_a_session_counts_its_5yz_replies() -> None:
    """The stage renews it before the relay's limit."""

    async def act(client: SmtpClient) -> None:
        await client.submit(submission(b"x\r\n"))
        assert client.errors == 1

    with_script("C: MAIL FROM:<a@example.org>\nS: 550 no\nSILENT\n", act)
