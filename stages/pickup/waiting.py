"""Say of everything that lies in Pickup whether it will be taken, and if not, why.

**Invariants:** nothing is opened but regular files, nothing is changed. What is said here is what the stage decides.
**Failures:** `OSError` from reading the directory.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from spool.dropped import Fit, Unfit, Writers, inspect, is_message_name
from spool.layout import PARTIAL_SUFFIX, Layout
from spool.safe_text import safe_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A name in Pickup, safe to show; `why` it is not taken, None where it waits for nothing but its turn.

    `is_ignored`: its name alone keeps it from being taken.
    """

    file: str
    octets: int
    modified_at: datetime
    is_ignored: bool
    why: str | None


def waiting(layout: Layout, *, owner_uids: Collection[int]) -> list[Waiting]:
    """All that lies in Pickup, in the order of the names."""
    return sorted(_waiting(layout, owner_uids), key=lambda one: one.file)


def _waiting(layout: Layout, owner_uids: Collection[int]) -> Iterator[Waiting]:
    with os.scandir(layout.pickup) as entries:
        for entry in entries:
            if entry.name == layout.claims.name:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            is_ignored = not is_message_name(entry.name)
            yield Waiting(
                file=safe_text(os.fsencode(entry.name), limit=300),
                octets=status.st_size,
                modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
                is_ignored=is_ignored,
                why=_why_ignored(entry.name) if is_ignored else _why_left(layout, entry.name, owner_uids=owner_uids),
            )


def _why_ignored(name: str) -> str:
    if name.startswith("."):
        return "its name begins with a dot"
    if name.endswith(PARTIAL_SUFFIX):
        return "its name does not end in .eml: whoever writes it has not finished, or was killed"
    return "its name does not end in .eml"


def _why_left(layout: Layout, name: str, *, owner_uids: Collection[int]) -> str | None:
    match inspect(layout.pickup / name, owner_uids=owner_uids):
        case Unfit(why=why):
            return why
        case Fit(writers=Writers.SOME):
            return "a process has it open for writing"
        case _:
            return None
