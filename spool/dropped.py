"""Files that people put into Pickup and Badmail: which there are, whether they changed, whether they are ours to read.

**Invariants:** nothing is opened through a symbolic link, nothing but a regular file is opened at all, no open waits,
nothing is changed. A `Stamp` that is equal twice means that nobody wrote to the file in between: the kernel sets its
times and nobody can set `changed_ns` back.
**Failures:** `OSError` from reading a directory; what is wrong with one file is a value.
"""

from __future__ import annotations

import enum
import errno
import fcntl
import os
import pwd
import shlex
import signal
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from spool.layout import MESSAGE_SUFFIX
from spool.safe_text import safe_text

ROOT_UID = 0
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Where nobody can tell whether a file is open for writing, it must at least have been quiet for so long.
LEASELESS_SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What changes when a file does."""

    device: int
    inode: int
    octets: int
    modified_ns: int
    changed_ns: int

    def is_same_content(self, other: Stamp) -> bool:
        """Whether both are of one file with the same content; a rename changes `changed_ns` alone."""
        return (self.device, self.inode, self.octets, self.modified_ns) == (
            other.device,
            other.inode,
            other.octets,
            other.modified_ns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A message file in a directory, as it was seen at one look."""

    path: Path
    stamp: Stamp

    @property
    def shown(self) -> str:
        """Its folder and name, safe to show: people may give a file any name."""
        return safe_text(os.fsencode(Path(self.path.parent.name, self.path.name)))


class Writers(enum.StrEnum):
    """Whether a file is open for writing somewhere."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"
    """The file system gives no leases, or the file is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A file that may be read."""

    stamp: Stamp
    writers: Writers


@dataclass(frozen=True, slots=True)
class Unfit:
    """A file that may not; `why` says what to do, on one safe line."""

    why: str


def list_dropped(directory: Path) -> list[Dropped]:
    """The message files of a directory in the order of their names; what is hidden or has another ending is ignored."""
    found: list[Dropped] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if is_message_name(entry.name):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found.append(Dropped(path=Path(entry.path), stamp=stamp_of(status)))
    return sorted(found, key=lambda dropped: dropped.path.name)


def is_message_name(name: str) -> bool:
    """Whether a file of this name is a message: to the letter, so that `x.EML` and `.x.eml` are none."""
    return name.endswith(MESSAGE_SUFFIX) and not name.startswith(".")


def inspect(path: Path, *, owner_uids: Collection[int] = ()) -> Fit | Unfit | None:
    """Look whether a file may be read; None where it is gone.

    It must be a regular file with one link that belongs to the service user, root or one of `owner_uids`.
    """
    try:
        # To open a device or a FIFO may do something, if only to its other end.
        why = _unfit(os.lstat(path), path, owner_uids=owner_uids)
        if why:
            return Unfit(why)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Unfit(_not_opened(error, path))
    try:
        status = os.fstat(fd)
        why = _unfit(status, path, owner_uids=owner_uids)
        return Unfit(why) if why else Fit(stamp=stamp_of(status), writers=_writers(fd))
    finally:
        os.close(fd)


def is_being_written(path: Path) -> bool:
    """Whether somebody has a file open for writing, as far as that can be told."""
    try:
        with open_dropped(path) as file:
            return _writers(file.fileno()) is Writers.SOME
    except OSError:
        return False


def open_dropped(path: Path) -> BinaryIO:
    """Open a file that was found fit; raises OSError."""
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return Stamp(
        device=status.st_dev,
        inode=status.st_ino,
        octets=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
    )


def _unfit(status: os.stat_result, path: Path, *, owner_uids: Collection[int]) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        return f"it is {kind}, not a regular file: remove it, and copy the message itself here"
    if status.st_nlink != 1:
        return f"it has {status.st_nlink} hard links: copy it instead, or remove the other links"
    if status.st_uid not in {os.geteuid(), ROOT_UID, *owner_uids}:
        return f"it belongs to uid {status.st_uid}: {_chown(path)}, or name its owner in pickup.owners"
    return None


def _not_opened(error: OSError, path: Path) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link, not a regular file: remove it, and copy the message itself here"
    if error.errno == errno.EACCES:
        return f"the service may not read it: {_chown(path)}"
    return f"it cannot be opened: {error.strerror}"


def _chown(path: Path) -> str:
    """The command that makes a file ours, where its name can be typed."""
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    raw = os.fsencode(path)
    shown = safe_text(raw, limit=2 * len(raw))
    return f"chown {user} {shlex.quote(shown)}" if os.fsencode(shown) == raw else f"make {user} its owner, with chown"


def _writers(fd: int) -> Writers:
    """Ask for a read lease, which the kernel gives only while nobody has the file open for writing (fcntl(2))."""
    try:
        # A writer that comes while we hold it would be announced by SIGIO, which kills; SIGURG is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return Writers.SOME
    except OSError:
        return Writers.UNKNOWN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writers.NONE
