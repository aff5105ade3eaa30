"""Turn a message into the octets that follow 354: CRLF line ends, then dot-stuffing, then the final dot.

**Invariants:**

- No bare CR and no bare LF leaves here. RFC 5321 section 2.3.8 forbids them, and a relay that takes `LF . LF` for
  the end of the message would read the rest as commands of the sender's ("SMTP smuggling").
- Line ends are mended *before* dots are stuffed, so that a line which only becomes a line by the mending is stuffed
  too.
- CRLF `.` CRLF stands once, at the very end.
- However a message is cut into chunks, the same octets come out.

CRLF, a CR without LF, and a LF without CR each end one line; nothing else of the message changes.
"""

FINAL_DOT = b".\r\n"


def encode_message(message: bytes) -> bytes:
    """Encode a whole message, final dot included. What needs no change is copied only to append the dot."""
    lines = stuff_dots(normalise_line_ends(message))
    if lines.startswith(b"."):
        lines = b"." + lines
    if lines and not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return lines + FINAL_DOT


class DataEncoder:
    """Encode a message that comes in chunks: `feed` each, then `finish` for the last octets and the final dot."""

    def __init__(self) -> None:
        self._has_pending_cr = False  # the last octet was CR: the next one decides whether it was half of a CRLF
        self._is_at_line_start = True

    def feed(self, chunk: bytes) -> bytes:
        """Return the octets that are certain now."""
        if self._has_pending_cr:
            chunk = b"\r" + chunk
        self._has_pending_cr = chunk.endswith(b"\r")
        return self._encode(chunk[:-1] if self._has_pending_cr else chunk)

    def finish(self) -> bytes:
        """Return what was held back, a line end where the message lacks its last, and the final dot."""
        rest = self._encode(b"\r\n") if self._has_pending_cr else b""
        self._has_pending_cr = False
        return rest + (b"" if self._is_at_line_start else b"\r\n") + FINAL_DOT

    def _encode(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        lines = stuff_dots(normalise_line_ends(octets))
        if self._is_at_line_start and lines.startswith(b"."):
            lines = b"." + lines
        self._is_at_line_start = lines.endswith(b"\r\n")
        return lines


def normalise_line_ends(octets: bytes) -> bytes:
    """Make every bare CR and every bare LF a CRLF; what has none is returned as it is."""
    crlf = octets.count(b"\r\n")
    if octets.count(b"\n") == crlf and octets.count(b"\r") == crlf:
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def stuff_dots(lines: bytes) -> bytes:
    """Double the dot behind each CRLF (RFC 5321 section 4.5.2); the first line is the caller's."""
    return lines.replace(b"\r\n.", b"\r\n..")
