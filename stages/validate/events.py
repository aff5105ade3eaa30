"""What validate tells the operator, beside the events that come with a change of state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spool.events import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversePathReplaced(Event):
    """The reverse-path could not be repaired: the null path, or what the next header gives, takes its place, as
    `invalid_return_path` says.

    Nothing; `invalid_return_path = "badmail"` would refuse such messages instead.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "submitted with the reverse-path <{reverse_path}> instead: {reason}"
    reverse_path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminationFailed(Event):
    """A fault of this program met a message; it is in Badmail, whole, and the others go on.

    Please report it, with what `events --json` shows; the next version can `badmail replay` the message.
    """

    level: ClassVar[Level] = Level.ERROR
    says: ClassVar[str] = "could not be examined: {error}"
    error: str
    traceback: str
