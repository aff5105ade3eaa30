"""Change the configuration file: checked whole before anything is replaced, and never half written.

The change is a function from the text that is there now to the new one, so that it is made to what others wrote in the
meantime. Commands take turns by a lock on the directory, which needs no file of its own; an editor takes no lock, and
what it wrote is noticed by the file being another one.

**Invariants:** what is not valid replaces nothing; owner and mode stay, but for the right of others to read a password
that comes in; of a symbolic link the target is replaced. A password file that is new is there before the configuration
names it, and goes again where that comes to nothing.
**Failures:** `ConfigurationError` with every problem of the new text, `OSError` naming the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.crosschecks import holds_password
from pipeline.config.editing import CannotEdit
from pipeline.config.errors import ConfigurationError
from pipeline.config.loading import check, decode
from spool.disk import FILE_MODE, Disk
from spool.layout import partial
from stages.passwords import READABLE_BY_OTHERS
from stages.secret import Secret
from stages.settings import Settings

Owner = tuple[int, int]
Edit = Callable[[str], str]

LOCK_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_TRIES = 3
_ATTRIBUTES = ("st_dev", "st_ino", "st_size", "st_mtime_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordAside:
    """A password that is to stand in a file of its own, which is made or replaced."""

    path: Path
    password: Secret


class ConfigurationFile:
    """The configuration file at a path, which need not exist yet.

    `owner` is whose new files are to be, None for our own.
    """

    def __init__(self, file: Path, *, owner: Owner | None = None, disk: Disk | None = None) -> None:
        self._file = file
        self._target = Path(os.path.realpath(file))
        self._owner = owner
        self._disk = disk or Disk()

    def change(self, edit: Edit, *, aside: PasswordAside | None = None) -> Settings:
        """Make a change and answer the settings that hold from now on; where nothing changes nothing is written."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        with self._naming_files(), _alone(self._target.parent):
            for _ in range(_TRIES):
                settings = self._try(edit, aside)
                if settings is not None:
                    return settings
        raise ConfigurationError((f"{self._file} is being changed by somebody else: nothing was written",))

    def discard(self, password_file: Path) -> None:
        """Remove a password file that the configuration does not name any more."""
        self._disk.unlink(password_file)
        self._disk.sync_directory(password_file.parent)

    def _try(self, edit: Edit, aside: PasswordAside | None) -> Settings | None:
        """Make the change to what is there now; None where the file was changed meanwhile."""
        before, status = _read(self._target)
        decode(before, self._file)
        try:
            after = edit(before.decode("utf-8")).encode("utf-8")
        except CannotEdit as error:
            raise ConfigurationError((f"{self._file}: {error}",)) from error
        except UnicodeEncodeError:
            raise ConfigurationError(("what was typed is not UTF-8",)) from None
        mode = FILE_MODE if status is None else stat.S_IMODE(status.st_mode)
        if holds_password(decode(after, self._file)):
            mode &= ~READABLE_BY_OTHERS
        with ExitStack() as undoing:
            is_new_password = aside is not None and not os.path.lexists(aside.path)
            if aside is not None and is_new_password:
                for path in (aside.path, partial(aside.path)):
                    undoing.callback(self._disk.unlink, path)
                self._write_password(aside.path, aside.password, owner=self._owner)
            settings = check(after, self._file, mode=mode)
            if after != before or status is None:
                owner = self._owner if status is None else (status.st_uid, status.st_gid)
                written = self._disk.write_aside(self._target, [after], mode=mode, owner=owner)
                undoing.callback(self._disk.unlink, written)
                if not _is_as(self._target, status):
                    return None
                self._disk.rename(written, self._target)
            undoing.pop_all()
        self._disk.sync_directory(self._target.parent)
        if aside is not None and not is_new_password:
            known = aside.path.stat()
            self._write_password(aside.path.resolve(), aside.password, owner=(known.st_uid, known.st_gid))
        return settings

    def _write_password(self, path: Path, password: Secret, *, owner: Owner | None) -> None:
        self._disk.write_file(path, [f"{password.reveal()}\n".encode()], owner=owner)

    @contextmanager
    def _naming_files(self) -> Iterator[None]:
        """A write that fails does not know what it wrote to."""
        try:
            yield
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, os.strerror(error.errno), str(self._file)) from error


def _read(target: Path) -> tuple[bytes, os.stat_result | None]:
    """The content and the status of one and the same file; neither where there is none."""
    try:
        with target.open("rb") as stream:
            return stream.read(), os.fstat(stream.fileno())
    except FileNotFoundError:
        return b"", None


def _is_as(target: Path, status: os.stat_result | None) -> bool:
    """Whether the file is the one that was read, as it was."""
    try:
        now = target.stat()
    except FileNotFoundError:
        return status is None
    return status is not None and all(getattr(now, name) == getattr(status, name) for name in _ATTRIBUTES)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Be the one command that changes a file of this directory."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(fd, directory)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(
                    errno.EBUSY, "another command is changing the configuration and does not end", str(directory)
                ) from None
            time.sleep(_LOOK_SECONDS)
        else:
            return
