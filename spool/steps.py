"""How far long work has come, told to whoever asked to know.

**Invariants:** what is told changes nothing; where nobody listens it costs a call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """So much of `of` is done of `what`, a plural; octets of files, or messages."""

    what: str
    done: int
    of: int


Tell = Callable[[Step], None]


def nobody(_: Step) -> None:
    """Tell nobody."""
