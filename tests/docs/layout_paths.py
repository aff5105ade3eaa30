"""The paths of a spool as the reference writes them, with what their declarations say."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from spool.layout import Layout, Stage
from spool.queue_id import QueueId

_TIME = datetime(2026, 1, 1, tzinfo=UTC)
# What a path is made with, as the page names it.
_SAMPLES: dict[str, tuple[object, str, str]] = {
    "stage": (Stage.FETCH, "fetch", "<stage>"),
    "serial": (1, f"{1:010d}", "<serial>"),
    "queue_id": (QueueId("0" * 18), "0" * 18, "<queue id>"),
    "owner": ("<owner>", "<owner>", "<owner>"),
    "account": ("sales", "sales", "<account>"),
    "number": (1, "1", "<number>"),
    "name": ("<name>", "<name>", "<name>"),
    "at": (_TIME, f"{_TIME:%Y%m%dT%H%M%SZ}", "<time>"),
}


def paths_of_layout() -> Iterator[tuple[str, str]]:
    """Every path that the layout knows, with its meaning."""
    root = Path("/spool")
    layout = Layout(root)
    for name, member in inspect.getmembers(Layout, lambda one: inspect.isfunction(one) or isinstance(one, property)):
        if name.startswith("_") or name == "directories":
            continue
        needed = [] if isinstance(member, property) else list(inspect.signature(member).parameters)[1:]
        found = getattr(layout, name) if not needed else getattr(layout, name)(*(_SAMPLES[one][0] for one in needed))
        path = found.relative_to(root).as_posix() + ("/" if found in layout.directories else "")
        for one in needed:
            path = path.replace(_SAMPLES[one][1], _SAMPLES[one][2])
        yield path, " ".join((inspect.getdoc(member) or "").split())
