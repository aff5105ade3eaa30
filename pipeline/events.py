"""The events of running the connector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spool.events import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDied(Event):
    """A stage process ended by itself; it is started again, later each time.

    Read what it said on standard error. Where `logs/crash-<name>.log` has a traceback, please report it.
    """

    level: ClassVar[Level] = Level.ERROR
    says: ClassVar[str] = "{stage} ended by itself ({how}), starts again in {seconds} s"
    figures: ClassVar[frozenset[str]] = frozenset({"seconds"})
    stage: str
    how: str
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRestarted(Event):
    """A stage process that had ended by itself was started again."""

    says: ClassVar[str] = "{stage} started again as process {pid}"
    stage: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationReloaded(Event):
    """The changed configuration is in force, without a restart. `process` is `run`, for all stages, or one stage."""

    says: ClassVar[str] = "{process} works by the changed configuration: {changes}"
    process: str
    changes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationRefused(Event):
    """The changed configuration is wrong, and the old one stays in force.

    Mend the file: it is read again by itself. `check` says whether it is right.
    """

    level: ClassVar[Level] = Level.ERROR
    says: ClassVar[str] = "{process} goes on by the old configuration, for the changed one is wrong: {problems}"
    process: str
    problems: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRetired(Event):
    """An account was retired: its maildrop was empty, nothing of it was on its way, and it was disabled."""

    says: ClassVar[str] = (
        "retired: the maildrop is empty; {delivered} messages were delivered, {badmail} are in Badmail"
    )
    delivered: int
    badmail: int
