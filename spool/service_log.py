"""The verbose log, `logs/pop3service.log`: lines of several processes in one file, which is rotated by its size.

Each line is one write(2) at the end of the file, so that lines of different processes do not mix. Whoever finds the
file full takes a lock without waiting, looks again and renames; the others see that another file has the name, or
none, and open that.

**Invariants:** a line is whole, and in one of the files, until its file is the oldest of too many; nobody waits for
anybody. Files are 0600.
**Failures:** none: a line that cannot be written is dropped, and `trouble` says why. Mail does not depend on it.
"""

from __future__ import annotations

import os
from contextlib import suppress

from spool.disk import Disk
from spool.errors import StageHeld
from spool.layout import Layout
from spool.locks import LOG, hold

# 50 MB in all: room for a hundred thousand sessions, and less than what `min_free_space` keeps free.
MAX_OCTETS = 10 * 1024 * 1024
FILES = 5


class ServiceLog:
    """The log as one process writes it; `files` of `max_octets` are kept, the one that is written included."""

    def __init__(self, layout: Layout, disk: Disk, *, max_octets: int = MAX_OCTETS, files: int = FILES) -> None:
        self._layout = layout
        self._disk = disk
        self._max_octets = max_octets
        self._files = files
        self._fd: int | None = None
        self._inode: int | None = None
        self._is_torn = False
        self.trouble = ""

    def write(self, line: str) -> None:
        """Append a line, which has no line end."""
        try:
            self._append(f"{line}\n".encode())
        except OSError as error:
            self.trouble = error.strerror or str(error)
            self.close()

    def close(self) -> None:
        """Close the file; another `write` opens it again."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                self._disk.close(fd)

    def _append(self, data: bytes) -> None:
        fd = self._opened()
        # Where the disk was full in the middle of a line, the next one begins a line of its own.
        data, self._is_torn = (b"\n" + data if self._is_torn else data), True
        self._disk.write(fd, data)
        self._is_torn = False

    def _opened(self) -> int:
        """The file that has the name now, and is not full."""
        there = self._look()
        if there is not None and there.st_size >= self._max_octets:
            self._rotate()
            there = self._look()
        if self._fd is None or there is None or there.st_ino != self._inode:
            self.close()
            self._fd = self._disk.open_append(self._layout.service_log)
            self._inode = os.fstat(self._fd).st_ino
        return self._fd

    def _look(self) -> os.stat_result | None:
        try:
            return self._layout.service_log.lstat()
        except FileNotFoundError:
            return None

    def _rotate(self) -> None:
        with suppress(StageHeld), hold(self._layout, LOG):  # held: another process does it now
            there = self._look()
            if there is None or there.st_size < self._max_octets:
                return
            names = [self._layout.service_log, *map(self._layout.older_service_log, range(1, self._files))]
            for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
                with suppress(FileNotFoundError):
                    self._disk.rename(newer, older)
