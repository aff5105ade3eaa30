"""The stream: deadlines, limits, and trust, against real sockets on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from stages.stream import (
    MAX_UNREAD_OCTETS,
    ConnectFailed,
    ConnectionLost,
    PlaintextInjected,
    Stream,
    StreamTimeout,
    TlsFacts,
    TlsFailed,
    TlsSettings,
    tls_context,
)

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


class Trust:
    """An authority, certificates that it issued, and its file."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def server(self, name: str = "127.0.0.1", *, is_expired: bool = False) -> ssl.SSLContext:
        self.leaf = self._authority.issue_cert(
            name, not_after=datetime.now(UTC) - timedelta(days=1) if is_expired else None
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.leaf.configure_cert(context)
        return context

    def client(self, *, fingerprints: tuple[str, ...] = ()) -> TlsSettings:
        return TlsSettings(server_name="127.0.0.1", ca_file=self.ca_file, fingerprints=fingerprints)

    @property
    def fingerprint(self) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.leaf.cert_chain_pems[0].bytes().decode())
        return "sha256:" + hashlib.sha256(der).hexdigest()


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path)


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
def test_a_fast_server_is_stopped_while_nobody_reads(trust: Trust, is_tls: bool) -> None:
    """Memory does not grow with what a server sends; and nothing is lost by stopping it."""
    total = 32 * 1024 * 1024

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(total // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()

    async def talk() -> int:
        async with server(flood, tls=trust.server() if is_tls else None) as port:
            stream = await connected(port, tls=trust.client() if is_tls else None)
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


def shake_hands(trust: Trust, tls: ssl.SSLContext, settings: TlsSettings) -> bytes:
    """Connect by implicit TLS and read what the server says."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")

    async def talk() -> bytes:
        async with server(greet, tls=tls) as port:
            stream = await connected(port, tls=settings)
            assert stream.is_tls
            heard = await stream.read(timeout=PATIENCE)
            await stream.close()
            return heard

    return asyncio.run(talk())


def test_a_certificate_of_the_ca_file_is_trusted(trust: Trust) -> None:
    assert shake_hands(trust, trust.server(), trust.client()) == b"welcome"


def test_a_certificate_for_another_name_is_not(trust: Trust) -> None:
    with pytest.raises(TlsFailed, match=r"the certificate is not for 127.0.0.1"):
        shake_hands(trust, trust.server("pop.example.org"), trust.client())


def test_a_certificate_of_an_unknown_ca_is_not(trust: Trust) -> None:
    with pytest.raises(TlsFailed, match=r"no known CA.*ca_file or tls_fingerprint"):
        shake_hands(trust, trust.server(), TlsSettings(server_name="127.0.0.1"))


def test_an_expired_certificate_is_not(trust: Trust) -> None:
    with pytest.raises(TlsFailed, match="out of date: certificate has expired"):
        shake_hands(trust, trust.server(is_expired=True), trust.client())


def test_a_fingerprint_replaces_ca_and_name(trust: Trust) -> None:
    tls = trust.server("pop.example.org")
    spelled = "sha256:" + trust.fingerprint.removeprefix("sha256:").upper()
    pinned = TlsSettings(server_name="127.0.0.1", fingerprints=("sha256:" + "0" * 64, spelled))
    assert shake_hands(trust, tls, pinned) == b"welcome"


def test_another_fingerprint_is_refused_and_shown(trust: Trust) -> None:
    """The operator compares it with what the provider publishes."""
    tls = trust.server()
    with pytest.raises(TlsFailed, match=trust.fingerprint):
        shake_hands(trust, tls, trust.client(fingerprints=("sha256:" + "0" * 64,)))


def failure(trust: Trust, tls: ssl.SSLContext, settings: TlsSettings) -> TlsFailed:
    with pytest.raises(TlsFailed) as failed:
        shake_hands(trust, tls, settings)
    return failed.value


def test_what_a_server_shows_is_kept_where_its_fingerprint_is_not_the_wanted_one(trust: Trust) -> None:
    shown = failure(trust, trust.server(), trust.client(fingerprints=("sha256:" + "0" * 64,))).presented
    assert shown is not None
    assert (shown.fingerprint, shown.version) == (trust.fingerprint, "TLSv1.3")


def test_a_certificate_that_no_ca_vouches_for_is_not_seen(trust: Trust) -> None:
    """The library drops it with the handshake."""
    assert failure(trust, trust.server(), TlsSettings(server_name="127.0.0.1")).presented is None


def test_a_handshake_leaves_its_facts(trust: Trust) -> None:
    async def talk() -> tuple[TlsFacts | None, bool]:
        async with server(until_closed, tls=trust.server()) as port:
            stream = await connected(port, tls=trust.client())
            await stream.close()
            return stream.tls, stream.is_tls

    facts, is_tls = asyncio.run(talk())
    assert facts is not None
    assert (facts.version, facts.fingerprint, is_tls) == ("TLSv1.3", trust.fingerprint, True)
    assert facts.cipher.startswith("TLS_")


def test_a_ca_file_that_is_not_there_is_named(trust: Trust) -> None:
    with pytest.raises(TlsFailed, match=r"ca_file /nowhere/ca.pem: No such file or directory"):
        tls_context(TlsSettings(server_name="127.0.0.1", ca_file=Path("/nowhere/ca.pem")))


def test_a_ca_file_without_a_certificate_is_named(trust: Trust, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(TlsFailed, match=r"ca_file .*empty\.pem: "):
        tls_context(TlsSettings(server_name="127.0.0.1", ca_file=tmp_path / "empty.pem"))


def test_tls_is_at_least_1_2(trust: Trust) -> None:
    """RFC 8996."""
    assert tls_context(trust.client()).minimum_version is ssl.TLSVersion.TLSv1_2


def start_tls_after(said: bytes, trust: Trust, tls: ssl.SSLContext | None) -> bytes:
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
                await stream.start_tls(trust.client(), timeout=PATIENCE)
                return await stream.read(timeout=PATIENCE)
            finally:
                await stream.close()

    return asyncio.run(talk())


def test_an_open_connection_goes_over_to_tls(trust: Trust) -> None:
    assert start_tls_after(b"+OK\r\n", trust, trust.server()) == b"welcome"


def test_octets_in_clear_text_before_the_handshake_are_fatal(trust: Trust) -> None:
    """RFC 2595 section 4, CVE-2011-0411."""
    with pytest.raises(PlaintextInjected, match=r"\+OK forged"):
        start_tls_after(b"+OK forged\r\n", trust, trust.server())


def test_a_server_that_hangs_up_instead_of_a_handshake_is_a_tls_failure(trust: Trust) -> None:
    with pytest.raises((TlsFailed, ConnectionLost)):
        start_tls_after(b"+OK\r\n", trust, None)


def test_a_server_that_speaks_no_tls_is_a_tls_failure(trust: Trust) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK ready\r\n")
        await _reader.read()

    async def talk() -> None:
        async with server(plain) as port:
            await connected(port, tls=trust.client())

    with pytest.raises(TlsFailed, match="is this a TLS port"):
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
