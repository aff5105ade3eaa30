"""Compare the index with the files: everything that must be there is there, and nothing is there that nobody knows.

**Invariants:** nothing is changed. It is safe while stages work: what is told was so at two looks, the second after the
first had ended; octets beyond a segment's committed length and large files without a row are their owner's (I3), a
Badmail file of a live message too.
**Failures:** none of its own: what cannot be read is a problem that is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select

from spool import models
from spool.badmail import read_badmail
from spool.content import badmail_pieces, pieces
from spool.errors import Damaged, IndexLost, NotFound, SpoolFailed
from spool.files import SegmentRow, segment_path, segment_rows
from spool.journal import damaged_lines
from spool.layout import PARTIAL_SUFFIX, message_id_of, queue_id_of
from spool.opening import OWNERS, Spool, require_current_index
from spool.queue_id import QueueId
from spool.rows import Message, Stored, find_message, select_messages, to_message
from spool.segments import HEADER_OCTETS, Record, read_nonce, scan
from spool.states import LIVE, State
from spool.steps import Step, Tell, nobody

_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found: `ok` where there are no problems, `checked` messages in spool and Badmail, a line a problem.

    A remark is no problem: files in Badmail may be edited, but what was cut looks the same.
    """

    ok: bool
    checked: int
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def verify(spool: Spool, tell: Tell = nobody) -> Verification:
    """Check the whole spool, reading every message that is still needed; `tell` hears of the messages."""
    try:
        damaged = spool.index.problems()
    except SpoolFailed as error:
        damaged = [str(error)]
    if damaged:
        # Nothing that such an index says is worth comparing.
        return Verification(ok=False, checked=0, problems=tuple(damaged))
    seen = dict.fromkeys(_look(spool))
    again = set(_look(spool)) if seen else set()
    problems = [problem for problem in seen if problem in again]
    checked, of, remarks = 0, _count(spool), list[str]()
    for message in _messages(spool):
        checked += 1
        tell(Step(what="messages", done=checked, of=max(of, checked)))
        if message.state in LIVE and message.stored:
            problems += _examine(spool, message.stored)
        elif message.state is State.BADMAIL:
            try:
                remarks += _remark(spool, message.queue_id)
            except (OSError, Damaged):
                problems += _unreadable(spool, message.queue_id)
    return Verification(ok=not problems, checked=checked, problems=tuple(problems), remarks=tuple(remarks))


def _look(spool: Spool) -> Iterator[str]:
    """Compare what is listed, without reading messages."""
    try:
        yield from _journals(spool)
        yield from _strangers(spool)
        for row in segment_rows(spool):
            yield from _file(spool, row)
        yield from _places(spool)
        yield from _badmail(spool)
    except OSError as error:
        yield f"{error.filename}: {error.strerror}"


def _journals(spool: Spool) -> Iterator[str]:
    for owner in OWNERS:
        path = spool.layout.journal(owner)
        for number in damaged_lines(path):
            yield f"journal/{path.name}: line {number} is damaged"
    try:
        require_current_index(spool)
    except IndexLost as error:
        yield str(error)


def _strangers(spool: Spool) -> Iterator[str]:
    """Files that no row knows. A row is written before its segment is, and forgotten after the file is gone."""
    layout = spool.layout
    files = [*layout.segments.iterdir(), *layout.large.iterdir()]
    known = {segment_path(layout, row) for row in segment_rows(spool)}
    for path in files:
        waits_for_recovery = path.parent == layout.large and queue_id_of(path) is not None
        if path not in known and not waits_for_recovery and path.suffix != PARTIAL_SUFFIX:
            yield f"{path.parent.name}/{path.name}: the index does not know it"


def _file(spool: Spool, row: SegmentRow) -> Iterator[str]:
    """Compare one segment or large file with its row."""
    path = segment_path(spool.layout, row)
    name = f"{path.parent.name}/{path.name}"
    if row.status == "marked" or not row.committed_octets:
        return
    try:
        size = path.stat().st_size
        if size < row.committed_octets:
            yield f"{name}: ends at {size}, {row.committed_octets} octets are committed"
        if row.queue_id is None and row.nonce is not None:
            if read_nonce(path) != row.nonce:
                yield f"{name}: its header is damaged"
            for start, end in _gaps(spool, row):
                yield f"{name}: octets {start} to {end} are not a record"
    except FileNotFoundError:
        yield f"{name}: is missing"


def _gaps(spool: Spool, row: SegmentRow) -> Iterator[tuple[int, int]]:
    position = HEADER_OCTETS
    for found in scan(segment_path(spool.layout, row), row.nonce or b""):
        if position >= row.committed_octets:
            return
        if isinstance(found, Record):
            position = found.place.offset + found.place.block_octets + found.place.octets
        else:
            start, position = found
            yield start, min(position, row.committed_octets)


def _places(spool: Spool) -> Iterator[str]:
    """Live rows that point to where nothing was committed; in Badmail the octets are those of the file."""
    messages, segments = models.messages, models.segments
    end = messages.c.offset + messages.c.block_octets + messages.c.octets
    query = (
        select(messages.c.queue_id)
        .join_from(messages, segments, messages.c.segment == segments.c.serial)
        .where(messages.c.state.in_(LIVE), end > segments.c.committed_octets)
    )
    with spool.index.read() as connection:
        outside = connection.execute(query).scalars().all()
    for queue_id in outside:
        yield f"message {queue_id}: its place is beyond what was committed of its file"


def _badmail(spool: Spool) -> Iterator[str]:
    files = {known for path in spool.layout.badmail.iterdir() if (known := message_id_of(path))}
    table = models.messages
    with spool.index.read() as connection:
        refused = set(connection.execute(select(table.c.queue_id).where(table.c.state == State.BADMAIL)).scalars())
    for missing in sorted(refused - files):
        yield f"Badmail/{missing}.eml: is missing"
    for queue_id in sorted(files - refused):
        state = _state(spool, queue_id)
        if state is None and not _has_living_kin(spool, queue_id):
            yield f"Badmail/{queue_id}.eml: the index does not know it"
        elif state is not None and state.is_final:
            yield f"Badmail/{queue_id}.eml: was left behind, its message is {state}"


def _has_living_kin(spool: Spool, queue_id: QueueId) -> bool:
    """True of a file that is just being moved in, by the owner of its parent or of its claim."""
    if spool.layout.pickup_claim(queue_id).exists():
        return True
    try:
        file = read_badmail(spool, queue_id)
    except OSError:
        return False
    return file is not None and file.parent is not None and _state(spool, file.parent) in LIVE


def _remark(spool: Spool, queue_id: QueueId) -> list[str]:
    """Compare a Badmail file with what it says of itself; raises OSError, Damaged."""
    name = spool.layout.badmail_message(queue_id).name
    file = read_badmail(spool, queue_id)
    octets, sha256 = 0, hashlib.sha256()
    for piece in badmail_pieces(spool, queue_id, start=file.end if file else 0):
        octets += len(piece)
        sha256.update(piece)
    if file is None:
        return [f"Badmail/{name}: it does not begin with our block any more"]
    if sha256.digest() == file.sha256:
        return []
    return [f"Badmail/{name}: its message was edited or cut: it has {octets} octets, {file.octets} were refused"]


def _unreadable(spool: Spool, queue_id: QueueId) -> list[str]:
    """Look once more at a Badmail file that could not be read: its message may have left meanwhile."""
    try:
        _remark(spool, queue_id)
    except (OSError, Damaged) as error:
        is_told = isinstance(error.__cause__ or error, FileNotFoundError)
        if _state(spool, queue_id) is State.BADMAIL and not is_told:
            return [str(error) if isinstance(error, Damaged) else f"Badmail/{queue_id}.eml: {error.strerror}"]
    return []


def _state(spool: Spool, queue_id: QueueId) -> State | None:
    with spool.index.read() as connection:
        try:
            return find_message(connection, queue_id, layout=spool.layout).state
        except NotFound:
            return None


def _count(spool: Spool) -> int:
    query = select(func.count()).where(models.messages.c.state.in_([*LIVE, State.BADMAIL]))
    with spool.index.read() as connection:
        return connection.execute(query).scalar_one()


def _messages(spool: Spool) -> Iterator[Message]:
    """All live messages and those in Badmail, page by page: no transaction is open while they are read."""
    table = models.messages
    query = select_messages().where(table.c.state.in_([*LIVE, State.BADMAIL])).order_by(table.c.queue_id).limit(_PAGE)
    last = ""
    while True:
        with spool.index.read() as connection:
            page = [
                to_message(row, spool.layout) for row in connection.execute(query.where(table.c.queue_id > last)).all()
            ]
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1].queue_id


def _examine(spool: Spool, stored: Stored) -> list[str]:
    """Read a message to its end; where something is wrong look again, for it may have moved or gone meanwhile."""
    if _damage(spool, stored) is None:
        return []
    try:
        with spool.index.read() as connection:
            message = find_message(connection, stored.queue_id, layout=spool.layout)
    except NotFound:
        return []
    problem = _damage(spool, message.stored) if message.state in LIVE and message.stored else None
    return [problem] if problem else []


def _damage(spool: Spool, stored: Stored) -> str | None:
    try:
        for _ in pieces(spool, stored):
            pass
    except (Damaged, SpoolFailed) as error:
        return str(error)
    return None
