"""Take claimed files in: read what they ask for, decide whether they may have it, admit or refuse them.

**Invariants:** recipients count only within `accept_domains`, or where the message that the file names had them: the
first lines of a file may have been written by a sender. A file replays the Badmail message that it names only with the
same SHA-256, or under the queue id that a replay was promised. A message over 1 MiB is never whole in memory.
**Failures:** `SpoolFailed`; the claims stay for the next start. A file that the disk cannot read is set aside.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from spool.badmail import BadmailFile
from spool.dropped import Dropped, open_dropped
from spool.envelope import NO_UIDL, Arrival, Digest, Origin, Place, Reason
from spool.events import Event, emit
from spool.message_file import Digester, digest
from spool.opening import Spool
from spool.pickup import Claim, Inbox
from spool.queue_id import QueueId, new_queue_id
from spool.rows import Message
from spool.safe_text import safe_text
from spool.segments import LARGE_OCTETS, READ_OCTETS
from spool.staging import spool_failures
from spool.states import State
from stages.pickup.eml import TOP_OCTETS, PickupMessage, Unusable, objection, read_top
from stages.pickup.events import PickupUnreadable, TakenFromPickup

_WAS_IN_BADMAIL = frozenset({State.BADMAIL, State.REPLAYED, State.DISCARDED})


class ClaimUnreadable(Exception):
    """The disk could not read a claim; the `OSError` is its cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kin:
    """The messages that a file belongs to: the one whose replay it is, and the one that it names."""

    replayed: Message | None
    hinted: Message | None

    @property
    def recipients(self) -> set[str] | None:
        """All recipients that these messages had; None where there is no such message."""
        messages = [message for message in (self.replayed, self.hinted) if message]
        return {recipient for message in messages for recipient in recipients_had(message)} if messages else None


class Intake:
    """Turns files into messages; for the spool's thread."""

    def __init__(
        self, spool: Spool, inbox: Inbox, *, accept_domains: frozenset[str], has_room: Callable[[int], bool]
    ) -> None:
        """`accept_domains` are those that any file may be sent to, `has_room` says whether so many octets fit."""
        self._spool = spool
        self._inbox = inbox
        self._accept_domains = accept_domains
        self._has_room = has_room

    def resume(self) -> int:
        """Copy in what an earlier process had claimed; answers how many messages came of it."""
        count = sum(self._copy_in([claim]) for claim in self._inbox.leftovers())
        self._inbox.settled()
        return count

    def take(self, files: Sequence[Dropped]) -> int:
        """Claim files and take them in, as one batch; answers how many messages came of it."""
        named: dict[QueueId, Dropped] = {}
        for file in files:
            promised = self._promised(file)
            admitted = self._inbox.message(promised) if promised else None
            if admitted is None:
                named[promised or new_queue_id()] = file
            elif admitted.state in _WAS_IN_BADMAIL:
                # The replay was refused in its turn, and somebody dropped its Badmail file under the name that it has.
                named[new_queue_id()] = file
            else:
                self._inbox.unlink_admitted(file)
        return self._copy_in(self._inbox.claim(named)) if named else 0

    def _promised(self, file: Dropped) -> QueueId | None:
        """The queue id that a replay gave to this file, which is its name."""
        try:
            queue_id = QueueId(file.path.stem)
        except ValueError:
            return None
        return queue_id if self._inbox.replayed_as(queue_id) else None

    def _copy_in(self, claims: Sequence[Claim]) -> int:
        arrivals: list[Arrival] = []
        refused = 0
        for claim in claims:
            if not self._has_room(claim.stamp.octets):
                # It may be what ended an earlier process: one file must not stop all that come after it.
                self._inbox.give_back(claim)
                continue
            try:
                with open_dropped(claim.path) as file:
                    top = file.read(TOP_OCTETS)
                found = read_top(top)
                kin = self._kin(claim, found)
                reason = self._objection(found, kin)
                if reason:
                    self._refuse(claim, found, reason=reason, kin=kin)
                    refused += 1
                elif isinstance(found, PickupMessage):
                    arrivals += self._arrival(claim, found, kin=kin, taken={one.replays for one in arrivals})
            except (OSError, ClaimUnreadable) as error:
                self._set_aside(claim, error.__cause__ or error)
        names = {claim.queue_id: _shown(claim) for claim in claims}
        events = [_taken(arrival.origin, names[arrival.origin.queue_id]) for arrival in arrivals]
        self._inbox.admit(arrivals, extra=events)
        return len(arrivals) + refused

    def _kin(self, claim: Claim, found: PickupMessage | Unusable) -> _Kin:
        hint = found.hint if isinstance(found, PickupMessage) else None
        return _Kin(
            replayed=self._inbox.replayed_as(claim.queue_id), hinted=self._inbox.message(hint) if hint else None
        )

    def _objection(self, found: PickupMessage | Unusable, kin: _Kin) -> Reason | None:
        """Why a file may not be admitted."""
        why = objection(found, accept_domains=self._accept_domains, known=kin.recipients)
        return Reason(stage="pickup", text=why) if why else None

    def _arrival(
        self, claim: Claim, found: PickupMessage, *, kin: _Kin, taken: Container[QueueId | None]
    ) -> list[Arrival]:
        """The message of a claim, read; none where the file changed or the disk filled meanwhile: it was given back."""
        is_large = len(found.header) + claim.stamp.octets - found.rest > LARGE_OCTETS
        read = self._read_large if is_large else self._read_small
        arrival = read(claim, found, kin=kin, taken=taken)
        if arrival is None:
            self._inbox.give_back(claim)
            return []
        return [arrival]

    def _read_small(
        self, claim: Claim, found: PickupMessage, *, kin: _Kin, taken: Container[QueueId | None]
    ) -> Arrival | None:
        content = b"".join(_pieces(claim, found))
        if not self._inbox.is_unchanged(claim):
            return None
        known = digest(content)
        parent = _replays(kin, known.sha256, taken=taken)
        return _to_arrival(
            _origin(claim, parent, now=self._spool.now()), found, content=content, known=known, parent=parent
        )

    def _read_large(
        self, claim: Claim, found: PickupMessage, *, kin: _Kin, taken: Container[QueueId | None]
    ) -> Arrival | None:
        # Who the message replays must be known before the first octet is written: only then it is worth reading twice.
        sha256 = _digest(_pieces(claim, found)).sha256 if kin.hinted else b""
        parent = _replays(kin, sha256, taken=taken)
        origin = _origin(claim, parent, now=self._spool.now())
        with spool_failures("pickup"):
            writer = self._inbox.admission.open_large(origin, sender=found.sender, recipients=found.recipients)
            try:
                left = claim.stamp.octets
                for piece in _pieces(claim, found):
                    # What fitted when it was begun need not fit any more: others write to this disk too.
                    if not self._has_room(left):
                        writer.discard()
                        return None
                    writer.write(piece)
                    left -= len(piece)
                if not self._inbox.is_unchanged(claim):
                    writer.discard()
                    return None
                known, place = writer.finish()
            except BaseException:
                writer.discard()
                raise
        return _to_arrival(origin, found, content=place, known=known, parent=parent)

    def _refuse(self, claim: Claim, found: PickupMessage | Unusable, *, reason: Reason, kin: _Kin) -> None:
        """Send a file to Badmail; its envelope is not believed, but for the sender that an operator wants to see."""
        known = _digest(_pieces(claim, found))
        parent = _replays(kin, b"", taken=())
        filed = BadmailFile(
            origin=_origin(claim, parent, now=self._spool.now()),
            octets=known.octets,
            sha256=known.sha256,
            sender=found.sender if isinstance(found, PickupMessage) else None,
            recipients=(),
            reason=reason,
        )
        self._inbox.refuse(
            filed,
            content=_pieces(claim, found),
            replays=parent.queue_id if parent else None,
            extra=[_taken(filed.origin, _shown(claim))],
        )

    def _set_aside(self, claim: Claim, error: BaseException) -> None:
        where = self._inbox.set_aside(claim)
        event = PickupUnreadable(
            queue_id=claim.queue_id,
            file=_shown(claim),
            error=safe_text(str(error).encode("utf-8", "replace")),
            where=f"{where.parent.name}/{where.name}",
        )
        with self._spool.index.write() as connection:
            emit(connection, [event], now=self._spool.now())


def recipients_had(message: Message) -> Iterator[str]:
    """All recipients that a message had: those it has, those that are done, and those that its replay was given."""
    yield from message.recipients
    yield from (str(accepted["recipient"]) for accepted in message.accepted)
    given = (message.replay or {}).get("recipients")
    if isinstance(given, list):
        yield from map(str, given)


def _pieces(claim: Claim, found: PickupMessage | Unusable) -> Iterator[bytes]:
    """The message in a claim, piece by piece; raises ClaimUnreadable."""
    if isinstance(found, PickupMessage) and found.header:
        yield found.header
    try:
        with open_dropped(claim.path) as file:
            file.seek(found.rest)
            while piece := file.read(READ_OCTETS):
                yield piece
    except OSError as error:
        raise ClaimUnreadable(claim.queue_id) from error


def _digest(pieces: Iterable[bytes]) -> Digest:
    digester = Digester()
    for piece in pieces:
        digester.feed(piece)
    return digester.result()


def _replays(kin: _Kin, sha256: bytes, *, taken: Container[QueueId | None]) -> Message | None:
    """The Badmail message in whose place a message goes out; `taken` are replayed by this batch already."""
    if kin.replayed and kin.replayed.state is State.BADMAIL:
        return kin.replayed
    hinted = kin.hinted
    if hinted is None or hinted.state is not State.BADMAIL or hinted.replay_id or hinted.queue_id in taken:
        return None
    return hinted if hinted.sha256 == sha256 else None


def _origin(claim: Claim, parent: Message | None, *, now: datetime) -> Origin:
    """Where the message came from: what is known of the one that it replays."""
    if parent is None:
        return Origin(queue_id=claim.queue_id, account="", uidl=NO_UIDL, peer="", fetched_at=now)
    return Origin(
        queue_id=claim.queue_id,
        account=parent.account,
        uidl=parent.uidl,
        peer=parent.peer,
        fetched_at=parent.fetched_at,
    )


def _to_arrival(
    origin: Origin, found: PickupMessage, *, content: bytes | Place, known: Digest, parent: Message | None
) -> Arrival:
    return Arrival(
        origin=origin,
        digest=known,
        content=content,
        sender=found.sender,
        recipients=found.recipients,
        replays=parent.queue_id if parent else None,
    )


def _taken(origin: Origin, name: str) -> Event:
    return TakenFromPickup(queue_id=origin.queue_id, account=origin.account, file=name)


def _shown(claim: Claim) -> str:
    return safe_text(os.fsencode(claim.name)) if claim.name else f".claim/{claim.queue_id}"
