"""A reply answers the command it was sent for, or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from stages.dialogue import FIRST_LINES, Dialogue, Side
from stages.secret import Secret
from stages.smtp.commands import DATA, RSET, auth_alone, auth_response
from stages.smtp.connection import SessionBroken, SmtpConnection
from stages.smtp.replies import Phase
from stages.smtp.transaction import BreakKind
from stages.stream import Stream
from tests.support.scripted_server import ScriptedServer, parse


def talk(
    script: str,
    client: Callable[[SmtpConnection], Awaitable[None]],
    *,
    timeout: float = 5,
    told: list[str] | None = None,
) -> None:
    """Let `client` talk to a server that follows `script`, after its greeting; what was said goes to `told`."""

    def hear(_number: int, side: Side, line: str) -> None:
        if told is not None and side is not Side.NOBODY:
            told.append(f"{side} {line}")

    async def run() -> None:
        async with ScriptedServer(parse("S: 220 relay\n" + script)).listening() as server:
            stream = await Stream.connect("127.0.0.1", server.port, tls=None, timeout=5, dialogue=Dialogue(hear))
            connection = SmtpConnection(stream, timeout=timeout)
            try:
                await connection.answer()
                await client(connection)
            finally:
                await connection.close()

    asyncio.run(run())


@asynccontextmanager
async def serving(
    relay: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Stream]:
    """A stream to a server that does what `relay` does."""
    has_ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await relay(reader, writer)
        writer.close()
        has_ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        stream = await Stream.connect("127.0.0.1", server.sockets[0].getsockname()[1], tls=None, timeout=5)
        yield stream
        await stream.close()
        await has_ended.wait()


async def reset(connection: SmtpConnection) -> None:
    assert (await connection.ask(RSET)).code == 250


async def news(connection: SmtpConnection) -> None:
    while not connection.has_news:  # noqa: ASYNC110 - the stream has no event for it
        await asyncio.sleep(0)


async def broken(connection: SmtpConnection) -> BreakKind:
    with pytest.raises(SessionBroken) as caught:
        await connection.ask(RSET)
    return caught.value.broken.kind


@pytest.mark.parametrize(
    ("said", "kind"), [(b"250 forged", BreakKind.VIOLATION), (b"421 idle too long", BreakKind.GOODBYE)]
)
def test_what_came_while_nothing_was_asked_is_not_the_answer_to_the_next_command(said: bytes, kind: BreakKind) -> None:
    """Else each later answer would belong to another message."""

    async def run() -> None:
        was_answered = asyncio.Event()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 relay\r\n")
            await reader.readline()
            writer.write(b"250 ok\r\n")
            await was_answered.wait()
            writer.write(said + b"\r\n")
            await reader.read()

        async with serving(relay) as stream:
            connection = SmtpConnection(stream, timeout=5)
            await connection.answer()
            await reset(connection)
            was_answered.set()
            await news(connection)
            assert await broken(connection) is kind

    asyncio.run(run())


@pytest.mark.parametrize(
    ("halves", "kind"),
    [((b"25", b"0 forged\r\n"), BreakKind.VIOLATION), ((b"421 idle", b" too long\r\n"), BreakKind.GOODBYE)],
)
def test_half_a_reply_that_nobody_asked_for_is_not_completed_to_an_answer(
    halves: tuple[bytes, bytes], kind: BreakKind
) -> None:
    """Its other half may come behind our next command."""

    async def run() -> None:
        was_answered, was_seen = asyncio.Event(), asyncio.Event()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 relay\r\n")
            await reader.readline()
            writer.write(b"250 ok\r\n")
            await was_answered.wait()
            writer.write(halves[0])
            await was_seen.wait()
            writer.write(halves[1])
            assert await reader.read() == b""

        async with serving(relay) as stream:
            connection = SmtpConnection(stream, timeout=5)
            await connection.answer()
            await reset(connection)
            was_answered.set()
            await news(connection)
            was_seen.set()
            assert await broken(connection) is kind

    asyncio.run(run())


def test_nothing_is_sent_into_a_connection_that_has_ended() -> None:
    """A final dot that was never sent needs no mark in the journal."""

    async def client(connection: SmtpConnection) -> None:
        await news(connection)
        with pytest.raises(SessionBroken, match="message content: connection lost"):
            await connection.begin_content()

    talk("", client)


def test_a_broken_session_stays_broken() -> None:
    async def client(connection: SmtpConnection) -> None:
        first, second = await broken(connection), await broken(connection)
        assert first is second is BreakKind.VIOLATION

    talk("C: RSET\nS: rubbish\nSILENT\n", client)


def test_replies_that_came_before_the_end_are_handed_out() -> None:
    async def client(connection: SmtpConnection) -> None:
        await connection.send(RSET, RSET, RSET)
        assert [(await connection.answer()).code for _ in range(2)] == [250, 550]
        with pytest.raises(SessionBroken, match="connection lost"):
            await connection.answer()

    talk("C: RSET\nC: RSET\nC: RSET\nS: 250 ok\nS: 550 no\n", client)


def test_a_reply_that_drips_has_one_deadline() -> None:
    """Octets that keep coming do not extend it; the relay would hold the session for ever."""

    async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"2")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def run() -> None:
        async with serving(dripping) as stream:
            connection = SmtpConnection(stream, timeout=0.1)
            with pytest.raises(SessionBroken, match=r"greeting: time-out: no reply in 0\.1 s"):
                await connection.answer()

    asyncio.run(run())


def test_a_5yz_is_counted_and_remembered_until_the_next_reply_but_rset() -> None:
    async def client(connection: SmtpConnection) -> None:
        await connection.ask(auth_alone("PLAIN"))
        assert (connection.errors, connection.after_refusal) == (1, True)
        await reset(connection)
        assert (connection.errors, connection.after_refusal) == (1, True)
        await connection.ask(auth_alone("PLAIN"))
        assert (connection.errors, connection.after_refusal) == (1, False)

    auth = "C: AUTH PLAIN\n"
    talk(f"{auth}S: 535 no\nC: RSET\nS: 250 ok\n{auth}S: 235 yes\n", client)


def test_both_sides_are_told_and_neither_challenge_nor_response() -> None:
    lines: list[str] = []

    async def client(connection: SmtpConnection) -> None:
        with connection.sending(Secret("secret")):
            await connection.ask(auth_alone("LOGIN"))
            await connection.ask(auth_response(b"c2VjcmV0"))

    talk(
        "C: AUTH LOGIN\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 2.7.0 yes\n",
        client,
        told=lines,
    )
    assert lines == ["< 220 relay", "> AUTH LOGIN", "< 334 <... 12 octets>", "> ***", "< 235 2.7.0 yes"]


RESPONSE = b"AHRpbQBhLXBhc3N3b3JkLW9mLXNvbWUtbGVuZ3Ro"  # of PLAIN: tim, a-password-of-some-length


@pytest.mark.parametrize(
    "said",
    [
        "a-password-of-some-length is wrong",
        "A-PASSWORD-OF-SOME-LENGTH is wrong",
        RESPONSE.decode(),
        f"unknown: {RESPONSE.decode()}",
        f"too long: {RESPONSE.decode()[:20]}...",
        "YS1wYXNzd29yZC1vZi1zb21lLWxlbmd0aA==",
    ],
)
def test_a_reply_that_repeats_what_we_said_is_not_shown(said: str) -> None:
    lines: list[str] = []

    async def client(connection: SmtpConnection) -> None:
        with connection.sending(Secret("a-password-of-some-length")):
            assert str(await connection.ask(auth_response(RESPONSE))) == "535 5.7.8 (not shown: it repeats a secret)"

    talk(f"C: {RESPONSE.decode()}\nS: 535 5.7.8 {said}\n", client, told=lines)
    assert lines == ["< 220 relay", "> ***", "< 535 (not shown: it repeats a secret)"]


def test_a_challenge_that_looks_like_the_secret_by_chance_is_still_one() -> None:
    """A short password may be found in the base64 of anything."""

    async def client(connection: SmtpConnection) -> None:
        with connection.sending(Secret("c3")):
            reply = await connection.ask(auth_alone("LOGIN"))
            assert (reply.lines, reply.text) == ((b"UGFzc3dvcmQ6",), "(not shown: it repeats a secret)")

    talk("C: AUTH LOGIN\nS: 334 UGFzc3dvcmQ6\n", client)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("\\xff-password?", "not an SMTP reply"),
        (RESPONSE.decode() * 20, "not an SMTP reply"),
        ("334-\nS: 535 \\xff-password?", "a line of another code in a reply that began with 334"),
        ("235 yes\nS: 250 \\xff-password?", "a reply that nobody asked for"),
    ],
)
def test_what_is_no_reply_to_a_login_is_not_quoted(said: str, what: str) -> None:
    """A quotation is cut and escaped: what it repeats could not be recognised."""

    async def client(connection: SmtpConnection) -> None:
        with connection.sending(Secret("\udcff-password")):
            with suppress(SessionBroken):
                await connection.ask(auth_response(RESPONSE))
            with pytest.raises(SessionBroken) as caught:
                await connection.answer()
        assert (caught.value.broken.kind, caught.value.broken.text) == (BreakKind.VIOLATION, what)

    talk(f"C: {RESPONSE.decode()}\nS: {said}\n", client)


def test_after_the_login_a_reply_may_look_like_the_secret() -> None:
    """It is a figure or a word by then."""

    async def client(connection: SmtpConnection) -> None:
        with connection.sending(Secret("250")):
            await connection.ask(auth_response(b"MjUw"))
        assert (await connection.ask(RSET)).text == "of 250"

    talk("C: MjUw\nS: 235 yes\nC: RSET\nS: 250 of 250\n", client)


def test_a_goodbye_names_the_command_it_came_to() -> None:
    async def client(connection: SmtpConnection) -> None:
        with pytest.raises(SessionBroken) as caught:
            await connection.ask(RSET)
        assert (caught.value.broken.phase, caught.value.broken.text) == (Phase.RESET, "too busy")

    talk("C: RSET\nS: 421 4.3.2 too busy\n", client)


def test_a_relay_that_takes_no_octets_has_a_deadline() -> None:
    release = asyncio.Event()

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay\r\n")
        await release.wait()
        writer.transport.abort()

    async def run() -> None:
        async with serving(deaf) as stream:
            connection = SmtpConnection(stream, timeout=0.2)
            await connection.answer()
            await connection.begin_content()
            with pytest.raises(SessionBroken, match="time-out"):
                await connection.write_content(b"x" * 50_000_000)
            release.set()

    asyncio.run(run())


def test_of_a_message_its_octets_are_told_before_the_reply_to_it() -> None:
    told: list[str] = []

    async def client(connection: SmtpConnection) -> None:
        await connection.ask(DATA)
        await connection.begin_content()
        for part in (b"Subject: secret\r\n\r\n", b".\r\n"):
            await connection.write_content(part)
        await connection.answer()

    talk("C: DATA\nS: 354 go\nC: Subject: secret\nC: \nC: .\nS: 250 2.0.0 ok\n", client, told=told)
    assert told[1:] == ["> DATA", "< 354 go", "> <... 22 octets>", "< 250 2.0.0 ok"]


def test_of_a_message_that_the_relay_cuts_off_it_is_told_how_much_was_sent() -> None:
    told: list[str] = []

    async def client(connection: SmtpConnection) -> None:
        await connection.ask(DATA)
        await connection.begin_content()
        await connection.write_content(b"one\r\n")
        with pytest.raises(SessionBroken):
            await connection.answer()

    talk("C: DATA\nS: 354 go\nC: one\n", client, told=told)
    assert told[-1] == "> <... 5 octets>"


def test_a_reply_is_told_line_by_line_and_a_long_one_by_its_first_lines() -> None:
    told: list[str] = []

    async def client(connection: SmtpConnection) -> None:
        await reset(connection)
        await reset(connection)

    script = "C: RSET\nS: 250-2.0.0 a\nS: 250 2.0.0 b\nC: RSET\n" + "S: 250-a\n" * 29 + "S: 250 a\n"
    talk(script, client, told=told)
    assert told[1:4] == ["> RSET", "< 250-2.0.0 a", "< 250 2.0.0 b"]
    assert told[4:] == ["> RSET", *["< 250-a"] * FIRST_LINES, f"< <... {30 - FIRST_LINES} more lines>"]


def test_what_ends_a_session_is_told_once() -> None:
    notes: list[str] = []

    async def run() -> None:
        async with ScriptedServer(parse("S: 220 relay\nC: RSET\nS: nonsense\n")).listening() as server:
            dialogue = Dialogue(lambda _, side, line: notes.append(line) if side is Side.NOBODY else None)
            stream = await Stream.connect("127.0.0.1", server.port, tls=None, timeout=5, dialogue=dialogue)
            connection = SmtpConnection(stream, timeout=5)
            await connection.answer()
            for _ in range(2):
                with pytest.raises(SessionBroken):
                    await connection.ask(RSET)
            await connection.close()

    asyncio.run(run())
    assert notes[2:] == ["protocol violation: not an SMTP reply: nonsense", "closed"]
