"""The only module that writes, syncs, renames or unlinks.

**Invariants:** files are 0600 and created exclusively, never through a symbolic link; a short write is continued; no
call is repeated after it failed, a failed sync least of all (the kernel may have dropped the pages and would answer
success). Directories are 0700.
**Failures:** `OSError` as the kernel gave it. The caller knows what was promised and to whom.

A `Disk` is passed to whatever makes bytes durable, so that a test can make any one step fail.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from spool.layout import partial

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class Disk:
    """The durable steps, one method each."""

    def create(self, path: Path) -> int:
        """Create `path`, which must not exist, for writing; the descriptor is the caller's to close."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _FLAGS, FILE_MODE)

    def open_append(self, path: Path) -> int:
        """Open or create `path` for appending; the descriptor is the caller's to close."""
        return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | _FLAGS, FILE_MODE)

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data` at the end of what was written."""
        written = os.write(fd, data)
        if written < len(data):
            view = memoryview(data)
            while written < len(data):
                written += os.write(fd, view[written:])

    def overwrite(self, fd: int, data: bytes, *, offset: int) -> None:
        """Write all of `data` at `offset`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(fd, view, offset)
            view, offset = view[written:], offset + written

    def sync_data(self, fd: int) -> None:
        """Make the bytes of an appended file, and the length to read them, durable."""
        os.fdatasync(fd)

    def sync_file(self, fd: int) -> None:
        """Make a file durable, bytes and attributes."""
        os.fsync(fd)

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its name, replacing what had it."""
        os.rename(source, target)

    def unlink(self, path: Path) -> bool:
        """Remove a name; False where it was gone already."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        return True

    def make_directory(self, path: Path) -> bool:
        """Create a directory whatever the umask says; False where it stood already."""
        try:
            os.mkdir(path, DIRECTORY_MODE)
        except FileExistsError:
            return False
        os.chmod(path, DIRECTORY_MODE)
        return True

    def make_fifo(self, path: Path) -> None:
        """Create a FIFO, or leave the one that is there."""
        try:
            os.mkfifo(path, FILE_MODE)
        except FileExistsError:
            return

    def jot(self, path: Path, text: str) -> None:
        """Write a note that need not outlive the process; nothing is synced."""
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | _FLAGS, FILE_MODE)
        try:
            self.write(fd, text.encode("ascii"))
        finally:
            self.close(fd)

    def write_file(
        self, path: Path, parts: Iterable[bytes], *, mode: int = FILE_MODE, owner: tuple[int, int] | None = None
    ) -> None:
        """Put a whole file under its name, durably: written aside, synced, renamed, directory synced."""
        self.rename(self.write_aside(path, parts, mode=mode, owner=owner), path)
        self.sync_directory(path.parent)

    def write_aside(
        self, path: Path, parts: Iterable[bytes], *, mode: int = FILE_MODE, owner: tuple[int, int] | None = None
    ) -> Path:
        """Write and sync what is to become `path` under a name beside it, which is returned.

        `owner` is a uid and a gid, None for our own; the file is never open to more people than `mode` says.
        """
        aside = partial(path)
        self.unlink(aside)
        fd = self.create(aside)
        try:
            for part in parts:
                self.write(fd, part)
            if owner is not None:
                os.fchown(fd, *owner)
            if mode != FILE_MODE:
                os.fchmod(fd, mode)
            self.sync_file(fd)
        except BaseException:
            # Half a message is of no use to anybody, and the disk may be full.
            with contextlib.suppress(OSError):
                self.unlink(aside)
            raise
        finally:
            self.close(fd)
        return aside
