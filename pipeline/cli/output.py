"""Print for people and for programs.

**Invariants:** what strangers wrote reaches a terminal only as printable characters; no colour and no cut into a
pipe; JSON is ASCII.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from spool.safe_text import safe_text

Cell = str | int | None
_LONGEST_CELL = 500
_GAP = "  "


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON; every character outside ASCII is escaped."""
    print(json.dumps(value, indent=indent))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[Cell]], *, elastic: str) -> None:
    """Print rows under titles, each on one line; in a terminal the column `elastic` gives way where the width ends."""
    cells = [list(titles), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    if sys.stdout.isatty():
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - shutil.get_terminal_size().columns
        place = titles.index(elastic)
        widths[place] = max(widths[place] - max(excess, 0), len(elastic))
    for row in cells:
        line = _GAP.join(_fitted(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def print_facts(facts: Iterable[tuple[str, Cell]]) -> None:
    """Print names and values, one pair a line; what is None is left out."""
    known = [(name, value) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        print(f"{name.ljust(width)}{_GAP}{shown(value)}")


def shown(value: Cell) -> str:
    """A value as a terminal may get it."""
    if value is None:
        return "-"
    return safe_text(str(value).encode("utf-8", "surrogateescape"), limit=_LONGEST_CELL)


def rfc3339(at: datetime | None) -> str | None:
    """A time as RFC 3339 has it, UTC, to the second."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reverse_path(sender: str | None) -> str:
    """A reverse-path for people: `<>` for the null one, `-` where it is not known yet."""
    return "-" if sender is None else sender or "<>"


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"
