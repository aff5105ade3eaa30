"""Whose turn it is."""

from __future__ import annotations

from stages.fetch.schedule import Rota


def turns(rota: Rota) -> list[str]:
    found: list[str] = []
    while (account := rota.next()) is not None:
        found.append(account)
    return found


def rota(*accounts: str, concurrency: int = 32, per_host: int = 32) -> Rota:
    """Each account's host is its first letter."""
    made = Rota(concurrency=concurrency, per_host=per_host)
    for account in accounts:
        made.join(account, host=account[0])
    return made


def test_turns_are_given_in_the_order_of_the_line() -> None:
    assert turns(rota("a1", "b1", "a2")) == ["a1", "b1", "a2"]


def test_no_more_turns_are_given_than_may_be_had_at_once() -> None:
    line = rota("a1", "b1", "c1", concurrency=2)
    assert turns(line) == ["a1", "b1"]
    line.done("a1")
    assert turns(line) == ["c1"]


def test_a_host_that_is_full_holds_up_nobody_else() -> None:
    line = rota("a1", "a2", "a3", "b1", per_host=2)
    assert turns(line) == ["a1", "a2", "b1"]
    line.done("a2")
    assert turns(line) == ["a3"]


def test_an_account_has_one_turn_at_a_time() -> None:
    line = rota("a1")
    assert turns(line) == ["a1"]
    line.join("a1", host="a")
    assert turns(line) == []
    line.done("a1")
    assert turns(line) == ["a1"]


def test_who_has_had_a_turn_goes_to_the_end_of_the_line() -> None:
    line = rota("a1", "b1", "c1", concurrency=1)
    assert turns(line) == ["a1"]
    line.join("a1", host="a")
    line.done("a1")
    assert turns(line) == ["b1"]


def test_the_line_is_idle_when_nobody_waits_and_nobody_has_a_turn() -> None:
    line = rota("a1")
    assert not line.is_idle
    turns(line)
    assert not line.is_idle
    line.done("a1")
    assert line.is_idle


def test_turns_that_are_had_go_on_when_fewer_are_allowed() -> None:
    line = rota("a1", "a2", "b1", "c1", concurrency=3)
    assert turns(line) == ["a1", "a2", "b1"]
    line.allow(concurrency=1, per_host=1)
    for account in ("a1", "a2"):
        line.done(account)
        assert turns(line) == []
    line.done("b1")
    assert turns(line) == ["c1"]


def test_more_turns_are_given_as_soon_as_they_are_allowed() -> None:
    line = rota("a1", "a2", "b1", concurrency=1, per_host=1)
    assert turns(line) == ["a1"]
    line.allow(concurrency=3, per_host=2)
    assert turns(line) == ["a2", "b1"]


def test_who_leaves_the_line_gets_no_turn_and_who_has_one_keeps_it() -> None:
    line = rota("a1", "b1", concurrency=1)
    assert turns(line) == ["a1"]
    assert line.leave("b1")
    assert not line.leave("a1")
    line.done("a1")
    assert turns(line) == []
    assert line.is_idle
