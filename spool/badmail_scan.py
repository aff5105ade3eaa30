"""Watch Badmail for the operator's hand: in Badmail the file is the truth.

An edited file is read again, a missing one means that its message was discarded, an unknown one is entered under a new
queue id. Only the holder of the pickup stage comes here.

**Invariants:** a file whose row, parent or pickup claim is live belongs to the stage that owns that state and is left
alone. Nothing is decided at the first look: a finding counts when it is the same, of the same file, a settle time
later. A file is unlinked only where its message left Badmail after the file was last touched, so a file that was put
back is entered again, never thrown away.
**Failures:** `SpoolFailed`; the next start looks again.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from spool import models
from spool.badmail import PARENT, leading_block
from spool.badmail_changes import BadmailChanges, Unreadable
from spool.dropped import LEASELESS_SETTLE_SECONDS, Dropped, Fit, Stamp, Unfit, Writers, inspect, list_dropped
from spool.events import SpoolWarning, emit
from spool.layout import MESSAGE_SUFFIX, Layout, message_id_of
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.safe_text import safe_text
from spool.staging import spool_failures
from spool.states import FINAL, LIVE, State

# A change inside a file does not show in its directory: so often every file is looked at.
LOOK_SECONDS = 10.0
_CHUNK = 500


class Finding(enum.StrEnum):
    """What one look at a file and its row says."""

    AS_KNOWN = "as known"
    NOT_OURS = "not ours"
    """Another stage is moving it, or a replay of it is on its way."""
    EDITED = "edited"
    MISSING = "missing"
    UNKNOWN = "unknown"
    LEFT_OVER = "left over"
    """Its message has left Badmail; the file was to be unlinked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the index knows of a queue id; `changed_at` as in its column, `is_on_its_way`: a replay of it is."""

    state: State
    changed_at: int
    is_on_its_way: bool = False


def judge(stamp: Stamp | None, known: Known | None, *, read: Stamp | None, has_live_kin: bool) -> Finding:
    """Decide on one look; `stamp` is None where there is no file, `known` where there is no row.

    `read` is the file as it was when the row was last made from it, None where this process has not seen that;
    `has_live_kin`: the parent is live, or there is a pickup claim.
    """
    if stamp is None:
        return Finding.NOT_OURS if known is None or known.is_on_its_way else Finding.MISSING
    if known is None:
        return Finding.NOT_OURS if has_live_kin else Finding.UNKNOWN
    if known.state in LIVE:
        return Finding.NOT_OURS
    if known.state in FINAL:
        return Finding.LEFT_OVER if _milliseconds(stamp) < known.changed_at else Finding.UNKNOWN
    # A file that was not touched since its row was written is the one that the row was written for.
    is_as_known = stamp == read if read else _milliseconds(stamp) <= known.changed_at
    return Finding.AS_KNOWN if is_as_known else Finding.EDITED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What was found for one name, and since when it is so."""

    finding: Finding
    stamp: Stamp | None
    since: float


class BadmailScan:
    """Looks at Badmail again and again, cheaply where nothing changed. For one thread."""

    def __init__(
        self,
        spool: Spool,
        *,
        changes: BadmailChanges,
        settle_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        """`changes` carries out what is found; `monotonic` is a clock in seconds."""
        self._spool = spool
        self._changes = changes
        self._settle_seconds = settle_seconds
        self._monotonic = monotonic
        self._read: dict[str, Stamp] = {}
        self._left: dict[str, Stamp] = {}
        self._doubts: dict[str, _Look] = {}
        self._directory_ns = -1
        self._look_at = monotonic()

    def look(self) -> bool:
        """Look, and act on what was found twice; True while something waits for its second look. Raises SpoolFailed."""
        now = self._monotonic()
        with spool_failures("Badmail"):
            directory_ns = self._spool.layout.badmail.stat().st_mtime_ns
            if not self._doubts and directory_ns == self._directory_ns and now < self._look_at:
                return False
            self._directory_ns, self._look_at = directory_ns, now + LOOK_SECONDS
            earlier, self._doubts = self._doubts, self._look_at_all(now)
            certain = {
                name
                for name, look in self._doubts.items()
                if look is earlier.get(name) and now - look.since >= self._settle_seconds
            }
            self._discard([name for name in certain if self._doubts[name].finding is Finding.MISSING])
            for name in sorted(certain):
                if name in self._doubts:
                    self._act(name, self._doubts[name], waited=now - self._doubts[name].since)
        # What stays in doubt for longer than this has a writer that does not end: nobody waits for it.
        return any(now - look.since <= LOOK_SECONDS for look in self._doubts.values())

    def _look_at_all(self, now: float) -> dict[str, _Look]:
        """One look at every file and every Badmail row; answers what is to be acted on."""
        files = {dropped.path.name: dropped for dropped in list_dropped(self._spool.layout.badmail)}
        with self._spool.index.read() as connection:
            known = _known(connection, self._spool.layout, files=files)
            kin = {name for name in files if name not in known and self._has_live_kin(connection, files[name])}
        self._read = {name: stamp for name, stamp in self._read.items() if name in files}
        self._left = {name: stamp for name, stamp in self._left.items() if name in files}
        doubts: dict[str, _Look] = {}
        for name in files.keys() | known.keys():
            stamp = files[name].stamp if name in files else None
            if stamp and stamp == self._left.get(name):
                continue
            finding = judge(stamp, known.get(name), read=self._read.get(name), has_live_kin=name in kin)
            if finding is Finding.AS_KNOWN and stamp:
                self._read[name] = stamp
            elif finding not in {Finding.AS_KNOWN, Finding.NOT_OURS}:
                earlier = self._doubts.get(name)
                is_same = earlier and (earlier.finding, earlier.stamp) == (finding, stamp)
                doubts[name] = earlier if earlier and is_same else _Look(finding=finding, stamp=stamp, since=now)
        return doubts

    def _has_live_kin(self, connection: Connection, file: Dropped) -> bool:
        """Whether a file without a row is on its way in: its parent is live, or its pickup claim is."""
        queue_id = message_id_of(file.path)
        if queue_id is None:
            return False
        if self._spool.layout.pickup_claim(queue_id).exists():
            return True
        try:
            parent = leading_block(file.path).get(PARENT)
        except OSError:
            return False
        query = select(models.messages.c.state).where(models.messages.c.queue_id == parent)
        return connection.execute(query).scalar() in LIVE

    def _discard(self, names: Sequence[str]) -> None:
        ids = [queue_id for queue_id in map(message_id_of, map(Path, names)) if queue_id]
        if ids:
            self._changes.discard(ids)
        for name in names:
            del self._doubts[name]

    def _act(self, name: str, look: _Look, *, waited: float) -> None:
        path = self._spool.layout.badmail / name
        fitness = inspect(path)
        match fitness:
            case None:
                del self._doubts[name]
            case Unfit(why=why):
                self._leave(path, look, why=why)
            case Fit(stamp=stamp, writers=writers):
                is_quiet = writers is Writers.NONE or (
                    writers is Writers.UNKNOWN and waited >= LEASELESS_SETTLE_SECONDS
                )
                if stamp == look.stamp and is_quiet:
                    try:
                        self._change(look, path=path)
                        del self._doubts[name]
                    except Unreadable as error:
                        # What was removed meanwhile shows as missing at the next look.
                        if path.exists():
                            self._leave(path, look, why=str(error))

    def _change(self, look: _Look, *, path: Path) -> None:
        queue_id = message_id_of(path)
        if look.finding is Finding.EDITED and queue_id and look.stamp:
            self._changes.read_again(queue_id)
            self._read[path.name] = look.stamp
        elif look.finding is Finding.UNKNOWN:
            self._changes.enter(path)
        elif look.finding is Finding.LEFT_OVER:
            self._changes.clear(path)

    def _leave(self, path: Path, look: _Look, *, why: str) -> None:
        """Leave a file alone until it changes, and say so once."""
        if look.stamp:
            self._left[path.name] = look.stamp
        del self._doubts[path.name]
        shown = safe_text(os.fsencode(path.name))
        with self._spool.index.write() as connection:
            emit(connection, [SpoolWarning(what=f"Badmail/{shown} is left alone: {why}")], now=self._spool.now())


def _known(connection: Connection, layout: Layout, *, files: Mapping[str, Dropped]) -> dict[str, Known]:
    """What the index knows of every Badmail message and of every file, by file name."""
    table = models.messages
    query = select(table.c.queue_id, table.c.state, table.c.changed_at, table.c.replay_id)
    rows = list(connection.execute(query.where(table.c.state == State.BADMAIL)))
    seen = {row.queue_id for row in rows}
    others = [queue_id for queue_id in map(message_id_of, map(Path, files)) if queue_id and queue_id not in seen]
    for start in range(0, len(others), _CHUNK):
        rows += connection.execute(query.where(table.c.queue_id.in_(others[start : start + _CHUNK])))
    return {
        row.queue_id + MESSAGE_SUFFIX: Known(
            state=State(row.state), changed_at=row.changed_at, is_on_its_way=_is_on_its_way(row.replay_id, layout)
        )
        for row in rows
    }


def _is_on_its_way(replay_id: str | None, layout: Layout) -> bool:
    if replay_id is None:
        return False
    child = QueueId(replay_id)
    return layout.pickup_message(child).exists() or layout.pickup_claim(child).exists()


def _milliseconds(stamp: Stamp) -> int:
    return stamp.changed_ns // 1_000_000
