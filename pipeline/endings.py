"""How our processes end: the exit code of sysexits(3), the one line for the operator, the traceback for us.

**Invariants:** every error of ours has its code here and nowhere else; what is not known is a bug (70). A traceback
goes into the spool's logs, never to a terminal.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from datetime import datetime
from pathlib import Path

from pipeline.config.errors import ConfigurationError
from pipeline.exit_codes import ExitCode
from spool.errors import Damaged, ForbiddenTransition, NotFound, PermissionRefused, SpoolError, SpoolUnusable, StageHeld
from spool.layout import Layout
from spool.safe_text import safe_text
from stages.errors import OperatorMustAct, PeerBroke, PeerSaidNo, TryLater


class CommandFailed(Exception):
    """A command cannot do what it was asked; its text is the one line to print."""

    def __init__(self, code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def exit_code_of(error: BaseException) -> ExitCode:
    """Say what a process that ends with this error exits with."""
    match cause_of(error):
        case CommandFailed() as failure:
            return failure.code
        case StageHeld() | TryLater() | PeerSaidNo() | PeerBroke():
            return ExitCode.TEMPORARY
        case PermissionRefused() | PermissionError():
            return ExitCode.PERMISSION
        case ConfigurationError() | SpoolUnusable() | OperatorMustAct():
            return ExitCode.CONFIGURATION
        case NotFound() | ForbiddenTransition() | Damaged():
            return ExitCode.DATA
        case SpoolError() | OSError():
            return ExitCode.IO
        case _:
            return ExitCode.SOFTWARE


def cause_of(error: BaseException) -> BaseException:
    """Find the error to report: the first one of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def line_of(error: BaseException) -> str:
    """Put an error into printable text: one line, or the list of a configuration's problems."""
    cause = cause_of(error)
    match cause:
        case ConfigurationError(problems=problems):
            return "\n".join(problems)
        case OSError(filename=str() as name, strerror=str() as why):
            text = f"{name}: {why}"
        case OSError(strerror=str() as why):
            text = why
        case _ if exit_code_of(cause) is ExitCode.SOFTWARE:
            text = f"unexpected {type(cause).__name__}: {cause}"
        case _:
            text = str(cause)
    return safe_text(text.encode("utf-8", "surrogateescape"), limit=500)


def report(error: BaseException, *, name: str, layout: Layout | None, now: datetime) -> ExitCode:
    """Say why the process `name` ends and answer its exit code; a bug leaves its traceback in the logs of `layout`."""
    code = exit_code_of(error)
    line = line_of(error)
    if code is ExitCode.SOFTWARE and layout is not None:
        kept = _keep_traceback(layout, name, error=error, now=now)
        line += f" (see {kept})" if kept else ""
    say(line)
    return code


def say(text: str) -> None:
    """Tell the operator something on standard error; where nobody listens the exit code has to do."""
    with contextlib.suppress(OSError):
        for line in text.split("\n"):
            print(f"pop3connector: {line}", file=sys.stderr)  # noqa: T201 - the one place that prints errors
        sys.stderr.flush()


def _keep_traceback(layout: Layout, name: str, *, error: BaseException, now: datetime) -> Path | None:
    path = layout.logs / f"crash-{name}.log"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{now:%Y-%m-%dT%H:%M:%SZ}\n{''.join(traceback.format_exception(error))}\n")
    except OSError:
        return None  # the disk may be what went wrong; the line has been said
    return path
