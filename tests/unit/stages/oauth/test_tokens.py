"""When an access token is good, and what the file says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.oauth.tokens import Granted, Tokens, from_json, good_access_token, granted_at, to_json
from stages.secret import Secret
from stages.settings import Grant, OAuth2Client
from stages.trust import Trust

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLIENT = OAuth2Client(
    grant=Grant.REFRESH_TOKEN,
    token_endpoint="https://login.example/token",
    device_endpoint=None,
    client_id="us",
    client_secret=None,
    scope="pop",
    refresh_token=None,
    trust=Trust(),
    spool=Path("/spool"),
)


def after(seconds: float, *, lifetime: float | None) -> Secret | None:
    """What is given out so long after a token of this lifetime was obtained."""
    granted = Granted(
        access_token=Secret("access"),
        refresh_token=Secret("refresh"),
        lifetime=None if lifetime is None else timedelta(seconds=lifetime),
    )
    tokens = granted_at(NOW, granted, tokens=Tokens(), client=CLIENT, configured="")
    return good_access_token(tokens, CLIENT, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("lifetime", "good", "renewed"),
    [(3600, 3299, 3300), (60, 44, 45), (4, 2, 3)],
    ids=["five minutes of an hour", "a quarter of a minute", "a quarter of seconds"],
)
def test_the_margin_is_five_minutes_and_never_the_whole_life(lifetime: int, good: int, renewed: int) -> None:
    assert after(good, lifetime=lifetime) == Secret("access")
    assert after(renewed, lifetime=lifetime) is None


def test_a_token_without_a_lifetime_is_for_one_login() -> None:
    """RFC 6749 section 5.1 only recommends expires_in."""
    assert after(0, lifetime=None) is None


def test_a_clock_that_was_set_back_makes_no_token_good() -> None:
    assert after(-1, lifetime=3600) is None


def test_the_file_says_what_was_stored() -> None:
    tokens = Tokens(
        access_token=Secret("access"),
        obtained_at=NOW,
        expires_at=NOW + timedelta(hours=1),
        refresh_token=Secret("refresh"),
        client="c",
        configured="r",
    )
    assert from_json(to_json(tokens)) == tokens
    assert from_json(to_json(Tokens())) == Tokens()


@given(st.binary())
def test_any_content_of_the_file_is_read(content: bytes) -> None:
    assert from_json(content) == Tokens()


@pytest.mark.parametrize("value", [b"1", b"[]", b'{"a":1}', b'"\\ud800"', b"-1e999"])
def test_a_value_of_a_wrong_kind_counts_as_none(value: bytes) -> None:
    keys = (b"access_token", b"obtained_at", b"expires_at", b"refresh_token")
    content = b'{"format":1,' + b",".join(b'"%s":%s' % (key, value) for key in keys) + b"}"
    found = from_json(content)
    assert (found.obtained_at, found.expires_at) == (None, None)
    assert good_access_token(found, CLIENT, now=NOW) is None


def test_tokens_do_not_show_themselves() -> None:
    assert "access" not in repr(Tokens(access_token=Secret("access"))).replace("access_token", "")
