"""A TCP connection that may become a TLS connection: octets in, octets out, every wait with a deadline.

The buffer is our own. asyncio's `StreamReader` keeps what a server sent in clear text behind its `+OK` to `STLS` and
hands it out later as if it had come through TLS (RFC 2595 section 4, CVE-2011-0411); here it is an error.

**Invariants:** nothing received before a TLS handshake is ever read after it; at most about 1 MiB waits unread, the
peer is stopped by TCP beyond that; no wait on the network is without a limit; `close` neither raises nor hangs.

**Failures:** `ConnectFailed`, `stages.tls.TlsFailed`, `StreamTimeout`, `ConnectionLost`, `PlaintextInjected`, all
`NetworkError`, all one line. The stream can only be closed after any of them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from collections import deque
from dataclasses import dataclass
from typing import cast

from spool.safe_text import safe_text
from stages.dialogue import Dialogue, silence
from stages.errors import NetworkError
from stages.tls import TlsFacts, TlsFailed, alert_reason, check_fingerprint, facts_of, handshake_failed, tls_context
from stages.trust import TRUST_OF_THE_SYSTEM, Trust

MAX_UNREAD_OCTETS = 1024 * 1024
CLOSE_PATIENCE_SECONDS = 1.0
_HAPPY_EYEBALLS_DELAY_SECONDS = 0.25  # RFC 8305 section 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """One handshake: the name that the certificate must bear, and how the server is trusted."""

    server_name: str
    trust: Trust = TRUST_OF_THE_SYSTEM


class ConnectFailed(NetworkError):
    """No connection came about: no such name, refused, unreachable, or no answer in time."""


class StreamTimeout(NetworkError):
    """The peer was silent, or took nothing, for too long."""


class ConnectionLost(NetworkError):
    """The connection ended when it should not have."""


class PlaintextInjected(NetworkError):
    """Octets came in clear text between the consent to TLS and the handshake: somebody is in the line."""


class Stream:
    """One connection to one server. Made by `connect`."""

    def __init__(self, transport: asyncio.Transport, octets: _Octets, *, peer_address: str, dialogue: Dialogue) -> None:
        self._transport = transport
        self._octets = octets
        self._has_ended = False
        self.dialogue = dialogue
        self.tls: TlsFacts | None = None
        self.peer_address = peer_address

    @classmethod
    async def connect(
        cls, host: str, port: int, *, tls: TlsSettings | None, timeout: float, dialogue: Dialogue | None = None
    ) -> Stream:
        """Connect, and shake hands at once where `tls` is given. `timeout` seconds for each of the two.

        A host that is an absolute path is a UNIX socket on this machine, and `port` means nothing. What becomes of the
        connection is told to `dialogue`, but for its failures, which are told by whoever they reach.
        """
        dialogue = dialogue or silence()
        dialogue.begin()
        is_socket = host.startswith("/")
        where = safe_text(host.encode("utf-8", "surrogateescape")) + ("" if is_socket else f" port {port}")
        dialogue.note(f"connecting to {where}")
        try:
            async with asyncio.timeout(timeout):
                transport, octets = await (_reach_socket(host) if is_socket else _reach(host, port))
        except TimeoutError as error:
            # The system's own ETIMEDOUT is a TimeoutError too.
            raise ConnectFailed(f"cannot connect to {where}: no answer in {timeout:g} s") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
            raise ConnectFailed(f"cannot connect to {where}: {_reason(error)}") from error
        # asyncio sets TCP_NODELAY on every TCP connection. A connection that was reset at once has no peer any more.
        peer = transport.get_extra_info("peername")
        if peer is None:
            raise ConnectFailed(f"cannot connect to {where}: {os.strerror(errno.ECONNRESET)}")
        peer_address = host if is_socket else str(peer[0])
        stream = cls(transport, octets, peer_address=peer_address, dialogue=dialogue)
        dialogue.note(f"connected to {peer_address}")
        if tls is not None:
            try:
                await stream._shake_hands(tls, timeout=timeout)
            except BaseException:
                await stream.close()
                raise
        return stream

    @property
    def is_tls(self) -> bool:
        """Whether the connection is protected."""
        return self.tls is not None

    @property
    def has_news(self) -> bool:
        """Whether `read` has something to tell without waiting: octets, or the end of the connection."""
        return self._octets.has_news()

    def buffered(self) -> int:
        """Return how many octets have been received and not yet read."""
        return self._octets.unread

    async def read(self, *, timeout: float) -> bytes:
        """Return what has arrived, at least one octet, or `b""` when the peer has closed its side."""
        if not self._octets.has_news():
            try:
                async with asyncio.timeout(timeout):
                    await self._octets.news()
            except TimeoutError as error:
                raise StreamTimeout(f"no octet from the server for {timeout:g} s") from error
        data = self._octets.take()
        self._transport.resume_reading()
        return data

    async def write(self, data: bytes, *, timeout: float) -> None:
        """Send `data`; return when the transport has room again, after at most `timeout` seconds."""
        if self._transport.is_closing():
            raise ConnectionLost("the connection was closed by the server")
        self._transport.write(data)
        try:
            async with asyncio.timeout(timeout):
                await self._octets.room()
        except TimeoutError as error:
            raise StreamTimeout(f"the server took no octets for {timeout:g} s") from error

    async def start_tls(self, settings: TlsSettings, *, timeout: float) -> None:
        """Shake hands on an open connection, after the peer has consented.

        Raises `PlaintextInjected` if anything lies in the buffer. What arrives later in clear text is no TLS record:
        the handshake fails.
        """
        if self._octets.unread:
            raise PlaintextInjected(f"octets in clear text before the TLS handshake: {safe_text(self._octets.take())}")
        if self._transport.is_closing():
            raise ConnectionLost("the server closed the connection before the TLS handshake")
        await self._shake_hands(settings, timeout=timeout)

    async def close(self) -> None:
        """Close, with a TLS goodbye where the peer takes part in it; within about a second."""
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_PATIENCE_SECONDS):
                await self._octets.closed()
        except TimeoutError:
            pass  # the peer does not take part; abort is all that is left
        finally:
            self._transport.abort()
            if not self._has_ended:
                self._has_ended = True
                self.dialogue.note("closed")

    async def _shake_hands(self, settings: TlsSettings, *, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        context = tls_context(settings.trust)
        name = safe_text(settings.server_name.encode())
        try:
            async with asyncio.timeout(timeout):
                transport = await loop.start_tls(
                    self._transport,
                    self._octets,
                    context,
                    server_hostname=settings.server_name,
                    ssl_handshake_timeout=timeout,
                    ssl_shutdown_timeout=CLOSE_PATIENCE_SECONDS,
                )
        except ssl.SSLError as error:
            raise handshake_failed(error, settings.trust, name=name) from error
        except TimeoutError as error:
            raise TlsFailed(f"the server did not complete the TLS handshake in {timeout:g} s") from error
        except (OSError, ValueError) as error:  # ValueError: a server name that IDNA cannot encode
            raise TlsFailed(f"the TLS handshake failed: {_reason(error)}") from error
        if transport is None:
            raise TlsFailed("the server closed the connection during the TLS handshake")
        self._transport = transport
        self._octets.rides_on(transport)
        self.tls = facts_of(transport.get_extra_info("ssl_object"))
        check_fingerprint(self.tls, settings.trust, name=name)
        if self.dialogue.is_on:
            self.dialogue.note(f"{self.tls.version}, {self.tls.cipher}, certificate {self.tls.fingerprint}")


class _Octets(asyncio.Protocol):
    """What asyncio calls: keeps what arrived, and wakes the one reader and the one writer."""

    def __init__(self) -> None:
        self.unread = 0
        self._chunks: deque[bytes] = deque()
        self._is_at_end = False
        self._error: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = asyncio.Event()

    def rides_on(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def has_news(self) -> bool:
        return self._news.is_set()

    async def news(self) -> None:
        await self._news.wait()

    async def room(self) -> None:
        """Wait until the transport takes more; raise `ConnectionLost` if it never will."""
        await self._room.wait()
        if self._error is not None:
            raise ConnectionLost(f"the connection was lost: {_reason(self._error)}") from self._error

    async def closed(self) -> None:
        await self._closed.wait()

    def take(self) -> bytes:
        """Return what came next; at the end `b""`, or `ConnectionLost` when the end was not the peer's wish."""
        if not self._chunks:
            if self._error is not None:
                raise ConnectionLost(f"the connection was lost: {_reason(self._error)}") from self._error
            return b""
        data = self._chunks.popleft()
        self.unread -= len(data)
        if not self._chunks and not self._is_at_end:
            self._news.clear()
        return data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.rides_on(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self.unread += len(data)
        self._news.set()
        if self.unread > MAX_UNREAD_OCTETS and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        self._is_at_end = True
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_at_end = True
        self._error = exc
        self._news.set()
        self._room.set()
        self._closed.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()


async def _reach(host: str, port: int) -> tuple[asyncio.Transport, _Octets]:
    loop = asyncio.get_running_loop()
    return await loop.create_connection(_Octets, host, port, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY_SECONDS)


async def _reach_socket(path: str) -> tuple[asyncio.Transport, _Octets]:
    return await asyncio.get_running_loop().create_unix_connection(_Octets, path)


def _reason(error: Exception) -> str:
    if about_us := alert_reason(error):
        return about_us
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, socket.gaierror) and error.strerror:
        return error.strerror
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    # With several addresses asyncio gives one error whose text lists each.
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error)))
    if numbers:
        return ", ".join(os.strerror(number) for number in numbers)
    return safe_text(str(error).encode(errors="replace")) or type(error).__name__
