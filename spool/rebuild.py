"""Make the index anew from the files alone: segments, large messages, Badmail and journals.

A new index is written aside; then the old one is kept as `index.sqlite3.before-rebuild-<time>` and the new one takes
its name. Killed at any point it can be run again: until the new index has the name there is the old one, or none, and
the stages refuse to start.

Which octets of a segment were ever committed only the lost index knew. The records of a segment's last batch may be
page cache that no sync brought to disk, so those that go on are appended to a new segment, synced, and read from there.

**Invariants:** nobody else works on the spool meanwhile; nothing is deleted; octets that are no record are copied to
`damaged/` and told of; what the journals do not call finished goes on.
**Failures:** `StageHeld` (stop the stages first), `SpoolUnusable`, `SpoolFailed`: run it again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from spool.admission import BATCH_MESSAGES, BATCH_OCTETS, SEAL_OCTETS
from spool.disk import Disk
from spool.errors import PermissionRefused, SpoolFailed, SpoolUnusable
from spool.fates import Fate, fate
from spool.index import Index, Listener, create_index, require_sqlite
from spool.journal import Journal, Outcome
from spool.layout import Layout, Stage
from spool.locks import COMMANDS, INDEX, RUN, hold, hold_all_stages
from spool.models import to_ms
from spool.opening import OWNERS, Spool, prepare, utc_now
from spool.queue_id import QueueId
from spool.restoration import Restored, dead_copies, is_missing_from_badmail, restore, state_of
from spool.segments import NONCE_OCTETS, READ_OCTETS, SegmentWriter, open_regular, read_block, read_message
from spool.states import State
from spool.steps import Tell, nobody
from spool.survey import File, Found, Gap, Survey, survey

_WAL_SUFFIXES = ("-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild entered, what it found damaged, and where the old index is, None where there was none."""

    messages: int
    states: Mapping[State, int]
    ledger_entries: int
    problems: tuple[str, ...]
    kept: Path | None


def rebuild(
    directory: Path,
    *,
    disk: Disk | None = None,
    now: Callable[[], datetime] = utc_now,
    on_events: Listener | None = None,
    tell: Tell = nobody,
) -> Rebuilt:
    """Rebuild the index of the spool at `directory`, which nobody uses meanwhile; raises SpoolError.

    `on_events` hears of the events that the new index begins with, `tell` of the octets that are read, and then of the
    messages that are entered.
    """
    disk = disk or Disk()
    layout = Layout(directory.absolute())
    if not layout.journals.is_dir():
        raise SpoolUnusable(f"{directory} is not a spool")
    require_sqlite()
    try:
        prepare(layout, disk)
        with _alone(layout):
            return _rebuild(layout, disk, now=now, on_events=on_events, tell=tell)
    except PermissionError as error:
        raise PermissionRefused(f"{error.filename or directory}: {error.strerror}") from error
    except OSError as error:
        raise SpoolFailed(f"rebuild: {error.filename or directory}: {error.strerror or error}") from error


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    with hold(layout, RUN), hold_all_stages(layout), hold(layout, COMMANDS), hold(layout, INDEX, timeout=60):
        yield


def _rebuild(
    layout: Layout, disk: Disk, *, now: Callable[[], datetime], on_events: Listener | None, tell: Tell
) -> Rebuilt:
    found = survey(layout, tell)
    fates = _fates(found)
    _copy_doubtful(found, fates, layout=layout, disk=disk)
    problems = [*found.problems, *(_set_aside(gap, layout=layout, disk=disk) for gap in found.gaps)]
    problems += [
        f"message {queue_id} is damaged, in {found.files[one.serial].path.name}"
        for queue_id, one in found.messages.items()
        if queue_id in fates and state_of(fates[queue_id], one) is State.DAMAGED
    ]
    _renew_journals(layout, disk, fates=fates, now=now)
    for directory in (layout.segments, layout.large, layout.badmail):
        disk.sync_directory(directory)
    aside = layout.rebuilt_index
    restored = _write_index(
        aside, found, fates=fates, layout=layout, disk=disk, now=now, on_events=on_events, tell=tell
    )
    return Rebuilt(
        messages=sum(restored.states.values()),
        states=restored.states,
        ledger_entries=restored.ledger_entries,
        problems=tuple(problems),
        kept=_exchange(layout, aside, disk=disk, now=now()),
    )


def _fates(found: Survey) -> dict[QueueId, Fate]:
    dead = dead_copies(found)
    return {
        queue_id: fate(found.lines.get(queue_id, ()), is_in_badmail=queue_id in found.badmail, is_known=found.is_known)
        for queue_id in sorted(found.messages.keys() | found.badmail)
        if queue_id not in dead
    }


def _copy_doubtful(found: Survey, fates: Mapping[QueueId, Fate], *, layout: Layout, disk: Disk) -> None:
    """Append what goes on and may not be on disk to new segments of its stage."""
    for stage in Stage:
        doubtful = [
            one
            for queue_id, one in found.messages.items()
            if one.is_in_doubt
            and found.files[one.serial].stage is stage
            and queue_id in fates
            and state_of(fates[queue_id], one) in (State.STAGED, State.HELD)
        ]
        for part in _parts(doubtful, octets=SEAL_OCTETS):
            _copy(found, part, stage=stage, layout=layout, disk=disk)


def _copy(found: Survey, messages: Sequence[Found], *, stage: Stage, layout: Layout, disk: Disk) -> None:
    found.highest_serial += 1
    serial = found.highest_serial
    path, nonce = layout.segment(stage, serial), secrets.token_bytes(NONCE_OCTETS)
    writer = SegmentWriter(path, nonce, disk=disk)
    try:
        for batch in _parts(messages, octets=BATCH_OCTETS, at_most=BATCH_MESSAGES):
            places = writer.append([_record(found, one) for one in batch])
            for one, place in zip(batch, places, strict=True):
                queue_id = one.arrival.origin.queue_id
                found.messages[queue_id] = replace(one, place=place, serial=serial, is_in_doubt=False)
    finally:
        writer.close()
    found.files[serial] = File(serial=serial, stage=stage, path=path, nonce=nonce, octets=writer.octets)


def _record(found: Survey, one: Found) -> tuple[QueueId, bytes, bytes]:
    path = found.files[one.serial].path
    return one.arrival.origin.queue_id, read_block(path, one.place), b"".join(read_message(path, one.place))


def _parts(messages: Iterable[Found], *, octets: int, at_most: int | None = None) -> Iterator[list[Found]]:
    """Divide messages into lists of about so many octets."""
    part: list[Found] = []
    held = 0
    for one in messages:
        part.append(one)
        held += one.place.octets
        if held >= octets or len(part) == at_most:
            yield part
            part, held = [], 0
    if part:
        yield part


def _set_aside(gap: Gap, *, layout: Layout, disk: Disk) -> str:
    """Keep octets that are no record where no collection takes them; answers the line for the operator."""
    if gap.path.parent == layout.large:
        disk.rename(gap.path, layout.damaged / gap.path.name)
        disk.sync_directory(layout.damaged)
        return f"{gap.path.name} is not a message; moved to damaged/{gap.path.name}"
    kept = layout.damaged / f"{gap.path.name}.{gap.start}-{gap.end}"
    disk.write_file(kept, _octets(gap))
    return f"{gap.path.name}: octets {gap.start} to {gap.end} are not a record; copied to damaged/{kept.name}"


def _octets(gap: Gap) -> Iterator[bytes]:
    with open_regular(gap.path) as file:
        file.seek(gap.start)
        while left := gap.end - file.tell():
            yield file.read(min(left, READ_OCTETS))


def _renew_journals(layout: Layout, disk: Disk, *, fates: Mapping[QueueId, Fate], now: Callable[[], datetime]) -> None:
    """Rewrite the journals, so that no line rests on pages whose sync failed, and note what is missing from Badmail."""
    for owner in OWNERS:
        journal = Journal(layout.journal(owner), disk=disk, now_ms=lambda: to_ms(now()))
        try:
            if owner is Stage.PICKUP:
                for queue_id, one in fates.items():
                    if is_missing_from_badmail(one.line, one.state):
                        journal.note(Outcome.DISCARDED, queue_id, details={})
                journal.sync()
        finally:
            journal.close()


def _write_index(
    path: Path,
    found: Survey,
    *,
    fates: Mapping[QueueId, Fate],
    layout: Layout,
    disk: Disk,
    now: Callable[[], datetime],
    on_events: Listener | None,
    tell: Tell,
) -> Restored:
    for suffix in ("", *_WAL_SUFFIXES):
        disk.unlink(_beside(path, suffix))
    create_index(path, disk=disk)
    index = Index(path, on_events=on_events)
    try:
        restored = restore(Spool(layout=layout, disk=disk, index=index, now=now), found, fates=fates, tell=tell)
    finally:
        index.close()
    if _beside(path, "-wal").exists():
        raise SpoolFailed(f"{path.name}: its write-ahead log could not be taken in")
    return restored


def _exchange(layout: Layout, new: Path, *, disk: Disk, now: datetime) -> Path | None:
    """Keep the old index, give the new one its name; answers the old one's new name.

    The log of the old index must be gone from beside the name before a new index gets it: SQLite would take it in.
    """
    kept = layout.index_before_rebuild(now)
    moved = [_move(_beside(layout.index, suffix), _beside(kept, suffix), disk=disk) for suffix in ("", *_WAL_SUFFIXES)]
    disk.rename(new, layout.index)
    disk.sync_directory(layout.root)
    return kept if moved[0] else None


def _move(source: Path, target: Path, *, disk: Disk) -> bool:
    if not source.exists():
        return False
    disk.rename(source, target)
    disk.sync_directory(source.parent)
    return True


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
