"""The file of one account's OAuth 2.0 tokens: read, written and locked here, understood elsewhere.

**Invariants:** a file of mode 0600, never followed through a link, durable before anybody uses what is in it; whoever
changes it holds its lock.

**Failures:** `SpoolUnusable` and `PermissionRefused` (mend the place), `SpoolFailed` (the disk said no), `StageHeld`
(another process is at it).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spool.disk import Disk
from spool.errors import PermissionRefused, SpoolFailed
from spool.layout import Layout, encoded_name
from spool.locks import hold
from spool.opening import prepare

MAX_OCTETS = 256 * 1024
_OTHERS = 0o077


class TokenFile:
    """The file of `account` in the spool at `directory`, whose directories are made where they are missing."""

    def __init__(self, directory: Path, account: str, *, disk: Disk | None = None) -> None:
        self._layout = Layout(directory.absolute())
        self._account = account
        self._disk = disk or Disk()

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._layout.token(self._account)

    def read(self) -> bytes:
        """Return what is in it; nothing where there is no file."""
        try:
            # Not blocking: whatever lies there, a FIFO too, is opened and then looked at.
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise SpoolFailed(f"{self.path}: {error.strerror}") from error
        with open(fd, "rb") as file:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise SpoolFailed(f"{self.path} is not a file: remove it")
            if mode & _OTHERS:
                raise PermissionRefused(f"{self.path} is open to group or others: chmod 600 {self.path}")
            try:
                return file.read(MAX_OCTETS)
            except OSError as error:
                raise SpoolFailed(f"{self.path}: {error.strerror}") from error

    def write(self, content: bytes) -> None:
        """Replace what is in it; it is on disk when this returns."""
        try:
            self._disk.write_file(self.path, [content])
        except OSError as error:
            raise SpoolFailed(f"{self.path}: {error.strerror}") from error

    @contextmanager
    def held(self, *, timeout: float) -> Iterator[None]:
        """Hold the file's lock for the length of the block, waiting `timeout` seconds at most."""
        with ExitStack() as stack:
            try:
                prepare(self._layout, self._disk)
                stack.enter_context(hold(self._layout, f"token-{encoded_name(self._account)}", timeout=timeout))
            except PermissionError as error:
                raise PermissionRefused(
                    f"{error.filename or self.path}: {error.strerror}; the spool must belong to its user"
                ) from error
            except OSError as error:
                raise SpoolFailed(f"{error.filename or self.path}: {error.strerror}") from error
            yield
