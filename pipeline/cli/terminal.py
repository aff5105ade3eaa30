"""What standard output is, and what a terminal may get: its width, colours, how many columns a text takes there.

**Invariants:** colours go to a terminal alone, and to none that cannot show them or whose user does not want them
(`NO_COLOR`, `TERM=dumb`). Nothing here is imported that a command into a pipe would wait for.
"""

from __future__ import annotations

import enum
import os
import shutil
import sys
import unicodedata

PLAIN_TERMINALS = frozenset({"", "dumb", "unknown"})
_WIDE = frozenset("WF")
_ON_TOP_OF_ANOTHER = frozenset({"Mn", "Me"})
# The vowels and final consonants of a Hangul syllable stand in the columns of its first one.
_JAMO_OF_A_SYLLABLE = range(0x1160, 0x1200)
_ELLIPSIS = "…"


class Style(enum.StrEnum):
    """How a text looks; the values are those of SGR (ECMA-48 section 8.3.117)."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


def is_terminal() -> bool:
    """Whether somebody looks at what is printed."""
    return sys.stdout.isatty()


def is_able() -> bool:
    """Whether the terminal understands more than text."""
    return is_terminal() and os.environ.get("TERM", "") not in PLAIN_TERMINALS


def has_colours() -> bool:
    """Whether to print colours; `NO_COLOR` is what its users agreed on: any value but an empty one."""
    return is_able() and not os.environ.get("NO_COLOR")


def width() -> int | None:
    """The columns of the terminal; None where standard output is none and nothing needs to fit."""
    return shutil.get_terminal_size().columns if is_terminal() else None


def height() -> int:
    """The lines of the terminal."""
    return shutil.get_terminal_size().lines


def painted(text: str, style: Style | None) -> str:
    """The text in a style, where there are colours."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text and has_colours() else text


def columns(text: str) -> int:
    """How many columns a printable text takes: two for the wide characters of East Asia (Unicode, UAX 11)."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def cut(text: str, room: int) -> str:
    """The text in at most so many columns; one that was cut ends in an ellipsis."""
    if columns(text) <= room:
        return text
    taken, kept = 0, []
    for character in text:
        taken += _columns_of(character)
        if taken >= room:
            break
        kept.append(character)
    return "".join(kept) + _ELLIPSIS[:room]


def filled(text: str, room: int, *, to_the_right: bool = False) -> str:
    """The text with blanks up to so many columns, behind it or before it."""
    blanks = " " * (room - columns(text))
    return blanks + text if to_the_right else text + blanks


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in _ON_TOP_OF_ANOTHER or ord(character) in _JAMO_OF_A_SYLLABLE:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1
