"""The state machine of a message: states, triggers and the table of transitions.

**Invariants:** this table alone says what may follow what; whoever changes a state asks `next_state` and writes its
answer by compare-and-set. A final state is never left. A claim is not a state.
**Failures:** `ForbiddenTransition` for an edge that the table does not have.
"""

from __future__ import annotations

import enum

from spool.errors import ForbiddenTransition


class State(enum.StrEnum):
    """Where a message is in its life; the stored value is the lower-case word."""

    STAGED = "staged"
    """In custody, not yet looked at by validate."""
    READY = "ready"
    """Has its envelope; waits for submit."""
    DEFERRED = "deferred"
    """The relay said "later"; waits for its next attempt."""
    HELD = "held"
    """Set aside until the operator releases it: by him, or because the relay may have it."""
    DAMAGED = "damaged"
    """Its bytes are missing or wrong; waits for the operator."""
    BADMAIL = "badmail"
    """Refused; the file in Badmail is the message."""
    SUBMITTED = "submitted"
    """The relay took it."""
    REPLAYED = "replayed"
    """Went through Pickup under a new queue id."""
    DISCARDED = "discarded"
    """The operator threw it away."""

    @property
    def is_final(self) -> bool:
        """True where nothing can follow and no bytes are needed any more."""
        return self in FINAL

    @property
    def needs_spool_bytes(self) -> bool:
        """True while the record in a segment or large file is the message (I2)."""
        return self in LIVE


class Trigger(enum.StrEnum):
    """What happens to a message; the words of the design's table."""

    ADMITTED = "admitted"
    UNUSABLE = "unusable"
    VALIDATED = "validated"
    REFUSED = "refused"
    ACCEPTED = "accepted"
    POSTPONED = "postponed"
    EXPIRED = "expired"
    HELD = "held"
    RELEASED = "released"
    REQUEUED = "requeued"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    FOUND_DAMAGED = "found damaged"


LIVE = frozenset({State.STAGED, State.READY, State.DEFERRED, State.HELD, State.DAMAGED})
FINAL = frozenset({State.SUBMITTED, State.REPLAYED, State.DISCARDED})

TRANSITIONS: dict[tuple[State | None, Trigger], State] = {
    (None, Trigger.ADMITTED): State.STAGED,
    (None, Trigger.UNUSABLE): State.BADMAIL,
    (State.STAGED, Trigger.VALIDATED): State.READY,
    (State.STAGED, Trigger.REFUSED): State.BADMAIL,
    (State.READY, Trigger.ACCEPTED): State.SUBMITTED,
    (State.READY, Trigger.POSTPONED): State.DEFERRED,
    (State.READY, Trigger.REFUSED): State.BADMAIL,
    (State.READY, Trigger.EXPIRED): State.BADMAIL,
    (State.DEFERRED, Trigger.ACCEPTED): State.SUBMITTED,
    (State.DEFERRED, Trigger.POSTPONED): State.DEFERRED,
    (State.DEFERRED, Trigger.REFUSED): State.BADMAIL,
    (State.DEFERRED, Trigger.EXPIRED): State.BADMAIL,
    (State.STAGED, Trigger.HELD): State.HELD,
    (State.READY, Trigger.HELD): State.HELD,
    (State.DEFERRED, Trigger.HELD): State.HELD,
    (State.HELD, Trigger.RELEASED): State.STAGED,
    (State.DEFERRED, Trigger.REQUEUED): State.STAGED,
    (State.HELD, Trigger.REQUEUED): State.STAGED,
    (State.DAMAGED, Trigger.REQUEUED): State.STAGED,
    (State.BADMAIL, Trigger.REPLAYED): State.REPLAYED,
    (State.BADMAIL, Trigger.DISCARDED): State.DISCARDED,
    (State.STAGED, Trigger.DISCARDED): State.DISCARDED,
    (State.READY, Trigger.DISCARDED): State.DISCARDED,
    (State.DEFERRED, Trigger.DISCARDED): State.DISCARDED,
    (State.HELD, Trigger.DISCARDED): State.DISCARDED,
    (State.DAMAGED, Trigger.DISCARDED): State.DISCARDED,
    (State.STAGED, Trigger.FOUND_DAMAGED): State.DAMAGED,
    (State.READY, Trigger.FOUND_DAMAGED): State.DAMAGED,
    (State.DEFERRED, Trigger.FOUND_DAMAGED): State.DAMAGED,
    (State.HELD, Trigger.FOUND_DAMAGED): State.DAMAGED,
    (State.DAMAGED, Trigger.FOUND_DAMAGED): State.DAMAGED,
    (State.BADMAIL, Trigger.FOUND_DAMAGED): State.DAMAGED,
}


def next_state(state: State | None, trigger: Trigger) -> State:
    """Say what follows `state` on `trigger`; raises ForbiddenTransition where the table has no edge."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise ForbiddenTransition(f"a message that is {state or 'new'} cannot be {trigger}") from None
