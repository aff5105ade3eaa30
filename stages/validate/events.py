"""What validate tells the operator, beside the events that come with a change of state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spool.events import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversePathReplaced(Event):
    """The reverse-path could not be repaired: the null path takes its place, as `invalid_return_path` says."""

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "submitted with the null reverse-path: {reason}"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminationFailed(Event):
    """A fault of this program met a message; it is in Badmail, whole, and the others go on. Please report it."""

    level: ClassVar[Level] = Level.ERROR
    says: ClassVar[str] = "could not be examined: {error}"
    error: str
    traceback: str
