"""XOAUTH2 and OAUTHBEARER, with the examples of RFC 7628 and of Google's page."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest

from stages.sasl.exchange import ExchangeFailed, Mechanism, SecretUnusable
from stages.sasl.mechanisms import exchange
from tests.support.sasl import identity

ANSWERS = {Mechanism.XOAUTH2: b"", Mechanism.OAUTHBEARER: b"\x01"}


def test_oauthbearer_sends_the_token_in_its_fields() -> None:
    """RFC 7628 section 4.1."""
    token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    user = replace(identity("user@example.com", token, host="server.example.com"), port=143)
    run = exchange(Mechanism.OAUTHBEARER, user)
    assert run.respond(b"") == (
        b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer " + token.encode() + b"\x01\x01"
    )
    run.conclude()


def test_oauthbearer_writes_comma_and_equals_sign_by_their_numbers() -> None:
    """RFC 5801 section 4: they have a meaning in the header."""
    assert exchange(Mechanism.OAUTHBEARER, identity("a=b,c")).respond(b"").startswith(b"n,a=a=3Db=2Cc,\x01")


def test_xoauth2_sends_the_token_behind_the_user() -> None:
    user = identity("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
    run = exchange(Mechanism.XOAUTH2, user)
    assert b64encode(run.respond(b"")) == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRx"
        b"bVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )
    run.conclude()


@pytest.mark.parametrize("mechanism", ANSWERS)
@pytest.mark.parametrize(
    ("challenge", "told"),
    [
        (b'{"status":"invalid_token","scope":"example_scope"}', "status invalid_token"),  # RFC 7628 section 4.3
        (b'{"status":"400","schemes":"Bearer","scope":"https://mail.example/"}', "status 400"),
        (b'{"status":401}', "status 401"),
        (b'{"status":"\\u001b[2J"}', r"status \x1b[2J"),
        (b'{"status":"\\ud800"}', "status ?"),
        (b'{"status":"' + b"x" * 5000 + b'"}', "status " + "x" * 57 + "..."),
        (b"{}", "an error without a status"),
        (b'{"status":["a"]}', "an error without a status"),
        (b"[]", "an error without a status"),
        (b"", "an error that is no JSON"),
        (b"\xff\xff", "an error that is no JSON"),
        (b"[" * 6000, "an error that is no JSON"),
        (b'{"status":' + b"9" * 5000 + b"}", "an error that is no JSON"),
    ],
)
def test_a_refusal_in_a_challenge_is_told_and_answered(mechanism: Mechanism, challenge: bytes, told: str) -> None:
    """RFC 7628 section 3.2.3: without that answer the server never says -ERR."""
    run = exchange(mechanism, identity())
    run.respond(b"")
    assert run.respond(challenge) == ANSWERS[mechanism]
    assert run.refusal == told
    with pytest.raises(ExchangeFailed):
        run.conclude()


@pytest.mark.parametrize("mechanism", ANSWERS)
@pytest.mark.parametrize(("user", "token"), [("a\x01b", "token"), ("alice", "to\x01ken")])
def test_the_octet_that_separates_the_fields_is_never_sent_in_one(mechanism: Mechanism, user: str, token: str) -> None:
    with pytest.raises(SecretUnusable, match="0x01"):
        exchange(mechanism, identity(user, token)).respond(b"")
