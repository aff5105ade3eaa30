"""A secret does not print itself."""

from __future__ import annotations

from stages.secret import Secret


def test_a_secret_shows_stars_everywhere() -> None:
    secret = Secret("hunter2")
    assert {str(secret), repr(secret), f"{secret}", f"{secret!r}"} == {"***"}


def test_a_secret_is_revealed_on_purpose() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
