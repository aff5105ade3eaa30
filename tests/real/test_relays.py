"""Real relays that refuse, postpone and limit as they like: whatever they answer has its one right outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from tests.support.connector import Connector, account, configure
from tests.support.dovecot import Dovecot, dovecot
from tests.support.exim import Exim, exim
from tests.support.postfix import Postfix, postfix

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SIZE_LIMIT = 100_000
KNOWN = [f"{name}@corp.example" for name in ("sales", "info", "spam", "grey")]
_POSTFIX_RULES = {
    "smtpd_recipient_restrictions": "check_recipient_access inline:{"
    "{spam@corp.example=550 5.7.1 Refused as spam},{grey@corp.example=451 4.7.1 Greylisted}}",
    "header_checks": "regexp:{{/^Subject:.*SPAM/ REJECT 5.7.1 Refused for its content}}",
}


@pytest.fixture(params=["postfix", "exim"])
def relay(request: pytest.FixtureRequest) -> Iterator[Postfix | Exim]:
    started: AbstractContextManager[Postfix | Exim]
    if request.param == "postfix":
        started = postfix(KNOWN, message_size_limit=SIZE_LIMIT, settings=_POSTFIX_RULES)
    else:
        started = exim(KNOWN, message_size_limit=SIZE_LIMIT)
    with started as server:
        yield server


def letter(subject: str, body: str = "Hello.\r\n.dot\r\n") -> bytes:
    return f"Return-Path: <alice@example.org>\r\nSubject: {subject}\r\n\r\n{body}".encode()


def connector_for(directory: Path, relay_port: int, pop3_port: int, *names: str) -> Connector:
    accounts = [account(name, pop3_port) for name in names]
    # The limit of the connector is above what the relay takes: the trap of its ancestor.
    return configure(directory, smtp_port=relay_port, accounts=accounts, fetch={"max_message_size": "10MB"})


def wait_for(relay: Postfix | Exim, recipient: str, messages: int) -> None:
    if isinstance(relay, Exim):
        relay.wait_for(recipient, messages)
    else:
        relay.wait_for(messages)


def test_each_message_comes_to_what_the_relay_says_of_it(relay: Postfix | Exim, tmp_path: Path) -> None:
    """Content and size refused go to Badmail with the server's words, an unknown user too; greylisting is deferred."""
    sales = [letter("one"), letter("SPAM for you"), letter("large", "x" * 70 + "\r\n" * 3), letter("two")]
    sales[2] = letter("large", ("x" * 70 + "\r\n") * 2000)
    maildrops = {
        "sales": ("secret", sales),
        "spam": ("secret", [letter("to spam")]),
        "nobody": ("secret", [letter("to nobody")]),
        "grey": ("secret", [letter("to grey")]),
    }
    with serving(Pop3Server(maildrops)) as pop3:
        connector = connector_for(tmp_path, relay.port, pop3.port, *maildrops)
        done = connector.drain()
        assert all(pop3.maildrop(name) == [] for name in maildrops)

    assert done.returncode == 75, done.stdout + done.stderr
    wait_for(relay, "sales@corp.example", 2)
    found = {str(message["subject"]): message for message in connector.messages()}
    assert {subject: message["state"] for subject, message in found.items()} == {
        "one": "submitted",
        "two": "submitted",
        "SPAM for you": "badmail",
        "large": "badmail",
        "to spam": "badmail",
        "to nobody": "badmail",
        "to grey": "deferred",
    }
    reasons = {subject: str(message["reason"]) for subject, message in found.items()}
    assert "Refused for its content" in reasons["SPAM for you"]
    assert f"larger than the relay's limit (SIZE {SIZE_LIMIT})" in reasons["large"]
    assert "Refused as spam" in reasons["to spam"]
    assert "5.1.1" in reasons["to nobody"]
    assert "Greylisted" in reasons["to grey"]
    assert connector.problems() == []


def test_recipients_of_one_message_are_each_on_their_own(relay: Postfix | Exim, tmp_path: Path) -> None:
    maildrops = {"sales": ("secret", [letter("for three")])}
    with serving(Pop3Server(maildrops)) as pop3:
        recipients = ["info@corp.example", "spam@corp.example", "grey@corp.example"]
        accounts = [account("sales", pop3.port, deliver_to=recipients)]
        connector = configure(tmp_path, smtp_port=relay.port, accounts=accounts)
        assert connector.drain().returncode == 75
    wait_for(relay, "info@corp.example", 1)
    states = sorted((str(message["state"]), message["recipients"]) for message in connector.messages())
    assert states == [("badmail", ["spam@corp.example"]), ("deferred", ["grey@corp.example"])]


def test_lmtp_into_a_real_store_answers_for_each_recipient(tmp_path: Path) -> None:
    """RFC 2033 over TCP and a UNIX socket: one recipient has it, the one that nobody knows is in Badmail."""
    with dovecot({"sales": "secret", "info": "secret"}, lmtp=True) as store:
        assert_delivered_by_lmtp(tmp_path / "socket", store, {"host": str(store.lmtp_socket)})
        assert_delivered_by_lmtp(tmp_path / "tcp", store, {"port": store.lmtp_port})


def assert_delivered_by_lmtp(directory: Path, store: Dovecot, where: Mapping[str, object]) -> None:
    directory.mkdir()
    before = store.count("sales")
    maildrops = {"sales": ("secret", [letter("one"), letter("two")])}
    with serving(Pop3Server(maildrops)) as pop3:
        accounts = [account("sales", pop3.port, deliver_to=["sales@corp.example", "nobody@corp.example"])]
        connector = configure(directory, smtp_port=None, accounts=accounts, smtp={"protocol": "lmtp", **where})
        done = connector.drain()
    assert done.returncode == 0, (done.stdout + done.stderr, connector.told("spool", "ls"), store.log())
    assert store.count("sales") == before + 2
    assert [message["recipients"] for message in connector.badmail()] == [["nobody@corp.example"]] * 2
