"""What an answer means: total, and quiet about secrets. The forms are seen in the tests of the keeper."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import OperatorMustAct, StageError, TryLater
from stages.oauth import grants
from stages.oauth.endpoint import Answer
from stages.oauth.grants import Denied, DeviceCode
from stages.oauth.tokens import Granted
from stages.secret import Secret
from stages.settings import Grant, OAuth2Client
from stages.trust import Trust

CLIENT = OAuth2Client(
    grant=Grant.REFRESH_TOKEN,
    token_endpoint="https://login.example/token",
    device_endpoint="https://login.example/device",
    client_id="us",
    client_secret=None,
    scope="",
    refresh_token=None,
    trust=Trust(),
    spool=Path("/spool"),
)


def answer(body: object, *, status: int = 200, location: str = "") -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(url=CLIENT.token_endpoint, status=status, body=content, location=location)


def lifetime(expires_in: object) -> timedelta | None:
    outcome = grants.granted(answer({"access_token": "a", "expires_in": expires_in}))
    assert isinstance(outcome, Granted)
    return outcome.lifetime


def test_a_grant_is_read() -> None:
    body = {"access_token": "a", "refresh_token": "r", "expires_in": 3599, "token_type": "Bearer", "scope": "x y"}
    assert grants.granted(answer(body)) == Granted(
        access_token=Secret("a"), refresh_token=Secret("r"), lifetime=timedelta(seconds=3599)
    )


def test_other_scopes_than_those_asked_for_are_no_fault() -> None:
    """Microsoft answers with the scopes it has; the POP3 server is who decides whether they will do."""
    assert isinstance(grants.granted(answer({"access_token": "a", "scope": "another"})), Granted)


@pytest.mark.parametrize("expires_in", [None, 0, -5, "", [], {}, True])
def test_a_lifetime_that_is_none_is_not_known(expires_in: object) -> None:
    assert lifetime(expires_in) in (None, timedelta(seconds=1))


@pytest.mark.parametrize("expires_in", ["3600", 3600, 3600.5])
def test_a_lifetime_may_be_written_in_any_way(expires_in: object) -> None:
    assert lifetime(expires_in) == timedelta(hours=1)


def test_a_lifetime_is_bounded() -> None:
    assert lifetime(10**30) == timedelta(days=365)


@pytest.mark.parametrize("token", [None, "", 5, "a b", "a\r\nQUIT", "a\0", "ä", {"a": 1}])
def test_a_token_that_could_not_be_sent_is_none(token: object) -> None:
    with pytest.raises(TryLater, match="nothing of OAuth"):
        grants.granted(answer({"access_token": token}))


def words(body: bytes, status: int) -> list[str]:
    """All that would be shown of this answer of either endpoint."""
    shown: list[str] = []
    for read in (grants.granted, grants.device_code):
        try:
            outcome = read(answer(body, status=status))
        except StageError as error:
            shown.append(str(error))
        else:
            shown.append(outcome.says if isinstance(outcome, Denied) else "")
    return shown


@given(st.binary(), st.integers(100, 599))
def test_any_answer_is_a_value_or_one_line(body: bytes, status: int) -> None:
    assert all(text.isprintable() for text in words(body, status))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_KEYS = ("access_token", "refresh_token", "expires_in", "expires_at", "scope", "error", "error_description", "interval")


@given(st.dictionaries(st.sampled_from((*_KEYS, "device_code", "user_code", "verification_uri")), _JSON))
def test_any_object_is_a_value_or_one_line(body: dict[str, object]) -> None:
    assert all(text.isprintable() for text in words(json.dumps(body).encode(), 200))


def test_deep_nesting_is_no_answer() -> None:
    with pytest.raises(TryLater):
        grants.granted(answer(b"[" * 60_000))


def failure(code: str, description: str = "", *, status: int = 400, grant: Grant = Grant.REFRESH_TOKEN) -> StageError:
    outcome = grants.granted(answer({"error": code, "error_description": description}, status=status))
    assert isinstance(outcome, Denied)
    return grants.failure(outcome, replace(CLIENT, grant=grant), name="sales")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("invalid_grant", "run 'pop3connector accounts login sales'"),
        ("invalid_client", "oauth2.client_id or client_secret is not accepted (the provider says invalid_client: why)"),
        ("unauthorized_client", "oauth2.client_id or client_secret is not accepted"),
        ("invalid_scope", "oauth2.scope is not accepted"),
        ("unsupported_grant_type", "no access token is given (the provider says unsupported_grant_type: why)"),
        ("anything_else", "no access token is given"),
    ],
)
def test_a_refusal_says_what_to_mend(code: str, words: str) -> None:
    error = failure(code, "why")
    assert isinstance(error, OperatorMustAct)
    assert words in str(error)


def test_an_invalid_grant_of_client_credentials_is_no_matter_of_a_login() -> None:
    assert "accounts login" not in str(failure("invalid_grant", grant=Grant.CLIENT_CREDENTIALS))


@pytest.mark.parametrize(
    ("code", "status"), [("temporarily_unavailable", 400), ("server_error", 400), ("invalid_request", 503), ("x", 429)]
)
def test_trouble_that_passes_is_tried_later(code: str, status: int) -> None:
    assert isinstance(failure(code, status=status), TryLater)


def test_only_the_first_line_of_what_a_provider_says_is_shown() -> None:
    """Microsoft adds trace id, correlation id and time stamp."""
    assert "Trace" not in str(failure("invalid_grant", "AADSTS70008: expired.\r\nTrace ID: 1"))


@pytest.mark.parametrize("echo", ["hunter2", "HUNTER2", "aHVudGVyMg", "xxh1bnRlcjI"])
def test_what_repeats_a_secret_is_not_shown(echo: str) -> None:
    body = {"error": "invalid_request", "error_description": f"unexpected {echo}"}
    outcome = grants.granted(answer(body, status=400), None, Secret("hunter2"))
    assert isinstance(outcome, Denied)
    assert outcome.says == "(not shown: it repeats a secret)"
    assert outcome.code == "invalid_request"


def test_a_redirect_says_where_to_and_to_mend_the_endpoint() -> None:
    with pytest.raises(OperatorMustAct) as error:
        grants.granted(answer(b"", status=302, location="https://login.example/v2/token?secret=1"))
    assert str(error.value) == (
        "https://login.example/token redirects to https://login.example/v2/token, which is not followed: "
        "mend the endpoint"
    )


def test_a_page_that_is_not_oauths_asks_whether_the_endpoint_is_right() -> None:
    with pytest.raises(OperatorMustAct, match=r"answers HTTP 404 and nothing of OAuth: is it the right one\?"):
        grants.granted(answer(b"<html>", status=404))


DEVICE = {"device_code": "d", "user_code": "WDJB", "verification_uri": "https://login.example/", "expires_in": 60}


def test_a_device_code_is_read() -> None:
    """RFC 8628 section 3.2: five seconds where no interval is told."""
    assert grants.device_code(answer(DEVICE)) == DeviceCode(
        device_code=Secret("d"),
        user_code="WDJB",
        verification_uri="https://login.example/",
        lifetime=timedelta(minutes=1),
        interval=timedelta(seconds=5),
    )


def test_googles_name_for_the_place_is_understood() -> None:
    body = {**DEVICE, "verification_uri": None, "verification_url": "https://www.google.example/device"}
    code = grants.device_code(answer(body))
    assert isinstance(code, DeviceCode)
    assert code.verification_uri == "https://www.google.example/device"


def test_what_is_shown_to_a_person_is_safe_for_a_terminal() -> None:
    code = grants.device_code(answer({**DEVICE, "user_code": "\x1b[2JW"}))
    assert isinstance(code, DeviceCode)
    assert code.user_code == r"\x1b[2JW"
