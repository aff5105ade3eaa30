"""Whose dialogue is wanted: for all, for one, and who is excepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.opening import Spool
from spool.verbosity import EVERYBODY, RELAY, Verbosity, read_verbosity, set_verbosity
from tests.support.spools import make_spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = make_spool(tmp_path)
    yield opened
    opened.close()


def verbose(spool: Spool) -> set[str]:
    found = read_verbosity(spool)
    return {name for name in ("sales", "info", RELAY) if found.of(name)}


def test_nobody_is_verbose_before_it_is_wished(spool: Spool) -> None:
    assert read_verbosity(spool) == Verbosity()
    assert verbose(spool) == set()


def test_a_wish_for_all_is_one_for_every_account_and_the_relay(spool: Spool) -> None:
    set_verbosity(spool, EVERYBODY, is_verbose=True)
    assert verbose(spool) == {"sales", "info", RELAY}


@pytest.mark.parametrize("name", ["sales", RELAY])
def test_a_wish_for_one_is_for_that_one_alone(spool: Spool, name: str) -> None:
    set_verbosity(spool, name, is_verbose=True)
    assert verbose(spool) == {name}


def test_one_can_be_excepted_from_all(spool: Spool) -> None:
    set_verbosity(spool, EVERYBODY, is_verbose=True)
    set_verbosity(spool, "sales", is_verbose=False)
    assert verbose(spool) == {"info", RELAY}
    assert read_verbosity(spool).exceptions() == ["sales"]


@pytest.mark.parametrize("is_verbose", [True, False])
def test_a_wish_for_all_takes_back_those_for_single_ones(spool: Spool, is_verbose: bool) -> None:
    """Who says `log normal` wants an end to it."""
    set_verbosity(spool, "sales", is_verbose=not is_verbose)
    set_verbosity(spool, EVERYBODY, is_verbose=is_verbose)
    assert verbose(spool) == ({"sales", "info", RELAY} if is_verbose else set())
    assert read_verbosity(spool).exceptions() == []


def test_the_last_wish_for_one_counts(spool: Spool) -> None:
    set_verbosity(spool, "sales", is_verbose=True)
    set_verbosity(spool, "sales", is_verbose=False)
    assert verbose(spool) == set()
    assert read_verbosity(spool).exceptions() == []
