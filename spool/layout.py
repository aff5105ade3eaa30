"""Every path under the spool directory.

**Invariants:** no other module joins a path below the spool; a name from outside becomes part of one only as a
`QueueId`, or encoded so that it has neither a slash nor the length to be refused.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from spool.queue_id import QueueId


class Stage(enum.StrEnum):
    """The four stages; each owns its lock, its journal and its segments."""

    FETCH = "fetch"
    VALIDATE = "validate"
    SUBMIT = "submit"
    PICKUP = "pickup"


COMMAND_JOURNAL = "command"
MESSAGE_SUFFIX = ".eml"
PARTIAL_SUFFIX = ".tmp"
_LONGEST_ENCODED_NAME = 150


@dataclass(frozen=True, slots=True)
class Layout:
    """The spool directory and what lies where in it. What is said of each path is its line in the reference."""

    root: Path

    @property
    def index(self) -> Path:
        """The index, a SQLite database. `spool rebuild` makes it anew from the other files."""
        return self.root / "index.sqlite3"

    @property
    def rebuilt_index(self) -> Path:
        """An index that `spool rebuild` is making."""
        return self.root / "index.sqlite3.rebuilt"

    def index_before_rebuild(self, at: datetime) -> Path:
        """The index that a rebuild replaced. Yours to remove."""
        return self.root / f"index.sqlite3.before-rebuild-{at:%Y%m%dT%H%M%SZ}"

    @property
    def segments(self) -> Path:
        """Messages of up to 1 MiB, as received, back to back."""
        return self.root / "segments"

    @property
    def large(self) -> Path:
        """Messages of over 1 MiB."""
        return self.root / "large"

    @property
    def journals(self) -> Path:
        """What became of each message, and the UIDLs that must be remembered."""
        return self.root / "journal"

    @property
    def badmail(self) -> Path:
        """Refused messages."""
        return self.root / "Badmail"

    @property
    def pickup(self) -> Path:
        """Drop messages here."""
        return self.root / "Pickup"

    @property
    def claims(self) -> Path:
        """Files of Pickup that are being taken."""
        return self.pickup / ".claim"

    @property
    def damaged(self) -> Path:
        """What could not be read, set aside."""
        return self.root / "damaged"

    @property
    def tokens(self) -> Path:
        """What OAuth 2.0 providers gave us."""
        return self.root / "tokens"

    @property
    def locks(self) -> Path:
        """Who is running."""
        return self.root / "locks"

    @property
    def logs(self) -> Path:
        """What went wrong inside the program, mirrored events, and the verbose log."""
        return self.root / "logs"

    @property
    def event_lines(self) -> Path:
        """Events as lines of JSON, where `log.mirror` is `"file"` and names no other file."""
        return self.logs / "events.jsonl"

    @property
    def service_log(self) -> Path:
        """The verbose log: what the servers and we said to each other, as `log verbose` or `retrieve-now` wants it."""
        return self.logs / "pop3service.log"

    def older_service_log(self, number: int) -> Path:
        """The same as it was so many rotations ago; of the oldest the lines are gone with the next one."""
        return self.logs / f"pop3service.log.{number}"

    @property
    def directories(self) -> tuple[Path, ...]:
        """All that must exist, parents first."""
        return (
            self.root,
            self.segments,
            self.large,
            self.journals,
            self.badmail,
            self.pickup,
            self.claims,
            self.damaged,
            self.tokens,
            self.locks,
            self.logs,
        )

    def segment(self, stage: Stage, serial: int) -> Path:
        """A segment: only ever appended to, by its stage; removed when none of its messages is needed."""
        return self.segments / f"{stage}-{serial:010d}.seg"

    def large_message(self, stage: Stage, queue_id: QueueId) -> Path:
        """One message of over 1 MiB, below its block."""
        return self.large / f"{stage}-{queue_id}{MESSAGE_SUFFIX}"

    def journal(self, owner: str) -> Path:
        """A journal: of a stage, or the one that commands share."""
        return self.journals / f"{owner}.journal"

    def badmail_message(self, queue_id: QueueId) -> Path:
        """A refused message, below its block. The file is the truth."""
        return self.badmail / f"{queue_id}{MESSAGE_SUFFIX}"

    def pickup_message(self, queue_id: QueueId) -> Path:
        """A replay on its way."""
        return self.pickup / f"{queue_id}{MESSAGE_SUFFIX}"

    def added_message(self, queue_id: QueueId) -> Path:
        """A file that `pickup add` put there; the message gets a queue id of its own when it is taken."""
        return self.pickup / f"added.{queue_id}{MESSAGE_SUFFIX}"

    def pickup_claim(self, queue_id: QueueId) -> Path:
        """A file of Pickup that is being taken."""
        return self.claims / queue_id

    def set_aside(self, name: str) -> Path:
        """A file or a part of one. Yours to look at and to remove."""
        return self.damaged / name

    def token(self, account: str) -> Path:
        """The access token and the refresh token of an account, with `%XX` for characters of its name that no file name
        should have. A secret: whoever has it reads that mailbox. Removing it means a new `accounts login`. Those of
        the relay are in `smtp.json` with a space before it, with which no account's name begins.
        """
        return self.tokens / f"{encoded_name(account)}.json"

    def lock(self, name: str) -> Path:
        """A lock, held by a process: of a stage, of `run`, of the index while it is opened, of what commands share, of
        the verbose log while it is rotated, of an account's tokens while they are renewed.
        """
        return self.locks / f"{name}.lock"

    def pid(self, name: str) -> Path:
        """The process that holds it, for people to read."""
        return self.locks / f"{name}.pid"

    def doorbell(self, stage: Stage) -> Path:
        """A FIFO that wakes a stage."""
        return self.locks / f"{stage}.bell"


def partial(path: Path) -> Path:
    """The name under which `path` is written until it is whole and synced."""
    return path.with_name(path.name + PARTIAL_SUFFIX)


def encoded_name(name: str) -> str:
    """A name of any characters as a part of a file's name: readable, and different for different names."""
    encoded = quote(name, safe=" ")
    if len(encoded) <= _LONGEST_ENCODED_NAME:
        return encoded
    return f"{encoded[: _LONGEST_ENCODED_NAME // 2]}-{hashlib.sha256(name.encode()).hexdigest()}"


def queue_id_of(path: Path) -> QueueId | None:
    """The queue id that a large file carries behind its stage, or a file of Pickup as its name; None for others."""
    return message_id_of(path.with_name(path.name.rpartition("-")[2]))


def message_id_of(path: Path) -> QueueId | None:
    """The queue id that is the whole name of a Badmail file; None for what has any other name."""
    if not path.name.endswith(MESSAGE_SUFFIX):
        return None
    try:
        return QueueId(path.name.removesuffix(MESSAGE_SUFFIX))
    except ValueError:
        return None
