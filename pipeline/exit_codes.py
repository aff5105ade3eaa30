"""The exit codes of all our processes; a module of its own, because the first line of `main` needs one."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """The codes of sysexits(3) that we use, and what a shell shows for the two usual signals."""

    OK = 0
    USAGE = 64
    DATA = 65
    UNAVAILABLE = 69
    SOFTWARE = 70
    IO = 74
    TEMPORARY = 75
    PERMISSION = 77
    CONFIGURATION = 78
    INTERRUPTED = 130
    BROKEN_PIPE = 141
