"""What stands between an account and its retirement: a maildrop that is not empty, messages that are not done with.

Pure: what a visit saw and what the index has in, one line for each obstacle out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.lookout import View
from spool.by_account import AccountRecord
from spool.states import State
from stages.fetch.outlook import Fate, Foreseen

# Polls in a row after which the maildrop held as much as before: what is there will not go.
POLLS_AT_MOST = 3

_MOVING = {
    State.STAGED: "waits for validate",
    State.READY: "waits for submit",
    State.DEFERRED: "is deferred by the relay",
}
_STANDING = {
    State.HELD: "is held: the relay may have it; `spool release` or `spool rm`",
    State.DAMAGED: "is damaged; `spool show` says how, `spool rm` gives it up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Something that must be done with first; `may_pass`: polling again, or waiting, can do it."""

    text: str
    may_pass: bool


def of_maildrop(seen: View) -> Sequence[Obstacle]:
    """Each message that the maildrop still shows; raises ValueError where no listing was seen."""
    if seen.outlook is None:
        raise ValueError("nobody has seen the maildrop")
    return [_of_message(one) for one in seen.outlook.messages]


def of_queue(record: AccountRecord) -> Sequence[Obstacle]:
    """Each message that was fetched and is neither delivered nor in Badmail, nor thrown away."""
    return list(_of_queue(record))


def is_moving(record: AccountRecord) -> bool:
    """Whether messages of it are on their way."""
    return bool(record.waiting(*_MOVING))


def counted_since(now: datetime, history: timedelta) -> datetime:
    """Since when the index lists every message: older ones that are finished are forgotten."""
    return now - history


def _of_message(one: Foreseen) -> Obstacle:
    message = one.message
    what = f"message {message.number} at the provider"
    what += f" (UIDL {message.uidl.encoded})" if message.uidl.octets else ""
    match one.fate:
        case Fate.HAD if not one.is_asked_for:
            why, may_pass = "was had and stays there: set leave_on_server = false", False
        case Fate.HAD:
            why, may_pass = "was had and is not deleted yet", True
        case Fate.OVERSIZE if not one.is_asked_for:
            why, may_pass = f"has {message.octets} octets, over the size limit", False
        case Fate.BROKEN:
            why, may_pass = "broke the sessions in which it was retrieved", False
        case Fate.WAITING:
            why, may_pass = "is large, and the relay has not told its size limit yet", True
        case _:
            why, may_pass = "is not fetched yet", True
    return Obstacle(text=f"{what} {why}", may_pass=may_pass)


def _of_queue(record: AccountRecord) -> Iterator[Obstacle]:
    for queue_id, state in record.unfinished.items():
        if state in _MOVING:
            yield Obstacle(text=f"{queue_id} {_MOVING[state]}", may_pass=True)
        elif state in _STANDING:
            yield Obstacle(text=f"{queue_id} {_STANDING[state]}", may_pass=False)
