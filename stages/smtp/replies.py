"""What an SMTP server says, as values: replies, enhanced status codes, and the extensions of an EHLO reply.

Errors of this package, below those of `stages.errors`::

    TryLater
    `-- RouteFailed     no session with the relay could be opened; says in which phase, and the reply where there was
    one

**Invariants:** a `Reply` has a code of three digits from 200 to 599; its `text` is one line that is safe to show.
A missing or unreadable enhanced code is None and never an error: RFC 2034 is an extension.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from spool.safe_text import safe_text
from stages.errors import ProtocolViolation, TryLater

MAX_TEXT = 400

# RFC 5321 section 4.2: code, then "-", space or nothing. The grammar wants 0 to 5 as second digit; 571 and the like
# are out there.
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
# RFC 3463 section 2: class "." subject "." detail, of one, up to three and up to three digits.
_ENHANCED = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|$)")


class Phase(StrEnum):
    """Where in an SMTP session something happened, in the words shown to the operator."""

    CONNECT = "connect"
    GREETING = "greeting"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RESET = "RSET"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    CONTENT = "message content"
    FINAL_DOT = "final dot"
    QUIT = "QUIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply; `lines` are its texts as they came, without codes and line ends."""

    code: int
    enhanced: str | None
    text: str
    lines: tuple[bytes, ...]

    @property
    def is_positive(self) -> bool:
        """2yz: done."""
        return self.code // 100 == 2

    @property
    def is_intermediate(self) -> bool:
        """3yz: go on."""
        return self.code // 100 == 3

    @property
    def is_negative(self) -> bool:
        """4yz or 5yz."""
        return self.code >= 400

    @property
    def is_permanent(self) -> bool:
        """5yz: the server counts an error of ours."""
        return self.code >= 500

    def __str__(self) -> str:
        """The reply on one line."""
        return " ".join(part for part in (str(self.code), self.enhanced or "", self.text) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What the relay offers (RFC 5321 section 4.1.1.1). `size` None: it told no limit (RFC 1870: absent, or 0)."""

    size: int | None = None
    size_offered: bool = False
    pipelining: bool = False
    eightbitmime: bool = False
    smtputf8: bool = False
    starttls: bool = False
    auth: frozenset[str] = frozenset()


class RouteFailed(TryLater):
    """No session with the relay: no message is to blame. `advice` is what there is to say besides its reply."""

    def __init__(self, phase: Phase, why: str, *, reply: Reply | None = None, advice: str = "") -> None:
        self.phase = phase
        self.why = why
        self.reply = reply
        self.advice = advice
        super().__init__(f"{phase}: {why} ({advice})" if advice else f"{phase}: {why}")


def parse_line(line: bytes) -> tuple[int, bool, bytes]:
    """Return code, whether another line follows, and text of one reply line.

    Raises `ProtocolViolation` for anything that is no reply line.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProtocolViolation("not an SMTP reply", line)
    code, separator, text = match.groups()
    return int(code), separator == b"-", text or b""


def parse_reply(code: int, lines: tuple[bytes, ...]) -> Reply:
    """Make the reply of its lines; the enhanced code that each may repeat is taken off the text (RFC 2034)."""
    found = _ENHANCED.match(lines[0])
    texts = [_ENHANCED.sub(b"", line, count=1) if _ENHANCED.match(line) else line for line in lines]
    return Reply(
        code=code,
        enhanced=found.group(1).decode("ascii") if found else None,
        text=safe_text(b" ".join(text.strip() for text in texts).strip(), MAX_TEXT),
        lines=lines,
    )


def parse_extensions(reply: Reply) -> Extensions:
    """Read an EHLO reply: a keyword with its parameters on each line but the first; the unknown is passed over."""
    keywords: dict[str, list[str]] = {}
    for line in reply.lines[1:]:
        # "AUTH=LOGIN PLAIN" is older than RFC 2554 and still sent.
        words = line.decode("ascii", errors="replace").upper().replace("AUTH=", "AUTH ", 1).split()
        if words:
            keywords.setdefault(words[0], []).extend(words[1:])
    return Extensions(
        size=_size(keywords.get("SIZE", [])),
        size_offered="SIZE" in keywords,
        pipelining="PIPELINING" in keywords,
        eightbitmime="8BITMIME" in keywords,
        smtputf8="SMTPUTF8" in keywords,
        starttls="STARTTLS" in keywords,
        auth=frozenset(keywords.get("AUTH", [])),
    )


def _size(parameters: list[str]) -> int | None:
    # RFC 1870 section 3: up to 20 digits; 0 says that there is no fixed limit.
    if not parameters or not re.fullmatch(r"[0-9]{1,20}", parameters[0]):
        return None
    return int(parameters[0]) or None
