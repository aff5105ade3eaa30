"""The exit codes of all our processes; a module of its own, because the first line of `main` needs one."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """The codes of sysexits(3) that we use, and what a shell shows for the two usual signals.

    Below each, for the reference: what it means, and what the operator does then.
    """

    OK = 0
    """Done. For `run --drain`: all is well; mail in Badmail or left at the provider for its size is no failure."""
    USAGE = 64
    """The command line is wrong: an unknown option, account, queue id or address.

    `--help`
    """
    DATA = 65
    """There is no such message, it is not in the state that this needs, it is damaged, `spool verify` found a
    problem, or `pickup add` was given a file that cannot be sent.

    `spool show`
    """
    UNAVAILABLE = 69
    """`retrieve-now`: no fetch process runs. `demo --serve`: a port is taken.

    `run`
    """
    SOFTWARE = 70
    """A fault of this program. A stage leaves the traceback in `logs/` and names the file.

    Report it.
    """
    IO = 74
    """The disk or the index failed, is full, or the index is lost.

    Mend the disk; `spool rebuild` where the line says so.
    """
    TEMPORARY = 75
    """Try again later: another process holds the spool or a stage (the line names its pid), a server could not be used,
    a drain left something queued, or an account cannot be retired yet.

    `status`, `events --level warning`
    """
    PERMISSION = 77
    """A file may not be read or written, or the spool belongs to another user or can be written by others.

    Run as the user of the spool.
    """
    CONFIGURATION = 78
    """The configuration has problems, each on a line; there is no spool yet, or it lies where mail is not safe; SQLite
    is too old.

    Mend what the lines name.
    """
    INTERRUPTED = 130
    """Interrupted by Ctrl-C, or by Ctrl-D at a question. `run` and `stage` stop in good order instead, with 0;
    `run --drain` with 75.
    """
    BROKEN_PIPE = 141
    """The reader of the output went away."""


class CheckCode(enum.IntEnum):
    """Those of `status --check` alone: what monitoring plug-ins answer."""

    WELL = 0
    WARNING = 1
    CRITICAL = 2
