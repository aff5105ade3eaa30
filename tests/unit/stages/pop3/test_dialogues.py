"""Every dialogue file, spoken through the client with a server that follows it line by line.

`#do:` names the steps of the client, `#outcome:` what they must come to, a line each. `#login:` gives what `login` uses
besides alice and her password `secret`: `auth=`, `password=`, `token=`, `prefer=`. Every file is spoken

- with the server's lines whole;
- octet by octet, unless `#chunks: whole` says that what lies in one piece with the answer before it is the point, or
  that there is too much of it;
- with trailing data: behind the last thing that the server says comes a reply that nobody asked for, which must change
  nothing (`#trailing: no`: it would become part of that last thing); and behind each earlier answer in turn, where it
  must end the dialogue before anything is taken for what it is not.

`#patience:` is the longest silence in seconds.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trustme

from stages.errors import PeerSaidNo, StageError
from stages.pop3.client import Pop3Client, Pop3Endpoint
from stages.pop3.protocol import MessageOctets
from stages.pop3.retrieval import (
    ONE_BY_ONE,
    MessageBegin,
    MessageDone,
    MessageEmpty,
    MessageRefused,
    Retrieval,
    Sentinel,
    Window,
)
from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from stages.trust import Trust
from tests.support.scripted_server import Chunking, Line, ScriptedServer, Step, load_all

DIALOGUES = Path(__file__).parents[3] / "dialogues" / "pop3"
PATIENCE = 5.0
STRAY = b"+OK nobody asked\r\n"
ERRORS = ("ProtocolViolation", "OutOfStep", "ConnectionLost", "PlaintextInjected")
OPENINGS = {
    "open": TlsMode.NONE,
    "open-without-capa": TlsMode.NONE,
    "open-starttls": TlsMode.STARTTLS,
    "open-tls": TlsMode.IMPLICIT,
}
Script = tuple[Line, ...]
WINDOWS = {"retrieve": ONE_BY_ONE, "retrieve-window": Window(), "retrieve-sentinels": Window(sentinels=True)}


def directives(path: Path, name: str) -> list[str]:
    prefix = f"#{name}: "
    return [line.removeprefix(prefix) for line in path.read_text().splitlines() if line.startswith(prefix)]


def paths() -> list[Path]:
    return sorted(DIALOGUES.glob("*.txt"))


def cases() -> list[tuple[Path, Chunking]]:
    return [
        (path, chunking)
        for path in paths()
        for chunking in Chunking
        if chunking is Chunking.WHOLE or directives(path, "chunks") != ["whole"]
    ]


class Actor:
    """Does the steps of a dialogue and tells what came of each."""

    def __init__(self, port: int, ca_file: Path, *, login: Mapping[str, str], patience: float) -> None:
        self.told: list[str] = []
        self._patience = patience
        self._port = port
        self._login = login
        self._ca_file = ca_file
        self._client: Pop3Client | None = None
        self._sizes: dict[int, int | None] = {}
        self._unique_ids: dict[int, bytes] | None = None
        self._received: list[int] = []

    async def perform(self, steps: Sequence[str]) -> None:
        try:
            for step in steps:
                await self._do(step)
        except PeerSaidNo as error:
            self.told.append(f"{type(error).__name__}: {error}" + (f" [code {error.code}]" if error.code else ""))
        except StageError as error:
            self.told.append(f"{type(error).__name__}: {error}")
        finally:
            if self._client is not None:
                await self._client.close()

    async def _do(self, step: str) -> None:
        if step.startswith("open"):
            trust = Trust(ca_file=self._ca_file)
            endpoint = Pop3Endpoint(host="127.0.0.1", port=self._port, tls=OPENINGS[step], trust=trust)
            asks = step != "open-without-capa"
            if self._client is not None:
                await self._client.close()
            self._client = await Pop3Client.open(endpoint, timeout=self._patience, ask_capabilities=asks)
            return
        client = self._client
        assert client is not None
        match step:
            case "login":
                token = self._login.get("token")
                credentials = Credentials(
                    username="alice",
                    method=AuthMethod(self._login.get("auth", "auto")),
                    password=Secret(self._login.get("password", "secret")) if token is None else None,
                    token=None if token is None else Secret(token),
                )
                await client.login(credentials, prefer=self._login.get("prefer"))
                if self._login:
                    self.told.append(f"in by {client.mechanism}")
            case "stat":
                size = await client.stat()
                self.told.append(f"{size.count} messages, {size.octets} octets")
            case "list":
                self._sizes = await client.list()
            case "uidl":
                self._unique_ids = await client.uidl()
                if self._unique_ids is None:
                    self.told.append("no UIDL")
            case "delete":
                replies = await client.delete(sorted(self._received, reverse=True), window=Window())
                self.told += [f"deleted {number}: {'+OK' if it.ok else '-ERR'}" for number, it in replies.items()]
            case "quit":
                self.told.append(f"quit: {await client.quit()}")
            case "show":
                self._show()
            case _:
                await self._look_into(client, step)

    async def _look_into(self, client: Pop3Client, step: str) -> None:
        if step == "top":
            header = await client.top(2)
            self.told.append("no TOP" if header is None else f"the header of message 2: {header.decode()!r}")
        else:
            await self._retrieve(client, WINDOWS[step])

    def _show(self) -> None:
        """Tell the listings; of many messages only their number."""
        uidls = self._unique_ids or {}
        numbers = [*self._sizes, *(number for number in uidls if number not in self._sizes)]
        if len(numbers) > 10:
            self.told.append(f"{len(numbers)} messages")
            return
        self.told += [f"listed {n}: {self._sizes.get(n)} octets, UIDL {uidls.get(n)!r}" for n in numbers]

    async def _retrieve(self, client: Pop3Client, window: Window) -> None:
        answer = self._unique_ids[1] if self._unique_ids else self._sizes[1]
        sentinel = None if answer is None else Sentinel(number=1, answer=answer)
        requests = [Retrieval(number=number, octets=size, sentinel=sentinel) for number, size in self._sizes.items()]
        content = bytearray()
        async for event in client.retrieve(requests, window=window):
            match event:
                case MessageBegin():
                    content = bytearray()
                case MessageOctets(data=data):
                    content += data
                case MessageDone(number=number, octets=octets, confirmed_by=why):
                    assert octets == len(content)
                    self._received.append(number)
                    shown = repr(content.decode()) if len(content) < 1000 else f"{len(content)} octets"
                    self.told.append(f"message {number}: {shown} by {why.value}")
                case MessageEmpty(number=number):
                    self.told.append(f"message {number}: empty")
                case MessageRefused(number=number, reply=reply):
                    self.told.append(f"message {number}: refused {reply.text.decode()}")


async def spoken(path: Path, scripts: Sequence[Script], *, chunking: Chunking, directory: Path) -> list[str]:
    """What the client tells of a dialogue."""
    authority = trustme.CA()
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    patience = float((directives(path, "patience") or [str(PATIENCE)])[0])
    steps = " ".join(directives(path, "do")).split()
    login = dict(word.split("=", 1) for word in " ".join(directives(path, "login")).split())
    server = ScriptedServer(*scripts, chunking=chunking, tls=tls)
    async with server.listening(implicit_tls="open-tls" in steps):
        actor = Actor(server.port, ca_file, login=login, patience=patience)
        await actor.perform(steps)
    return actor.told


@pytest.mark.parametrize(("path", "chunking"), cases(), ids=lambda case: getattr(case, "stem", None) or case.value)
def test_the_dialogue_comes_to_its_outcome(path: Path, chunking: Chunking, tmp_path: Path) -> None:
    told = asyncio.run(spoken(path, load_all(path), chunking=chunking, directory=tmp_path))
    assert told == directives(path, "outcome")


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_trailing_data_is_never_taken_for_an_answer(path: Path, tmp_path: Path) -> None:
    """Behind the last answer it changes nothing; behind any other one it is a breach, and ends the session."""
    expected = directives(path, "outcome")
    *earlier, script = load_all(path)
    says = [at for at, line in enumerate(script) if line.step is Step.SEND]
    hears = [at for at, line in enumerate(script) if line.step in {Step.EXPECT, Step.ANYTHING}]
    last = [at for at in says if at > max(hears, default=-1)]
    if last and directives(path, "trailing") != ["no"]:
        trailed = with_stray(script, last[-1])
        told = asyncio.run(spoken(path, [*earlier, trailed], chunking=Chunking.WHOLE, directory=tmp_path))
        assert told == expected
    for at in says:
        if at in last or not script[at].octets.endswith(b"\r\n"):
            continue
        cut = (*with_stray(script, at)[: at + 1], Line(Step.SILENT))
        *before, end = asyncio.run(spoken(path, [*earlier, cut], chunking=Chunking.WHOLE, directory=tmp_path))
        assert before == expected[: len(before)]
        assert end.startswith(ERRORS) or end in expected, end


def with_stray(script: Script, at: int) -> Script:
    """The script with a reply that nobody asked for in one piece with what it says at that step."""
    return (*script[:at], Line(Step.SEND, script[at].octets + STRAY), *script[at + 1 :])
