"""The stream: deadlines, limits, and trust, against real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stages.dialogue import Dialogue
from stages.stream import (
    MAX_UNREAD_OCTETS,
    ConnectFailed,
    ConnectionLost,
    PlaintextInjected,
    Stream,
    StreamTimeout,
    TlsSettings,
)
from stages.tls import TlsFacts, TlsFailed
from stages.trust import Trust
from tests.support.authority import Authority

PATIENCE = 5.0
Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(conversation: Conversation, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await conversation(reader, writer)
        except ConnectionError:
            pass  # the client under test hung up, as some tests want
        finally:
            writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not fact():  # noqa: ASYNC110 - what has arrived tells nobody; no time is waited for
            await asyncio.sleep(0)


async def until_closed(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def handshake(authority: Authority) -> TlsSettings:
    return TlsSettings(server_name="127.0.0.1", trust=Trust(ca_file=authority.ca_file))


async def connected(port: int, *, tls: TlsSettings | None = None) -> Stream:
    return await Stream.connect("127.0.0.1", port, tls=tls, timeout=PATIENCE)


def test_octets_go_both_ways() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))

    async def talk() -> None:
        async with server(echo) as port:
            stream = await connected(port)
            await stream.write(b"hello", timeout=PATIENCE)
            assert await stream.read(timeout=PATIENCE) == b"hello"
            assert await stream.read(timeout=PATIENCE) == b""
            assert (stream.peer_address, stream.is_tls, stream.tls) == ("127.0.0.1", False, None)
            await stream.close()

    asyncio.run(talk())


def test_the_end_is_news_too() -> None:
    """A client that goes on sending would not know whether any of it arrived."""

    async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    async def talk() -> None:
        async with server(hang_up) as port:
            stream = await connected(port)
            while not stream.has_news:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)
            assert (stream.buffered(), await stream.read(timeout=PATIENCE), stream.has_news) == (0, b"", True)
            await stream.close()

    asyncio.run(talk())


def test_what_arrived_before_the_end_is_read_before_the_end() -> None:
    async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"goodbye")

    async def talk() -> list[bytes]:
        async with server(say) as port:
            stream = await connected(port)
            await until(lambda: stream.buffered() == 7)
            heard = [await stream.read(timeout=PATIENCE) for _ in range(3)]
            await stream.close()
            return heard

    assert asyncio.run(talk()) == [b"goodbye", b"", b""]


def test_a_refused_connection_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectFailed, match=rf"^cannot connect to 127.0.0.1 port {port}: Connection refused$"):
            asyncio.run(connected(port))


def test_a_name_that_is_no_host_name_says_so() -> None:
    """IDNA cannot encode a label of more than 63 octets; that is no traceback."""
    with pytest.raises(ConnectFailed, match=r"^cannot connect to xxx"):
        asyncio.run(Stream.connect("x" * 64 + ".example", 110, tls=None, timeout=PATIENCE))


def test_a_host_that_does_not_answer_has_a_deadline() -> None:
    """As behind a firewall that drops: a queue of connections that is full answers no more."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        with pytest.raises(ConnectFailed, match=rf"^cannot connect to 127.0.0.1 port {port}: no answer in 0.05 s$"):
            asyncio.run(Stream.connect("127.0.0.1", port, tls=None, timeout=0.05))


def test_silence_ends() -> None:
    async def talk() -> None:
        async with server(until_closed) as port:
            stream = await connected(port)
            try:
                await stream.read(timeout=0.01)
            finally:
                await stream.close()

    with pytest.raises(StreamTimeout, match=r"no octet from the server for 0.01 s"):
        asyncio.run(talk())


def test_a_reset_connection_is_lost_and_not_ended() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        linger_not = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        writer.transport.abort()

    async def talk() -> None:
        async with server(reset) as port:
            stream = await connected(port)
            try:
                await stream.write(b"STAT\r\n", timeout=PATIENCE)
                await stream.read(timeout=PATIENCE)
            finally:
                await stream.close()

    with pytest.raises(ConnectionLost, match="Connection reset by peer"):
        asyncio.run(talk())


def test_a_write_after_the_end_says_that_the_connection_is_lost() -> None:
    async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    async def talk() -> None:
        async with server(hang_up) as port:
            stream = await connected(port)
            assert await stream.read(timeout=PATIENCE) == b""
            try:
                await stream.write(b"QUIT\r\n", timeout=PATIENCE)
            finally:
                await stream.close()

    with pytest.raises(ConnectionLost):
        asyncio.run(talk())


@pytest.mark.parametrize("is_tls", [False, True], ids=["clear", "tls"])
def test_a_fast_server_is_stopped_while_nobody_reads(authority: Authority, is_tls: bool) -> None:
    """Memory does not grow with what a server sends; and nothing is lost by stopping it."""
    total = 32 * 1024 * 1024

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(total // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()

    async def talk() -> int:
        async with server(flood, tls=authority.server() if is_tls else None) as port:
            stream = await connected(port, tls=handshake(authority) if is_tls else None)
            await until(lambda: stream.buffered() > MAX_UNREAD_OCTETS)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert stream.buffered() < MAX_UNREAD_OCTETS + 512 * 1024
            octets = 0
            while data := await stream.read(timeout=PATIENCE):
                octets += len(data)
            await stream.close()
            return octets

    assert asyncio.run(talk()) == total


def test_a_handshake_leaves_its_facts(authority: Authority) -> None:
    async def talk() -> tuple[TlsFacts | None, bool]:
        async with server(until_closed, tls=authority.server()) as port:
            stream = await connected(port, tls=handshake(authority))
            await stream.close()
            return stream.tls, stream.is_tls

    facts, is_tls = asyncio.run(talk())
    assert facts is not None
    assert (facts.version, facts.fingerprint, is_tls) == ("TLSv1.3", authority.fingerprint, True)
    assert facts.cipher.startswith("TLS_")


def start_tls_after(said: bytes, authority: Authority, tls: ssl.SSLContext | None) -> bytes:
    """Wait for `said` in clear text, leave what follows the first line in the buffer, then shake hands and read."""

    async def consent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        if tls is not None:
            await writer.start_tls(tls)
            writer.write(b"welcome")

    async def talk() -> bytes:
        async with server(consent) as port:
            stream = await connected(port)
            try:
                await until(lambda: stream.buffered() == len(said))
                if said == b"+OK\r\n":
                    await stream.read(timeout=PATIENCE)
                await stream.start_tls(handshake(authority), timeout=PATIENCE)
                return await stream.read(timeout=PATIENCE)
            finally:
                await stream.close()

    return asyncio.run(talk())


def test_an_open_connection_goes_over_to_tls(authority: Authority) -> None:
    assert start_tls_after(b"+OK\r\n", authority, authority.server()) == b"welcome"


def test_octets_in_clear_text_before_the_handshake_are_fatal(authority: Authority) -> None:
    """RFC 2595 section 4, CVE-2011-0411."""
    with pytest.raises(PlaintextInjected, match=r"\+OK forged"):
        start_tls_after(b"+OK forged\r\n", authority, authority.server())


def test_a_server_that_hangs_up_instead_of_a_handshake_is_a_tls_failure(authority: Authority) -> None:
    with pytest.raises((TlsFailed, ConnectionLost)):
        start_tls_after(b"+OK\r\n", authority, None)


def test_a_server_that_speaks_no_tls_is_a_tls_failure(authority: Authority) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK ready\r\n")
        await _reader.read()

    async def talk() -> None:
        async with server(plain) as port:
            await connected(port, tls=handshake(authority))

    with pytest.raises(TlsFailed, match="is this a TLS port"):
        asyncio.run(talk())


@pytest.mark.parametrize("is_open", [False, True], ids=["implicit", "after consent"])
def test_a_server_that_does_not_shake_hands_has_a_deadline(authority: Authority, is_open: bool) -> None:
    async def talk() -> None:
        async with server(until_closed) as port:
            tls = None if is_open else handshake(authority)
            stream = await Stream.connect("127.0.0.1", port, tls=tls, timeout=0.05)
            try:
                await stream.start_tls(handshake(authority), timeout=0.05)
            finally:
                await stream.close()

    with pytest.raises(TlsFailed, match=r"did not complete the TLS handshake in 0\.05 s"):
        asyncio.run(talk())


def test_closing_does_not_wait_for_a_server_that_takes_nothing() -> None:
    """What is still to be sent would hold the connection open for as long as the server likes."""

    async def talk() -> float:
        release = asyncio.Event()

        async def deaf(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await release.wait()

        async with server(deaf) as port:
            stream = await connected(port)
            with pytest.raises(StreamTimeout, match=r"took no octets for 0\.05 s"):
                await stream.write(b"x" * 64 * 1024 * 1024, timeout=0.05)
            began = asyncio.get_running_loop().time()
            await stream.close()
            release.set()
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(talk()) < PATIENCE


def test_an_absolute_path_is_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "lmtp")

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 store\r\n")
        writer.close()

    async def connect() -> tuple[bytes, str]:
        async with await asyncio.start_unix_server(greet, path):
            stream = await Stream.connect(path, 0, tls=None, timeout=PATIENCE)
            said = await stream.read(timeout=PATIENCE)
            await stream.close()
        return said, stream.peer_address

    assert asyncio.run(connect()) == (b"220 store\r\n", path)


def test_a_unix_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match=rf"cannot connect to {tmp_path}/none: No such file or directory"):
        asyncio.run(Stream.connect(f"{tmp_path}/none", 25, tls=None, timeout=PATIENCE))


def test_it_is_told_what_becomes_of_a_connection(authority: Authority) -> None:
    told: list[str] = []

    async def talk() -> int:
        async with server(until_closed, tls=authority.server()) as port:
            dialogue = Dialogue(lambda number, side, line: told.append(f"{number} {side} {line}"))
            stream = await Stream.connect(
                "127.0.0.1", port, tls=handshake(authority), timeout=PATIENCE, dialogue=dialogue
            )
            await stream.close()
            await stream.close()
            return port

    port = asyncio.run(talk())
    assert told[:2] == [f"1 * connecting to 127.0.0.1 port {port}", "1 * connected to 127.0.0.1"]
    assert told[2].startswith("1 * TLSv1.3, TLS_")
    assert told[2].endswith(f", certificate {authority.fingerprint}")
    assert told[3:] == ["1 * closed"]
