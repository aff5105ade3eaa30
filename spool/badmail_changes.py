"""Carry out what the operator did in Badmail: his files become rows, his deletions become `discarded`.

**Invariants:** the journal line is synced before the row is committed; a row is changed only where its message is still
in Badmail; the recipients of a file that nobody knew count only where mail may be sent: its first lines may have been
written by a sender.
**Failures:** `Unreadable` where the disk cannot read the file, or it is gone while it is read; `OSError` and
`SpoolFailed`; what was begun shows again at the next look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import update

from spool import models
from spool.badmail import PARENT, REASON, BadmailFile, enter_badmail, file_badmail, leading_block
from spool.dropped import open_dropped
from spool.envelope import NO_UIDL, Origin, Reason
from spool.events import BadmailEdited, BadmailFound, Event, StateChanged, emit
from spool.files import newest_serial
from spool.journal import Journal, Outcome
from spool.locks import Tenure
from spool.message_file import Block, Digester, parse_envelope, parse_origin
from spool.models import to_ms
from spool.opening import Spool
from spool.queue_id import QueueId, new_queue_id
from spool.rows import find_message, move, reason_json, set_applied
from spool.safe_text import safe_text
from spool.segments import READ_OCTETS
from spool.states import State, Trigger


class Unreadable(Exception):
    """A file of Badmail cannot be read: that one alone is left, and whoever looks says why."""


class BadmailChanges:
    """Changes rows to what Badmail shows, for the process that holds the pickup stage. For one thread."""

    def __init__(self, spool: Spool, tenure: Tenure, *, journal: Journal, may_receive: Callable[[str], bool]) -> None:
        """`may_receive` says which recipients an unknown file may name."""
        self._spool = spool
        self._tenure = tenure
        self._journal = journal
        self._may_receive = may_receive

    def discard(self, queue_ids: Sequence[QueueId]) -> None:
        """Note that messages were discarded: their files are gone."""
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            self._journal.serial = newest_serial(connection, self._journal.serial)
            found = [find_message(connection, queue_id, layout=self._spool.layout) for queue_id in queue_ids]
            gone = [one for one in found if one.state is State.BADMAIL and not self._path(one.queue_id).exists()]
            for message in gone:
                details = {"sha256": message.sha256.hex(), "reply": "its file was removed from Badmail"}
                self._journal.note(Outcome.DISCARDED, message.queue_id, details=details)
            self._journal.sync()
            now = self._spool.now()
            events: list[Event] = []
            for message in gone:
                now_is = move(connection, message.queue_id, state=State.BADMAIL, trigger=Trigger.DISCARDED, now=now)
                events.append(
                    StateChanged(
                        queue_id=message.queue_id,
                        account=message.account,
                        trigger=Trigger.DISCARDED,
                        was=State.BADMAIL,
                        now=now_is or State.DISCARDED,
                    )
                )
            set_applied(connection, self._tenure.stage, number=self._journal.last)
            emit(connection, events, now=now)

    def read_again(self, queue_id: QueueId) -> None:
        """Take envelope, reason, length and hash from a file that was edited."""
        found, octets, sha256 = _read(self._path(queue_id))
        table = models.messages
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            message = find_message(connection, queue_id, layout=self._spool.layout)
            # A block that was edited away says nothing; the row keeps what it knows.
            sender, recipients = parse_envelope(found) if found.fields else (message.sender, message.recipients)
            reason = _reason(found) or message.reason
            seen = (sender, recipients, reason, octets, sha256)
            if seen == (message.sender, message.recipients, message.reason, message.octets, message.sha256):
                return
            now = self._spool.now()
            changed = connection.execute(
                update(table)
                .where(table.c.queue_id == queue_id, table.c.state == State.BADMAIL)
                .values(
                    sender=sender,
                    recipients=list(recipients),
                    reason=reason_json(reason),
                    octets=octets,
                    sha256=sha256,
                    changed_at=to_ms(now),
                )
            )
            if changed.rowcount:
                emit(connection, [BadmailEdited(queue_id=queue_id, account=message.account)], now=now)

    def enter(self, path: Path) -> None:
        """Enter a file that nobody knew, under a new queue id that becomes its name.

        It is renamed first, so that a crash leaves one unknown file and never two.
        """
        disk, queue_id = self._spool.disk, new_queue_id()
        renamed = self._path(queue_id)
        found, octets, sha256 = _read(path)
        try:
            disk.rename(path, renamed)
        except FileNotFoundError as error:
            raise Unreadable("it is gone") from error
        disk.sync_directory(renamed.parent)
        filed = self._filed(found, queue_id, octets=octets, sha256=sha256)
        file_badmail(self._spool, filed, content=_content(renamed, found))
        event = BadmailFound(
            queue_id=queue_id, account=filed.origin.account, file=safe_text(path.name.encode("utf-8", "replace"))
        )
        with self._spool.index.write() as connection:
            self._tenure.check(connection)
            self._journal.serial = newest_serial(connection, self._journal.serial)
            enter_badmail(connection, filed, journal=self._journal, now=self._spool.now())
            self._journal.sync()
            set_applied(connection, self._tenure.stage, number=self._journal.last)
            emit(connection, [event], now=self._spool.now())

    def clear(self, path: Path) -> None:
        """Remove a file whose message has left Badmail."""
        self._spool.disk.unlink(path)
        self._spool.disk.sync_directory(path.parent)

    def _filed(self, found: Block, queue_id: QueueId, *, octets: int, sha256: bytes) -> BadmailFile:
        known = parse_origin(found)
        origin = Origin(queue_id=queue_id, account="", uidl=NO_UIDL, peer="", fetched_at=self._spool.now())
        sender, recipients = parse_envelope(found)
        return BadmailFile(
            origin=replace(known[0], queue_id=queue_id) if known else origin,
            octets=octets,
            sha256=sha256,
            sender=sender,
            recipients=tuple(filter(self._may_receive, recipients)),
            reason=_reason(found) or Reason(stage="pickup", text="found in Badmail"),
            parent=_parent(found),
        )

    def _path(self, queue_id: QueueId) -> Path:
        return self._spool.layout.badmail_message(queue_id)


def _reason(found: Block) -> Reason | None:
    line = found.get(REASON)
    return Reason.parse(safe_text(line.encode("utf-8", "replace"), limit=1000)) if line else None


def _parent(found: Block) -> QueueId | None:
    try:
        return QueueId(found.get(PARENT) or "")
    except ValueError:
        return None


def _read(path: Path) -> tuple[Block, int, bytes]:
    """The block of a file, and length and SHA-256 of the message behind it; raises Unreadable."""
    digester = Digester()
    try:
        found = leading_block(path)
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    for piece in _content(path, found):
        digester.feed(piece)
    seen = digester.result()
    return found, seen.octets, seen.sha256


def _content(path: Path, found: Block) -> Iterator[bytes]:
    try:
        with open_dropped(path) as file:
            file.seek(found.end)
            while piece := file.read(READ_OCTETS):
                yield piece
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
