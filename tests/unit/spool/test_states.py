"""The state machine: the whole table, copied out, and nothing beside it."""

from __future__ import annotations

import itertools

import pytest

from spool.errors import ForbiddenTransition
from spool.states import State, Trigger, next_state

TABLE = {
    (None, "admitted"): "staged",
    (None, "unusable"): "badmail",
    ("staged", "validated"): "ready",
    ("staged", "refused"): "badmail",
    ("ready", "accepted"): "submitted",
    ("ready", "postponed"): "deferred",
    ("ready", "refused"): "badmail",
    ("ready", "expired"): "badmail",
    ("deferred", "accepted"): "submitted",
    ("deferred", "postponed"): "deferred",
    ("deferred", "refused"): "badmail",
    ("deferred", "expired"): "badmail",
    ("staged", "held"): "held",
    ("ready", "held"): "held",
    ("deferred", "held"): "held",
    ("held", "released"): "staged",
    ("deferred", "requeued"): "staged",
    ("held", "requeued"): "staged",
    ("damaged", "requeued"): "staged",
    ("badmail", "replayed"): "replayed",
    ("badmail", "discarded"): "discarded",
    ("staged", "discarded"): "discarded",
    ("ready", "discarded"): "discarded",
    ("deferred", "discarded"): "discarded",
    ("held", "discarded"): "discarded",
    ("damaged", "discarded"): "discarded",
    ("staged", "found damaged"): "damaged",
    ("ready", "found damaged"): "damaged",
    ("deferred", "found damaged"): "damaged",
    ("held", "found damaged"): "damaged",
    ("damaged", "found damaged"): "damaged",
    ("badmail", "found damaged"): "damaged",
}
PAIRS = list(itertools.product([None, *State], Trigger))


@pytest.mark.parametrize(("state", "trigger"), [pair for pair in PAIRS if pair in TABLE])
def test_each_edge_of_the_table_leads_where_it_says(state: State | None, trigger: Trigger) -> None:
    assert next_state(state, trigger) == TABLE[state, trigger]


@pytest.mark.parametrize(("state", "trigger"), [pair for pair in PAIRS if pair not in TABLE])
def test_every_other_pair_is_forbidden(state: State | None, trigger: Trigger) -> None:
    with pytest.raises(ForbiddenTransition):
        next_state(state, trigger)


def test_the_table_names_only_states_and_triggers_that_exist() -> None:
    """Else a spelling mistake in it would quietly test nothing."""
    assert all(pair in PAIRS for pair in TABLE)


def test_nothing_leaves_a_final_state() -> None:
    finals = {state for state in State if state.is_final}
    assert finals == {State.SUBMITTED, State.REPLAYED, State.DISCARDED}
    assert not [pair for pair in TABLE if pair[0] in finals]


def test_a_message_needs_its_bytes_until_it_is_final_or_a_file_of_badmail() -> None:
    """I2: every live row has its bytes; in Badmail the file is the message."""
    assert {state for state in State if not state.needs_spool_bytes} == {
        State.SUBMITTED,
        State.REPLAYED,
        State.DISCARDED,
        State.BADMAIL,
    }
