"""Show on a terminal how far polls have come that somebody waits for.

**Invariants:** where standard error is no terminal nothing is shown, and nothing imported for it; a line that is
printed meanwhile has a line of its own; Ctrl-C leaves a terminal as it was.
"""

# ruff: noqa: PLC0415 - see the first of the invariants

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING

from spool.opening import Spool
from spool.poll_progress import Progress, read_progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

# ECMA-48: to the beginning of the line, erase it; DEC's for a cursor that can be seen.
_LEAVE_LINE = b"\r\x1b[2K\x1b[?25h"


class PollBar:
    """One bar for all polls; `accounts` are theirs by the number of their request."""

    def __init__(self, spool: Spool, accounts: Mapping[int, str], *, since: datetime) -> None:
        self._spool = spool
        self._accounts = accounts
        self._since = since
        self._seen: dict[str, Progress] = {}
        self._bar = _rich_bar()
        self._task = self._bar.add_task("", total=None, told="")
        self._is_drawn = False

    def draw(self) -> None:
        """Look how far the polls have come, and show it."""
        self._seen |= read_progress(self._spool, self._accounts.values(), since=self._since)
        if not self._is_drawn:
            self._bar.start()
            self._is_drawn = True
        counts = _sum_of(self._seen)
        self._bar.update(
            self._task, completed=counts.octets, total=counts.of_octets or None, told=told(counts), refresh=True
        )

    def give_way(self, request: int) -> None:
        """Leave the line to somebody who prints; the poll of this request is done."""
        name = self._accounts.get(request, "")
        if name in self._seen:
            one = self._seen[name]
            self._seen[name] = Progress(
                messages=one.messages, of_messages=one.messages, octets=one.octets, of_octets=one.octets
            )
        if self._is_drawn:
            self._bar.stop()
            self._is_drawn = False


@contextmanager
def bar_for_terminal(spool: Spool, accounts: Mapping[int, str], *, since: datetime) -> Iterator[PollBar | None]:
    """A bar for the length of the block; None where nobody would see it. The polls began at `since`."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = PollBar(spool, accounts, since=since)
    before = signal.getsignal(signal.SIGINT)

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(sys.stderr.fileno(), _LEAVE_LINE)
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, leave)
    try:
        yield bar
    finally:
        bar.give_way(0)
        signal.signal(signal.SIGINT, before)


def told(counts: Progress) -> str:
    """What stands beside the bar."""
    if not counts.of_messages:
        return "polling"
    messages = f"{min(counts.messages, counts.of_messages)}/{counts.of_messages} messages"
    return f"{messages}, {counts.octets / 1e6:.1f}/{max(counts.of_octets, counts.octets) / 1e6:.1f} MB"


def _sum_of(seen: Mapping[str, Progress]) -> Progress:
    return Progress(
        messages=sum(one.messages for one in seen.values()),
        of_messages=sum(one.of_messages for one in seen.values()),
        octets=sum(one.octets for one in seen.values()),
        of_octets=sum(one.of_octets for one in seen.values()),
    )


def _rich_bar() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    # No thread of rich's that draws: what is drawn by one thread alone can be left at any moment.
    return RichProgress(
        BarColumn(), TextColumn("{task.fields[told]}"), console=Console(stderr=True), auto_refresh=False, transient=True
    )
