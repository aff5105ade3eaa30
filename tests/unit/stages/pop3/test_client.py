"""The client, where a dialogue file cannot show it: limits, TLS from the start, what is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
import trustme

from stages.dialogue import Dialogue
from stages.errors import PeerBroke
from stages.pop3.client import CommandRefused, LoginRefused, Pop3Client, Pop3Endpoint
from stages.pop3.retrieval import Retrieval
from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import TlsMode
from stages.stream import StreamTimeout
from stages.trust import Trust
from tests.support.scripted_server import ScriptedServer, parse

PATIENCE = 5.0
ALICE = Credentials(username="alice", password=Secret("hunter2"))
OPENING = "S: +OK ready\nC: CAPA\nS: -ERR\n"


Result = TypeVar("Result")


def speak(script: str, act: Callable[[Pop3Client], Awaitable[Result]], *, timeout: float = PATIENCE) -> Result:
    async def talk() -> Result:
        async with ScriptedServer(parse(OPENING + script)).listening() as server:
            client = await Pop3Client.open(
                Pop3Endpoint(host="127.0.0.1", port=server.port, tls=TlsMode.NONE), timeout=timeout
            )
            try:
                return await act(client)
            finally:
                await client.close()

    return asyncio.run(talk())


def test_a_header_without_end_is_cut_off() -> None:
    """TOP n 0 is read into memory: it must not grow with what a server sends."""
    script = "C: TOP 1 0\nS: +OK\n" + "S: " + "x" * (1024 * 1024 + 1)
    with pytest.raises(PeerBroke, match="TOP 1 0 gave more than 1048576 octets"):
        speak(script, lambda client: client.top(1))


def test_a_header_comes_with_the_line_that_ends_it() -> None:
    script = "C: TOP 1 0\nS: +OK\nS: Subject: x\nS: ..\nS: \nS: .\n"
    assert speak(script, lambda client: client.top(1)) == b"Subject: x\r\n.\r\n\r\n"


def test_a_server_without_top_gives_no_header() -> None:
    """TOP is optional: RFC 1939 section 7."""
    assert speak("C: TOP 1 0\nS: -ERR\n", lambda client: client.top(1)) is None


def test_a_refused_list_carries_the_code_of_the_reply() -> None:
    with pytest.raises(CommandRefused, match="LIST refused: ") as refused:
        speak("C: LIST\nS: -ERR [SYS/TEMP] later\n", lambda client: client.list())
    assert refused.value.code == "SYS/TEMP"


@pytest.mark.parametrize(("reply", "mechanism"), [("+OK", "USER"), ("-ERR", "")])
def test_the_mechanism_is_named_that_let_us_in(reply: str, mechanism: str) -> None:
    async def act(client: Pop3Client) -> str:
        with suppress(LoginRefused):
            await client.login(ALICE)
        return client.mechanism

    assert speak(f"C: USER alice\nS: +OK\nC: PASS hunter2\nS: {reply}\n", act) == mechanism


def test_a_noop_is_answered() -> None:
    speak("C: NOOP\nS: +OK\n", lambda client: client.noop())


@pytest.mark.parametrize("end", ["", "CUT\n"])
def test_a_quit_without_an_answer_promises_nothing(end: str) -> None:
    """RFC 1939 section 6: what was deleted is known only by the next listing."""
    assert speak("C: QUIT\n" + end, lambda client: client.quit()) is False


def test_every_answer_has_a_deadline() -> None:
    with pytest.raises(StreamTimeout):
        speak("C: STAT\nSILENT\n", lambda client: client.stat(), timeout=0.05)


def test_a_session_that_runs_out_of_time_can_still_be_closed() -> None:
    """The caller's own deadline cancels whatever wait is going on."""

    async def act(client: Pop3Client) -> None:
        async with asyncio.timeout(0.01):
            await client.stat()

    with pytest.raises(TimeoutError):
        speak("C: STAT\nSILENT\n", act)


def test_deletions_beyond_the_window_wait_for_their_answers() -> None:
    """Without PIPELINING one by one, in the order that was given."""
    replies = speak("C: DELE 3\nS: +OK\nC: DELE 1\nS: -ERR\n", lambda client: client.delete([3, 1]))
    assert {number: reply.ok for number, reply in replies.items()} == {3: True, 1: False}


def test_both_sides_are_told_and_no_secret() -> None:
    said: list[str] = []
    ports: list[int] = []
    script = OPENING + (
        "C: USER alice\nS: +OK\nC: PASS hunter2\nS: +OK hunter2 is in\n"
        "C: LIST\nS: +OK\nS: 1 5\nS: .\nC: RETR 1\nS: +OK\nS: one\nS: .\nC: STAT\nS: \x1b[2J\n"
    )

    async def talk() -> None:
        async with ScriptedServer(parse(script)).listening() as server:
            ports.append(server.port)
            client = await Pop3Client.open(
                Pop3Endpoint(host="127.0.0.1", port=server.port, tls=TlsMode.NONE),
                timeout=PATIENCE,
                dialogue=Dialogue(lambda _, side, line: said.append(f"{side} {line}")),
            )
            await client.login(ALICE)
            sizes = await client.list()
            async for _ in client.retrieve([Retrieval(number=1, octets=sizes[1])]):
                pass
            with pytest.raises(PeerBroke):
                await client.stat()
            await client.close()

    asyncio.run(talk())
    assert said == [
        f"* connecting to 127.0.0.1 port {ports[0]}",
        "* connected to 127.0.0.1",
        "< +OK ready",
        "> CAPA",
        "< -ERR",
        "> USER alice",
        "< +OK",
        "> PASS ***",
        "< +OK *** is in",
        "> LIST",
        "< +OK",
        "< 1 5",
        "< .",
        "> RETR 1",
        "< +OK",
        "< <... 5 octets>",
        "< .",
        "> STAT",
        r"< \x1b[2J",
        "* closed",
    ]


def test_implicit_tls_is_there_before_the_greeting(tmp_path: Path) -> None:
    """RFC 8314 section 3.3."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    async def talk() -> tuple[bool, bytes, str]:
        async with ScriptedServer(parse(OPENING), tls=tls).listening(implicit_tls=True) as server:
            endpoint = Pop3Endpoint(
                host="127.0.0.1", port=server.port, tls=TlsMode.IMPLICIT, trust=Trust(ca_file=tmp_path / "ca.pem")
            )
            client = await Pop3Client.open(endpoint, timeout=PATIENCE)
            await client.close()
            return client.is_tls, client.greeting, client.peer_address

    assert asyncio.run(talk()) == (True, b"ready", "127.0.0.1")
