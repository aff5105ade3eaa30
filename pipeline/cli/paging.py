"""Turn pages: what is longer than the screen goes through the operator's pager.

**Invariants:** into a pipe and into a file nothing is paged, and nothing that fits the screen is. Whoever leaves the
pager early has seen enough: the command ends well. While a pager has the terminal Ctrl-C is the pager's own.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TextIO

from pipeline.cli import terminal

_USUAL = "less"
# Leave where all fits, pass colours on, leave on the screen what was seen.
_LESS = "FRX"


@contextlib.contextmanager
def paged() -> Iterator[None]:
    """Print through a pager what is longer than the screen, where somebody looks and has a pager."""
    command = _pager(os.environ)
    if command is None or not terminal.is_able():
        yield
        return
    screen = _Screen(sys.stdout, command)
    try:
        with contextlib.redirect_stdout(screen):
            yield
    except BrokenPipeError:
        if not screen.is_paged:
            raise
    finally:
        screen.finish()


class _Screen(io.TextIOBase):
    """Standard output that keeps what is printed until it is more than the screen holds, and then starts the pager."""

    def __init__(self, out: TextIO, command: Sequence[str]) -> None:
        self._out = out
        self._command = command
        self._kept: list[str] = []
        self._room = terminal.height() - 1
        self._target: IO[str] | None = None
        self._pager: subprocess.Popen[str] | None = None

    @property
    def is_paged(self) -> bool:
        return self._pager is not None

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._target is not None:
            return self._target.write(text)
        self._kept.append(text)
        self._room -= _lines(text)
        if self._room < 0:
            self._flow_into(self._start())
        return len(text)

    def finish(self) -> None:
        """Print what was kept, or wait until the pager is left."""
        if self._target is None:
            self._flow_into(self._out)
        if self._pager is None:
            return
        with contextlib.suppress(BrokenPipeError):
            self._pager.communicate()
        signal.signal(signal.SIGINT, self._at_interrupt)

    def _flow_into(self, target: IO[str]) -> None:
        self._target = target
        kept, self._kept = self._kept, []
        target.write("".join(kept))

    def _start(self) -> IO[str]:
        """The pipe to the pager; a pager that cannot be started is none."""
        try:
            pager = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                env=_environment(os.environ),
                encoding=self._out.encoding,
                errors="backslashreplace",
            )
        except OSError:
            return self._out
        self._pager = pager
        self._at_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        return pager.stdin or self._out


def _pager(environ: Mapping[str, str]) -> Sequence[str] | None:
    """The command line of the pager; None where there is none or none is wanted."""
    try:
        words = shlex.split(environ.get("PAGER", _USUAL))
    except ValueError:
        return None
    is_pager = words and words[0] != "cat" and shutil.which(words[0])
    return words if is_pager else None


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Who may run this one command as the service's user through sudo must not get a shell from its pager (less(1)).
    secure = {"LESSSECURE": "1"} if "SUDO_UID" in environ else {}
    return {"LESS": _LESS, **environ, **secure}


def _lines(text: str) -> int:
    """How many lines of the screen a text takes, with what wraps."""
    room = terminal.width() or sys.maxsize
    return sum(max(len(line) - 1, 0) // room for line in text.split("\n")) + text.count("\n")
