"""The kinds of events, by what they tell."""

from __future__ import annotations

from pipeline.catalogue import event_kinds, naming_uidls
from spool.events import Admitted


def test_the_events_that_name_a_message_at_the_provider_are_known() -> None:
    """Not those that count UIDLs, nor those about a message of the spool: of them there are too many."""
    names = naming_uidls()
    assert {"RetrievalRefused", "MessageBroke", "MessageDoubted", "LeftOversize", "LeftBroken"} <= names
    assert not {"Adopted", "TakenOver", Admitted.__name__} & names
    assert names <= event_kinds().keys()
