"""A disk that keeps a record of its durable steps and fails where a test wants it to.

A step is one call that writes, syncs or changes a name, recorded as "sync fetch-0000000001.seg". A write that fails
leaves the first half of its octets behind, as a full disk does.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from spool.disk import Disk


class FaultyDisk(Disk):
    """Works like `Disk` until `fail` is called."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._names: dict[int, str] = {}
        self._countdown = 0
        self._error = errno.EIO
        self._is_lasting = False

    def fail(self, step: int, *, error: int = errno.EIO, lasting: bool = False) -> None:
        """Let the `step`-th durable step from now on, counted from 1, fail; and, if `lasting`, all that follow."""
        self._countdown = step
        self._error = error
        self._is_lasting = lasting

    def mend(self) -> None:
        """Work again."""
        self._countdown = 0

    def create(self, path: Path) -> int:
        self._step("create", path.name)
        return self._known(super().create(path), path)

    def open_append(self, path: Path) -> int:
        self._step("open", path.name)
        return self._known(super().open_append(path), path)

    def write(self, fd: int, data: bytes) -> None:
        try:
            self._step("write", self._names[fd])
        except OSError:
            os.write(fd, data[: len(data) // 2])
            raise
        super().write(fd, data)

    def overwrite(self, fd: int, data: bytes, *, offset: int) -> None:
        self._step("overwrite", self._names[fd])
        super().overwrite(fd, data, offset=offset)

    def sync_data(self, fd: int) -> None:
        self._step("sync", self._names[fd])
        super().sync_data(fd)

    def sync_file(self, fd: int) -> None:
        self._step("sync", self._names[fd])
        super().sync_file(fd)

    def sync_directory(self, path: Path) -> None:
        self._step("sync", f"{path.name}/")
        super().sync_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename", f"{source.name} {target.name}")
        super().rename(source, target)

    def unlink(self, path: Path) -> bool:
        self._step("unlink", path.name)
        return super().unlink(path)

    def jot(self, path: Path, text: str) -> None:
        """A note is no durable step."""
        Disk().jot(path, text)

    def _known(self, fd: int, path: Path) -> int:
        self._names[fd] = path.name
        return fd

    def _step(self, verb: str, what: str) -> None:
        self.steps.append(f"{verb} {what}")
        if self._countdown == 0:
            return
        self._countdown -= 1
        if self._countdown == 0:
            if self._is_lasting:
                self._countdown = 1
            raise OSError(self._error, os.strerror(self._error))
