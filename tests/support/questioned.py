"""A command at a terminal of its own, and a person who answers what it asks."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

from tests.support.processes import LONGEST_WAIT, ROOT, WaitedTooLong

# It becomes the leader of a session whose terminal its standard input is: a password is asked for at /dev/tty.
_LEADER = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def at_terminal(arguments: Sequence[str], answers: Iterable[tuple[str, str]]) -> tuple[int, str]:
    """Run to the end, typing each answer when its question was asked; gives the exit code and all that was shown."""
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _LEADER, *arguments], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        with process:
            shown, unasked = "", list(answers)
            while piece := _read(ours):
                shown += piece
                if unasked and re.search(unasked[0][0] + r" ?\Z", shown):
                    os.write(ours, f"{unasked.pop(0)[1]}\n".encode())
        assert not unasked, f"never asked: {unasked}\n{shown}"
        return process.returncode, shown.replace("\r\n", "\n")
    finally:
        os.close(ours)


def _read(fd: int) -> str:
    """What is shown next; nothing at the end."""
    until = time.monotonic() + LONGEST_WAIT
    if not select.select([fd], [], [], until - time.monotonic())[0]:
        raise WaitedTooLong("nothing more is shown at the terminal")
    try:
        return os.read(fd, 65536).decode("utf-8", "backslashreplace")
    except OSError:
        # The last one who had the terminal has closed it.
        return ""
