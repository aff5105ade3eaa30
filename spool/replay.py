"""Replay: send a Badmail message again through Pickup, under a new queue id and with a mended envelope.

The new queue id and the envelope are committed first, then the file is put into Pickup; pickup admits it under that
very id and moves the Badmail message to `replayed` in the same transaction.

**Invariants:** a message is replayed once; a replay that was committed is finished, by pickup where the command that
began it died; both write the file under the lock that commands share, so that never two write it at once.
**Failures:** `NotFound`, `ForbiddenTransition` (not in Badmail, replayed before, nobody to send it to), `Damaged` (its
file is gone), `StageHeld` (another command does not end), `SpoolFailed`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain

from sqlalchemy import select, update

from spool import models
from spool.badmail import leading_block
from spool.content import badmail_pieces
from spool.errors import Damaged, ForbiddenTransition, StageHeld
from spool.layout import Layout
from spool.locks import COMMANDS, hold
from spool.message_file import (
    CREATED_BY,
    CREATOR,
    PREFIX,
    RECEIVER,
    SENDER,
    Block,
    block,
    envelope_fields,
    parse_envelope,
)
from spool.opening import Spool
from spool.queue_id import QueueId, new_queue_id
from spool.rows import Message, find_message, select_messages, to_message
from spool.segments import open_regular
from spool.staging import spool_failures
from spool.states import State
from spool.wishes import not_in_badmail, standing_of

_PATIENCE_SECONDS = 60
_INJECTED = tuple(name.lower().encode("ascii") for name in (f"{SENDER}:", f"{RECEIVER}:", f"{CREATED_BY}:", PREFIX))


def begin_replay(
    spool: Spool, queue_id: QueueId, *, sender: str | None = None, recipients: Sequence[str] | None = None
) -> QueueId:
    """Replay a Badmail message; answers the queue id under which it goes out. Ring pickup after it.

    `sender` ("" is the null path) and `recipients` take the place of what the Badmail file says.
    """
    with hold(spool.layout, COMMANDS, timeout=_PATIENCE_SECONDS), spool_failures("replay"):
        child = new_queue_id()
        with spool.index.write() as connection:
            message = find_message(connection, queue_id, layout=spool.layout)
            _check(message)
            filed = _block(spool, message)
            _require_message(spool, message, filed=filed)
            envelope = _envelope(message, filed, sender=sender, recipients=recipients)
            connection.execute(
                update(models.messages)
                .where(models.messages.c.queue_id == queue_id)
                .values(replay_id=child, replay=envelope)
            )
        try:
            _write(spool, message, child=child, envelope=envelope)
        except Damaged:
            # Its file went, or a sector did, since it was looked at: nothing is on its way.
            with spool.index.write() as connection:
                connection.execute(
                    update(models.messages)
                    .where(models.messages.c.queue_id == queue_id, models.messages.c.replay_id == child)
                    .values(replay_id=None, replay=None)
                )
            raise
    return child


def finish_replays(spool: Spool) -> int:
    """Put the files of replays into Pickup that were committed and are not under way; answers how many.

    For the holder of the pickup stage. Does nothing while a command is at work: it may be about to write them.
    """
    if not _lost(spool):
        return 0
    try:
        with hold(spool.layout, COMMANDS), spool_failures("replay"):
            return sum(_is_written(spool, message, child=child) for message, child in _lost(spool))
    except StageHeld:
        return 0


def _is_written(spool: Spool, message: Message, *, child: QueueId) -> bool:
    """Write the file of a replay; not where the Badmail file is none any more, which the scan of Badmail tells of."""
    try:
        _write(spool, message, child=child, envelope=message.replay or {})
    except Damaged:
        return False
    return True


def _check(message: Message) -> None:
    why = not_in_badmail(standing_of(message))
    if why:
        raise ForbiddenTransition(f"message {message.queue_id} {why}")


def _require_message(spool: Spool, message: Message, *, filed: Block) -> None:
    """Refuse a file that was cut: in its own block, or with nothing behind it. What was edited is a message."""
    path = spool.layout.badmail_message(message.queue_id)
    try:
        with open_regular(path) as file:
            top = file.read(len(PREFIX)).lower()
            octets = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise Damaged(message.queue_id, f"its file in Badmail cannot be read: {error.strerror}") from error
    if octets <= filed.end:
        raise ForbiddenTransition(f"Badmail/{path.name} holds no message any more: restore the file, or remove it")
    if not filed.fields and top.startswith(_INJECTED):
        raise ForbiddenTransition(
            f"Badmail/{path.name} ends, or is damaged, within its injected block: restore the file"
        )


def _block(spool: Spool, message: Message) -> Block:
    try:
        return leading_block(spool.layout.badmail_message(message.queue_id))
    except FileNotFoundError as error:
        raise Damaged(message.queue_id, "its file in Badmail is missing") from error
    except OSError as error:
        raise Damaged(message.queue_id, f"its file in Badmail cannot be read: {error.strerror}") from error


def _envelope(
    message: Message, filed: Block, *, sender: str | None, recipients: Sequence[str] | None
) -> dict[str, object]:
    """The envelope of the replay: what was asked for, else what the file says, which is the truth in Badmail."""
    # A block that was edited away says nothing: the row knows the envelope still.
    known_sender, known_recipients = parse_envelope(filed) if filed.fields else (message.sender, message.recipients)
    chosen = list(recipients or known_recipients)
    if not chosen:
        raise ForbiddenTransition(f"message {message.queue_id} names nobody to send it to: give a recipient")
    return {"sender": known_sender if sender is None else sender, "recipients": chosen}


def _lost(spool: Spool) -> list[tuple[Message, QueueId]]:
    """Replays that were begun, are not admitted and have no file on its way; where the Badmail file is still there."""
    table = models.messages
    query = select_messages().where(
        table.c.state == State.BADMAIL,
        table.c.replay_id.is_not(None),
        table.c.replay_id.not_in(select(table.c.queue_id)),
    )
    with spool.index.read() as connection:
        begun = [to_message(row, spool.layout) for row in connection.execute(query)]
    return [(one, one.replay_id) for one in begun if one.replay_id and _needs_file(spool.layout, one.replay_id, of=one)]


def _needs_file(layout: Layout, child: QueueId, *, of: Message) -> bool:
    if layout.pickup_message(child).exists() or layout.pickup_claim(child).exists():
        return False
    return layout.badmail_message(of.queue_id).exists()


def _write(spool: Spool, message: Message, *, child: QueueId, envelope: Mapping[str, object]) -> None:
    sender, recipients = envelope["sender"], envelope["recipients"]
    if not isinstance(recipients, list):
        raise TypeError(f"the replay of {message.queue_id} has no list of recipients")
    fields = [
        *envelope_fields(None if sender is None else str(sender), recipients),
        (CREATED_BY, CREATOR),
        (PREFIX + "Queue-Id", str(message.queue_id)),
    ]
    content = badmail_pieces(spool, message.queue_id, start=_block(spool, message).end)
    spool.disk.write_file(spool.layout.pickup_message(child), chain([block(fields)], content))
