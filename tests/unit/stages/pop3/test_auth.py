"""Which login is chosen, and what is never sent."""

from __future__ import annotations

import pytest

from stages.pop3.auth import Credentials, LoginImpossible, Offer, login
from stages.secret import Secret
from stages.settings import AuthMethod

CHALLENGE = b"POP3 server ready <1896.697170952@dbc.mtview.ca.us>"
CLEAR = Offer(greeting=CHALLENGE, is_tls=False)


def lines(method: AuthMethod, offer: Offer) -> list[bytes]:
    credentials = Credentials(username="mrose", password=Secret("tanstaaf"), method=method)
    return [command.line for command in login(credentials, offer)]


APOP = [b"APOP mrose c4c9334bac560ecc979e58001b3e22fb"]  # the example of RFC 1939 section 7
BASIC = [b"USER mrose", b"PASS tanstaaf"]


@pytest.mark.parametrize(
    ("method", "offer", "sent"),
    [
        (AuthMethod.AUTO, CLEAR, APOP),
        (AuthMethod.AUTO, Offer(greeting=CHALLENGE, is_tls=True), BASIC),
        (AuthMethod.AUTO, Offer(greeting=b"ready", is_tls=False), BASIC),
        (AuthMethod.AUTO, Offer(greeting=b"ready", is_tls=True), BASIC),
        (AuthMethod.BASIC, CLEAR, BASIC),
        (AuthMethod.APOP, CLEAR, APOP),
        (AuthMethod.APOP, Offer(greeting=CHALLENGE, is_tls=True), APOP),
    ],
)
def test_the_login_is_the_strongest_that_is_offered_or_the_one_that_is_named(
    method: AuthMethod, offer: Offer, sent: list[bytes]
) -> None:
    assert lines(method, offer) == sent


def test_a_named_method_is_not_downgraded() -> None:
    """Whoever can alter the greeting must not get the password in clear by it."""
    with pytest.raises(LoginImpossible, match="no valid APOP challenge"):
        lines(AuthMethod.APOP, Offer(greeting=b"ready", is_tls=False))


@pytest.mark.parametrize("octet", ["\r", "\n", "\0"])
@pytest.mark.parametrize("field", ["username", "password"])
@pytest.mark.parametrize("method", list(AuthMethod))
def test_a_line_end_in_a_credential_is_refused_by_name(field: str, octet: str, method: AuthMethod) -> None:
    """It would end the line, and what follows would be a command."""
    values = {"username": "mrose", "password": "tanstaaf"} | {field: f"a{octet}b"}
    credentials = Credentials(username=values["username"], password=Secret(values["password"]), method=method)
    with pytest.raises(LoginImpossible, match=f"^{field}: "):
        login(credentials, CLEAR)


def test_credentials_do_not_show_the_password() -> None:
    assert "tanstaaf" not in repr(Credentials(username="mrose", password=Secret("tanstaaf")))
