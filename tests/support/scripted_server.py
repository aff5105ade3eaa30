"""A server that says what a script says: for wire behaviour that no well-behaved server shows.

A script is text. Its first line, a comment, says why it exists. `S: ` lines are sent, `C: ` lines are expected; both
stand for one line with its CRLF. `S> ` sends exactly what is written, without a CRLF. `S*9: ` and `S*9> ` send it nine
times, `{n}` in it being 1 to 9. `\\r \\n \\0 \\t \\\\ \\xNN` are escapes. Other lines:

    # ...      a comment
    STARTTLS   the server side of a TLS handshake, with the context that was given
    CUT        the connection is aborted
    NOISE      octets that are no TLS record, once something has come that may be a handshake
    ANYTHING   a line of the client's, whatever it says: for what has a random part
    SILENT     nothing more is said; the client must hang up without another word
    NEXT       what follows is for the next connection

At the end of the script the connection is closed. A client that hangs up where a `C: ` line is due fails the test.
It knows no protocol: it serves POP3 and SMTP alike.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import assert_never

PATIENCE_SECONDS = 10.0
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")
_SAYS = re.compile(r"S(?:\*(\d+))?([:>])")
_SIMPLE_ESCAPES = {"r": "\r", "n": "\n", "0": "\0", "t": "\t", "\\": "\\"}


class Step(Enum):
    SEND = "S"
    EXPECT = "C"
    STARTTLS = "STARTTLS"
    CUT = "CUT"
    NOISE = "NOISE"
    ANYTHING = "ANYTHING"
    SILENT = "SILENT"


@dataclass(frozen=True, slots=True)
class Line:
    step: Step
    octets: bytes = b""


class Chunking(Enum):
    """How what the server says is cut: neighbouring `S` lines at once, or octet by octet."""

    WHOLE = "whole"
    OCTET_BY_OCTET = "octet by octet"


def parse(script: str) -> tuple[Line, ...]:
    return tuple(_lines(script))


def load(path: Path) -> tuple[Line, ...]:
    (script,) = load_all(path)
    return script


def load_all(path: Path) -> list[tuple[Line, ...]]:
    """The scripts of a file, one for each connection."""
    text = path.read_text(encoding="utf-8")
    if not text.startswith("# "):
        raise ValueError(f"{path}: the first line must say why the dialogue exists")
    return [parse(script) for script in text.split("\nNEXT\n")]


class ScriptedServer:
    """One script for each connection, in turn; the last one serves all that follow."""

    def __init__(
        self, *scripts: tuple[Line, ...], chunking: Chunking = Chunking.WHOLE, tls: ssl.SSLContext | None = None
    ) -> None:
        self.port = 0
        self.connections = 0
        self.problems: list[str] = []
        self._scripts = scripts
        self._chunking = chunking
        self._tls = tls
        self._talks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, *, implicit_tls: bool = False) -> AsyncIterator[ScriptedServer]:
        """Listen on loopback. On leaving, fail with everything that a client said and its script did not expect."""
        listener = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self._tls if implicit_tls else None)
        self.port = listener.sockets[0].getsockname()[1]
        async with listener:
            yield self
            if self._talks:
                await asyncio.wait(self._talks, timeout=PATIENCE_SECONDS)
        if self.problems:
            raise AssertionError("; ".join(self.problems))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        task = asyncio.current_task()
        if task is not None:
            self._talks.add(task)
            task.add_done_callback(self._talks.discard)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._talk(script, reader, writer=writer)
        except TimeoutError:
            self.problems.append("the client neither spoke nor hung up")
        except asyncio.IncompleteReadError as error:
            self.problems.append(f"the client hung up; it had said {error.partial!r}")
        except OSError:
            pass  # a client may hang up on a server while that is still talking
        finally:
            await _close(writer)

    async def _talk(
        self, script: tuple[Line, ...], reader: asyncio.StreamReader, *, writer: asyncio.StreamWriter
    ) -> None:
        for line in script:
            match line.step:
                case Step.SEND:
                    await self._say(line.octets, writer)
                case Step.EXPECT:
                    heard = await reader.readuntil(b"\r\n")
                    if heard != line.octets:
                        self.problems.append(f"expected {line.octets!r}, heard {heard!r}")
                        return
                case Step.ANYTHING:
                    await reader.readuntil(b"\r\n")
                case Step.STARTTLS:
                    if self._tls is None:
                        raise ValueError("a script with STARTTLS and no TLS context")
                    await writer.start_tls(self._tls)
                case Step.NOISE:
                    await reader.read(1)
                    writer.write(b"220 what did you say?\r\n")
                    await writer.drain()
                case Step.CUT:
                    writer.transport.abort()
                    return
                case Step.SILENT:
                    heard = await reader.read()
                    if heard:
                        self.problems.append(f"nothing more was to be said, heard {heard!r}")
                    return
                case _:
                    assert_never(line.step)

    async def _say(self, octets: bytes, writer: asyncio.StreamWriter) -> None:
        step = len(octets) if self._chunking is Chunking.WHOLE else 1
        for start in range(0, len(octets), step):
            writer.write(octets[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)  # the client's turn


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close, and let go of what the client does not read any more."""
    writer.close()
    try:
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
        await asyncio.sleep(0)


def _lines(script: str) -> Iterator[Line]:
    said = bytearray()
    for text in script.split("\n"):
        keyword, _, rest = text.partition(" ")
        if (found := _SAYS.fullmatch(keyword)) is not None:
            end = b"\r\n" if found[2] == ":" else b""
            for number in range(1, int(found[1] or 1) + 1):
                said += _unescaped(rest.replace("{n}", str(number)) if found[1] else rest) + end
            continue
        if not text.strip() or text.startswith("#"):
            continue
        if said:
            yield Line(Step.SEND, bytes(said))
            said.clear()
        yield Line(Step.EXPECT, _unescaped(rest) + b"\r\n") if keyword == "C:" else Line(Step(text.strip()))
    if said:
        yield Line(Step.SEND, bytes(said))


def _unescaped(text: str) -> bytes:
    def octets(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else _SIMPLE_ESCAPES[found[2]]

    # Latin-1 by way of characters: each escape is one octet, and text beyond ASCII is sent as UTF-8.
    return _ESCAPE.sub(octets, text.encode().decode("latin-1")).encode("latin-1")
