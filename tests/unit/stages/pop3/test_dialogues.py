"""Every dialogue file, spoken through the client with a server that follows it line by line.

`#do:` names the steps of the client, `#outcome:` what they must come to, a line each. `#login:` gives what `login` uses
besides alice and her password `secret`: `auth=`, `password=`, `token=`, `prefer=`. Every file is spoken with the
server's lines whole and octet by octet; those that say `#chunks: whole` test what lies in one piece with the answer
before it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trustme

from stages.errors import PeerSaidNo, StageError
from stages.pop3.auth import Credentials
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
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from stages.trust import Trust
from tests.support.scripted_server import Chunking, ScriptedServer, load

DIALOGUES = Path(__file__).parents[3] / "dialogues" / "pop3"
PATIENCE = 5.0
OPENINGS = {
    "open": TlsMode.NONE,
    "open-without-capa": TlsMode.NONE,
    "open-starttls": TlsMode.STARTTLS,
    "open-tls": TlsMode.IMPLICIT,
}
WINDOWS = {"retrieve": ONE_BY_ONE, "retrieve-window": Window(), "retrieve-sentinels": Window(sentinels=True)}


def directives(path: Path, name: str) -> list[str]:
    prefix = f"#{name}: "
    return [line.removeprefix(prefix) for line in path.read_text().splitlines() if line.startswith(prefix)]


def cases() -> list[tuple[Path, Chunking]]:
    return [
        (path, chunking)
        for path in sorted(DIALOGUES.glob("*.txt"))
        for chunking in Chunking
        if chunking is Chunking.WHOLE or directives(path, "chunks") != ["whole"]
    ]


class Actor:
    """Does the steps of a dialogue and tells what came of each."""

    def __init__(self, port: int, ca_file: Path, *, login: Mapping[str, str]) -> None:
        self.told: list[str] = []
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
            self._client = await Pop3Client.open(endpoint, timeout=PATIENCE, ask_capabilities=asks)
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
                for number, reply in (
                    await client.delete(sorted(self._received, reverse=True), window=Window())
                ).items():
                    self.told.append(f"deleted {number}: {'+OK' if reply.ok else '-ERR'}")
            case "quit":
                self.told.append(f"quit: {await client.quit()}")
            case _:
                await self._retrieve(client, WINDOWS[step])

    async def _retrieve(self, client: Pop3Client, window: Window) -> None:
        answer = self._unique_ids[1] if self._unique_ids else self._sizes[1]
        sentinel = None if answer is None else Sentinel(number=1, answer=answer)
        requests = [Retrieval(number=number, octets=size, sentinel=sentinel) for number, size in self._sizes.items()]
        content = b""
        async for event in client.retrieve(requests, window=window):
            match event:
                case MessageBegin():
                    content = b""
                case MessageOctets(data=data):
                    content += data
                case MessageDone(number=number, octets=octets, confirmed_by=why):
                    assert octets == len(content)
                    self._received.append(number)
                    self.told.append(f"message {number}: {content.decode()!r} by {why.value}")
                case MessageEmpty(number=number):
                    self.told.append(f"message {number}: empty")
                case MessageRefused(number=number, reply=reply):
                    self.told.append(f"message {number}: refused {reply.text.decode()}")


@pytest.mark.parametrize(("path", "chunking"), cases(), ids=lambda case: getattr(case, "stem", None) or case.value)
def test_the_dialogue_comes_to_its_outcome(path: Path, chunking: Chunking, tmp_path: Path) -> None:
    async def speak() -> list[str]:
        authority = trustme.CA()
        ca_file = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        steps = " ".join(directives(path, "do")).split()
        login = dict(word.split("=", 1) for word in " ".join(directives(path, "login")).split())
        server = ScriptedServer(load(path), chunking=chunking, tls=tls)
        async with server.listening(implicit_tls="open-tls" in steps):
            actor = Actor(server.port, ca_file, login=login)
            await actor.perform(steps)
        return actor.told

    assert asyncio.run(speak()) == directives(path, "outcome")
