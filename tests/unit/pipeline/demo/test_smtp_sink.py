"""The SMTP sink: what it accepts it keeps octet for octet, what it refuses is said by its rules."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from pipeline.demo.background import serving
from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink

RECIPIENT = "sales@corp.example"


@contextmanager
def connected(sink: SmtpSink) -> Iterator[smtplib.SMTP]:
    with serving(sink), smtplib.SMTP("127.0.0.1", sink.port, local_hostname="gw.corp.example", timeout=10) as client:
        client.ehlo()
        yield client


def dialogue(sink: SmtpSink, octets: bytes) -> bytes:
    """Send everything at once and read until the sink closes."""
    with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as raw:
        raw.sendall(octets)
        return b"".join(iter(lambda: raw.recv(4096), b""))


def transaction(reverse_path: str, content: bytes = b"x\r\n") -> bytes:
    return f"MAIL FROM:<{reverse_path}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode() + content + b".\r\n"


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: \xe9\xff\x00\r\n\r\n8-bit and NUL\r\n",
        b"bare\nLF\n.\nand bare\rCR\r.\r\r\n",
        b"x" * 300_000 + b"\r\n",
        b"",
    ],
    ids=["8-bit", "bare line ends", "long line", "empty"],
)
def test_content_is_kept_as_it_was_received(content: bytes) -> None:
    """A test that compares octets must not be misled by the server."""
    sink = SmtpSink()
    with serving(sink):
        dialogue(sink, b"EHLO x\r\n" + transaction("a@example.org", content) + b"QUIT\r\n")
    assert sink.accepted[0].content == content


def test_dot_stuffing_is_undone() -> None:
    """RFC 5321 section 4.5.2."""
    sink = SmtpSink()
    with serving(sink):
        dialogue(sink, b"EHLO x\r\n" + transaction("a@example.org", b"..\r\n..b\r\n") + b"QUIT\r\n")
    assert sink.accepted[0].content == b".\r\n.b\r\n"


def test_the_envelope_is_recorded() -> None:
    sink = SmtpSink()
    with connected(sink) as client:
        client.sendmail("a@example.org", [RECIPIENT, "b@corp.example"], b"x\r\n", mail_options=["BODY=8BITMIME"])
    (message,) = sink.accepted
    assert (message.reverse_path, message.recipients) == ("a@example.org", (RECIPIENT, "b@corp.example"))
    assert "BODY=8BITMIME" in message.mail_parameters


def test_a_null_reverse_path_is_the_empty_string() -> None:
    """RFC 5321 section 4.5.5: notifications come from <>."""
    sink = SmtpSink()
    with connected(sink) as client:
        client.sendmail("", [RECIPIENT], b"x\r\n")
    assert sink.accepted[0].reverse_path == ""


def test_a_reverse_path_in_utf8_is_recorded() -> None:
    """RFC 6531."""
    sink = SmtpSink()
    with serving(sink):
        commands = f"MAIL FROM:<jörg@bücher.example> SMTPUTF8\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n.\r\nQUIT\r\n"
        dialogue(sink, b"EHLO x\r\n" + commands.encode())
    assert sink.accepted[0].reverse_path == "jörg@bücher.example"


def test_pipelined_transactions_are_answered_in_order() -> None:
    """RFC 2920."""
    sink = SmtpSink()
    with serving(sink):
        received = dialogue(sink, b"EHLO x\r\n" + 2 * transaction("a@example.org") + b"QUIT\r\n")
    assert b"250-PIPELINING" in received
    assert [line[:3] for line in received.splitlines()][-9:] == [b"250", b"250", b"354", b"250"] * 2 + [b"221"]


@pytest.mark.parametrize(
    "reverse_path", ["news letter@shop.example", "a@@b.example", "a..b@c.example", "webform", "a@b..example", "a@"]
)
def test_a_malformed_reverse_path_is_answered_501(reverse_path: str) -> None:
    """RFC 5321 section 4.2.3: a syntax error in parameters."""
    sink = SmtpSink()
    with serving(sink):
        received = dialogue(sink, f"EHLO x\r\nMAIL FROM:<{reverse_path}>\r\nQUIT\r\n".encode())
    assert b"\r\n501 5.1.7 " in received


@pytest.mark.parametrize("reverse_path", ["", '"a b"@c.example', "a@[192.0.2.1]", "a.b+c=d@e.example", "a@localhost"])
def test_a_well_formed_reverse_path_is_taken(reverse_path: str) -> None:
    """RFC 5321 section 4.1.2."""
    sink = SmtpSink()
    with serving(sink):
        dialogue(sink, b"EHLO x\r\n" + transaction(reverse_path) + b"QUIT\r\n")
    assert [message.reverse_path for message in sink.accepted] == [reverse_path]


def test_the_session_ends_with_421_after_too_many_protocol_errors() -> None:
    """Exchange's MaxProtocolErrors; what was pipelined behind is not carried out."""
    sink = SmtpSink(SinkRules(max_protocol_errors=5))
    with serving(sink):
        bad = b"MAIL FROM:<a@@b>\r\n" * 5
        received = dialogue(sink, b"EHLO x\r\n" + bad + transaction("a@example.org"))
    assert [line[:3] for line in received.splitlines()][-6:] == [b"501"] * 5 + [b"421"]
    assert sink.accepted == []


def test_protocol_errors_are_counted_for_each_session() -> None:
    sink = SmtpSink(SinkRules(max_protocol_errors=5))
    with serving(sink):
        for _ in range(2):
            dialogue(sink, b"EHLO x\r\n" + b"MAIL FROM:<a@@b>\r\n" * 4 + transaction("a@example.org") + b"QUIT\r\n")
    assert [(c.protocol_errors, c.transactions, c.accepted) for c in sink.connections] == [(4, 5, 1)] * 2


@pytest.mark.parametrize("part", list(Part))
def test_a_rule_refuses_the_part_that_it_names(part: Part) -> None:
    refusal = Refusal(part=part, marker=b"marked", reply="554 5.7.1 Refused")
    words = {Part.REVERSE_PATH: "a@example.org", Part.RECIPIENT: RECIPIENT, Part.CONTENT: "x\r\n"}
    sink = SmtpSink(SinkRules(refusals=(refusal,)))
    with connected(sink) as client:
        client.sendmail(words[Part.REVERSE_PATH], [words[Part.RECIPIENT]], words[Part.CONTENT])
        words[part] = "marked" + words[part]
        with pytest.raises((smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)):
            client.sendmail(words[Part.REVERSE_PATH], [words[Part.RECIPIENT]], words[Part.CONTENT])
    assert len(sink.accepted) == 1


def test_a_rule_without_a_reply_cuts_the_connection() -> None:
    """A server that dies of a message leaves no reply."""
    sink = SmtpSink(SinkRules(refusals=(Refusal(part=Part.CONTENT, marker=b"poison", reply=""),)))
    with serving(sink):
        received = dialogue(sink, b"EHLO x\r\n" + transaction("a@example.org", b"poison\r\n"))
    assert received.splitlines()[-1].startswith(b"354 ")
    assert sink.accepted == []


def test_greylisting_puts_off_once() -> None:
    sink = SmtpSink(SinkRules(greylists=True))
    with connected(sink) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@example.org", [RECIPIENT], b"x\r\n")
        client.sendmail("a@example.org", [RECIPIENT], b"x\r\n")
    assert len(sink.accepted) == 1


def test_the_size_limit_is_told() -> None:
    """RFC 1870 section 3."""
    with connected(SmtpSink(SinkRules(size_limit_octets=1000))) as client:
        assert client.esmtp_features["size"] == "1000"


def test_the_size_limit_is_kept() -> None:
    """RFC 1870 section 6.3: also when the client declared no size."""
    sink = SmtpSink(SinkRules(size_limit_octets=1000))
    with serving(sink):
        received = dialogue(sink, b"EHLO x\r\n" + transaction("a@example.org", b"x" * 1001 + b"\r\n") + b"QUIT\r\n")
    assert b"\r\n552 " in received


def test_each_message_is_a_file_where_a_directory_is_given(tmp_path: Path) -> None:
    with connected(SmtpSink(directory=tmp_path)) as client:
        client.sendmail("a@example.org", [RECIPIENT], b"one\r\n")
        client.sendmail("a@example.org", [RECIPIENT], b"two\r\n")
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert contents == {"000001.eml": b"one\r\n", "000002.eml": b"two\r\n"}


def test_mail_needs_a_login_where_logins_are_given() -> None:
    """RFC 4954 section 6."""
    sink = SmtpSink(logins={"gw": "secret"})
    with connected(sink) as client:
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("a@example.org", [RECIPIENT], b"x\r\n")
        client.login("gw", "secret")
        client.sendmail("a@example.org", [RECIPIENT], b"x\r\n")
    assert len(sink.accepted) == 1


def test_a_wrong_login_is_refused() -> None:
    with connected(SmtpSink(logins={"gw": "secret"})) as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("gw", "guess")


def test_no_login_is_offered_where_none_is_given() -> None:
    with connected(SmtpSink()) as client:
        assert not client.has_extn("auth")


def test_mail_is_accepted_after_starttls() -> None:
    """RFC 3207."""
    authority = trustme.CA()
    server, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(trust)
    sink = SmtpSink(tls=server)
    with serving(sink), smtplib.SMTP("localhost", sink.port, local_hostname="x.example", timeout=10) as client:
        client.starttls(context=trust)
        client.sendmail("a@example.org", [RECIPIENT], b"x\r\n")
    assert len(sink.accepted) == 1
