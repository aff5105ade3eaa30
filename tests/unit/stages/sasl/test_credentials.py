"""What can never be sent, and the order in which ways to log in are tried."""

from __future__ import annotations

import pytest

from stages.errors import OurBug
from stages.sasl.credentials import Credentials, LoginImpossible, in_turn
from stages.sasl.exchange import Mechanism
from stages.secret import Secret
from stages.settings import AuthMethod


def with_password(method: AuthMethod = AuthMethod.AUTO) -> Credentials:
    return Credentials(username="mrose", password=Secret("tanstaaf"), method=method)


def with_token(method: AuthMethod = AuthMethod.AUTO) -> Credentials:
    return Credentials(username="mrose", token=Secret("ya29"), method=method)


@pytest.mark.parametrize("octet", ["\r", "\n", "\0"])
@pytest.mark.parametrize("field", ["username", "password", "token"])
def test_a_line_end_in_a_credential_is_refused_by_name(field: str, octet: str) -> None:
    """It would end the line, and what follows would be a command. There are no such credentials to connect with."""
    bad = f"a{octet}b"
    name = bad if field == "username" else "mrose"
    password = None if field == "token" else Secret(bad if field == "password" else "tanstaaf")
    token = Secret(bad) if field == "token" else None
    with pytest.raises(LoginImpossible, match=f"^{field}: a line end or NUL"):
        Credentials(username=name, password=password, token=token)


@pytest.mark.parametrize(("name", "token", "what"), [("a\x01b", "t", "username"), ("a", "t\x01", "token")])
def test_the_separator_of_the_bearer_mechanisms_is_refused_by_name(name: str, token: str, what: str) -> None:
    """RFC 7628 section 3.1: what follows it would be a field."""
    with pytest.raises(LoginImpossible, match=f"^{what}: the octet 0x01"):
        Credentials(username=name, token=Secret(token))


def test_a_password_may_have_the_octet_that_separates_fields_of_a_token() -> None:
    assert Credentials(username="a", password=Secret("\x01")).secret == Secret("\x01")


@pytest.mark.parametrize("method", [AuthMethod.XOAUTH2, AuthMethod.OAUTHBEARER])
def test_a_password_is_no_token(method: AuthMethod) -> None:
    with pytest.raises(LoginImpossible, match=f"auth = {method.value} takes an OAuth 2.0 token"):
        with_password(method)


@pytest.mark.parametrize("method", [AuthMethod.BASIC, AuthMethod.PLAIN, AuthMethod.SPA, AuthMethod.SCRAM_SHA_256])
def test_a_token_is_no_password(method: AuthMethod) -> None:
    """It would end in the log of a server that never should have it."""
    with pytest.raises(LoginImpossible, match=f"auth = {method.value} takes a password"):
        with_token(method)


@pytest.mark.parametrize("secret", [None, Secret("a")])
def test_credentials_have_one_secret(secret: Secret | None) -> None:
    with pytest.raises(OurBug):
        Credentials(username="mrose", password=secret, token=secret)


def test_credentials_do_not_show_the_secret() -> None:
    assert "tanstaaf" not in repr(with_password())
    assert "ya29" not in repr(with_token())


SCRAM, PLAIN, LOGIN, CRAM_MD5 = Mechanism.SCRAM_SHA_256, Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5


@pytest.mark.parametrize(
    ("candidates", "prefer", "under_tls", "without"),
    [
        ((SCRAM, PLAIN, LOGIN), None, (SCRAM, PLAIN), (SCRAM,)),
        ((SCRAM, PLAIN, LOGIN), LOGIN, (LOGIN,), (SCRAM,)),
        ((SCRAM, CRAM_MD5), CRAM_MD5, (CRAM_MD5,), (CRAM_MD5,)),
        ((SCRAM,), "GSSAPI", (SCRAM,), (SCRAM,)),
        ((PLAIN, LOGIN), None, (PLAIN,), (PLAIN,)),
        ((PLAIN, LOGIN), LOGIN, (LOGIN,), (LOGIN,)),
    ],
)
def test_plain_text_follows_under_tls_alone(
    candidates: tuple[Mechanism, ...],
    prefer: str | None,
    under_tls: tuple[Mechanism, ...],
    without: tuple[Mechanism, ...],
) -> None:
    """And what worked last time comes first, but where it would be the password in the clear."""
    plain_text = (PLAIN, LOGIN)
    assert in_turn(candidates, plain_text=plain_text, is_tls=True, prefer=prefer) == under_tls
    assert in_turn(candidates, plain_text=plain_text, is_tls=False, prefer=prefer) == without
