"""GNU Mailutils pop3d, a server with ways of its own: its sizes are not exact, and it writes into what it lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.smtp_sink import SmtpSink
from tests.support.connector import Connector, account, configure, without_our_received
from tests.support.mailutils import DOMAIN, HOST_NAME, Mailutils, mailutils, without_its_uidl

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

MESSAGES = 50
BODIES = (
    b".\n..\n...\n. a dot and a blank\n",
    b"From nobody Thu Jan  1 00:00:00 1970\n>From quoted\n",
    b"Gr\xc3\xbc\xc3\x9fe, \xff\xfe and \x00 NUL\n",
    b"x" * 9000 + b"\n",
    b"\n\n\nblank lines before and after\n\n\n",
    b"no line end",
    b"+OK this is no reply\n-ERR nor this\n.\n+OK 7 octets\n",
    b" \t\n\t folded where nothing is to be folded\n",
    b"",
    b"y\n" * 40_000,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Mailutils]:
    with mailutils(dict.fromkeys(("moved", "kept", "refused"), "secret")) as running:
        yield running


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with serving(SmtpSink()) as running:
        yield running


def letter(number: int) -> bytes:
    """As it lies in the Maildir, with bare LFs."""
    head = f"Return-Path: <alice@example.org>\nMessage-ID: <{number}@example.org>\nSubject: no. {number}\n".encode()
    return head + b"X-Odd: two\n\tlines\n\n" + BODIES[number % len(BODIES)]


def on_the_wire(message: bytes) -> bytes:
    """RFC 1939 section 3: lines end in CRLF, and the last one does too."""
    return (message if message.endswith(b"\n") else message + b"\n").replace(b"\n", b"\r\n")


def connector_for(directory: Path, server: Mailutils, *, user: str, sink: SmtpSink, **more: object) -> Connector:
    """The server's greeting has an APOP challenge for which it has no passwords."""
    who = account(user, server.port, **{"host": HOST_NAME, "auth": "basic", "username": f"{user}@{DOMAIN}", **more})
    return configure(directory, smtp_port=sink.port, accounts=[who])


def arrived(sink: SmtpSink) -> list[bytes]:
    return sorted(without_its_uidl(without_our_received(one.content)) for one in sink.accepted)


def test_fifty_awkward_messages_arrive_once_and_byte_for_byte_over_stls_and_are_deleted(
    tmp_path: Path, server: Mailutils, sink: SmtpSink
) -> None:
    for number in range(MESSAGES):
        server.deliver("moved", letter(number))
    tls = {"tls": "starttls", "ca_file": str(server.ca_file)}
    connector = connector_for(tmp_path, server, user="moved", sink=sink, **tls)
    done = connector.drain()
    assert done.returncode == 0, done.stdout + done.stderr
    assert arrived(sink) == sorted(on_the_wire(letter(number)) for number in range(MESSAGES))
    assert server.maildrop("moved") == []
    assert connector.problems() == []


def test_what_is_left_on_the_server_is_fetched_once(tmp_path: Path, server: Mailutils, sink: SmtpSink) -> None:
    """The second poll takes the listing alone; it comes under the UIDLs that the server wrote at the first."""
    letters = [letter(number) for number in range(MESSAGES)]
    for message in letters:
        server.deliver("kept", message)
    connector = connector_for(tmp_path, server, user="kept", sink=sink, leave_on_server=True)
    assert connector.drain().returncode == 0
    retrievals = len(server.commands("RETR"))
    assert connector.drain().returncode == 0
    assert len(server.commands("RETR")) == retrievals
    assert server.commands("TOP") == server.commands("DELE") == []
    assert arrived(sink) == sorted(map(on_the_wire, letters))
    assert server.maildrop("kept") == letters


def test_a_wrong_password_is_told_and_nothing_is_touched(tmp_path: Path, server: Mailutils, sink: SmtpSink) -> None:
    server.deliver("refused", letter(0))
    connector = connector_for(tmp_path, server, user="refused", sink=sink, password="wrong")
    done = connector.drain()
    assert done.returncode == 75
    status = connector.told("status")
    assert isinstance(status, dict)
    [told] = status["accounts"]
    assert told["last_error"].startswith("login refused (USER): ")
    assert server.maildrop("refused") == [letter(0)]
