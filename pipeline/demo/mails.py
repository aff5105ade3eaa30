"""Sample mail, written for the demonstration: one message for each thing that can become of mail.

Every message is as a provider's server holds it: CRLF line ends, the provider's `Return-Path` and `Received` on top.
The names are those that RFC 2606 reserves.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

RECIPIENT = "sales@corp.example"
SPAM_MARKER = b"X-Demo-Content: unwanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMail:
    """A message, and in a few words what is odd about it."""

    title: str
    content: bytes


def samples(*, oversize_octets: int) -> tuple[SampleMail, ...]:
    """The maildrop of the demonstration, in its order; the oversize message has at least `oversize_octets`."""
    return (
        SampleMail(title="malformed return path", content=malformed_return_path()),
        SampleMail(title="ordinary", content=ordinary()),
        SampleMail(title="incomplete return path", content=incomplete_return_path()),
        SampleMail(title="refused as spam", content=spam()),
        SampleMail(title="oversize", content=oversize(oversize_octets)),
        SampleMail(title="8-bit", content=eight_bit()),
        SampleMail(title="bounce", content=bounce()),
    )


def ordinary() -> bytes:
    """A plain message, with lines that begin with a dot: they must come through as they are."""
    return _mail(
        "alice@example.org",
        "Order 1138",
        body="Dear sales team,\n\nplease send twelve of the blue ones.\n.\n..two dots begin this line\n\nAlice\n",
    )


def malformed_return_path() -> bytes:
    """A return path that no rule can repair, as a newsletter's software wrote it."""
    return _mail("news letter@@shop..example", "Our autumn prices", body="Everything is cheaper, our software too.\n")


def incomplete_return_path() -> bytes:
    """A return path without a domain, as a web form on the provider's own machine writes it."""
    return _mail("webform", "Question from the web site", body="When are you open on Saturday?\n")


def oversize(octets: int) -> bytes:
    """A message of at least `octets`: larger than the relay takes."""
    line = "A very large picture, drawn with letters.\n"
    return _mail("carol@example.net", "The picture you asked for", body=line * (octets // (len(line) + 1) + 1))


def spam() -> bytes:
    """A message that the demonstration's relay refuses for its content."""
    header = SPAM_MARKER.decode() + "\n"
    return _mail("winner@example.com", "You have won", body="Reply today to claim your prize.\n", more_header=header)


def eight_bit() -> bytes:
    """A message whose body is 8-bit UTF-8, untouched by any transfer encoding."""
    header = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
    return _mail("joerg@example.org", "Angebot", body="Schöne Grüße aus Köln, 12 € je Stück.\n", more_header=header)


def bounce() -> bytes:
    """A delivery status notification (RFC 3464), which comes from the null return path."""
    header = (
        "Auto-Submitted: auto-replied\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="part"\n'
    )
    body = (
        "--part\nContent-Type: text/plain\n\nYour message could not be delivered.\n\n"
        "--part\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mail.example.net\n\n"
        "Final-Recipient: rfc822; nobody@example.net\nAction: failed\nStatus: 5.1.1\n\n--part--\n"
    )
    return _mail("", "Undelivered mail", body=body, more_header=header, author="mailer-daemon@example.net")


def _mail(return_path: str, subject: str, *, body: str, more_header: str = "", author: str | None = None) -> bytes:
    number = zlib.crc32(body.encode())
    text = (
        f"Return-Path: <{return_path}>\n"
        f"Received: from mail.example.net (mail.example.net [192.0.2.25])\n"
        f"\tby pop.isp.example with ESMTP id {number}; Mon, 2 Mar 2026 09:00:00 +0000\n"
        f"From: <{author or return_path}>\nTo: <{RECIPIENT}>\nSubject: {subject}\n"
        f"Date: Mon, 2 Mar 2026 08:59:58 +0000\nMessage-ID: <{number}@mail.example.net>\n{more_header}\n{body}"
    )
    return text.replace("\n", "\r\n").encode()
