"""A pseudo-terminal in the place of standard output, and what came out at its other end."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


class Terminal:
    """A pseudo-terminal whose output is read while it is written."""

    def __init__(self, *, columns: int, lines: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.stream: TextIO = os.fdopen(theirs, "w", encoding="utf-8")
        self._read: list[bytes] = []
        self._reader = threading.Thread(target=self._copy)
        self._reader.start()

    def as_stdout(self) -> redirect_stdout[TextIO]:
        """Standard output goes to the terminal while the block runs."""
        return redirect_stdout(self.stream)

    def close(self) -> str:
        """Close it, and answer all that was written, with line ends as they were printed."""
        if not self.stream.closed:
            self.stream.close()
            self._reader.join()
            os.close(self._ours)
        return b"".join(self._read).decode().replace("\r\n", "\n")

    def _copy(self) -> None:
        while True:
            try:
                found = os.read(self._ours, 65536)
            except OSError:  # EIO: the other end is closed
                return
            if not found:
                return
            self._read.append(found)


@contextmanager
def a_terminal(*, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    """A terminal of that size, closed in the end."""
    terminal = Terminal(columns=columns, lines=lines)
    try:
        yield terminal
    finally:
        terminal.close()
