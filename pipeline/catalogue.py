"""All kinds of events, by name: what `events --type` takes, and which of them name a message at the provider."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pipeline.events
import spool.events
import stages.fetch.events
import stages.pickup.events
import stages.submit.events
import stages.validate.events
from spool.events import Event

_MODULES = (
    spool.events,
    stages.fetch.events,
    stages.validate.events,
    stages.submit.events,
    stages.pickup.events,
    pipeline.events,
)
_UIDL_FIELDS = frozenset({"uidl", "uidls"})


def event_kinds() -> Mapping[str, type[Event]]:
    """Every kind of event by its name."""
    return {
        kind.__name__: kind
        for module in _MODULES
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    }


def naming_uidls() -> frozenset[str]:
    """The events that name the UIDL of a message which may not be in custody."""
    return frozenset(
        name
        for name, kind in event_kinds().items()
        if kind.__module__ == stages.fetch.events.__name__
        # Where it is a number it counts them.
        and any(field.name in _UIDL_FIELDS and field.type == "str" for field in dataclasses.fields(kind))
    )
