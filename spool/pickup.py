"""Pickup: claim the files that operators drop, take the messages in them into custody, let the claims go.

    Pickup/x.eml --rename, both directories synced--> Pickup/.claim/<queue id> --admitted, committed--> unlinked

**Invariants:** a message is in custody, or in Badmail with a row, before its claim is unlinked; a claim of a killed
process is copied in again under the same queue id, unless that id has a row or a journal line already, so a file is
taken once. A Badmail file whose claim is still there is completed here, at the start, and nowhere else.
**Failures:** `SpoolFailed`: nothing that was claimed is lost, the next start takes it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spool import models
from spool.admission import Admission
from spool.badmail import BadmailFile, enter_badmail, file_badmail, read_badmail, unlink_badmail
from spool.dropped import Dropped, Stamp, is_being_written, stamp_of
from spool.envelope import Arrival
from spool.errors import NotFound
from spool.events import Event, Refused, Replayed, emit
from spool.files import newest_serial
from spool.journal import Journal, Outcome
from spool.layout import Stage
from spool.locks import Tenure
from spool.opening import Spool
from spool.queue_id import QueueId, new_queue_id
from spool.recovery import journaled_ids, recover
from spool.rows import Message, find_message, move, select_messages, set_applied, to_message
from spool.staging import open_journal, spool_failures
from spool.states import State, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A pickup file on its way in. `name` is what the operator called it; a claim of an earlier process has none."""

    queue_id: QueueId
    path: Path
    name: str
    stamp: Stamp


class Inbox:
    """The Pickup directory, for the process that holds the pickup stage. For one thread."""

    def __init__(self, spool: Spool, tenure: Tenure) -> None:
        """Open journal and segments; raises SpoolFailed. Take `leftovers` before anything else."""
        self.journal: Journal = open_journal(spool, Stage.PICKUP)
        self.admission = Admission(spool, tenure, journal=self.journal)
        self._spool = spool
        self._tenure = tenure
        recover(spool, tenure, admission=self.admission)

    def leftovers(self) -> list[Claim]:
        """The claims of an earlier process that are to be copied in again; the others are finished and unlinked."""
        with spool_failures("claims"):
            journaled = journaled_ids(self._spool)
            left: list[Claim] = []
            for path in sorted(self._spool.layout.claims.iterdir()):
                try:
                    queue_id = QueueId(path.name)
                except ValueError:
                    continue
                if self._is_finished(queue_id, journaled):
                    self._spool.disk.unlink(path)
                else:
                    left.append(Claim(queue_id=queue_id, path=path, name="", stamp=stamp_of(path.lstat())))
            return left

    def settled(self) -> None:
        """Note that every journal line has had its effect; call when the leftovers are in."""
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            set_applied(connection, Stage.PICKUP, number=self.journal.last)

    def claim(self, files: Mapping[QueueId, Dropped]) -> list[Claim]:
        """Claim files under these queue ids; one that is gone or was changed since it was looked at is left alone."""
        layout, disk = self._spool.layout, self._spool.disk
        claims: list[Claim] = []
        with spool_failures("claim"):
            for queue_id, file in files.items():
                path = layout.pickup_claim(queue_id)
                try:
                    disk.rename(file.path, path)
                except FileNotFoundError:
                    continue
                claims.append(Claim(queue_id=queue_id, path=path, name=file.path.name, stamp=file.stamp))
            disk.sync_directory(layout.claims)
            disk.sync_directory(layout.pickup)
            # Nobody can open a claim by its old name any more: who has it open now, opened it before.
            changed = [claim for claim in claims if not self.is_unchanged(claim) or is_being_written(claim.path)]
        for claim in changed:
            self.give_back(claim)
        return [claim for claim in claims if claim not in changed]

    def is_unchanged(self, claim: Claim) -> bool:
        """Whether a claim still has the content that was looked at."""
        return stamp_of(claim.path.lstat()).is_same_content(claim.stamp)

    def give_back(self, claim: Claim) -> None:
        """Put a claim back into Pickup: somebody is still writing to it."""
        layout, disk = self._spool.layout, self._spool.disk
        target = layout.pickup / (claim.name or f"{claim.queue_id}.eml")
        if target.exists():
            target = layout.pickup_message(claim.queue_id)
        with spool_failures("give back"):
            disk.rename(claim.path, target)
            disk.sync_directory(layout.pickup)
            disk.sync_directory(layout.claims)

    def set_aside(self, claim: Claim) -> Path:
        """Put a claim that the disk cannot read where it holds up nothing, and say where."""
        layout, disk = self._spool.layout, self._spool.disk
        target = layout.damaged / f"{claim.queue_id}.eml"
        with spool_failures("set aside"):
            disk.rename(claim.path, target)
            disk.sync_directory(layout.damaged)
            disk.sync_directory(layout.claims)
        return target

    def admit(self, arrivals: Sequence[Arrival], *, extra: Iterable[Event]) -> None:
        """Take a batch into custody, let its claims go and the Badmail files that it replaces; raises SpoolFailed."""
        if arrivals:
            self.admission.admit(arrivals, extra=extra)
            self._release({one.origin.queue_id: one.replays for one in arrivals})

    def refuse(
        self, filed: BadmailFile, *, content: Iterable[bytes], replays: QueueId | None, extra: Iterable[Event]
    ) -> None:
        """Send a claim to Badmail, the file first, and let it go; `replays` as in `Arrival`. Raises SpoolFailed."""
        with spool_failures("refuse"):
            file_badmail(self._spool, filed, content=content)
            self._enter(filed, replays=replays, extra=extra)
        self._release({filed.origin.queue_id: replays})

    def message(self, queue_id: QueueId) -> Message | None:
        """The row of a message that a file names."""
        with self._spool.index.read() as connection:
            try:
                return find_message(connection, queue_id, layout=self._spool.layout)
            except NotFound:
                return None

    def replayed_as(self, child: QueueId) -> Message | None:
        """The message whose replay has this queue id."""
        query = select_messages().where(models.messages.c.replay_id == child)
        with self._spool.index.read() as connection:
            row = connection.execute(query).first()
        return to_message(row, self._spool.layout) if row else None

    def unlink_admitted(self, file: Dropped) -> None:
        """Remove the file of a replay that was admitted before."""
        with spool_failures("pickup"):
            self._spool.disk.unlink(file.path)
            self._spool.disk.sync_directory(self._spool.layout.pickup)

    def close(self) -> None:
        """Seal what is open and give the journal back."""
        self.admission.close()
        self.journal.close()

    def _is_finished(self, queue_id: QueueId, journaled: set[str]) -> bool:
        if self.message(queue_id) is not None:
            return True
        filed = read_badmail(self._spool, queue_id)
        if filed is None:
            return queue_id in journaled
        self._complete(filed)
        return True

    def _complete(self, filed: BadmailFile) -> None:
        """Enter a refused claim whose Badmail file is whole, but whose row was not committed."""
        parent = self.replayed_as(filed.origin.queue_id)
        self._spool.disk.sync_directory(self._spool.layout.badmail)
        self._enter(filed, replays=parent.queue_id if parent else None, extra=())

    def _enter(self, filed: BadmailFile, *, replays: QueueId | None, extra: Iterable[Event]) -> None:
        """Journal, then row; the write lock is held meanwhile, so that no line tells of what does not happen."""
        queue_id, account = filed.origin.queue_id, filed.origin.account
        events: list[Event] = [Refused(queue_id=queue_id, account=account, reason=str(filed.reason))]
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            now = self._spool.now()
            self.journal.serial = newest_serial(connection, self.journal.serial)
            enter_badmail(connection, filed, journal=self.journal, now=now)
            if replays:
                details = {"child": queue_id, "sha256": filed.sha256.hex()}
                self.journal.note(Outcome.REPLAYED, replays, details=details)
                values, trigger = {"replay_id": queue_id}, Trigger.REPLAYED
                if move(connection, replays, state=State.BADMAIL, trigger=trigger, now=now, values=values):
                    events.append(Replayed(queue_id=replays, account=account, child=queue_id))
            self.journal.sync()
            set_applied(connection, Stage.PICKUP, number=self.journal.last)
            emit(connection, [*events, *extra], now=now)

    def _release(self, done: Mapping[QueueId, QueueId | None]) -> None:
        """Let claims go, and the Badmail files of what they replayed."""
        layout, disk = self._spool.layout, self._spool.disk
        with spool_failures("release"):
            for queue_id in done:
                disk.unlink(layout.pickup_claim(queue_id))
            replayed = [parent for parent in done.values() if parent]
            if replayed:
                unlink_badmail(self._spool, replayed)


def put_into_pickup(spool: Spool, content: Iterable[bytes]) -> Path:
    """Put a file into Pickup, whole and durable, under a name that nobody has; raises SpoolFailed. Ring after it.

    For whoever owns the spool; nobody needs to hold the stage.
    """
    path = spool.layout.added_message(new_queue_id())
    with spool_failures("pickup"):
        spool.disk.write_file(path, content)
    return path
