"""Act as the user whom a spool belongs to, and be oneself again.

Root alone may write many a configuration, and must not touch the spool of another user: SQLite would leave files there
that its owner could not open.

**Invariants:** what is run within the block, commands for passwords too, cannot become root again; the process is
itself again behind it, however it is left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = 0


@contextmanager
def as_owner_of(directory: Path) -> Iterator[None]:
    """Be the user of `directory` within the block, where root is asked and it is another's; else nothing changes."""
    if os.geteuid() != _ROOT or not directory.is_dir() or (status := directory.stat()).st_uid == _ROOT:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setresgid(status.st_gid, status.st_gid, group)
    # The saved one is the way back; a program that is run has it not.
    os.setresuid(status.st_uid, status.st_uid, _ROOT)
    try:
        yield
    finally:
        os.setresuid(_ROOT, _ROOT, _ROOT)
        os.setresgid(group, group, group)
        os.setgroups(groups)
