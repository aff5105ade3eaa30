"""The failure that made the ancestor infamous: five bad messages that stop all mail. Here each costs itself alone.

Exchange answers 501 to a reverse-path without a domain (DefaultDomain off) and to those it finds malformed, and ends
the session with 421 at the fifth such error (MaxProtocolErrors). The ancestor fetched the same five again, for ever.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink
from tests.support.connector import Connector, account, configure, without_our_received

MAX_PROTOCOL_ERRORS = 5
LIKE_EXCHANGE = SinkRules(
    max_protocol_errors=MAX_PROTOCOL_ERRORS,
    refusals=(Refusal(part=Part.REVERSE_PATH, marker=b"@malformed.example", reply="501 5.1.7 Invalid address"),),
)
# What is sent: most with a whole address, some with none but a name, some from nobody.
GOOD = [b"<alice@example.org>"] * 100 + [b"<alice>"] * 20 + [b"<>"] * 20
# What only the relay objects to, and what no rule can repair.
REFUSED_BY_RELAY = [b"<ann@malformed.example>"] * 30
REFUSED_BY_US = [
    b"<ann@@example.org>",
    b"ann and bob",
    b"<ann@example.org",
    b"<@example.org>",
    b"<a\x00b@example.org>",
] * 6


def letters(paths: list[bytes], *, kind: bytes) -> list[bytes]:
    return [
        b"Return-Path: %s\r\nSubject: %s %d\r\n\r\nHello.\r\n" % (path, kind, number)
        for number, path in enumerate(paths)
    ]


def test_the_relay_is_as_strict_as_exchange() -> None:
    with serving(SmtpSink(LIKE_EXCHANGE)) as sink, socket.create_connection(("127.0.0.1", sink.port), 10) as client:
        replies = client.makefile("rb")
        replies.readline()
        client.sendall(b"HELO gw.corp.example\r\n" + b"MAIL FROM:<alice>\r\n" * MAX_PROTOCOL_ERRORS)
        codes = [line[:3] for line in replies]
    assert codes == [b"250", *[b"501"] * MAX_PROTOCOL_ERRORS, b"421"]


def test_60_malformed_of_200_messages_cost_the_other_140_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    good = letters(GOOD, kind=b"good")
    messages = [*good, *letters(REFUSED_BY_RELAY, kind=b"relay"), *letters(REFUSED_BY_US, kind=b"ours")]
    random.Random(seed).shuffle(messages)
    pop3, sink = Pop3Server({"sales": ("secret", messages)}), SmtpSink(LIKE_EXCHANGE)
    with serving(pop3), serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        done = connector.drain()
    with capsys.disabled():
        print(f"\nExchange stall: order of seed {seed}, {len(sink.connections)} connections")  # noqa: T201 - wanted
    assert done.returncode == 0, done.stderr
    assert sorted(without_our_received(one.content) for one in sink.accepted) == sorted(good)
    assert Counter(one.reverse_path for one in sink.accepted) == {
        "alice@example.org": 100,
        "alice@corp.example": 20,
        "": 20,
    }
    assert pop3.maildrop("sales") == []
    assert stages_of(connector) == {"submit": 30, "validate": 30}
    assert len(sink.connections) < len(REFUSED_BY_RELAY)
    assert max(connection.protocol_errors for connection in sink.connections) < MAX_PROTOCOL_ERRORS


def stages_of(connector: Connector) -> Counter[object]:
    """Who sent what is in Badmail there."""
    return Counter(reason["stage"] for reason in connector.reasons())
