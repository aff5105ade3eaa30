"""What can go wrong with the spool, split by who must act.

SpoolError
├── SpoolUnusable        the operator must mend the place or the program it runs on
│   ├── PermissionRefused    an owner or a mode is wrong
│   └── NoSpool              there is none yet
├── IndexLost            the index is missing, empty or older than the journal: `spool rebuild`
├── SpoolFailed          the disk or the index said no (EIO, ENOSPC ...): stop, mend, start again
├── StageHeld            another process holds the stage
├── NotFound             no message with that queue id
├── ForbiddenTransition  the table in `states` has no such edge
└── Damaged              bytes are missing or differ from what the index says
"""

from __future__ import annotations


class SpoolError(Exception):
    """Anything the spool raises; its text is one line that an operator can act on."""


class SpoolUnusable(SpoolError):
    """The spool cannot be used as it is set up (network file system, old SQLite, newer schema)."""


class PermissionRefused(SpoolUnusable):
    """The owner or the mode of the spool directory keeps us out, or lets others in."""


class NoSpool(SpoolUnusable):
    """Nothing is there yet: no directory, or an empty one."""


class IndexLost(SpoolError):
    """The index is missing, empty or older than the journal while spool files exist."""


class SpoolFailed(SpoolError):
    """A durable step failed; nothing was promised to anybody for what it covered."""


class StageHeld(SpoolError):
    """Another process holds the lock.

    `pid` is None when the holder did not say.
    """

    def __init__(self, name: str, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{name} is held by {who}")
        self.name = name
        self.pid = pid


class NotFound(SpoolError):
    """No message has this queue id."""


class ForbiddenTransition(SpoolError):
    """`states.TRANSITIONS` has no edge for this trigger out of this state."""


class Damaged(SpoolError):
    """The bytes of a message are missing, or differ in length or SHA-256 from its row."""

    def __init__(self, queue_id: str, what: str) -> None:
        super().__init__(f"message {queue_id} is damaged: {what}")
        self.queue_id = queue_id
        self.what = what
