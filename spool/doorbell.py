"""Wake another stage: a FIFO for each, so that nobody has to poll the index.

A ring says "look", nothing more: what there is to do stands in the index, so a ring that is lost costs only the wait
until the stage looks by itself.
"""

from __future__ import annotations

import contextlib
import os

from spool.layout import Stage
from spool.opening import Spool


class Doorbell:
    """The bell of one stage, for the process that holds it; `fileno` becomes readable when somebody rang."""

    def __init__(self, spool: Spool, stage: Stage) -> None:
        """Hang up the bell."""
        path = spool.layout.doorbell(stage)
        spool.disk.make_fifo(path)
        # Open for both, so that it never reads as ended when the last ringer is gone.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def silence(self) -> None:
        """Take all rings so far."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, 4096):
                pass

    def close(self) -> None:
        """Take the bell down."""
        os.close(self._fd)


def ring(spool: Spool, stage: Stage) -> bool:
    """Wake a stage; False where nobody listens."""
    try:
        fd = os.open(spool.layout.doorbell(stage), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A full FIFO has rung already.
        with contextlib.suppress(BlockingIOError):
            os.write(fd, b"!")
    finally:
        os.close(fd)
    return True
