"""What is said on a connection, told to whoever listens: to the verbose log, or to a command that looks at a server.

The drivers of POP3 and SMTP tell each line here, in a form without secrets and without content; who made a secret line
has said how it may be shown. While nobody listens, a line costs one look at `is_on`.

**Invariants:** what is told has passed through nothing but the drivers, and is not yet safe for a terminal: a listener
that writes it down makes it so (`bounded`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from enum import StrEnum

from spool.safe_text import safe_text

LONGEST_LINE = 500
# Of a listing, and of a reply of many lines: the rest is counted.
FIRST_LINES = 20


class Side(StrEnum):
    """Who speaks."""

    WE = ">"
    PEER = "<"
    NOBODY = "*"
    """The line is about the connection."""


# Is given the number of the connection, the side and the line.
Hear = Callable[[int, Side, str], None]


class Switch:
    """Whether anybody listens to those who share it; may change in the middle of a dialogue."""

    __slots__ = ("is_on",)

    def __init__(self, *, is_on: bool) -> None:
        self.is_on = is_on


class Dialogue:
    """The dialogues with one server, one connection after the other; `numbers` is where connections get theirs."""

    __slots__ = ("_hear", "_number", "_numbers", "_switch")

    def __init__(self, hear: Hear, *, switch: Switch | None = None, numbers: Iterator[int] | None = None) -> None:
        self._hear = hear
        self._switch = switch or Switch(is_on=True)
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._number = 0

    @property
    def is_on(self) -> bool:
        """Whether anybody listens; the methods below may be called all the same."""
        return self._switch.is_on

    def begin(self) -> None:
        """A connection is about to be made."""
        self._number = next(self._numbers)

    def said(self, line: str) -> None:
        """We sent this line."""
        self._tell(Side.WE, line)

    def heard(self, line: str) -> None:
        """The server sent this line."""
        self._tell(Side.PEER, line)

    def note(self, what: str) -> None:
        """This happened to the connection."""
        self._tell(Side.NOBODY, what)

    def _tell(self, side: Side, line: str) -> None:
        if self._switch.is_on:
            self._hear(self._number, side, line)


def silence() -> Dialogue:
    """A dialogue to which nobody listens."""
    return Dialogue(lambda _number, _side, _line: None, switch=Switch(is_on=False))


def left_out(octets: int) -> str:
    """What stands in the place of content."""
    return f"<... {octets} octets>"


def more_lines(lines: int) -> str:
    """What stands in the place of the lines behind the first ones."""
    return f"<... {lines} more lines>"


def bounded(line: str) -> str:
    """A line as it may be written down: printable, and not longer than `LONGEST_LINE`."""
    return safe_text(line.encode(errors="surrogateescape"), limit=LONGEST_LINE)
