"""Scan the header of a message: the fields that somebody needs, and where the body begins.

The scan reads octets and takes what comes: CRLF, LF or CR CR LF line ends, a byte order mark, a leading mbox `From `
line, lines that are no field. What it skips it does not mend: the message goes on as it came.

**Invariants:** total on any octets; linear in time; looks at 256 KiB and 2,000 fields at most and says so in
`is_truncated`; a field that the bound cuts in two is not reported.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

from spool.safe_text import safe_text

MAX_HEADER_OCTETS = 256 * 1024
MAX_FIELDS = 2_000
ENVELOPE_FIELDS = frozenset(
    {b"return-path", b"sender", b"from", b"to", b"cc", b"bcc", b"received", b"subject", b"message-id"}
)

_MAX_DECODED_OCTETS = 2_048
# RFC 5322 section 2.1.1: a line has 998 octets at most, and a Message-ID cannot be folded inside.
_MAX_MESSAGE_ID_OCTETS = 998
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# RFC 5322 section 2.2: a name is printable ASCII but the colon; section 4.5 allows white space before the colon.
_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_LF = re.compile(rb"\n")
_ANY_END = re.compile(rb"\r\n|[\r\n]")
# RFC 2047 section 2, and the language tag of RFC 2231 section 5. The bounds are wider than 75 octets, as senders are.
_ENCODED_WORD = re.compile(rb"=\?([A-Za-z0-9_.:-]{1,40})(?:\*[A-Za-z0-9-]{0,40})?\?([BbQq])\?([^?\s]{0,1000})\?=")
# Named one by one: Python has codecs such as punycode that are quadratic or no charset at all.
_CHARSETS = frozenset(
    [
        *("utf-8", "us-ascii", "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5"),
        *("shift_jis", "iso-2022-jp", "euc-jp", "euc-kr", "ks_c_5601-1987"),
        *(f"iso-8859-{part}" for part in range(1, 17) if part != 12),
        *(f"windows-{page}" for page in range(1250, 1259)),
    ]
)


@dataclass(frozen=True, slots=True)
class Field:
    """One header field; `start` and `end` are its offsets in the message, its line end included.

    `name` is in lower case. `raw` is all that stands behind the colon, folds and line end included.
    """

    name: bytes
    raw: bytes
    start: int
    end: int

    @property
    def value(self) -> bytes:
        """The value unfolded (RFC 5322 section 2.2.3), without white space around it; a bare CR inside stays."""
        return b"".join(line.rstrip(b"\r") for line in self.raw.split(b"\n")).strip(b" \t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What one scan found; `body` is the offset behind the empty line, or behind the header where that is missing."""

    fields: tuple[Field, ...]
    body: int
    is_eightbit: bool
    is_truncated: bool

    def first(self, name: bytes) -> Field | None:
        """The topmost field of a name (in lower case)."""
        return next((field for field in self.fields if field.name == name), None)

    def all(self, *names: bytes) -> tuple[Field, ...]:
        """All fields of these names (in lower case), in order."""
        return tuple(field for field in self.fields if field.name in names)


def scan(message: bytes, kept: frozenset[bytes] = ENVELOPE_FIELDS) -> Header:
    """Scan a message, or its first octets: at least one more than `MAX_HEADER_OCTETS` where it is longer."""
    lines = _Lines(message[:MAX_HEADER_OCTETS])
    window = lines.window
    is_cut = len(message) > len(window)
    fields: list[Field] = []
    position = len(_BYTE_ORDER_MARK) if window.startswith(_BYTE_ORDER_MARK) else 0
    found = 0
    while position < len(window) and found < MAX_FIELDS:
        if lines.is_empty(position):
            return _header(fields, window[: lines.end(position)], is_truncated=False)
        end = lines.end_of_field(position)
        if is_cut and end == len(window):
            break
        match = _NAME.match(window, position, end)
        if match:
            found += 1
            name = match[1].lower()
            if name in kept:
                fields.append(Field(name, lines.with_lf(window[match.end() : end]), position, end))
        elif not found and not _may_precede_fields(window[position:end]):
            # RFC 5322 section 2.1: the header is the lines up to the first empty one; other text has none.
            return _header([], window[:position], is_truncated=False)
        position = end
    return _header(fields, window[:position], is_truncated=is_cut or position < len(window))


def subject(header: Header) -> str:
    """The subject for listings: encoded words decoded (RFC 2047), safe to print, bounded; empty where there is none."""
    return for_people(header, b"subject")


def for_people(header: Header, name: bytes) -> str:
    """The topmost field of a name (in lower case) as people read it; as `subject`."""
    field = header.first(name)
    if field is None:
        return ""
    return safe_text(_decoded_words(field.value[:_MAX_DECODED_OCTETS]).encode("utf-8", "surrogateescape"))


def message_id(header: Header) -> str:
    """The Message-ID without its brackets (RFC 5322 section 3.6.4), safe to print, bounded; empty where there is none.

    What stands between the first brackets counts; where there are none, as old senders have it, the whole value does.
    """
    field = header.first(b"message-id")
    if field is None:
        return ""
    value = field.value[:_MAX_MESSAGE_ID_OCTETS]
    bracketed = value.partition(b"<")[2].partition(b">")[0]
    return safe_text((bracketed or value).strip())


class _Lines:
    """The line ends of a window.

    A text of old Macintosh form has no LF but the one that a server put at its end. Anywhere else a bare CR ends no
    line (RFC 5322 section 2.2), or a sender could hide fields in the value of another.
    """

    def __init__(self, window: bytes) -> None:
        self.window = window
        self._has_cr_lines = window.find(b"\n") in {-1, len(window) - 1}
        self._line_end = _ANY_END if self._has_cr_lines else _LF

    def end(self, position: int) -> int:
        """The offset behind the line that begins here."""
        match = self._line_end.search(self.window, position)
        return match.end() if match else len(self.window)

    def end_of_field(self, position: int) -> int:
        """The offset behind the line that begins here and those that continue it."""
        end = self.end(position)
        while end < len(self.window) and self.window[end] in b" \t":
            end = self.end(end)
        return end

    def is_empty(self, position: int) -> bool:
        """Whether nothing stands before the end of this line; CR CR LF is one line end."""
        return self.window[position] in b"\r\n" and not self.window[position : self.end(position)].strip(b"\r\n")

    def with_lf(self, raw: bytes) -> bytes:
        """The same octets with lines that end in LF."""
        return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if self._has_cr_lines else raw


def _may_precede_fields(line: bytes) -> bool:
    # The separator of a mailbox file (RFC 4155), or the blank line on top of what web mailers call the original.
    return line.startswith((b"From ", b">From ")) or not line.strip()


def _header(fields: list[Field], octets: bytes, *, is_truncated: bool) -> Header:
    return Header(fields=tuple(fields), body=len(octets), is_eightbit=not octets.isascii(), is_truncated=is_truncated)


def _decoded_words(text: bytes) -> str:
    runs: list[tuple[str, bytes]] = []
    position = 0
    for match in _ENCODED_WORD.finditer(text):
        decoded = _decoded_word(match)
        if decoded is None:
            continue
        between = text[position : match.start()]
        # RFC 2047 section 6.2: white space between two encoded words is not shown.
        if between.strip() or not position:
            runs.append(("", between))
        # Senders split a character over two words: equal charsets are decoded together.
        if runs and runs[-1][0] == decoded[0]:
            decoded = (decoded[0], runs.pop()[1] + decoded[1])
        runs.append(decoded)
        position = match.end()
    runs.append(("", text[position:]))
    return "".join(
        octets.decode(charset, "replace") if charset else octets.decode("utf-8", "surrogateescape")
        for charset, octets in runs
    )


def _decoded_word(match: re.Match[bytes]) -> tuple[str, bytes] | None:
    charset = match[1].decode("ascii").lower()
    if charset not in _CHARSETS:
        return None
    if match[2] in b"Qq":
        return charset, binascii.a2b_qp(match[3], header=True)
    try:
        return charset, binascii.a2b_base64(match[3] + b"==")
    except binascii.Error:
        return None
