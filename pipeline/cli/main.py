"""How every command begins and ends as a process: core dumps, signals, standard streams, exit codes.

**Invariants:** no process of ours, and none that it starts, leaves a core dump: there would be passwords in it. An
error ends in one line on standard error and the exit code of `pipeline.endings`; a traceback is never printed. Wrong
usage is 64. Whatever takes long to import is imported after Ctrl-C has become quiet.
"""

# ruff: noqa: PLC0415 - see the last of the invariants

from __future__ import annotations

import io
import os
import resource
import signal
import sys
from collections.abc import Sequence

from pipeline.exit_codes import CheckCode, ExitCode

_TYPERS_USAGE = 2
_TYPERS_ABORTED = 1


def main() -> None:
    """Run the command that was typed, and exit."""
    _leave_no_core()
    _end_quietly_at_ctrl_c()
    _bear_hangups(sys.argv[1:])
    _stand_in_for_closed_streams()
    _print_whatever_the_locale()
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Run a command and answer its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the end of the process: every error becomes its line and its code
        from datetime import UTC, datetime

        from pipeline.endings import report

        return report(error, name="command", layout=None, now=datetime.now(UTC))
    return code


def _run(arguments: Sequence[str]) -> int:
    from pipeline.cli.commands import app
    from pipeline.cli.completing import VARIABLE, prepare

    if VARIABLE in os.environ:
        prepare()
    try:
        app(list(arguments), prog_name="pop3connector")
    except SystemExit as end:
        return _exit_code(end.code)
    return ExitCode.OK


def _exit_code(code: object) -> int:
    match code:
        case CheckCode():
            # 1 and 2 mean something else where typer says them.
            return code
        case int() if code == _TYPERS_USAGE:
            return ExitCode.USAGE
        case int() if code == _TYPERS_ABORTED:
            return ExitCode.BROKEN_PIPE
        case int():
            return code
        case _:
            return ExitCode.OK


def _leave_no_core() -> None:
    # Not 0: that keeps no core from a program which the kernel pipes it to, while 1 is kept from files and programs
    # alike (core(5) and fs/coredump.c).
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    limit = 1 if hard == resource.RLIM_INFINITY else min(hard, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def _end_quietly_at_ctrl_c() -> None:
    """Let Ctrl-C end the process where it stands, unless whoever started it ignores it; `run`, `stage`, `demo` differ.

    An exception could come out of any line, from an import or a second one from what cleans up after the first, and
    some of those are printed, not raised. The spool bears a process that ends anywhere.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_quietly)


def _bear_hangups(arguments: Sequence[str]) -> None:
    """Ignore SIGHUP from the start where it is to mean "read the configuration again": it must never end those.

    The words are looked at before anything is imported that could tell a command from the value of an option.
    """
    if {"run", "stage"} & set(arguments):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _end_quietly(*_: object) -> None:
    try:
        sys.stdout.flush()
    finally:
        os._exit(ExitCode.INTERRUPTED)


def _stand_in_for_closed_streams() -> None:
    """Put something in the place of standard streams that were closed, before a file of the spool gets their numbers.

    Standard output becomes a pipe whose reader has gone, the others /dev/null.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)  # noqa: FBT003 - the library's signature
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - open until the process ends
    if sys.stdout is None:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        os.close(writer)
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends


def _print_whatever_the_locale() -> None:
    """Print as an escape what the terminal's character set does not have: a subject must not end a listing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
