"""Print for people and for programs.

**Invariants:** what strangers wrote reaches a terminal only as printable characters; no colour and no cut into a
pipe; JSON is ASCII, and valid whatever its texts are. A listing is printed as it is read, page by page.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from pipeline.cli import terminal
from pipeline.cli.table import GAP, Table, Tint
from pipeline.spans import span
from spool.safe_text import is_safe, safe_text

Cell = str | int | None
_LONGEST_CELL = 500
# The first page is the screen that somebody waits for.
_FIRST_PAGE = 200
_PAGE = 5000


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON; every character outside ASCII is escaped."""
    print(_json(value, indent=indent))


def print_json_list(values: Iterable[object]) -> None:
    """Print values as one JSON list, each on a line of its own, as they come."""
    before = "["
    with _uncollected():
        for value in values:
            sys.stdout.write(f"{before}\n  {_json(value)}")
            before = ","
    sys.stdout.write("[]\n" if before == "[" else "\n]\n")


def print_table(
    titles: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    elastic: str,
    spare: Sequence[str] = (),
    right: Collection[str] = (),
    tints: Mapping[str, Tint] | None = None,
) -> None:
    """Print rows under titles, each on one line; in a terminal lines fit the width.

    There the widest cells are cut; the column `elastic` keeps more than the others, and the columns in `spare` are left
    out, in that order, where not all have a place. Columns in `right` end in line; `tints` paints where there are
    colours.
    """
    table = Table(titles, elastic=elastic, spare=spare, right=right, tints=tints, room=terminal.width())
    pages = _pages(rows)
    with _uncollected():
        for page in itertools.chain([next(pages, [])], pages):
            cells = [_texts(column) for column in zip(*page, strict=True)] or [[] for _ in titles]
            sys.stdout.write("".join(f"{line}\n" for line in table.page(cells)))


def print_facts(facts: Iterable[tuple[str, Cell]]) -> None:
    """Print names and values, one pair a line; what is None is left out."""
    known = [(name, value) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        print(f"{terminal.painted(name.ljust(width), terminal.Style.BOLD)}{GAP}{shown(value)}")


def shown(value: Cell) -> str:
    """A value as a terminal may get it."""
    if value is None:
        return "-"
    return safe_text(_octets(str(value)), limit=_LONGEST_CELL)


def rfc3339(at: datetime | None) -> str | None:
    """A time as RFC 3339 has it, UTC, to the second."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reverse_path(sender: str | None) -> str:
    """A reverse-path for people: `<>` for the null one, `-` where it is not known yet."""
    return "-" if sender is None else sender or "<>"


def moment(at: datetime | None, now: datetime | None) -> str | None:
    """A time for people who read it `now`: how long ago, or in how long; for programs as RFC 3339 has it."""
    if at is None or now is None:
        return rfc3339(at)
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no cycles meanwhile: a listing makes none, and the search among its cells is a fifth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _json(value: object, *, indent: int | None = None) -> str:
    text = json.dumps(value, indent=indent)
    # Half a surrogate pair is half a file name that is not UTF-8; readers of JSON refuse it (RFC 8259 section 8.2).
    return json.dumps(_whole(value), indent=indent) if "\\ud" in text else text


def _octets(text: str) -> bytes:
    """A text as octets again, where it has some that were no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _whole(value: object) -> object:
    match value:
        case str():
            return _octets(value).decode("utf-8", "backslashreplace")
        case dict():
            return {_whole(key): _whole(member) for key, member in value.items()}
        case list() | tuple():
            return [_whole(member) for member in value]
        case _:
            return value


def _pages(rows: Iterable[Sequence[Cell]]) -> Iterator[list[Sequence[Cell]]]:
    left, length = iter(rows), _FIRST_PAGE
    while page := list(itertools.islice(left, length)):
        yield page
        length = _PAGE


def _texts(column: Sequence[Cell]) -> Sequence[str]:
    """The cells of a column as `shown` has them; where all are harmless, and they mostly are, at once."""
    texts = ["-" if cell is None else str(cell) for cell in column]
    if is_safe("".join(texts)) and max(map(len, texts)) <= _LONGEST_CELL:
        return texts
    return [shown(cell) for cell in column]
