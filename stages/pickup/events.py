"""What pickup tells the operator, beside the events that come with a change of state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spool.events import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenFromPickup(Event):
    """A file in Pickup became a message; the file is gone, the message goes on under its queue id."""

    says: ClassVar[str] = "taken from Pickup/{file}"
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftInPickup(Event):
    """A file in Pickup is not taken, and stays there.

    Do what the line says, or move the file away.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{file} is not taken: {why}"
    file: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PickupUnreadable(Event):
    """The disk could not read a file that was dropped into Pickup; it was set aside.

    Check the disk; the file is where the line says, below the spool directory.
    """

    level: ClassVar[Level] = Level.ERROR
    says: ClassVar[str] = "Pickup/{file} cannot be read ({error}): it is now {where}"
    file: str
    error: str
    where: str
