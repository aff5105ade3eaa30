"""Every way to log in that Dovecot offers, over every transport, with right and wrong secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from stages.dialogue import Dialogue, Side
from stages.pop3.client import LoginRefused, Pop3Client, Pop3Endpoint
from stages.sasl.credentials import Credentials
from stages.settings import AuthMethod, TlsMode
from stages.trust import Trust
from tests.support.dovecot import HOST_NAME, Dovecot
from tests.support.real_logins import TOKEN, judge_of_logins, password, token

pytestmark = pytest.mark.real

PATIENCE = 10.0
NAMES = {
    AuthMethod.BASIC: "USER",
    AuthMethod.APOP: "APOP",
    AuthMethod.PLAIN: "PLAIN",
    AuthMethod.LOGIN: "LOGIN",
    AuthMethod.CRAM_MD5: "CRAM-MD5",
    AuthMethod.SCRAM_SHA_1: "SCRAM-SHA-1",
    AuthMethod.SCRAM_SHA_256: "SCRAM-SHA-256",
}
TOKEN_NAMES = {AuthMethod.XOAUTH2: "XOAUTH2", AuthMethod.OAUTHBEARER: "OAUTHBEARER"}


@pytest.fixture(scope="module")
def maildrops() -> Iterator[Dovecot]:
    with judge_of_logins() as server:
        yield server


def log_in(
    server: Dovecot,
    tls: TlsMode,
    credentials: Credentials,
    *,
    prefer: str | None = None,
    said: list[str] | None = None,
) -> str:
    """Log in, make sure that we are in, and return the mechanism; what the client said goes to `said`."""

    def hear(_number: int, side: Side, line: str) -> None:
        if said is not None and side is Side.WE:
            said.append(line)

    async def talk() -> str:
        port = server.tls_port if tls is TlsMode.IMPLICIT else server.port
        endpoint = Pop3Endpoint(host=HOST_NAME, port=port, tls=tls, trust=Trust(ca_file=server.ca_file))
        client = await Pop3Client.open(endpoint, timeout=PATIENCE, dialogue=Dialogue(hear))
        try:
            await client.login(credentials, prefer=prefer)
            assert client.capabilities.uidl
            assert (await client.stat()).count == 0
            assert await client.quit()
            return client.mechanism
        finally:
            await client.close()

    return asyncio.run(talk())


@pytest.mark.parametrize("tls", list(TlsMode))
@pytest.mark.parametrize("method", NAMES)
def test_the_right_password_lets_us_in(maildrops: Dovecot, method: AuthMethod, tls: TlsMode) -> None:
    assert log_in(maildrops, tls, password("secret", method)) == NAMES[method]


@pytest.mark.parametrize("tls", list(TlsMode))
@pytest.mark.parametrize("method", NAMES)
def test_a_wrong_password_is_refused_and_told_as_such(maildrops: Dovecot, method: AuthMethod, tls: TlsMode) -> None:
    """RFC 3206: [AUTH] says that it is the credentials."""
    with pytest.raises(LoginRefused, match=rf"^login refused \({NAMES[method]}.*\): \[AUTH\] ") as refused:
        log_in(maildrops, tls, password("wrong", method))
    assert refused.value.code == "AUTH"


@pytest.mark.parametrize("tls", list(TlsMode))
@pytest.mark.parametrize("method", TOKEN_NAMES)
def test_the_right_token_lets_us_in(maildrops: Dovecot, method: AuthMethod, tls: TlsMode) -> None:
    assert log_in(maildrops, tls, token(TOKEN, method)) == TOKEN_NAMES[method]


@pytest.mark.parametrize("tls", list(TlsMode))
@pytest.mark.parametrize("method", TOKEN_NAMES)
def test_a_wrong_token_is_refused_with_the_status_of_the_server(
    maildrops: Dovecot, method: AuthMethod, tls: TlsMode
) -> None:
    """RFC 7628 section 3.2.2: it comes in JSON, before the -ERR."""
    with pytest.raises(LoginRefused, match=rf"^login refused \({TOKEN_NAMES[method]}; status \w+\): ") as refused:
        log_in(maildrops, tls, token("ya29.expired", method))
    assert "ya29" not in str(refused.value)


@pytest.mark.parametrize("method", NAMES)
def test_a_password_beyond_ascii_and_with_characters_that_mean_something_arrives(
    maildrops: Dovecot, method: AuthMethod
) -> None:
    credentials = password("pässwörd, =€", method, username="joerg")
    assert log_in(maildrops, TlsMode.IMPLICIT, credentials) == NAMES[method]


@pytest.mark.parametrize("tls", list(TlsMode))
def test_auto_takes_the_strongest(maildrops: Dovecot, tls: TlsMode) -> None:
    assert log_in(maildrops, tls, password("secret")) == "SCRAM-SHA-256"
    assert log_in(maildrops, tls, token(TOKEN)) == "OAUTHBEARER"


@pytest.mark.parametrize("tls", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
def test_under_tls_auto_gets_in_where_the_password_is_stored_for_plain_text(maildrops: Dovecot, tls: TlsMode) -> None:
    """Dovecot lists SCRAM for all users; for this one it cannot be done. Remembered, it is not tried again."""
    credentials = password("secret", username="bob")
    said: list[str] = []
    assert log_in(maildrops, tls, credentials, said=said) == "PLAIN"
    assert [line for line in said if line.startswith("AUTH")] == ["AUTH SCRAM-SHA-256", "AUTH PLAIN"]
    said.clear()
    assert log_in(maildrops, tls, credentials, prefer="PLAIN", said=said) == "PLAIN"
    assert [line for line in said if line.startswith("AUTH")] == ["AUTH PLAIN"]


def test_without_tls_auto_sends_no_plain_text_after_a_refusal(maildrops: Dovecot) -> None:
    with pytest.raises(LoginRefused, match="the password is not sent in clear text after that: set tls, or auth to"):
        log_in(maildrops, TlsMode.NONE, password("secret", username="bob"))


def test_a_mechanism_that_is_not_offered_is_refused_with_those_that_are(maildrops: Dovecot) -> None:
    with pytest.raises(LoginRefused, match="NTLM; not listed by the server, which offers scram-sha-256, scram-sha-1,"):
        log_in(maildrops, TlsMode.IMPLICIT, password("secret", AuthMethod.NTLM))
