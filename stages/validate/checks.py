"""Facts about a message that decide whether it may go on, and what the relay must be able to take.

**Invariants:** total on any octets; the facts do not depend on how the content was cut into chunks; nothing is done
per line for mail whose lines are of ordinary length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spool.envelope import Needs
from stages.mail.headers import Header
from stages.mail.received import Hop, is_ours

# RFC 5322 section 2.1.1, without the line end.
MAX_LINE_OCTETS = 998
# Once round is a user who forwards to the mailbox that we poll; twice is a loop.
MAX_OWN_TRACES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the octets of a message are like.

    `overlong_line_octets` is the length of the longest line if that is over 998, else 0. Line ends are not counted, and
    a bare CR or LF ends a line because it is sent as CRLF.
    """

    octets: int
    is_eightbit: bool
    has_nul: bool
    has_bare_cr: bool
    has_bare_lf: bool
    overlong_line_octets: int

    @property
    def bare_newlines(self) -> str:
        """Which line ends there are that RFC 5321 section 2.3.8 forbids; empty where there are none."""
        found = [name for name, has in (("CR", self.has_bare_cr), ("LF", self.has_bare_lf)) if has]
        return f"a bare {' and a bare '.join(found)} in the message" if found else ""


class ContentScan:
    """Find the facts of a message as it is read, chunk by chunk."""

    def __init__(self) -> None:
        self._octets = 0
        self._is_eightbit = False
        self._has_nul = False
        self._has_bare_cr = False
        self._has_bare_lf = False
        self._held_cr = b""
        self._line_octets = 0
        self._longest = MAX_LINE_OCTETS

    def feed(self, chunk: bytes) -> None:
        """Take the next octets."""
        self._octets += len(chunk)
        # A CR at the end of a chunk is bare or not by what follows.
        chunk = self._held_cr + chunk
        self._held_cr = b"\r" if chunk.endswith(b"\r") else b""
        self._look(chunk.removesuffix(b"\r"))

    def result(self) -> Content:
        """The facts of all that was fed; nothing may be fed afterwards."""
        held, self._held_cr = self._held_cr, b""
        self._look(held)
        self._end_line(self._line_octets)
        return Content(
            octets=self._octets,
            is_eightbit=self._is_eightbit,
            has_nul=self._has_nul,
            has_bare_cr=self._has_bare_cr,
            has_bare_lf=self._has_bare_lf,
            overlong_line_octets=self._longest if self._longest > MAX_LINE_OCTETS else 0,
        )

    def _look(self, chunk: bytes) -> None:
        self._is_eightbit = self._is_eightbit or not chunk.isascii()
        self._has_nul = self._has_nul or b"\0" in chunk
        pairs = chunk.count(b"\r\n")
        self._has_bare_lf = self._has_bare_lf or chunk.count(b"\n") > pairs
        if chunk.count(b"\r") > pairs:
            self._has_bare_cr = True
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._measure(chunk)

    def _measure(self, chunk: bytes) -> None:
        """Find lines longer than the longest so far, in steps of that length; a CR left here belongs to a CRLF."""
        position = 0
        while True:
            # Up to the last line end in reach no line is longer than the longest: they need no look.
            reach = position + max(0, self._longest - self._line_octets + 1)
            end = chunk.rfind(b"\n", position, reach)
            if end < 0:
                end = chunk.find(b"\n", reach)
                if end < 0:
                    self._line_octets += len(chunk) - position
                    return
                self._end_line(self._line_octets + end - position - (chunk[end - 1 : end] == b"\r"))
            position = end + 1
            self._line_octets = 0

    def _end_line(self, octets: int) -> None:
        self._longest = max(self._longest, octets)


def loop_reason(header: Header, hop: Hop, *, max_hops: int) -> str | None:
    """Why a message counts as looping: too many Received fields, or our own trace for this account; else None."""
    received = header.all(b"received")
    if len(received) > max_hops:
        return f"{len(received)} Received fields, more than max_hops = {max_hops}"
    own = sum(is_ours(field.value, hop) for field in received)
    if own > MAX_OWN_TRACES:
        return f"a mail loop: it was fetched for this account {own} times before"
    return None


def needs(content: Content, *, addresses: Sequence[str]) -> Needs:
    """What the relay must offer; `addresses` are the reverse-path and the recipients.

    RFC 6152: 8BITMIME is for any octet over 127. RFC 6531 section 3.4 wants SMTPUTF8 for a header beyond ASCII too, but
    mail with raw octets there is old and common, and a relay that takes it under SMTPUTF8 bounces it where its next hop
    has none: only an address asks for it.
    """
    return Needs(
        eightbit=content.is_eightbit,
        smtputf8=not all(address.isascii() for address in addresses),
        overlong_line_octets=content.overlong_line_octets,
        has_nul=content.has_nul,
    )
