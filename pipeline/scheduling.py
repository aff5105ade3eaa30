"""When a stage that died is started again, and when it is not: pure decisions."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from pipeline.exit_codes import ExitCode

SETTLED_SECONDS = 10.0
HEALTHY_SECONDS = 60.0
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
# What starting again does not mend: the operator has to, or another process holds the stage.
NEEDS_SOMEBODY = frozenset({ExitCode.CONFIGURATION, ExitCode.PERMISSION, ExitCode.IO, ExitCode.TEMPORARY})


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How a stage fared in this run: whether it ever got to work, and how often in a row it died early."""

    has_settled: bool = False
    early_deaths: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAgain:
    """Start the stage again after so many seconds."""

    seconds: float
    history: History


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """End the whole run with this exit code."""

    code: int


def after_death(code: int, lived_seconds: float, *, history: History) -> StartAgain | GiveUp:
    """Decide what follows when a stage ended by itself; a negative code is the signal that killed it."""
    has_settled = history.has_settled or lived_seconds >= SETTLED_SECONDS
    if code in NEEDS_SOMEBODY and not has_settled:
        return GiveUp(code=code)
    deaths = 0 if lived_seconds >= HEALTHY_SECONDS else history.early_deaths
    delay = min(FIRST_DELAY_SECONDS * 2**deaths, LONGEST_DELAY_SECONDS)
    return StartAgain(seconds=delay, history=History(has_settled=has_settled, early_deaths=min(deaths + 1, 16)))


def how_it_ended(code: int) -> str:
    """An exit code, or the signal of a negative one, for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def exit_code_for(code: int) -> int:
    """The exit code to pass on for a child's: a signal is a failure of the software."""
    return code if code >= 0 else int(ExitCode.SOFTWARE)
