"""Dovecot to Postfix, through the whole pipeline run as processes: everything once, byte for byte, restart included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connector import Connector, account, configure, without_our_received
from tests.support.dovecot import HOST_NAME, Dovecot, dovecot
from tests.support.postfix import Postfix, postfix
from tests.support.processes import running, wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

USERS = [f"user{number:02}" for number in range(20)]
DOMAIN = "corp.example"
EACH = 50


@pytest.fixture(scope="module")
def maildrops() -> Iterator[Dovecot]:
    with dovecot(dict.fromkeys(USERS, "secret")) as server:
        yield server


@pytest.fixture(scope="module")
def relay() -> Iterator[Postfix]:
    with postfix([f"{user}@{DOMAIN}" for user in USERS]) as server:
        yield server


@pytest.fixture
def connector(tmp_path: Path, maildrops: Dovecot, relay: Postfix) -> Connector:
    """Plain, STLS and implicit TLS in turns."""
    accounts = []
    for number, user in enumerate(USERS):
        tls = ("none", "starttls", "implicit")[number % 3]
        port = maildrops.tls_port if tls == "implicit" else maildrops.port
        trust = {} if tls == "none" else {"ca_file": str(maildrops.ca_file)}
        accounts.append(account(user, port, host=HOST_NAME, tls=tls, **trust))
    return configure(tmp_path, smtp_port=relay.port, accounts=accounts, fetch={"max_messages_per_session": 20})


def letter(user: str, number: int) -> bytes:
    """8-bit text, lines that begin with dots, sizes from small to middling."""
    body = b".\xc3\xbc\r\n..two dots\r\n" + b"x" * (number * 37 % 900) + b"\r\n"
    head = f"Return-Path: <alice@example.org>\r\nMessage-ID: <{number}.{user}@example.org>\r\n"
    return head.encode() + b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n" + body * (1 + number % 7)


def test_a_thousand_messages_arrive_once_and_byte_for_byte_over_a_restart(
    connector: Connector, maildrops: Dovecot, relay: Postfix
) -> None:
    for number in range(EACH):
        for user in USERS:
            maildrops.deliver(user, letter(user, number))

    with running(connector.command("run")) as first:
        wait_until(lambda: relay.count() > 100, "mail flows")
        assert first.stop() == 0, first.output
    assert sum(map(maildrops.count, USERS)) > 0, "the restart came too late to be in the middle"
    done = connector.drain()

    assert done.returncode == 0, done.stdout + done.stderr
    relay.wait_for(EACH * len(USERS))
    for user in USERS:
        arrived = [without_our_received(delivered.content) for delivered in relay.delivered(f"{user}@{DOMAIN}")]
        assert Counter(arrived) == Counter(letter(user, number).replace(b"\r\n", b"\n") for number in range(EACH))
    assert {delivered.reverse_path for delivered in relay.delivered(f"{USERS[0]}@{DOMAIN}")} == {"alice@example.org"}
    assert [maildrops.count(user) for user in USERS] == [0] * len(USERS)
    assert connector.problems() == []
