"""A bar that shows how far long work has come.

**Invariants:** it is drawn on standard error, and only where that is a terminal; work that is soon done shows none.
When the work ends its line is gone, and at no moment does the terminal need mending: Ctrl-C may come at any.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from pipeline.cli.terminal import PLAIN_TERMINALS, cut
from pipeline.spans import in_units
from spool.steps import Step, Tell, nobody

_SHOWN_AFTER_SECONDS = 0.5
_DRAWN_EVERY_SECONDS = 0.1
_WIDTH = 30
# To the beginning of the line, and erase it (ECMA-48 section 8.3.41).
_FROM_THE_BEGINNING = "\r\x1b[K"


@contextmanager
def bar(title: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Tell]:
    """Draw what is told while the block runs."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "") in PLAIN_TERMINALS:
        yield nobody
        return
    drawn = _Bar(title, out=sys.stderr, clock=clock)
    try:
        yield drawn.tell
    finally:
        drawn.erase()


class _Bar:
    """The line, drawn now and then."""

    def __init__(self, title: str, *, out: TextIO, clock: Callable[[], float]) -> None:
        self._title = title
        self._out = out
        self._clock = clock
        self._next = clock() + _SHOWN_AFTER_SECONDS
        self._is_drawn = False

    def tell(self, step: Step) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _DRAWN_EVERY_SECONDS
        self._is_drawn = True
        self._out.write(_FROM_THE_BEGINNING + cut(_line(self._title, step), shutil.get_terminal_size().columns - 1))
        self._out.flush()

    def erase(self) -> None:
        if self._is_drawn:
            self._out.write(_FROM_THE_BEGINNING)
            self._out.flush()


def _line(title: str, step: Step) -> str:
    share = min(step.done / step.of, 1.0) if step.of else 0.0
    full = int(_WIDTH * share)
    if step.what == "octets":
        told = f"{in_units(step.done)} of {in_units(step.of)}"
    else:
        told = f"{step.done} of {step.of} {step.what}"
    return f"{title}  [{'#' * full}{'.' * (_WIDTH - full)}] {int(100 * share):3}%  {told}"
