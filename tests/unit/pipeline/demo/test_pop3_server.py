"""The embedded POP3 server: right by default, wrong only where its manners say so."""

from __future__ import annotations

import poplib
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest
import trustme

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Deletion, Maildrop, Manners, Pop3Server, Pop3Session, stuffed
from tests.support.processes import wait_until

FIRST = b"Subject: one\r\n\r\nhello\r\n"
HONEST = Manners()
SECOND = b"Subject: two\r\n\r\n.dot\r\n..\r\nend\r\n"


def a_server(manners: Manners = HONEST, *messages: bytes) -> Pop3Server:
    return Pop3Server({"alice": ("secret", messages or (FIRST, SECOND))}, manners, token=lambda: "token")


def log_in(server: Pop3Server) -> poplib.POP3:
    client = poplib.POP3("127.0.0.1", server.port, timeout=10)
    client.user("alice")
    client.pass_("secret")
    return client


def drop(client: poplib.POP3) -> None:
    client.close()


def wait_for_the_end_of(session: Pop3Session) -> None:
    wait_until(lambda: not session.maildrops["alice"].locked, "the session has ended")


@pytest.fixture
def server() -> Iterator[Pop3Server]:
    with serving(a_server()) as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_a_message_is_retrieved_as_it_was_stored(server: Pop3Server) -> None:
    """RFC 1939 section 3: dot-stuffing is undone by the client."""
    client = log_in(server)
    assert client.retr(2)[1] == [b"Subject: two", b"", b".dot", b"..", b"end"]
    client.quit()


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"", b".\r\n"),
        (b"x", b"x\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\n.b", b"a\r\n..\r\n..b\r\n.\r\n"),
        (b"a\n.\nb\n", b"a\n.\nb\n\r\n.\r\n"),
        (b"a\r.\r\n", b"a\r.\r\n.\r\n"),
    ],
)
def test_only_lines_that_follow_a_crlf_are_stuffed(content: bytes, sent: bytes) -> None:
    """Bare LF and bare CR end no line; they must reach the client as they are."""
    assert stuffed(content) == sent


def test_list_counts_what_retr_sends(server: Pop3Server) -> None:
    """RFC 1939 section 11: octets with CRLF line ends, dot-stuffing not counted."""
    client = log_in(server)
    assert client.list()[1] == [b"1 %d" % len(FIRST), b"2 %d" % len(SECOND)]
    client.quit()


def test_stat_counts_what_is_not_deleted(server: Pop3Server) -> None:
    """RFC 1939 section 5, STAT."""
    client = log_in(server)
    client.dele(1)
    assert client.stat() == (1, len(SECOND))
    client.quit()


def test_rset_undoes_dele(server: Pop3Server) -> None:
    """RFC 1939 section 5, RSET."""
    client = log_in(server)
    client.dele(1)
    client.rset()
    client.quit()
    assert server.maildrop("alice") == [FIRST, SECOND]


def test_a_deleted_message_is_gone_after_quit(server: Pop3Server) -> None:
    """RFC 1939 section 6, UPDATE."""
    client = log_in(server)
    client.dele(1)
    client.quit()
    assert server.maildrop("alice") == [SECOND]


def test_a_deleted_message_stays_when_the_connection_is_lost(server: Pop3Server) -> None:
    """RFC 1939 section 6: without QUIT nothing is removed."""
    client = log_in(server)
    client.dele(1)
    drop(client)
    wait_for_the_end_of(server.sessions[0])
    assert server.maildrop("alice") == [FIRST, SECOND]


@pytest.mark.parametrize("deletion", [Deletion.AT_DELE, Deletion.ON_DROP])
def test_a_server_of_other_manners_deletes_without_quit(deletion: Deletion) -> None:
    """Such servers exist; a client may not take the loss of the connection for a roll-back."""
    with serving(a_server(Manners(deletion=deletion))) as server:
        client = log_in(server)
        client.dele(1)
        drop(client)
        wait_for_the_end_of(server.sessions[0])
        assert server.maildrop("alice") == [SECOND]


def test_a_uidl_stays_with_its_message(server: Pop3Server) -> None:
    """RFC 1939 section 7: a unique-id persists across sessions and is not used again."""
    client = log_in(server)
    second = client.uidl()[1][1].split()[1]
    client.dele(1)
    client.quit()
    client = log_in(server)
    assert client.uidl()[1] == [b"1 " + second]
    client.quit()


def test_equal_messages_have_uidls_of_their_own() -> None:
    """RFC 1939 section 7 permits one for both, which loses a message with clients that trust it."""
    with serving(a_server(HONEST, FIRST, FIRST)) as server:
        client = log_in(server)
        assert len({line.split()[1] for line in client.uidl()[1]}) == 2
        client.quit()


def test_top_gives_the_header_and_so_many_lines(server: Pop3Server) -> None:
    """RFC 1939 section 7, TOP."""
    client = log_in(server)
    assert client.top(2, 1)[1] == [b"Subject: two", b"", b".dot"]
    client.quit()


def test_apop_is_a_digest_of_challenge_and_password(server: Pop3Server) -> None:
    """RFC 1939 section 7, APOP; poplib computes the digest by itself."""
    client = poplib.POP3("127.0.0.1", server.port, timeout=10)
    client.apop("alice", "secret")
    assert client.stat()[0] == 2
    client.quit()


def test_a_wrong_digest_is_refused(server: Pop3Server) -> None:
    client = poplib.POP3("127.0.0.1", server.port, timeout=10)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client.apop("alice", "guess")
    client.quit()


def test_the_challenge_is_another_in_each_session(server: Pop3Server) -> None:
    """RFC 1939 section 7: it must be different each time, or a digest could be used again."""
    for _ in range(2):
        log_in(server).quit()
    assert server.sessions[0].challenge != server.sessions[1].challenge


def test_a_wrong_password_is_refused(server: Pop3Server) -> None:
    """RFC 3206: the response code says that the credentials are to blame."""
    client = poplib.POP3("127.0.0.1", server.port, timeout=10)
    client.user("alice")
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client.pass_("guess")
    client.quit()


def test_a_maildrop_is_open_in_one_session_at_a_time(server: Pop3Server) -> None:
    """RFC 1939 section 4: an exclusive-access lock; RFC 2449 section 8.1.1 names the response code."""
    first = log_in(server)
    second = poplib.POP3("127.0.0.1", server.port, timeout=10)
    second.user("alice")
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        second.pass_("secret")
    second.quit()
    first.quit()
    log_in(server).quit()


def test_stls_makes_the_session_private(authority: trustme.CA) -> None:
    """RFC 2595 section 4."""
    with serving(Pop3Server({"alice": ("secret", [FIRST])}, tls=server_tls(authority))) as server:
        client = poplib.POP3("localhost", server.port, timeout=10)
        client.stls(client_tls(authority))
        assert "STLS" not in client.capa()
        client.user("alice")
        client.pass_("secret")
        assert client.stat() == (1, len(FIRST))
        client.quit()


def test_commands_sent_in_clear_behind_stls_end_the_session(authority: trustme.CA) -> None:
    """RFC 2595 section 4: they must not be taken for commands that came under TLS."""
    server = Pop3Server({"alice": ("secret", [FIRST])}, tls=server_tls(authority))
    with serving(server), socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"STLS\r\nUSER alice\r\n")
        received = b"".join(iter(lambda: raw.recv(4096), b""))
        assert received.endswith(b"+OK begin TLS\r\n")


def test_implicit_tls_begins_with_the_first_octet(authority: trustme.CA) -> None:
    """RFC 8314 section 3.3."""
    with serving(Pop3Server({"alice": ("s", [FIRST])}, tls=server_tls(authority), implicit_tls=True)) as server:
        client = poplib.POP3_SSL("localhost", server.port, timeout=10, context=client_tls(authority))
        assert "STLS" not in client.capa()
        client.quit()


def test_pipelined_commands_are_answered_in_order_and_noted(server: Pop3Server) -> None:
    """RFC 2449 section 6.6."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"USER alice\r\nPASS secret\r\nSTAT\r\nQUIT\r\n")
        received = b"".join(iter(lambda: raw.recv(4096), b""))
    expected = f"+OK 2 {len(FIRST) + len(SECOND)}".encode()
    assert received.split(b"\r\n")[1:] == [b"+OK", b"+OK logged in", expected, b"+OK bye", b""]
    assert server.sessions[0].pipelined


def test_commands_one_by_one_are_not_noted_as_pipelined(server: Pop3Server) -> None:
    """A test of a client that must not pipeline relies on it."""
    log_in(server).quit()
    assert not server.sessions[0].pipelined


def test_the_commands_of_each_session_can_be_read(server: Pop3Server) -> None:
    """What a client did not send is what most tests are about."""
    log_in(server).quit()
    assert [session.commands for session in server.sessions] == [["USER alice", "PASS secret", "QUIT"]]


@pytest.mark.parametrize(
    ("manners", "word"),
    [(Manners(pipelining=False), "PIPELINING"), (Manners(uidl=False), "UIDL"), (Manners(top=False), "TOP")],
)
def test_what_is_switched_off_is_not_offered(manners: Manners, word: str) -> None:
    """CAPA and the commands agree (RFC 2449 section 5)."""
    with serving(a_server(manners)) as server:
        client = log_in(server)
        assert word not in client.capa()
        client.quit()


def a_session(manners: Manners = HONEST, *messages: bytes) -> Pop3Session:
    """A session without a network, logged in."""
    maildrop = Maildrop("secret")
    for message in messages:
        maildrop.deliver(message)
    session = Pop3Session({"alice": maildrop}, manners, challenge=b"<1@x>", offered_tls=None)
    session.answer(b"USER alice")
    session.answer(b"PASS secret")
    return session


@pytest.mark.parametrize("line", [b"UIDL", b"UIDL 1", b"TOP 1 0"])
def test_what_is_switched_off_is_unknown(line: bytes) -> None:
    """A client that does not ask CAPA learns it by -ERR."""
    assert a_session(Manners(uidl=False, top=False), FIRST).answer(line) == b"-ERR unknown command here\r\n"


@pytest.mark.parametrize("verb", [b"RETR", b"DELE", b"LIST", b"UIDL", b"TOP"])
@pytest.mark.parametrize("number", [b"0", b"2", b"-1", b"x"])
def test_a_number_outside_the_listing_is_refused(verb: bytes, number: bytes) -> None:
    """RFC 1939 section 5: no such message."""
    assert a_session(HONEST, FIRST).answer(verb + b" " + number).startswith(b"-ERR")


@pytest.mark.parametrize("verb", [b"RETR 1", b"DELE 1", b"LIST 1", b"UIDL 1", b"TOP 1 0"])
def test_a_deleted_message_is_refused(verb: bytes) -> None:
    """RFC 1939 section 5, DELE: any later reference to the number is an error."""
    session = a_session(HONEST, FIRST)
    session.answer(b"DELE 1")
    assert session.answer(verb).startswith(b"-ERR")


def test_list_and_uidl_of_one_message_are_one_line() -> None:
    """RFC 1939 sections 5 and 7."""
    session = a_session(HONEST, FIRST)
    assert session.answer(b"LIST 1") == b"+OK 1 %d\r\n" % len(FIRST)
    assert session.answer(b"uidl 1") == b"+OK 1 00000001\r\n"


def test_pass_needs_a_user() -> None:
    """RFC 1939 section 7, PASS."""
    session = Pop3Session({"": Maildrop("")}, HONEST, challenge=b"<1@x>", offered_tls=None)
    assert session.answer(b"PASS ").startswith(b"-ERR")


def test_a_message_without_a_body_is_all_header() -> None:
    """TOP n 0 of a message that has no empty line gives all of it."""
    assert a_session(HONEST, b"Subject: x\r\n").answer(b"TOP 1 0").endswith(b"\r\nSubject: x\r\n.\r\n")


def test_a_connection_that_is_reset_frees_its_maildrop(server: Pop3Server) -> None:
    """Or the account would stay locked after a client was killed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"USER alice\r\nPASS secret\r\n")
        wait_until(lambda: server.sessions and server.sessions[0].user, "the login")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for_the_end_of(server.sessions[0])
    log_in(server).quit()


def test_sizes_can_be_wrong() -> None:
    """Servers that count LF line ends, or a header that they add later, are common."""
    with serving(a_server(Manners(added_octets=7), FIRST)) as server:
        client = log_in(server)
        assert client.list()[1] == [b"1 %d" % (len(FIRST) + 7)]
        client.quit()


def test_one_message_can_be_refused() -> None:
    """A damaged message at the provider must not stop the others."""
    with serving(a_server(Manners(refused_retrievals=frozenset({1})))) as server:
        client = log_in(server)
        with pytest.raises(poplib.error_proto):
            client.retr(1)
        assert client.retr(2)[2] > 0
        client.quit()


def test_the_server_can_hang_up_after_some_commands() -> None:
    """A bad line, made repeatable."""
    with serving(a_server(Manners(hang_up_after=3))) as server:
        client = log_in(server)
        client.stat()
        with pytest.raises((poplib.error_proto, OSError)):
            client.stat()
        drop(client)


def test_a_message_delivered_later_is_in_the_next_session(server: Pop3Server) -> None:
    """RFC 1939 section 4: the numbers of a session are fixed at its login."""
    client = log_in(server)
    server.deliver("alice", b"Subject: three\r\n\r\n")
    assert client.stat()[0] == 2
    client.quit()
    client = log_in(server)
    assert client.stat()[0] == 3
    client.quit()


def test_leaving_the_server_ends_its_connections() -> None:
    """No test may wait for another's client."""
    with serving(a_server()) as server:
        client = log_in(server)
    with pytest.raises((poplib.error_proto, OSError)):
        client.stat()
    drop(client)
