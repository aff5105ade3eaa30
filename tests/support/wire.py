"""The octets that a client sends, as they are, and whether each of them is in its place.

`RecordingRelay` accepts everything and understands no more than it must; `read` is the judge: it takes what one client
said in one session apart by the grammar of RFC 5321, RFC 2033 and the extensions that were offered, and fails at the
first octet that has no place in it. A line ends in CRLF and in nothing else, and content ends in one CRLF `.` CRLF.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.scripted_server import PATIENCE_SECONDS

END = b"\r\n.\r\n"
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+"
_LOCAL = rb"(?:%s(?:\.%s)*|\"(?:[ !#-\[\]-~\x80-\xff]|\\[ -~])*\")" % (_ATOM, _ATOM)
_LABEL = rb"[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]*[A-Za-z0-9\x80-\xff])?"
_DOMAIN = rb"(?:%s(?:\.%s)*|\[[0-9A-Za-z.:]+\])" % (_LABEL, _LABEL)
_HELLO = re.compile(rb"(?:EHLO|LHLO) (%s)\r\n" % _DOMAIN)
_MAIL = re.compile(rb"MAIL FROM:<(%s@%s|)>(?: SIZE=[0-9]+)?(?: BODY=8BITMIME)?(?: SMTPUTF8)?\r\n" % (_LOCAL, _DOMAIN))
_RCPT = re.compile(rb"RCPT TO:<(%s@%s)>\r\n" % (_LOCAL, _DOMAIN))
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One transaction as the client put it on the wire; `content` with dots unstuffed, None where none was sent."""

    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """All that one client said."""

    name: str
    sent: tuple[Sent, ...]


class RecordingRelay:
    """Keeps what it hears, octet for octet, a session each in `heard`; says yes to all of it."""

    def __init__(self, *, is_lmtp: bool = False) -> None:
        self.heard: list[bytearray] = []
        self._is_lmtp = is_lmtp

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen on loopback; gives the port."""
        async with await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 26) as server:
            yield server.sockets[0].getsockname()[1]

    def sessions(self) -> list[Session]:
        """What was said in each session; fails where anything of it is out of place."""
        return [read(bytes(heard)) for heard in self.heard]

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        self.heard.append(heard)
        try:
            async with asyncio.timeout(6 * PATIENCE_SECONDS):
                await self._talk(reader, writer, heard=heard)
        except asyncio.IncompleteReadError as error:
            heard += error.partial
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, heard: bytearray) -> None:
        recipients = 0
        writer.write(b"220 relay\r\n")
        while True:
            line = await reader.readuntil(b"\n")
            heard += line
            match line[:4]:
                case b"EHLO" | b"LHLO":
                    writer.write(b"250-relay\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
                case b"MAIL":
                    recipients = 0
                    writer.write(b"250 ok\r\n")
                case b"RCPT":
                    recipients += 1
                    writer.write(b"250 ok\r\n")
                case b"DATA":
                    writer.write(b"354 go\r\n")
                    heard += await _content(reader)
                    writer.write(b"250 taken\r\n" * (recipients if self._is_lmtp else 1))
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    heard += await reader.read()
                    return
                case _:
                    writer.write(b"500 what\r\n")


async def _content(reader: asyncio.StreamReader) -> bytes:
    content = bytearray()
    while not content.endswith(END) and content != END[2:]:
        content += await reader.readuntil(b"\n")
    return bytes(content)


def read(wire: bytes) -> Session:
    """Take a session apart; fails at what has no place in it."""
    hello = _HELLO.match(wire)
    assert hello is not None, wire[:80]
    position = hello.end()
    sent: list[Sent] = []
    while wire[position:] != b"QUIT\r\n":
        if wire.startswith(b"RSET\r\n", position):
            position += len(b"RSET\r\n")
        else:
            one, position = _transaction(wire, position)
            sent.append(one)
    return Session(name=hello[1].decode(), sent=tuple(sent))


def mended(message: bytes) -> bytes:
    """A message as a relay must get it: each of its lines, whatever ended it, with CRLF; found in the plainest way."""
    lines = _LINE_END.split(message)
    if not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def _transaction(wire: bytes, position: int) -> tuple[Sent, int]:
    mail = _MAIL.match(wire, position)
    assert mail is not None, wire[position : position + 200]
    position = mail.end()
    recipients: list[str] = []
    while rcpt := _RCPT.match(wire, position):
        recipients.append(_address(rcpt[1]))
        position = rcpt.end()
    assert recipients, wire[position : position + 200]
    content = None
    if wire.startswith(b"DATA\r\n", position):
        content, position = _dot_stuffed(wire, position + len(b"DATA\r\n"))
    return Sent(reverse_path=_address(mail[1]), recipients=tuple(recipients), content=content), position


def _address(octets: bytes) -> str:
    address = octets.decode()
    # The joiners that some scripts are written with print nothing and end nothing.
    assert address.replace("\u200c", "").replace("\u200d", "").isprintable(), octets
    return address


def _dot_stuffed(wire: bytes, start: int) -> tuple[bytes, int]:
    """Undo the dot-stuffing of RFC 5321 section 4.5.2; every CR and LF of the content is half of a CRLF."""
    end = start if wire.startswith(b".\r\n", start) else wire.index(END, start) + 2
    content = wire[start:end]
    assert content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")
    lines = content.split(b"\r\n")
    assert all(line != b"." for line in lines)
    return b"\r\n".join(line.removeprefix(b".") for line in lines), end + len(b".\r\n")
