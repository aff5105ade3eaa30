"""What the driver tells of a POP3 dialogue: lines as they were, content and the most of listings as a count."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable

import pytest

from stages.dialogue import FIRST_LINES, Dialogue, Side, Switch
from stages.errors import NetworkError, ProtocolViolation
from stages.pop3.client import LoginRefused, Pop3Client, Pop3Endpoint
from stages.pop3.retrieval import Retrieval, Window
from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from tests.support.scripted_server import ScriptedServer, parse

PATIENCE = 5.0
OPENING = "S: +OK ready\n"
SECRET = "correct horse"


def told_of(
    script: str, act: Callable[[Pop3Client], Awaitable[object]], *, switch: Switch | None = None, capa: bool = False
) -> list[str]:
    """What is told of a session, from the greeting on."""
    told: list[str] = []

    def hear(_number: int, side: Side, line: str) -> None:
        told.append(f"{side} {line}")

    async def talk() -> None:
        async with ScriptedServer(parse(OPENING + script)).listening() as server:
            client = await Pop3Client.open(
                Pop3Endpoint(host="127.0.0.1", port=server.port, tls=TlsMode.NONE),
                timeout=PATIENCE,
                dialogue=Dialogue(hear, switch=switch),
                ask_capabilities=capa,
            )
            try:
                await act(client)
            finally:
                await client.close()

    asyncio.run(talk())
    return told[2:] if told and told[0].startswith("* connecting") else told


async def retrieve(client: Pop3Client, *messages: tuple[int, int], window: Window | None = None) -> None:
    requests = [Retrieval(number=number, octets=octets) for number, octets in messages]
    async for _ in client.retrieve(requests, window=window or Window(messages=1)):
        pass


def test_a_short_listing_is_told_whole() -> None:
    told = told_of("C: LIST\nS: +OK 2 messages\nS: 1 5\nS: 2 7\nS: .\n", lambda client: client.list())
    assert told[1:] == ["> LIST", "< +OK 2 messages", "< 1 5", "< 2 7", "< .", "* closed"]


def test_of_a_long_listing_the_first_lines_are_told_and_how_many_more_there_are() -> None:
    told = told_of("C: UIDL\nS: +OK\nS*5000: {n} uidl-{n}\nS: .\n", lambda client: client.uidl())
    assert told[3:] == [
        *(f"< {number} uidl-{number}" for number in range(1, FIRST_LINES + 1)),
        f"< <... {5000 - FIRST_LINES} more lines>",
        "< .",
        "* closed",
    ]


def test_each_listing_begins_anew() -> None:
    async def twice(client: Pop3Client) -> None:
        await client.list()
        await client.list()

    told = told_of(2 * "C: LIST\nS: +OK\nS*21: {n} 5\nS: .\n", twice)
    assert told.count("< 20 5") == 2
    assert told.count("< <... 1 more lines>") == 2


def test_of_a_message_its_octets_are_told() -> None:
    told = told_of("C: RETR 1\nS: +OK\nS: secret\nS: ..\nS: .\n", lambda client: retrieve(client, (1, 11)))
    assert told[1:] == ["> RETR 1", "< +OK", "< <... 11 octets>", "< .", "* closed"]


def test_of_a_header_its_octets_are_told() -> None:
    told = told_of("C: TOP 1 0\nS: +OK\nS: Subject: secret\nS: \nS: .\n", lambda client: client.top(1))
    assert told[1:] == ["> TOP 1 0", "< +OK", "< <... 19 octets>", "< .", "* closed"]


def test_of_a_message_that_is_cut_off_it_is_told_how_far_it_came() -> None:
    async def cut(client: Pop3Client) -> None:
        with pytest.raises(NetworkError):
            await retrieve(client, (1, 100))

    told = told_of("C: RETR 1\nS: +OK\nS: half a message\n", cut)
    assert told[1:] == ["> RETR 1", "< +OK", "< <... 14 octets> of a message that was cut off", "* closed"]


def test_a_line_that_breaks_the_protocol_is_told_as_it_came() -> None:
    async def stat(client: Pop3Client) -> None:
        with pytest.raises(ProtocolViolation):
            await client.stat()

    assert told_of("C: STAT\nS: HTTP/1.1 400 Bad Request\n", stat)[1:] == [
        "> STAT",
        "< HTTP/1.1 400 Bad Request",
        "* closed",
    ]


def test_what_is_switched_on_in_the_middle_is_told_from_there_on() -> None:
    switch = Switch(is_on=False)

    async def act(client: Pop3Client) -> None:
        await client.noop()
        switch.is_on = True
        await client.noop()
        switch.is_on = False
        await client.noop()

    told = told_of(3 * "C: NOOP\nS: +OK\n", act, switch=switch)
    assert told == ["> NOOP", "< +OK"]


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        SECRET.upper(),
        f"unknown command: {b64encode(SECRET.encode()).decode()}",
        b64encode(b"\0alice\0" + SECRET.encode()).decode(),
    ],
    ids=["clear", "capitals", "base64", "PLAIN"],
)
def test_a_reply_to_a_login_that_repeats_the_password_in_any_form_does_not_show_it(echo: str) -> None:
    async def login(client: Pop3Client) -> None:
        credentials = Credentials(username="alice", password=Secret(SECRET), method=AuthMethod.BASIC)
        with pytest.raises(LoginRefused):
            await client.login(credentials)

    told = told_of(f"C: USER alice\nS: +OK\nC: PASS {SECRET}\nS: -ERR {echo}\n", login)
    assert told[1:4] == ["> USER alice", "< +OK", "> PASS ***"]
    assert told[4] in ("< -ERR ***", "< -ERR (not shown: it repeats a secret)")


def test_a_line_that_nobody_asked_for_does_not_show_what_it_repeats() -> None:
    """A server that is out of step may say anything."""

    async def login(client: Pop3Client) -> None:
        credentials = Credentials(username="alice", password=Secret(SECRET), method=AuthMethod.BASIC)
        with pytest.raises(ProtocolViolation):
            await client.login(credentials)

    told = told_of(f"C: USER alice\nS: +OK\nC: PASS {SECRET}\nS: {SECRET.upper()}?\n", login)
    assert told[-2] == "< (not shown: it repeats a secret)"
