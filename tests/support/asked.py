"""A command that asks on a terminal, and what somebody types there."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence

from tests.support.processes import ROOT


def answering(arguments: Sequence[str], typed: str) -> tuple[int, str, str]:
    """Run a command whose standard input is a terminal; answers exit code, standard output and standard error."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        done = subprocess.run(
            arguments, cwd=ROOT, stdin=theirs, capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        os.close(theirs)
        os.close(ours)
    return done.returncode, done.stdout, done.stderr
