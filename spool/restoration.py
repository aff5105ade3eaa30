"""Write what a survey of the files found into an empty index.

This enters each message in the state that it had: it is no transition, so the table of transitions is not asked.

**Invariants:** one row for a queue id, one ledger entry for an identity; a message that may have been deleted at its
provider is in the ledger, a damaged one that goes nowhere is not, so that it is fetched again where it is still there.
**Failures:** `SpoolFailed`, `OSError`; the index is then thrown away.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, Table, delete, insert, update

from spool import models
from spool.admission import ledger_row
from spool.badmail import leading_block, read_badmail
from spool.content import badmail_pieces
from spool.envelope import Reason
from spool.errors import Damaged
from spool.events import Event, FoundDamaged, IndexRebuilt, PossibleDuplicate, RecordUnreadable, StateChanged, emit
from spool.fates import Fate
from spool.journal import Line, Outcome, read_journal
from spool.layout import MESSAGE_SUFFIX, Layout, Stage
from spool.message_file import PREFIX, parse_envelope
from spool.models import to_ms
from spool.opening import OWNERS, Spool
from spool.queue_id import QueueId
from spool.retention import LEDGER_KEPT
from spool.rows import badmail_row, message_row, reason_json, set_applied
from spool.states import State, Trigger
from spool.steps import Step, Tell, nobody
from spool.survey import Found, Survey

_CHUNK = 1000
_DAMAGED = Reason(stage="spool", text="its bytes differ from its SHA-256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """How many messages of each state and how many ledger entries were entered."""

    states: Mapping[State, int]
    ledger_entries: int


def restore(spool: Spool, survey: Survey, *, fates: Mapping[QueueId, Fate], tell: Tell = nobody) -> Restored:
    """Fill the empty index of `spool`, in one transaction; `tell` hears of the messages."""
    with spool.index.write() as connection:
        _insert(connection, models.segments, rows=_file_rows(survey, at=spool.now_ms()))
        _keep_serials(connection, survey)
        states: Counter[State] = Counter()
        for rows in _chunks(_rows(spool, survey, fates=fates)):
            connection.execute(insert(models.messages), rows)
            states.update(State(str(row["state"])) for row in rows)
            tell(Step(what="messages", done=states.total(), of=len(fates)))
        _enter_replays(connection, spool.layout)
        restored = Restored(states=states, ledger_entries=_enter_ledger(connection, survey, fates=fates))
        for owner in OWNERS:
            set_applied(connection, owner, number=read_journal(spool.layout.journal(owner)).last)
        emit(connection, _events(survey, fates, restored=restored), now=spool.now())
    return restored


def _enter_replays(connection: Connection, layout: Layout) -> None:
    """Note replays that are on their way: a file in Pickup, or claimed, bears the new queue id and names the old."""
    messages = models.messages
    for path in (*layout.pickup.glob(f"*{MESSAGE_SUFFIX}"), *layout.claims.iterdir()):
        child = _replay_id(path)
        if child is None or not path.is_file() or path.is_symlink():
            continue
        found = leading_block(path)
        if found.get(PREFIX + "Queue-Id") == child:
            # The Badmail file itself, copied under the name that it has.
            continue
        sender, recipients = parse_envelope(found)
        connection.execute(
            update(messages)
            .where(
                messages.c.queue_id == found.get(PREFIX + "Queue-Id"),
                messages.c.state == State.BADMAIL,
                messages.c.replay_id.is_(None),
            )
            .values(replay_id=child, replay={"sender": sender, "recipients": list(recipients)})
        )


def _replay_id(path: Path) -> QueueId | None:
    """The queue id that is the whole of a name in Pickup; files that people drop may have one somewhere in theirs."""
    try:
        return QueueId(path.name.removesuffix(MESSAGE_SUFFIX))
    except ValueError:
        return None


def dead_copies(survey: Survey) -> set[QueueId]:
    """Records that were written, not committed, and whose message was admitted under another queue id (I4).

    A journal line proves that its message had a row. The ledger keeps an identity 30 days at least: of two records that
    are further apart each may be a message.
    """
    kin: dict[_Key, list[Found]] = {}
    for one in survey.messages.values():
        if one.is_whole and _is_fetched(survey, one):
            kin.setdefault(_key(ledger_row(one.arrival, now=one.arrival.origin.fetched_at)), []).append(one)
    dead: set[QueueId] = set()
    for group in kin.values():
        proven = [one.arrival.origin for one in group if one.arrival.origin.queue_id in survey.lines]
        others = [one.arrival.origin for one in group if one.arrival.origin.queue_id not in survey.lines]
        for origin in sorted(others, key=lambda origin: origin.fetched_at):
            if any(abs(origin.fetched_at - one.fetched_at) < LEDGER_KEPT for one in proven):
                dead.add(origin.queue_id)
            else:
                proven.append(origin)
    return dead


def _rows(spool: Spool, survey: Survey, *, fates: Mapping[QueueId, Fate]) -> Iterator[dict[str, object]]:
    for queue_id, fate in fates.items():
        one = survey.messages.get(queue_id)
        row = _row_of_file(spool, queue_id, found=one) if queue_id in survey.badmail else None
        if row is None and one is not None:
            row = _row_of_record(spool, one, fate=fate)
        if row is None:
            # A file in Badmail that is not ours: pickup enters it under a queue id of its own.
            continue
        at = {"changed_at": fate.line.at} if fate.line and fate.state.is_final else {}
        yield (
            row
            | at
            | {
                "state": state_of(fate, one),
                "accepted": list(fate.accepted),
                "attempts": fate.attempts,
                "claim": fate.claim,
                "possible_duplicate": fate.is_possible_duplicate,
                "replay_id": fate.replay_id,
            }
        )


def state_of(fate: Fate, found: Found | None) -> State:
    """The state in which a message goes on: what should be sent but is not whole is damaged."""
    if fate.state.needs_spool_bytes and found is not None and not found.is_whole:
        return State.DAMAGED
    return fate.state


def _row_of_record(spool: Spool, one: Found, *, fate: Fate) -> dict[str, object]:
    row = message_row(one.arrival, place=one.place, segment=one.serial, now=spool.now())
    reason = row["reason"]
    if state_of(fate, one) is State.DAMAGED:
        reason = reason_json(_DAMAGED)
    elif fate.state in (State.BADMAIL, State.HELD) and fate.line:
        reason = reason_json(Reason.parse(str(fate.line.details.get("reply"))))
    return row | {"reason": reason, "recipients": list(fate.recipients if fate.attempts else one.arrival.recipients)}


def _row_of_file(spool: Spool, queue_id: QueueId, *, found: Found | None) -> dict[str, object] | None:
    """The row of a message in Badmail, where the file is the truth; None where it is not ours, or cannot be read."""
    octets, sha256 = 0, hashlib.sha256()
    try:
        file = read_badmail(spool, queue_id)
        if file is None or file.origin.queue_id != queue_id:
            return None
        for piece in badmail_pieces(spool, queue_id, start=file.end):
            octets += len(piece)
            sha256.update(piece)
    except (OSError, Damaged):
        return None
    origin = file.origin
    known = {
        "account": origin.account,
        "uidl": origin.uidl.encoded,
        "peer": origin.peer,
        "fetched_at": to_ms(origin.fetched_at),
        "octets": octets,
        "sha256": sha256.digest(),
        "sender": file.sender,
        "parent": file.parent,
    }
    row = badmail_row(known, queue_id=origin.queue_id, reason=file.reason, recipients=file.recipients, now=spool.now())
    if found is None:
        return row
    # Also where the file was edited: what its segment has to tell must be told before the segment goes.
    place = found.place
    return row | {"segment": found.serial, "offset": place.offset, "block_octets": place.block_octets}


def _file_rows(survey: Survey, *, at: int) -> Iterator[dict[str, object]]:
    for file in survey.files.values():
        yield {
            "serial": file.serial,
            "stage": file.stage,
            "queue_id": file.queue_id,
            "nonce": file.nonce,
            "committed_octets": file.octets,
            "status": "sealed",
            "created_at": at,
        }


def _keep_serials(connection: Connection, survey: Survey) -> None:
    """Make sure that no serial which a journal line names is given again: SQLite goes on above what was ever there."""
    highest, table = survey.highest_serial, models.segments
    if highest and highest not in survey.files:
        row = {"serial": highest, "stage": Stage.FETCH, "committed_octets": 0, "status": "sealed", "created_at": 0}
        connection.execute(insert(table).values(row))
        connection.execute(delete(table).where(table.c.serial == highest))


_Key = tuple[object, ...]


def _key(row: Mapping[str, object]) -> _Key:
    return (row["account"], row["uidl"], row["identity"], row["copy"])


def _enter_ledger(connection: Connection, survey: Survey, *, fates: Mapping[QueueId, Fate]) -> int:
    """Enter what was had, first what the journals tell: its entries have numbers already. Answers how many."""
    told = _ledger_lines(survey)
    had = {_key(row) for row in told.values()}
    # A record names the UIDL of its day; a line of the same message may know a later one.
    renamed = {row["queue_id"] for row in told.values()}
    rows = _ledger_rows(survey, fates)
    seen = [row for key, row in rows.items() if key not in had and row["queue_id"] not in renamed]
    _insert(connection, models.ledger, rows=told.values())
    _insert(connection, models.ledger, rows=seen)
    return len(told) + len(seen)


def _ledger_rows(survey: Survey, fates: Mapping[QueueId, Fate]) -> dict[_Key, dict[str, object]]:
    """What the records tell of UIDLs that were had."""
    rows: dict[_Key, dict[str, object]] = {}
    for queue_id, one in survey.messages.items():
        if queue_id not in fates or not _is_fetched(survey, one):
            continue
        row = ledger_row(one.arrival, now=one.arrival.origin.fetched_at)
        if not one.is_whole:
            if state_of(fates[queue_id], one) is State.DAMAGED:
                continue
            # Its content cannot be compared any more: kept as if it were adopted, so that it is never deleted unread.
            row |= {"identity": None, "header": None}
        rows.setdefault(_key(row), row)
    return rows


def _ledger_lines(survey: Survey) -> dict[int, dict[str, object]]:
    """What the journals tell of UIDLs that were had, under the entry numbers that their lines go by."""
    rows: dict[int, dict[str, object]] = {}
    for line in survey.ledger:
        details = line.details
        entry = details["entry"]
        if not isinstance(entry, int):
            raise TypeError(f"line {line.number} of a journal: no entry number")
        rows[entry] = {
            "entry": entry,
            "account": details["account"],
            "uidl": details["uidl"],
            "identity": _octets(details["identity"]),
            "copy": details["copy"],
            "header": _octets(details["header"]),
            "octets": details["octets"],
            "queue_id": line.queue_id or None,
            "had_at": details["had_at"],
            "gone_at": None,
            "deletion_asked_at": None,
            "round": 0,
        }
    return rows


def _octets(text: object) -> bytes | None:
    return bytes.fromhex(text) if isinstance(text, str) else None


def _is_fetched(survey: Survey, one: Found) -> bool:
    return survey.files[one.serial].stage is Stage.FETCH


def _events(survey: Survey, fates: Mapping[QueueId, Fate], *, restored: Restored) -> Iterator[Event]:
    messages = sum(restored.states.values())
    yield IndexRebuilt(messages=messages, ledger_entries=restored.ledger_entries)
    for gap in survey.gaps:
        yield RecordUnreadable(file=gap.path.name, start=gap.start, end=gap.end)
    for queue_id, fate in fates.items():
        one = survey.messages.get(queue_id)
        account = one.arrival.origin.account if one else ""
        if one and state_of(fate, one) is State.DAMAGED:
            yield FoundDamaged(queue_id=queue_id, account=account, what=_DAMAGED.text)
        elif fate.state is State.STAGED and fate.is_possible_duplicate:
            yield PossibleDuplicate(queue_id=queue_id, account=account)
        elif is_missing_from_badmail(fate.line, fate.state):
            yield _discarded(queue_id, account=account, was=State.BADMAIL)
        elif fate.line and _is_wish(fate.line):
            yield _discarded(queue_id, account=account, was=State.DEFERRED if fate.attempts else State.READY)


def _discarded(queue_id: QueueId, *, account: str, was: State) -> Event:
    return StateChanged(queue_id=queue_id, account=account, trigger=Trigger.DISCARDED, was=was, now=State.DISCARDED)


def _is_wish(line: Line) -> bool:
    """True of a message that is discarded because the operator wished it, while nobody had carried that out yet."""
    return line.outcome is Outcome.DISCARDED and bool(line.details.get("wish"))


def is_missing_from_badmail(line: Line | None, state: State) -> bool:
    """True of a message that went to Badmail and whose file somebody removed, while no line said so yet."""
    return state is State.DISCARDED and line is not None and line.outcome is Outcome.BADMAIL


def _insert(connection: Connection, table: Table, *, rows: Iterable[dict[str, object]]) -> None:
    for chunk in _chunks(rows):
        connection.execute(insert(table), chunk)


def _chunks(rows: Iterable[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    left = iter(rows)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk
