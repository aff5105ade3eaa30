"""Events: written with what they tell of, read back as they were."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spool import events
from spool.events import Admitted, Event, Level, Refused, SpoolWarning, emit, read_events
from spool.opening import Spool
from tests.support.spools import START, logged, make_spool

KINDS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind != Event]


def noted(spool: Spool, *given: Event) -> None:
    with spool.index.write() as connection:
        emit(connection, given, now=START)


def test_an_event_is_read_back(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    noted(spool, Admitted(account="sales", queue_id="01j0e5v3xk7m2q9r4s", octets=7, uidl="u1"))
    (event,) = logged(spool)
    assert (event.name, event.level, event.at) == ("Admitted", Level.INFO, START)
    assert (event.account, event.queue_id, event.fields) == ("sales", "01j0e5v3xk7m2q9r4s", {"octets": 7, "uidl": "u1"})
    assert event.text == "in custody, 7 octets, UIDL u1"


def test_an_event_whose_transaction_fails_did_not_happen(tmp_path: Path) -> None:
    """I5: a state changes with its event, in one transaction."""
    spool = make_spool(tmp_path)

    def fail() -> None:
        with spool.index.write() as connection:
            emit(connection, [SpoolWarning(what="x")], now=START)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert logged(spool) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"after": 2}, [3, 4]),
        ({"account": "sales"}, [1, 3]),
        ({"level": Level.WARNING}, [3, 4]),
        ({"queue_id": "b"}, [2]),
        ({"last": 2}, [3, 4]),
        ({"last": 1, "account": "sales"}, [3]),
    ],
)
def test_events_are_read_in_order_by_what_is_asked(tmp_path: Path, wanted: dict[str, object], found: list[int]) -> None:
    spool = make_spool(tmp_path)
    noted(spool, Admitted(account="sales", queue_id="a", octets=1, uidl=""))
    noted(spool, Admitted(account="info", queue_id="b", octets=1, uidl=""))
    noted(spool, Refused(account="sales", queue_id="c", reason="x"), SpoolWarning(what="y"))
    with spool.index.read() as connection:
        assert [event.event for event in read_events(connection, **wanted)] == found  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_says_what_it_means_and_shows_all_its_fields(kind: type[Event]) -> None:
    """The catalogue is made of the docstrings; a field that the line leaves out is one that nobody reads."""
    assert kind.__doc__
    fields = {field.name for field in dataclasses.fields(kind)} - {"account", "queue_id"}
    assert all("{" + name + "}" in kind.says for name in fields)


def test_braces_in_a_field_are_only_braces() -> None:
    """Text of servers stands in them."""
    assert SpoolWarning(what="{account} {0}").text == "{account} {0}"
