"""Hold what a peer has sent and hand it out by lines.

Reply lines of POP3 (RFC 1939 section 3) and SMTP (RFC 5321 section 2.3.8) end in CRLF and nothing else.

**Invariants:** an octet is looked at once for a line end, however small the pieces in which it arrives; a line is
never longer than the cap; octets leave in the order in which they came.

**Failures:** `ProtocolViolation` for a line that is too long or ends in a bare LF. The buffer is of no use after that.
"""

from stages.errors import ProtocolViolation

MAX_LINE_OCTETS = 8192


class LineBuffer:
    """Octets received and not yet understood."""

    def __init__(self, *, max_line_octets: int = MAX_LINE_OCTETS) -> None:
        self._octets = bytearray()
        self._scanned = 0  # the octets before this index hold no LF
        self._max_line_octets = max_line_octets

    def __len__(self) -> int:
        return len(self._octets)

    def feed(self, data: bytes) -> None:
        """Append what arrived."""
        self._octets += data

    def next_line(self) -> bytes | None:
        """Take the next line, without its CRLF; None until it is complete."""
        end = self._octets.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._octets)
            # One octet of grace: the CR of a CRLF whose LF has not arrived.
            if self._scanned > self._max_line_octets + 1:
                raise ProtocolViolation(f"a line of more than {self._max_line_octets} octets", self.head(self._scanned))
            return None
        line = bytes(self._octets[: end + 1])  # short: two copies cost less than a view
        del self._octets[: end + 1]
        self._scanned = 0
        # The length first: of a line that comes in pieces it is known before its end is.
        if len(line) - 2 > self._max_line_octets:
            raise ProtocolViolation(f"a line of more than {self._max_line_octets} octets", line)
        if line[-2:] != b"\r\n":
            raise ProtocolViolation("a line that ends in a bare LF", line[:-1])
        return line[:-2]

    def find(self, pattern: bytes) -> int:
        """Return where `pattern` first stands, or -1."""
        return self._octets.find(pattern)

    def head(self, octets: int) -> bytes:
        """Show the first `octets` octets, or fewer, and leave them."""
        return bytes(self._octets[:octets])

    def tail(self, octets: int) -> bytes:
        """Show the last `octets` octets, or fewer, and leave them."""
        return bytes(self._octets[-octets:])

    def take(self, octets: int) -> bytes:
        """Remove and return the first `octets` octets, or fewer."""
        with memoryview(self._octets) as view:
            taken = bytes(view[:octets])
        del self._octets[:octets]
        self._scanned = 0
        return taken
