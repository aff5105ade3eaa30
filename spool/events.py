"""The events of the spool itself; stages and pipeline define theirs. What all events are stands in `spool.event_log`.

The catalogue in the documentation is made of the docstrings: the meaning and, in a second paragraph, what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spool.event_log import Event, Level, LoggedEvent, emit, read_events

__all__ = ["Event", "Level", "LoggedEvent", "emit", "read_events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(Event):
    """A message is in custody: its bytes are synced and its row is committed. It may be deleted at the provider."""

    says: ClassVar[str] = "in custody, {octets} octets, UIDL {uidl}"
    octets: int
    uidl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered(Event):
    """A message whose bytes a killed process had written but not committed was taken into custody at start.

    Nothing: it goes on like any other. Find out why the process was killed, where nobody did it on purpose.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "recovered from {file}, {octets} octets"
    file: str
    octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated(Event):
    """A message has its envelope and waits for submission."""

    says: ClassVar[str] = "ready, from <{sender}>"
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A message went to Badmail, where it stays until somebody decides.

    See the whole reason with `badmail show`; mend its cause and send it again with `badmail replay`, or remove it.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "to Badmail: {reason}"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Event):
    """The relay accepted a message for all its recipients."""

    says: ClassVar[str] = "submitted: {reply}"
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed(Event):
    """The relay said "later"; the message is tried again when due.

    Nothing, unless it goes on for hours: then the relay's own log says what it waits for.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "deferred to {next_attempt_at}: {reason}"
    reason: str
    next_attempt_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided(Event):
    """Some recipients were refused: they became a Badmail message of their own, the others go on.

    See to the child in Badmail, as for any refused message.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "divided: {recipients} went to Badmail as {child}"
    recipients: str
    child: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleDuplicate(Event):
    """The final dot left and no reply to it was noted: this message may reach its recipients twice.

    Nothing, or set `submit.ambiguous = "hold"` to decide about such messages yourself.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "possible duplicate: the outcome of an attempt is not known; it is sent again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Event):
    """The relay may have this message, nobody knows: it is held.

    Look for it at the relay: `spool release` sends it again, `spool rm` ends it.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "held: {reason}"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed(Event):
    """A Badmail message went through Pickup under a new queue id."""

    says: ClassVar[str] = "replayed as {child}"
    child: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """The operator changed the state of a message: by a command, or by his hand in Badmail."""

    says: ClassVar[str] = "{trigger}: {was} became {now}"
    trigger: str
    was: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WishNoted(Event):
    """The operator decided about a message that submit has in hand: it takes effect when the attempt ends."""

    says: ClassVar[str] = "noted for the end of the attempt under way: {wish}"
    wish: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WishCameTooLate(Event):
    """What the operator wanted of a message came too late: the relay has accepted or refused it, or it is damaged."""

    says: ClassVar[str] = "{wish}: came too late, the attempt under way had ended otherwise"
    wish: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDamaged(Event):
    """The bytes of a message are missing or wrong; it waits for the operator. The provider's copy may be gone.

    Check the disk and run `spool verify`. Where the provider has no copy, ask the sender for one; `spool rm` ends it.
    """

    level: ClassVar[Level] = Level.CRITICAL
    says: ClassVar[str] = "damaged: {what}"
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordUnreadable(Event):
    """Octets in a spool file that are no record: a torn tail after a crash, or damage.

    Nothing after a crash: what was torn was never in custody. Without one, check the disk and run `spool verify`.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{file}: octets {start} to {end} are not a record"
    file: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentAbandoned(Event):
    """Writing to a segment failed; it is never written again and the batch goes to a new one.

    Check the disk, and its room, before it fails for good.
    """

    level: ClassVar[Level] = Level.ERROR
    says: ClassVar[str] = "{file} abandoned: {error}"
    file: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadmailEdited(Event):
    """A Badmail file was changed by hand; the file is the truth and was read again."""

    says: ClassVar[str] = "the Badmail file was edited and read again"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadmailFound(Event):
    """A file that nobody knew was found in Badmail and entered under a new queue id."""

    says: ClassVar[str] = "{file} found in Badmail and entered"
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolWarning(Event):
    """The spool works, but the place it lies on gives less than it should.

    Do what the line says: move the spool to a local disk, or mend the file that it names.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{what}"
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerboseLogFailed(Event):
    """The verbose log could not be written, and lines are missing from it; mail moves all the same.

    Make room on the disk, or see who owns what is in `logs/`. It is said once by each process.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{file} cannot be written: {error}"
    file: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRebuilt(Event):
    """The index was made anew from the files; the old one is kept. What the files do not tell starts afresh.

    Look through `spool ls` and `badmail ls`; when all is well, remove the old index.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "the index was rebuilt: {messages} messages, {ledger_entries} ledger entries"
    messages: int
    ledger_entries: int
