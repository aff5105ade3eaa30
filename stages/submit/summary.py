"""Write the summary of Badmail: a message of our own to the postmaster.

Pure. It cannot become a loop: it has the null reverse-path (RFC 5321 section 4.5.5), so that nobody returns it, and
says `Auto-Submitted: auto-generated` (RFC 3834 section 5), so that nobody answers it.

**Invariants:** each header value is made of the configuration and of numbers; what strangers wrote stands in the body
alone, each on one line by `safe_text`. The whole is ASCII, its lines are of ordinary length, whatever is in it.
"""

from __future__ import annotations

import quopri
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

from spool.rows import Message
from spool.safe_text import safe_text
from spool.summaries import Digest
from stages.errors import OurBug

SUBJECT = "Badmail of POP3 Connector"
_NAME_LENGTH, _SENDER_LENGTH, _REASON_LENGTH = 64, 100, 200
_HOW_TO_GO_ON = """\
Look at one:      pop3connector badmail show ID
Send one again:   pop3connector badmail replay ID
Send all again:   pop3connector badmail replay --all

This comes once a day at most, and only while something is new in Badmail.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """From whom, to whom and when; `gateway` is the name by which we introduce ourselves. `written_at` is aware."""

    sender: str
    recipient: str
    gateway: str
    message_id: str
    written_at: datetime


def compose(digest: Digest, head: Letterhead) -> bytes:
    """Write the message, with CRLF line ends."""
    subject = f"{SUBJECT} at {head.gateway}: {len(digest.new)} new, {digest.total} in all"
    fields = (
        ("From", f"POP3 Connector <{head.sender}>"),
        ("To", head.recipient),
        ("Subject", subject),
        ("Date", format_datetime(head.written_at)),
        ("Message-ID", f"<{head.message_id}>"),
        ("Auto-Submitted", "auto-generated"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
        # RFC 2045 section 6.7: it needs no 8BITMIME, and no line of it is too long.
        ("Content-Transfer-Encoding", "quoted-printable"),
    )
    text = "\n".join(_body(digest, now=head.written_at))
    lines = [*(_field(name, value) for name, value in fields), b"", *quopri.encodestring(text.encode()).split(b"\n")]
    return b"\r\n".join(lines)


def is_summary(reverse_path: str | None, subject: str) -> bool:
    """Whether a message looks like a summary of ours that came back, by way of a maildrop or of the relay."""
    return not reverse_path and SUBJECT in subject


def _field(name: str, value: str) -> bytes:
    if not (value.isascii() and value.isprintable()):
        raise OurBug(f"a value that cannot stand in {name}: {value!r}")
    return f"{name}: {value}".encode("ascii")


def _body(digest: Digest, *, now: datetime) -> Iterator[str]:
    yield f"{_messages(len(digest.new))} came to Badmail since the last summary, {digest.total} are there in all."
    yield ""
    for message in digest.messages:
        yield _line(message, now=now)
    if digest.total > len(digest.messages):
        yield f"and {digest.total - len(digest.messages)} more, in: pop3connector badmail ls"
    yield ""
    yield _HOW_TO_GO_ON


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _line(message: Message, *, now: datetime) -> str:
    sender = "-" if message.sender is None else f"<{_shown(message.sender, _SENDER_LENGTH)}>"
    cells = (
        message.queue_id,
        _shown(message.account, _NAME_LENGTH) or "-",
        _age(now - message.fetched_at),
        sender,
        _shown(str(message.reason), _REASON_LENGTH) if message.reason else "-",
    )
    return "  ".join(cells)


def _shown(text: str, limit: int) -> str:
    return safe_text(text.encode("utf-8", "surrogateescape"), limit=limit)


def _age(age: timedelta) -> str:
    """How long ago it was fetched, in one unit; a clock that was set back makes nothing younger than new."""
    minutes = max(age // timedelta(minutes=1), 0)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"
