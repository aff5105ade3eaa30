"""What the parameters of a getmailrc mean to us."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.migration.getmailrc import mailboxes
from pipeline.migration.theirs import Mailbox, Place, Relay, Unreadable
from stages.secret import Secret
from stages.settings import AuthMethod, RelayProtocol, TlsMode

PLACE = Place(directory=Path("/home/jo/.getmail"), home=Path("/home/jo"))
AT_ONCE = timedelta(0)


def rc(
    retriever: str = "", *, kind: str = "SimplePOP3SSLRetriever", options: str = "delete = true", destination: str = ""
) -> str:
    head = f"[retriever]\ntype = {kind}\nserver = pop.isp.example\nusername = sales\n"
    return f"{head}ca_certs = /ca.pem\n{retriever}\n[destination]\n{destination}\n[options]\n{options}\n"


def box(text: str) -> Mailbox:
    (found,) = mailboxes(text, PLACE).mailboxes
    return found


def notes(text: str) -> list[str]:
    return [note.text for note in mailboxes(text, PLACE).notes]


def test_an_account_is_carried_over_whole() -> None:
    text = rc(
        "port = 7995\npassword = p=:#\nkeyfile = ~/k.pem\ncertfile = c.pem\nssl_fingerprints = ('" + "AB" * 32 + "',)"
    )
    assert notes(text) == []
    assert box(text) == Mailbox(
        line=1,
        name="sales@pop.isp.example",
        host="pop.isp.example",
        username="sales",
        port=7995,
        tls=TlsMode.IMPLICIT,
        password=Secret("p=:#"),
        leave=AT_ONCE,
        ca_file=Path("/ca.pem"),
        certificate=Path("/home/jo/.getmail/c.pem"),
        key=Path("/home/jo/k.pem"),
        fingerprints=("sha256:" + "ab" * 32,),
        seen=box(text).seen,
    )


@pytest.mark.parametrize(
    ("kind", "tls", "is_multidrop"),
    [
        ("SimplePOP3Retriever", TlsMode.NONE, False),
        ("SimplePOP3SSLRetriever", TlsMode.IMPLICIT, False),
        ("BrokenUIDLPOP3Retriever", TlsMode.NONE, False),
        ("BrokenUIDLPOP3SSLRetriever", TlsMode.IMPLICIT, False),
        ("MultidropPOP3Retriever", TlsMode.NONE, True),
        ("MultidropPOP3SSLRetriever", TlsMode.IMPLICIT, True),
        ("MultidropSDPSRetriever", TlsMode.NONE, True),
    ],
)
def test_the_retriever_says_how_the_server_is_spoken_to(kind: str, tls: TlsMode, is_multidrop: bool) -> None:
    found = box(rc(kind=kind))
    assert (found.tls, found.is_multidrop) == (tls, is_multidrop)


@pytest.mark.parametrize("kind", ["SimpleIMAPRetriever", "SimpleIMAPSSLRetriever", "MultidropIMAPRetriever"])
def test_what_is_not_pop3_is_left_out_by_name(kind: str) -> None:
    found = mailboxes(rc(kind=kind), PLACE)
    assert found.mailboxes == ()
    assert [note.text for note in found.notes] == [f"{kind}: left out, it is not a POP3 retriever"]


@pytest.mark.parametrize(
    ("options", "leave"),
    [
        ("delete = true", AT_ONCE),
        ("delete = YES\ndelete_after = 7", AT_ONCE),
        ("delete = false", None),
        ("", None),
        ("delete_after = 7", timedelta(days=7)),
        ("delete = no\ndelete_after = 0", None),
    ],
)
def test_mail_stays_unless_getmail_was_told_to_delete_it(options: str, leave: timedelta | None) -> None:
    assert box(rc(options=options)).leave == leave


def test_a_password_command_is_one_line_for_the_shell() -> None:
    found = box(rc("password_command = ('/usr/bin/pass', \"show\",\n   'it\\'s \"mine\"')"))
    assert found.command == """/usr/bin/pass show 'it'"'"'s "mine"'"""


@pytest.mark.parametrize(
    ("retriever", "auth"),
    [("", AuthMethod.AUTO), ("use_apop = true", AuthMethod.APOP), ("use_xoauth2 = 1", AuthMethod.XOAUTH2)],
)
def test_logins_are_carried_over(retriever: str, auth: AuthMethod) -> None:
    assert box(rc(retriever)).auth is auth


def test_an_lmtp_server_is_the_relay() -> None:
    text = rc(destination="type = MDA_lmtp\nhost = mx.corp.example\nport = 24\noverride = sales@corp.example")
    assert box(text).relay == Relay(host="mx.corp.example", port=24, protocol=RelayProtocol.LMTP)
    assert (box(text).local, notes(text)) == ("sales@corp.example", [])
    socket = box(rc(destination="type = MDA_lmtp\nhost = /run/lmtp")).relay
    assert socket == Relay(host="/run/lmtp", port=None, protocol=RelayProtocol.LMTP)


@pytest.mark.parametrize("kind", ["Maildir", "Mboxrd", "MDA_external", "MultiDestination"])
def test_any_other_destination_needs_an_address(kind: str) -> None:
    (note,) = notes(rc(destination=f"type = {kind}\npath = ~/Maildir/"))
    assert note == f"{kind}: ours delivers by SMTP or LMTP; see [smtp], and give --deliver-to"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rc(options="delete = true\nmax_message_size = 9"), "max_message_size"),
        (rc("timeout = 9"), "timeout"),
        (rc("envelope_recipient = delivered-to:1"), "envelope_recipient"),
        (rc() + "[filter-1]\ntype = Filter_external\n", "[filter-1]"),
        (rc("ssl_fingerprints = ('AABB',)"), "ssl_fingerprints"),
        (rc(options="read_all = true\ndelete = false"), "read_all"),
        (rc(kind="BrokenUIDLPOP3SSLRetriever"), "a server without UIDL"),
        (rc(kind="SimplePOP3Retriever"), "no TLS, as there"),
        (rc().replace("ca_certs = /ca.pem\n", ""), "without ca_certs getmail checks no certificate"),
        (rc(options=""), "without delete getmail leaves all mail on the server"),
    ],
)
def test_what_has_no_counterpart_is_listed(text: str, said: str) -> None:
    assert [note.partition(":")[0] for note in notes(text)] == [said]


def test_the_list_of_seen_uidls_is_named_as_getmail_names_it() -> None:
    text = rc("port = 110", kind="SimplePOP3Retriever").replace("sales", "a/b:c|d")
    assert box(text).seen[0] == Path("/home/jo/.getmail/oldmail-pop.isp.example-110-a-b-c-d")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("[retriever]\n", 1),
        ("\n[retriever]\ntype = SimplePOP3Retriever\n", 2),
        (rc("port = pop3"), 6),
        (rc("port = 70000"), 6),
        (rc("use_apop = perhaps"), 6),
        (rc("password_command = pass show"), 6),
        (rc("password_command = ('a' b)"), 6),
        (rc(options="\ndelete_after = -1"), 11),
    ],
)
def test_what_getmail_would_refuse_is_refused_by_its_line(text: str, line: int) -> None:
    with pytest.raises(Unreadable) as refused:
        mailboxes(text, PLACE)
    assert refused.value.line == line
