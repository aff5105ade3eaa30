"""Accept mail by SMTP into memory, and refuse what the rules say: the relay of the demonstration and of many tests.

aiosmtpd speaks; this module decides, counts and keeps. PIPELINING is offered because aiosmtpd answers commands in the
order in which they came (RFC 2920 section 3.2 asks no more of a server).

**Invariants:** content is kept octet for octet as it was received, dot-stuffing undone: bare CR, bare LF, NUL and 8-bit
octets stay, and lines may have 256 MiB. A message is recorded, and written where a directory was given, before it is
answered.
"""

from __future__ import annotations

import asyncio
import enum
import re
import ssl
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from spool.disk import Disk

_LONGEST_LINE_OCTETS = 1 << 28
_LONGEST_COMMAND_OCTETS = 2048
# RFC 5321 section 4.1.2, Reverse-path without source routes: stricter than aiosmtpd, as Exchange is
_ATOMS = r"""[^\s".(),:;<>@\[\]\\]+(?:\.[^\s".(),:;<>@\[\]\\]+)*"""
_REVERSE_PATH = re.compile(rf"""FROM:\s*<(?:(?:{_ATOMS}|"[^"]*")@(?:{_ATOMS}|\[[^\]]+\]))?>(?:\s|$)""", re.IGNORECASE)
_PROTOCOL_ERRORS = frozenset({b"500", b"501", b"502", b"503", b"504"})


class Part(enum.Enum):
    """The part of a transaction that a refusal looks at."""

    REVERSE_PATH = "reverse_path"
    RECIPIENT = "recipient"
    CONTENT = "content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Answer `reply` where `part` contains `marker`: 421 closes the session, an empty reply cuts it unanswered."""

    part: Part
    marker: bytes
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRules:
    """What the sink refuses. The default refuses a malformed reverse-path only."""

    refusals: tuple[Refusal, ...] = ()
    greylists: bool = False  # 451 at the first attempt of each reverse-path and recipient
    size_limit_octets: int | None = None  # told as SIZE (RFC 1870), and kept
    max_protocol_errors: int | None = None  # replies 500 to 504 in a session, then 421 and the end, as Exchange does
    smtputf8: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message that was answered 250. A null reverse-path is the empty string."""

    connection: int
    reverse_path: str
    recipients: tuple[str, ...]
    mail_parameters: tuple[str, ...]
    content: bytes


@dataclass(slots=True, kw_only=True)
class Connection:
    """What happened in one session; `number` counts from 0."""

    number: int
    transactions: int = 0
    accepted: int = 0
    protocol_errors: int = 0


class SmtpSink:
    """An asynchronous context manager that listens on 127.0.0.1 at `port`, which is chosen at the start when it is 0.

    With `tls` it offers STARTTLS; with `logins` (user name to password) it demands AUTH, after STARTTLS if that is
    offered. `rules` may be replaced while it runs. With `directory` each message is a file there too, `000001.eml` on.
    """

    def __init__(
        self,
        rules: SinkRules = SinkRules(),
        *,
        directory: Path | None = None,
        tls: ssl.SSLContext | None = None,
        logins: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.rules = rules
        self.port = port
        self.accepted: list[Accepted] = []
        self.connections: list[Connection] = []
        self._directory = directory
        self._tls = tls
        self.logins = logins
        self._disk = Disk()
        self._greylisted: set[tuple[str, str]] = set()
        self._listener: asyncio.Server
        self._speakers: list[_Speaker] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._speaker, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await asyncio.sleep(0)  # a connection that was just accepted is made in the loop's next round
        for speaker in self._speakers:
            speaker.cut()
        await asyncio.gather(*(speaker.wait_ended() for speaker in self._speakers))
        await self._listener.wait_closed()

    def verdict(self, part: Part, octets: bytes) -> str | None:
        """The reply of the first refusal that applies."""
        return next((r.reply for r in self.rules.refusals if r.part is part and r.marker in octets), None)

    def greylist(self, reverse_path: str, recipient: str) -> bool:
        """Whether this pair is put off, which happens to it once."""
        pair = (reverse_path, recipient)
        if not self.rules.greylists or pair in self._greylisted:
            return False
        self._greylisted.add(pair)
        return True

    def keep(self, message: Accepted) -> None:
        """Write and record a message that is about to be answered 250."""
        if self._directory is not None:
            self._disk.write_file(self._directory / f"{len(self.accepted) + 1:06}.eml", (message.content,))
        self.accepted.append(message)

    def is_known(self, user: bytes, password: bytes) -> bool:
        """Whether the login is one of those given."""
        return self.logins is not None and self.logins.get(user.decode()) == password.decode()

    def _speaker(self) -> _Speaker:
        connection = Connection(number=len(self.connections))
        self.connections.append(connection)
        speaker = _Speaker(self, connection, tls=self._tls)
        self._speakers.append(speaker)
        return speaker


class _Speaker(SMTP):
    """aiosmtpd's session, with the errors counted and the ends that a server may put to it."""

    line_length_limit = _LONGEST_LINE_OCTETS

    def __init__(self, sink: SmtpSink, connection: Connection, *, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            _Decisions(sink, connection),
            data_size_limit=sink.rules.size_limit_octets,
            enable_SMTPUTF8=sink.rules.smtputf8,
            hostname="mail.demo.example",
            ident="ESMTP",
            tls_context=tls,
            auth_require_tls=tls is not None,
            auth_callback=lambda _, user, password: sink.is_known(user, password),
            loop=asyncio.get_running_loop(),
        )
        self.command_size_limits = defaultdict(lambda: _LONGEST_COMMAND_OCTETS)
        self._sink = sink
        self._connection = connection
        self._lost = asyncio.Event()

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Judge the grammar before aiosmtpd does: it repairs more than a strict relay would."""
        self._connection.transactions += 1
        if arg is not None and not _REVERSE_PATH.match(arg):
            await self.push("501 5.1.7 Invalid address")
        else:
            await super().smtp_MAIL(arg)

    async def push(self, status: str | bytes) -> None:
        """Send a reply line, and end the session where it says or causes that."""
        reply = status.encode() if isinstance(status, str) else status
        if not reply:
            self.cut()
            raise asyncio.CancelledError
        await super().push(reply)
        if reply[:3] in _PROTOCOL_ERRORS:
            self._connection.protocol_errors += 1
            if self._connection.protocol_errors == self._sink.rules.max_protocol_errors:
                await self.push("421 4.7.0 Too many errors on this connection, closing transmission channel")
        if reply.startswith(b"421"):
            # Cancelled, aiosmtpd closes the connection, and does not carry out what was pipelined behind.
            raise asyncio.CancelledError

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end for whoever waits for it."""
        super().connection_lost(error)
        self._lost.set()

    def cut(self) -> None:
        """Drop the connection where it stands."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    async def wait_ended(self) -> None:
        """Wait until the connection is lost and its task is over."""
        await self._lost.wait()
        if self._handler_coroutine is not None:
            await asyncio.gather(self._handler_coroutine, return_exceptions=True)


class _Decisions:
    """aiosmtpd's hooks: the answer to each command that is well-formed."""

    def __init__(self, sink: SmtpSink, connection: Connection) -> None:
        self._sink = sink
        self._connection = connection

    async def handle_EHLO(  # noqa: PLR0917 - aiosmtpd's signature, as below
        self, _: SMTP, session: Session, __: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        offered = [line for line in responses if self._sink.logins is not None or not line.startswith("250-AUTH")]
        return [offered[0], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", *offered[1:]]

    async def handle_MAIL(  # noqa: PLR0917
        self, _: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._sink.logins is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        refusal = self._sink.verdict(Part.REVERSE_PATH, _octets(address))
        if refusal is not None:
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        refusal = self._sink.verdict(Part.RECIPIENT, _octets(address))
        if refusal is not None:
            return refusal
        if self._sink.greylist(_reverse_path(envelope), address):
            return "451 4.7.1 Greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        refusal = self._sink.verdict(Part.CONTENT, content)
        if refusal is not None:
            return refusal
        message = Accepted(
            connection=self._connection.number,
            reverse_path=_reverse_path(envelope),
            recipients=tuple(envelope.rcpt_tos),
            mail_parameters=tuple(envelope.mail_options),
            content=content,
        )
        self._sink.keep(message)
        self._connection.accepted += 1
        return "250 2.0.0 Accepted"


def _reverse_path(envelope: Envelope) -> str:
    address = envelope.mail_from or ""
    return "" if address == "<>" else address


def _octets(address: str) -> bytes:
    return address.encode("utf-8", "surrogateescape")
