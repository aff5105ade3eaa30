"""What the operator decides about one message, as the commands carry it out; what cannot be done is raised."""

from __future__ import annotations

from spool.by_hand import change
from spool.errors import SpoolError
from spool.journal import Outcome
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.states import State
from spool.wishes import Wished


def decide(spool: Spool, queue_id: QueueId, asked: Outcome, *, is_badmail: bool = False) -> State | Wished:
    (decision,) = change(spool, [queue_id], asked=asked, is_badmail=is_badmail)
    if isinstance(decision.came_of_it, SpoolError):
        raise decision.came_of_it
    return decision.came_of_it


def hold_back(spool: Spool, queue_id: QueueId) -> State | Wished:
    return decide(spool, queue_id, Outcome.HELD)


def release(spool: Spool, queue_id: QueueId) -> State | Wished:
    return decide(spool, queue_id, Outcome.RELEASED)


def requeue(spool: Spool, queue_id: QueueId) -> State | Wished:
    return decide(spool, queue_id, Outcome.REQUEUED)


def discard(spool: Spool, queue_id: QueueId) -> State | Wished:
    return decide(spool, queue_id, Outcome.DISCARDED)
