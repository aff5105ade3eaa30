"""Serve maildrops held in memory by POP3: RFC 1939, with CAPA (RFC 2449) and STLS (RFC 2595).

The server is correct unless its `Manners` say otherwise. Stored messages are sent octet for octet, whatever their line
ends: only the dot-stuffing of lines that follow a CRLF is added, and a CRLF where the last line has none.

**Invariants:** `Pop3Session` does no input or output, so an odd server is a subclass that changes one answer. A
maildrop is open in one session at a time. A message keeps its UIDL for ever and no UIDL is given twice.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import re
import secrets
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

_END_OF_HEADER = re.compile(rb"(?:\A|\n)\r?\n")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_LONGEST_COMMAND_OCTETS = 1024


class Deletion(enum.Enum):
    """When a deleted message leaves the maildrop."""

    AT_QUIT = "at_quit"  # RFC 1939 section 6
    AT_DELE = "at_dele"
    ON_DROP = "on_drop"  # at QUIT, and also when the connection is lost without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What the server offers, and where it fails. The default is an honest server that offers everything."""

    pipelining: bool = True
    uidl: bool = True
    top: bool = True
    apop: bool = True
    added_octets: int = 0  # to each size in LIST and STAT: a server that does not count what it sends
    deletion: Deletion = Deletion.AT_QUIT
    hang_up_after: int | None = None  # commands answered, then the connection is cut
    refused_retrievals: frozenset[int] = frozenset()  # message numbers that RETR answers with -ERR


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message and the UIDL it keeps."""

    uidl: bytes
    content: bytes


@dataclass(slots=True)
class Maildrop:
    """One user's messages, and whether a session has them open."""

    password: str
    messages: list[StoredMessage] = field(default_factory=list)
    locked: bool = False
    delivered: int = 0

    def deliver(self, content: bytes) -> None:
        """Append a message under a UIDL that was never given before."""
        self.delivered += 1
        self.messages.append(StoredMessage(uidl=b"%08x" % self.delivered, content=content))

    def remove(self, messages: Iterable[StoredMessage]) -> None:
        """Remove those messages; one that is gone already is no error."""
        gone = {message.uidl for message in messages}
        self.messages = [message for message in self.messages if message.uidl not in gone]


def wire_form(content: bytes) -> bytes:
    """`content` as a client holds it after RETR: with a CRLF at its end."""
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


def stuffed(content: bytes) -> bytes:
    """A multi-line response: `content` dot-stuffed, and the terminator (RFC 1939 section 3)."""
    wire = wire_form(content).replace(b"\r\n.", b"\r\n..")
    return (b"." if wire.startswith(b".") else b"") + wire + b".\r\n"


class Pop3Session:
    """One session without a network: a command line in, the octets of the answer out.

    Attributes a test reads: `commands` as they came, `user` once logged in, `pipelined` (a command was there
    before its predecessor was answered), `said_quit`, `ended`.
    """

    def __init__(
        self,
        maildrops: Mapping[str, Maildrop],
        manners: Manners,
        *,
        challenge: bytes,
        offered_tls: ssl.SSLContext | None,
    ) -> None:
        self.maildrops = maildrops
        self.manners = manners
        self.challenge = challenge
        self.offered_tls = offered_tls
        self.handshake: ssl.SSLContext | None = None
        self.commands: list[str] = []
        self.user: str | None = None
        self.maildrop = _nobodys()
        self.pipelined = False
        self.said_quit = False
        self.ended = False
        self.listing: dict[int, StoredMessage] = {}
        self.deleted: dict[int, StoredMessage] = {}
        self._named: str | None = None

    def greeting(self) -> bytes:
        """The server's first line; the challenge in it offers APOP (RFC 1939 section 7)."""
        return self.ok(b"ready " + self.challenge if self.manners.apop else b"ready")

    def answer(self, line: bytes) -> bytes:
        """What is sent for one command line, which comes without its CRLF."""
        text = line.decode("utf-8", "backslashreplace")
        self.commands.append(text)
        verb, _, argument = text.partition(" ")
        handlers = self.transaction_commands() if self.user is not None else self.authorization_commands()
        handler = handlers.get(verb.upper())
        reply = self.err(b"unknown command here") if handler is None else handler(argument)
        if len(self.commands) == self.manners.hang_up_after:
            self.ended = True
        return reply

    def lost(self) -> None:
        """The connection has ended, with QUIT or without."""
        if self.manners.deletion is Deletion.ON_DROP:
            self.maildrop.remove(self.deleted.values())
        self._release()

    def ok(self, text: bytes = b"") -> bytes:
        """A positive status line."""
        return b"+OK %s\r\n" % text if text else b"+OK\r\n"

    def err(self, text: bytes) -> bytes:
        """A negative status line."""
        return b"-ERR %s\r\n" % text

    def authorization_commands(self) -> dict[str, Callable[[str], bytes]]:
        """The commands before the login."""
        known = {"CAPA": self.capa, "USER": self.name, "PASS": self.password, "QUIT": self.quit}
        if self.manners.apop:
            known["APOP"] = self.apop
        if self.offered_tls is not None:
            known["STLS"] = self.stls
        return known

    def transaction_commands(self) -> dict[str, Callable[[str], bytes]]:
        """The commands after the login."""
        known = {
            "CAPA": self.capa,
            "STAT": self.stat,
            "LIST": self.list_,
            "RETR": self.retr,
            "DELE": self.dele,
            "NOOP": self.noop,
            "RSET": self.rset,
            "QUIT": self.quit,
        }
        if self.manners.uidl:
            known["UIDL"] = self.uidl
        if self.manners.top:
            known["TOP"] = self.top
        return known

    def capa(self, _: str) -> bytes:
        """CAPA: what is offered at this moment (RFC 2449 section 5)."""
        offered = {
            b"USER": True,
            b"RESP-CODES": True,
            b"PIPELINING": self.manners.pipelining,
            b"UIDL": self.manners.uidl,
            b"TOP": self.manners.top,
            b"STLS": self.offered_tls is not None,
        }
        return (
            self.ok(b"capabilities") + b"".join(name + b"\r\n" for name, is_on in offered.items() if is_on) + b".\r\n"
        )

    def name(self, argument: str) -> bytes:
        """USER: any name will do (RFC 1939 section 7: a server need not tell who exists)."""
        self._named = argument
        return self.ok()

    def password(self, argument: str) -> bytes:
        """PASS: log in the user named before."""
        user, self._named = self._named, None
        if user is None:
            return self.err(b"USER first")
        return self.log_in(user, lambda password: secrets.compare_digest(password.encode(), argument.encode()))

    def apop(self, argument: str) -> bytes:
        """APOP: log in by the digest of challenge and password."""
        user, _, digest = argument.rpartition(" ")
        return self.log_in(user, lambda password: self._digest(password) == digest)

    def log_in(self, user: str, is_right: Callable[[str], bool]) -> bytes:
        """Open the maildrop for this session alone, and number what it holds."""
        maildrop = self.maildrops.get(user)
        if maildrop is None or not is_right(maildrop.password):
            return self.err(b"[AUTH] wrong user name or password")
        if maildrop.locked:
            return self.err(b"[IN-USE] maildrop is open in another session")
        maildrop.locked = True
        self.user, self.maildrop = user, maildrop
        self.listing = dict(enumerate(maildrop.messages, start=1))
        return self.ok(b"logged in")

    def stls(self, _: str) -> bytes:
        """STLS: the handshake follows the answer."""
        self.handshake = self.offered_tls
        return self.ok(b"begin TLS")

    def stat(self, _: str) -> bytes:
        """STAT: messages and octets, deleted ones left out."""
        return self.ok(b"%d %d" % (len(self.listing), sum(map(self.octets, self.listing.values()))))

    def list_(self, argument: str) -> bytes:
        """LIST: the sizes."""
        return self._listing(argument, lambda number: b"%d %d" % (number, self.octets(self.listing[number])))

    def uidl(self, argument: str) -> bytes:
        """UIDL: the unique-ids."""
        return self._listing(argument, lambda number: b"%d %s" % (number, self.unique_id(number)))

    def octets(self, message: StoredMessage) -> int:
        """The size that LIST and STAT tell."""
        return len(wire_form(message.content)) + self.manners.added_octets

    def unique_id(self, number: int) -> bytes:
        """The UIDL of a message in the listing."""
        return self.listing[number].uidl

    def retr(self, argument: str) -> bytes:
        """RETR: a message."""
        number = self._number(argument)
        if number is None:
            return self.no_such_message()
        if number in self.manners.refused_retrievals:
            return self.err(b"[SYS/TEMP] the message cannot be read now")
        return self.ok(b"message follows") + stuffed(self.listing[number].content)

    def top(self, argument: str) -> bytes:
        """TOP: the header of a message and its first lines."""
        first, _, lines = argument.partition(" ")
        number = self._number(first)
        if number is None or not lines.isdecimal():
            return self.no_such_message()
        return self.ok(b"top follows") + stuffed(_top(self.listing[number].content, int(lines)))

    def dele(self, argument: str) -> bytes:
        """DELE: mark a message."""
        number = self._number(argument)
        if number is None:
            return self.no_such_message()
        message = self.listing.pop(number)
        if self.manners.deletion is Deletion.AT_DELE:
            self.maildrop.remove([message])
        else:
            self.deleted[number] = message
        return self.ok(b"deleted")

    def noop(self, _: str) -> bytes:
        """NOOP: nothing."""
        return self.ok()

    def rset(self, _: str) -> bytes:
        """RSET: unmark what was marked."""
        self.listing = dict(sorted((self.listing | self.deleted).items()))
        self.deleted.clear()
        return self.ok()

    def quit(self, _: str) -> bytes:
        """QUIT: what was marked is removed now (RFC 1939 section 6, UPDATE)."""
        self.said_quit = self.ended = True
        self.maildrop.remove(self.deleted.values())
        self._release()
        return self.ok(b"bye")

    def no_such_message(self) -> bytes:
        """The answer to a message number that is not in the listing."""
        return self.err(b"no such message")

    def _release(self) -> None:
        # At QUIT, before the answer: who has read it may log in again at once, and then the lock is another's.
        self.maildrop.locked = False
        self.maildrop = _nobodys()

    def _listing(self, argument: str, line: Callable[[int], bytes]) -> bytes:
        if not argument:
            return self.ok(b"listing") + b"".join(line(number) + b"\r\n" for number in self.listing) + b".\r\n"
        number = self._number(argument)
        return self.no_such_message() if number is None else self.ok(line(number))

    def _number(self, argument: str) -> int | None:
        number = int(argument) if argument.isascii() and argument.isdecimal() else 0
        return number if number in self.listing else None

    def _digest(self, password: str) -> str:
        return hashlib.md5(self.challenge + password.encode(), usedforsecurity=False).hexdigest()


def _nobodys() -> Maildrop:
    return Maildrop(password="")


def _top(content: bytes, lines: int) -> bytes:
    header = _END_OF_HEADER.search(content)
    if header is None:
        return content
    return content[: header.end()] + b"".join(_LINE.findall(content, header.end())[:lines])


class Pop3Server:
    """An asynchronous context manager that listens on 127.0.0.1 at `port`, which is chosen at the start when it is 0.

    With `tls` it offers STLS, or TLS from the first octet if `implicit_tls` too. `sessions` holds every session so far,
    the latest last. `session` and `token` are where tests put in an odd session and a foreseeable challenge.
    """

    def __init__(
        self,
        maildrops: Mapping[str, tuple[str, Iterable[bytes]]],
        manners: Manners = Manners(),
        *,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        port: int = 0,
        session: type[Pop3Session] = Pop3Session,
        token: Callable[[], str] = secrets.token_hex,
    ) -> None:
        self.port = port
        self.sessions: list[Pop3Session] = []
        self.manners = manners
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._session = session
        self._token = token
        self._maildrops: dict[str, Maildrop] = {}
        self._listener: asyncio.Server
        self._connections: dict[asyncio.StreamWriter, asyncio.Event] = {}
        for user, (password, messages) in maildrops.items():
            self._maildrops[user] = Maildrop(password)
            for message in messages:
                self.deliver(user, message)

    def deliver(self, user: str, message: bytes) -> None:
        """Put a message into a maildrop; a session that is open does not see it."""
        self._maildrops[user].deliver(message)

    def maildrop(self, user: str) -> list[bytes]:
        """What the maildrop holds now."""
        return [message.content for message in self._maildrops[user].messages]

    async def __aenter__(self) -> Self:
        implicit = self._tls if self._implicit_tls else None
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=implicit)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await asyncio.sleep(0)  # the session of a connection that was just accepted begins in the loop's next round
        for writer in self._connections:
            writer.transport.abort()
        await asyncio.gather(*(ended.wait() for ended in self._connections.values()))
        await self._listener.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = self._connections[writer] = asyncio.Event()
        session = self._session(
            self._maildrops,
            self.manners,
            challenge=f"<{len(self.sessions)}.{self._token()}@pop.demo.example>".encode(),
            offered_tls=None if self._implicit_tls else self._tls,
        )
        self.sessions.append(session)
        try:
            await self._converse(session, reader=reader, writer=writer)
        except OSError:
            pass  # the client went away, which is its right: it costs the session and nothing else
        finally:
            session.lost()
            writer.close()
            del self._connections[writer]
            ended.set()

    async def _converse(
        self, session: Pop3Session, *, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(session.greeting())
        pending = b""
        while not session.ended:
            line, newline, rest = pending.partition(b"\n")
            if not newline:
                received = await reader.read(65536)
                pending += received
                if not received or len(line) > _LONGEST_COMMAND_OCTETS:
                    return
                continue
            pending = rest
            session.pipelined |= bool(rest)
            writer.write(session.answer(line.removesuffix(b"\r")))
            await writer.drain()
            if session.handshake is not None:
                if pending:
                    return  # RFC 2595 section 4: nothing sent in clear may be taken for what came after the handshake
                await writer.start_tls(session.handshake)
                session.handshake = session.offered_tls = None
