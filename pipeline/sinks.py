"""Where events are mirrored: the journal of systemd, syslog, a file of JSON lines.

**Invariants:** nothing here waits: a datagram is sent without blocking, and a line is one write(2) to a file that is
only ever appended to. **Failures:** `OSError`, that event is not mirrored then.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pipeline.event_lines import json_line, text_line
from spool.disk import FILE_MODE, Disk
from spool.events import Level, LoggedEvent

IDENTIFIER = "pop3connector"
ROTATE_OCTETS = 10 * 1024 * 1024
ROTATED_FILES = 4
# Not to be kept waiting by a FIFO that nobody reads either.
_APPEND = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# RFC 5424 section 6.2.1: the severities of syslog, which journald has too; 2 is the facility "mail".
_PRIORITIES: Mapping[Level, int] = {
    Level.CRITICAL: 2,
    Level.ERROR: 3,
    Level.WARNING: 4,
    Level.INFO: 6,
    Level.DEBUG: 7,
}
_MAIL = 2 << 3
# RFC 3164 section 4.1.2: months have English names, whatever the locale is.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Sink(Protocol):
    """A place for events."""

    def take(self, event: LoggedEvent) -> None:
        """Bring one event there; raises OSError."""

    def close(self) -> None:
        """Let the place go."""


class _Datagrams:
    """A UNIX datagram socket whose receiver may come and go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, octets: bytes) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        # By name each time: whoever listens there may have been started anew.
        self._socket.sendto(octets, str(self._path))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class Journald:
    """The native protocol of systemd-journald (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/)."""

    def __init__(self, path: Path) -> None:
        """Send to the socket at `path`."""
        self._datagrams = _Datagrams(path)

    def take(self, event: LoggedEvent) -> None:
        """Send one event; raises OSError."""
        fields = {
            "MESSAGE": text_line(event),
            "PRIORITY": str(_PRIORITIES[event.level]),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "SYSLOG_FACILITY": str(_MAIL >> 3),
            "SYSLOG_PID": str(os.getpid()),
            "POP3CONNECTOR_EVENT": event.name,
            "POP3CONNECTOR_ACCOUNT": event.account,
            "POP3CONNECTOR_QUEUE_ID": event.queue_id,
            "POP3CONNECTOR_PROCESS": event.process,
            "POP3CONNECTOR_COUNT": str(event.count),
        }
        self._datagrams.send(b"".join(journal_field(name, value) for name, value in fields.items() if value))

    def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()


def journal_field(name: str, value: str) -> bytes:
    """One field; a value with a line end has its length before it, so that it cannot add a field of its own."""
    octets = value.encode("utf-8", "replace")
    if b"\n" not in octets:
        return b"%s=%s\n" % (name.encode("ascii"), octets)
    return b"%s\n%s%s\n" % (name.encode("ascii"), struct.pack("<Q", len(octets)), octets)


class Syslog:
    """The local socket of syslog, in the form of syslog(3), which every daemon that listens there knows (RFC 3164)."""

    def __init__(self, path: Path) -> None:
        """Send to the socket at `path`."""
        self._datagrams = _Datagrams(path)

    def take(self, event: LoggedEvent) -> None:
        """Send one event; raises OSError."""
        at = time.localtime(event.newest_at.timestamp())
        moment = f"{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2d} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
        line = f"<{_MAIL | _PRIORITIES[event.level]}>{moment} {IDENTIFIER}[{os.getpid()}]: {text_line(event)}"
        self._datagrams.send(line.encode("utf-8", "replace"))

    def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()


class JsonLines:
    """A file of JSON lines that several processes append to; a full one becomes `.1`, that one `.2`, and so on."""

    def __init__(self, path: Path, *, disk: Disk | None = None, rotate_octets: int = ROTATE_OCTETS) -> None:
        """Append to the file at `path`, which is made where it is not there."""
        self._path = path
        self._disk = disk or Disk()
        self._rotate_octets = rotate_octets
        self._is_torn = False

    def take(self, event: LoggedEvent) -> None:
        """Append one line; raises OSError."""
        line = f"{json_line(event)}\n".encode("ascii")
        # Opened for each line: it may have been rotated by another process since the last one.
        fd = os.open(self._path, _APPEND, FILE_MODE)
        try:
            self._append(fd, line)
            if os.fstat(fd).st_size >= self._rotate_octets:
                # The line is written; where the name cannot be changed the file grows on.
                with suppress(OSError):
                    self._rotate(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Nothing is open between two lines."""

    def _append(self, fd: int, line: bytes) -> None:
        whole = b"\n" + line if self._is_torn else line
        written = os.write(fd, whole)
        self._is_torn = 0 < written < len(whole)
        if written < len(whole):
            raise OSError(f"{self._path}: only {written} octets of a line were written")

    def _rotate(self, fd: int) -> None:
        """Rename the file unless somebody else does; who has it open still writes its line to the end of that one.

        Raises OSError, BlockingIOError where somebody else is at it.
        """
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The file has its name still: it was not rotated between our opening and our lock, which it takes with it.
        if self._path.stat().st_ino != os.fstat(fd).st_ino:
            return
        for number in range(ROTATED_FILES - 1, 0, -1):
            if (older := self._numbered(number)).exists():
                self._disk.rename(older, self._numbered(number + 1))
        self._disk.rename(self._path, self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
