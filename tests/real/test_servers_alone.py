"""The real servers of the tests work by themselves: what fails here is no fault of the program."""

from __future__ import annotations

import poplib
import smtplib
import ssl
from collections.abc import Iterator

import pytest

from tests.support.dovecot import HOST_NAME, Dovecot, dovecot
from tests.support.mailutils import DOMAIN as POP_DOMAIN
from tests.support.mailutils import mailutils, without_its_uidl
from tests.support.postfix import Delivered, Postfix, postfix

pytestmark = pytest.mark.real

MESSAGE = b"Subject: hello\r\n\r\n.dot\r\nSch\xc3\xb6ne Gr\xc3\xbc\xc3\x9fe\r\n"
RECIPIENT = "sales@corp.example"


@pytest.fixture(scope="module")
def maildrops() -> Iterator[Dovecot]:
    with dovecot({"alice": "secret"}) as server:
        yield server


@pytest.fixture(scope="module")
def relay() -> Iterator[Postfix]:
    with postfix([RECIPIENT], message_size_limit=100_000, settings={"smtpd_hard_error_limit": "3"}) as server:
        yield server


def trust(server: Dovecot) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.ca_file)


def fetched(client: poplib.POP3) -> bytes:
    """Log in, retrieve the only message and delete it."""
    client.user("alice")
    client.pass_("secret")
    _, lines, _ = client.retr(1)
    client.dele(1)
    client.quit()
    return b"".join(line + b"\r\n" for line in lines)


def test_dovecot_serves_mail_in_clear(maildrops: Dovecot) -> None:
    maildrops.deliver("alice", MESSAGE)
    assert fetched(poplib.POP3("127.0.0.1", maildrops.port, timeout=10)) == MESSAGE
    assert maildrops.count("alice") == 0


def test_dovecot_serves_mail_after_stls(maildrops: Dovecot) -> None:
    maildrops.deliver("alice", MESSAGE)
    client = poplib.POP3(HOST_NAME, maildrops.port, timeout=10)
    client.stls(trust(maildrops))
    assert fetched(client) == MESSAGE


def test_dovecot_serves_mail_under_implicit_tls(maildrops: Dovecot) -> None:
    maildrops.deliver("alice", MESSAGE)
    client = poplib.POP3_SSL(HOST_NAME, maildrops.tls_port, timeout=10, context=trust(maildrops))
    assert fetched(client) == MESSAGE


def test_dovecot_offers_apop(maildrops: Dovecot) -> None:
    """RFC 1939 section 7."""
    maildrops.deliver("alice", MESSAGE)
    client = poplib.POP3("127.0.0.1", maildrops.port, timeout=10)
    client.apop("alice", "secret")
    client.dele(1)
    client.quit()
    assert maildrops.maildrop("alice") == []


def test_dovecot_lists_in_the_order_of_delivery(maildrops: Dovecot) -> None:
    for number in range(3):
        maildrops.deliver("alice", b"%d\r\n" % number)
    assert maildrops.maildrop("alice") == [b"0\r\n", b"1\r\n", b"2\r\n"]
    for number in range(3):
        assert fetched(poplib.POP3("127.0.0.1", maildrops.port, timeout=10)) == b"%d\r\n" % number


def test_mailutils_serves_mail_after_stls_and_writes_a_uidl_into_it() -> None:
    """Other servers do so too: what was had must not look new for it."""
    with mailutils({"alice": "secret"}) as server:
        server.deliver("alice", MESSAGE.replace(b"\r\n", b"\n"))
        client = poplib.POP3(HOST_NAME, server.port, timeout=10)
        client.stls(ssl.create_default_context(cafile=server.ca_file))
        client.user(f"alice@{POP_DOMAIN}")
        client.pass_("secret")
        _, sizes, _ = client.list()
        client.uidl()
        _, lines, octets = client.retr(1)
        client.quit()
        assert sizes == [b"1 %d" % len(MESSAGE)]
        assert octets > len(MESSAGE)
        assert without_its_uidl(b"".join(line + b"\r\n" for line in lines)) == MESSAGE
        assert server.maildrop("alice") == [MESSAGE.replace(b"\r\n", b"\n")]


def test_postfix_delivers_what_was_submitted(relay: Postfix) -> None:
    """Postfix stores LF line ends and adds its own header, which the fixture takes off again."""
    before = relay.count()
    with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="gw.corp.example", timeout=10) as client:
        client.sendmail("alice@example.org", [RECIPIENT], MESSAGE)
    relay.wait_for(before + 1)
    expected = Delivered(reverse_path="alice@example.org", content=MESSAGE.replace(b"\r\n", b"\n"))
    assert expected in relay.delivered(RECIPIENT)


@pytest.mark.parametrize("recipient", ["nobody@corp.example", "somebody@elsewhere.example"])
def test_postfix_refuses_whom_it_does_not_know(relay: Postfix, recipient: str) -> None:
    """Nothing a test submits can leave the machine."""
    with (
        smtplib.SMTP("127.0.0.1", relay.port, local_hostname="gw.corp.example", timeout=10) as client,
        pytest.raises(smtplib.SMTPRecipientsRefused, match=r"550|554"),
    ):
        client.sendmail("alice@example.org", [recipient], MESSAGE)


def test_postfix_tells_its_size_limit(relay: Postfix) -> None:
    """RFC 1870."""
    with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="gw.corp.example", timeout=10) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "100000"


def test_postfix_takes_the_settings_of_a_test(relay: Postfix) -> None:
    """smtpd_hard_error_limit ends a session with 421."""
    with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="gw.corp.example", timeout=10) as client:
        client.ehlo()
        codes = [client.docmd("NONSENSE")[0] for _ in range(4)]
    assert codes[-1] == 421
