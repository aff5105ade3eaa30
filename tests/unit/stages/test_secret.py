"""A secret does not print itself, nor does a peer that repeats it."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.secret import HIDDEN, Secret, unless_told


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


@pytest.mark.parametrize(
    "said",
    [
        b"wrong password: hunter2&co",
        b"PASS HUNTER2&CO",
        b"refresh_token=hunter2%26co",
        b64encode(b"\0sales\0hunter2&co"),
        b64encode(b"sales\0hunter2&co\x01"),
        b64encode(b"user=a\x01auth=Bearer hunter2&co\x01\x01"),
        urlsafe_b64encode(b"hunter2&co"),
    ],
)
def test_a_peer_that_repeats_the_secret_in_any_form_is_not_shown(said: bytes) -> None:
    assert unless_told(b"550 " + said + b" is wrong", Secret("other"), Secret("hunter2&co")) == HIDDEN


@given(st.binary(max_size=10), st.binary(max_size=10))
def test_base64_hides_a_secret_nowhere(before: bytes, after: bytes) -> None:
    assert unless_told(b64encode(before + b"hunter2" + after), Secret("hunter2")) == HIDDEN


@pytest.mark.parametrize("secret", [None, Secret(""), Secret("hunter2")])
def test_what_repeats_nothing_is_shown(secret: Secret | None) -> None:
    assert unless_told(b"535 5.7.8 wrong password", secret) == b"535 5.7.8 wrong password"
