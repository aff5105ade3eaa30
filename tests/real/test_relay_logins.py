"""Every login that Postfix offers by Dovecot's SASL, in the clear and after STARTTLS, with right and wrong secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from stages.dialogue import Dialogue, Side
from stages.sasl.credentials import Credentials
from stages.sasl.exchange import Mechanism
from stages.settings import AuthMethod, TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import Envelope
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.replies import RouteFailed
from stages.smtp.transaction import Submission
from stages.stream import TlsSettings
from stages.trust import Trust
from tests.support.dovecot import HOST_NAME, Dovecot
from tests.support.postfix import Postfix, postfix
from tests.support.real_logins import TOKEN, judge_of_logins, password, token

pytestmark = pytest.mark.real

PATIENCE = 10.0
RECIPIENT = "sales@corp.example"
NAMES = {
    AuthMethod.PLAIN: "PLAIN",
    AuthMethod.LOGIN: "LOGIN",
    AuthMethod.CRAM_MD5: "CRAM-MD5",
    AuthMethod.SCRAM_SHA_1: "SCRAM-SHA-1",
    AuthMethod.SCRAM_SHA_256: "SCRAM-SHA-256",
}
TOKEN_NAMES = {AuthMethod.XOAUTH2: "XOAUTH2", AuthMethod.OAUTHBEARER: "OAUTHBEARER"}
TRANSPORTS = [TlsMode.NONE, TlsMode.STARTTLS]


@pytest.fixture(scope="module")
def judge() -> Iterator[Dovecot]:
    with judge_of_logins() as server:
        yield server


def settings(judge: Dovecot, **more: str) -> dict[str, str]:
    return {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(judge.sasl_socket),
        "smtpd_sasl_security_options": "noanonymous",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": str(judge.certificate),
        "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        **more,
    }


@pytest.fixture(scope="module")
def relay(judge: Dovecot) -> Iterator[Postfix]:
    """It takes mail of those alone who have logged in."""
    with postfix([RECIPIENT], settings=settings(judge)) as server:
        yield server


def submit(
    relay: Postfix,
    judge: Dovecot,
    tls: TlsMode,
    credentials: Credentials | None,
    *,
    prefer: Mechanism | None = None,
    said: list[str] | None = None,
) -> str | None:
    """Log in, submit a message, and return the mechanism; what the client said goes to `said`."""

    def hear(_number: int, side: Side, line: str) -> None:
        if said is not None and side is Side.WE:
            said.append(line)

    async def talk() -> str | None:
        endpoint = SmtpEndpoint(
            host=HOST_NAME,
            port=relay.port,
            tls=tls,
            trust=TlsSettings(server_name=HOST_NAME, trust=Trust(ca_file=judge.ca_file)),
            helo_name="gw.corp.example",
            credentials=credentials,
            prefer=prefer,
            may_log_in_without_tls=True,
        )
        client = await SmtpClient.open(endpoint, timeout=PATIENCE, final_dot_timeout=PATIENCE, dialogue=Dialogue(hear))
        try:
            envelope = Envelope(reverse_path="a@example.org", recipients=(RECIPIENT,), octets=5)
            result = await client.submit(Submission(envelope=envelope, content=b"one\r\n", before_dot=lambda: None))
            (final,) = result.finals
            assert final is not None, result
            assert final.is_positive
            return client.mechanism
        finally:
            await client.quit()

    return asyncio.run(talk())


@pytest.mark.parametrize("tls", TRANSPORTS)
@pytest.mark.parametrize("method", NAMES)
def test_the_right_password_lets_us_in(relay: Postfix, judge: Dovecot, method: AuthMethod, tls: TlsMode) -> None:
    assert submit(relay, judge, tls, password("secret", method)) == NAMES[method]


@pytest.mark.parametrize("tls", TRANSPORTS)
@pytest.mark.parametrize("method", NAMES)
def test_a_wrong_password_is_refused_with_what_to_change(
    relay: Postfix, judge: Dovecot, method: AuthMethod, tls: TlsMode
) -> None:
    with pytest.raises(RouteFailed, match=rf"^AUTH: 535 5\.7\.8 .* \({NAMES[method]}; check username and password in"):
        submit(relay, judge, tls, password("wrong", method))


@pytest.mark.parametrize("tls", TRANSPORTS)
@pytest.mark.parametrize("method", TOKEN_NAMES)
def test_the_right_token_lets_us_in(relay: Postfix, judge: Dovecot, method: AuthMethod, tls: TlsMode) -> None:
    assert submit(relay, judge, tls, token(TOKEN, method)) == TOKEN_NAMES[method]


@pytest.mark.parametrize("tls", TRANSPORTS)
@pytest.mark.parametrize("method", TOKEN_NAMES)
def test_a_wrong_token_is_refused_with_the_status_of_the_server(
    relay: Postfix, judge: Dovecot, method: AuthMethod, tls: TlsMode
) -> None:
    """RFC 7628 section 3.2.2: it comes in JSON, before the 535."""
    with pytest.raises(RouteFailed, match=rf"\({TOKEN_NAMES[method]}; status \w+; check username and token") as refused:
        submit(relay, judge, tls, token("ya29.expired", method))
    assert "ya29" not in str(refused.value)


@pytest.mark.parametrize("method", NAMES)
def test_a_password_beyond_ascii_and_with_characters_that_mean_something_arrives(
    relay: Postfix, judge: Dovecot, method: AuthMethod
) -> None:
    credentials = password("pässwörd, =€", method, username="joerg")
    assert submit(relay, judge, TlsMode.STARTTLS, credentials) == NAMES[method]


@pytest.mark.parametrize("tls", TRANSPORTS)
def test_auto_takes_the_strongest(relay: Postfix, judge: Dovecot, tls: TlsMode) -> None:
    assert submit(relay, judge, tls, password("secret")) == "SCRAM-SHA-256"
    assert submit(relay, judge, tls, token(TOKEN)) == "OAUTHBEARER"


def test_under_tls_auto_gets_in_where_the_password_is_stored_for_plain_text(relay: Postfix, judge: Dovecot) -> None:
    """Postfix lists SCRAM for all users; for this one it cannot be done. Remembered, it is not tried again."""
    credentials = password("secret", username="bob")
    said: list[str] = []
    assert submit(relay, judge, TlsMode.STARTTLS, credentials, said=said) == "PLAIN"
    assert [line for line in said if line.startswith("AUTH")] == ["AUTH SCRAM-SHA-256 ***", "AUTH PLAIN ***"]
    said.clear()
    assert submit(relay, judge, TlsMode.STARTTLS, credentials, prefer=Mechanism.PLAIN, said=said) == "PLAIN"
    assert [line for line in said if line.startswith("AUTH")] == ["AUTH PLAIN ***"]


def test_without_tls_auto_sends_no_plain_text_after_a_refusal(relay: Postfix, judge: Dovecot) -> None:
    with pytest.raises(RouteFailed, match="not sent in clear text after that: set tls, or auth to plain"):
        submit(relay, judge, TlsMode.NONE, password("secret", username="bob"))


def test_a_mechanism_that_is_not_offered_is_told_with_those_that_are(relay: Postfix, judge: Dovecot) -> None:
    with pytest.raises(
        RouteFailed, match=r"does not offer NTLM: set auth in \[smtp\] to scram-sha-256 or scram-sha-1 or"
    ):
        submit(relay, judge, TlsMode.STARTTLS, password("secret", AuthMethod.NTLM))


def test_a_relay_that_takes_logins_under_tls_alone_is_told_nothing_without(judge: Dovecot) -> None:
    with postfix([RECIPIENT], settings=settings(judge, smtpd_tls_auth_only="yes")) as strict:
        with pytest.raises(RouteFailed, match='no login without TLS: set tls = "starttls"'):
            submit(strict, judge, TlsMode.NONE, password("secret"))
        assert submit(strict, judge, TlsMode.STARTTLS, password("secret")) == "SCRAM-SHA-256"
