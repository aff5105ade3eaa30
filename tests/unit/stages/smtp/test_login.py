"""The driver of a login, where a dialogue file cannot show it: servers of other hands, and what is told of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trustme

from stages.dialogue import Dialogue
from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import Envelope
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.replies import RouteFailed
from stages.smtp.transaction import Submission
from stages.stream import TlsSettings
from stages.trust import Trust
from tests.support.sasl import Acceptor, Changed, NtlmAcceptor, ScramAcceptor, ntlm_users
from tests.support.sasl_smtp import SaslRelay
from tests.support.scripted_server import ScriptedServer, parse

PATIENCE = 5.0
ACCEPTORS: dict[str, Callable[[], Acceptor]] = {
    "SCRAM-SHA-1": partial(ScramAcceptor, "SCRAM-SHA-1", "secret"),
    "SCRAM-SHA-256": partial(ScramAcceptor, "SCRAM-SHA-256", "secret"),
    "NTLM": NtlmAcceptor,
}
NAMES = {
    AuthMethod.PLAIN: "PLAIN",
    AuthMethod.LOGIN: "LOGIN",
    AuthMethod.SCRAM_SHA_1: "SCRAM-SHA-1",
    AuthMethod.SCRAM_SHA_256: "SCRAM-SHA-256",
    AuthMethod.NTLM: "NTLM",
}


@pytest.fixture(autouse=True)
def ntlm_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTLM_USER_FILE", str(ntlm_users(tmp_path / "users", alice="secret")))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the file of the CA to trust it by."""
    made = trustme.CA()
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.issue_cert("127.0.0.1").configure_cert(context)
    return context, ca_file


def endpoint(
    port: int, credentials: Credentials | None, *, tls: TlsMode = TlsMode.NONE, ca_file: Path | None = None
) -> SmtpEndpoint:
    return SmtpEndpoint(
        host="127.0.0.1",
        port=port,
        tls=tls,
        trust=TlsSettings(server_name="127.0.0.1", trust=Trust(ca_file=ca_file)),
        helo_name="gw.corp.example",
        credentials=credentials,
        may_log_in_without_tls=True,
    )


def alice(method: AuthMethod = AuthMethod.AUTO, password: str = "secret") -> Credentials:
    return Credentials(username="alice", password=Secret(password), method=method)


async def opened(relay: SmtpEndpoint) -> str | None:
    """Open a session, make sure that mail is taken, and return the mechanism."""
    client = await SmtpClient.open(relay, timeout=PATIENCE, final_dot_timeout=PATIENCE)
    try:
        envelope = Envelope(reverse_path="a@example.org", recipients=("r@corp.example",), octets=5)
        result = await client.submit(Submission(envelope=envelope, content=b"one\r\n", before_dot=lambda: None))
        (final,) = result.finals
        assert final is not None
        assert final.is_positive
        return client.mechanism
    finally:
        await client.quit()


def log_in(relay: SaslRelay, credentials: Credentials) -> str | None:
    async def talk() -> str | None:
        async with relay.listening() as server:
            return await opened(endpoint(server.port, credentials))

    return asyncio.run(talk())


@pytest.mark.parametrize("method", NAMES)
def test_the_right_password_lets_us_in(method: AuthMethod) -> None:
    assert log_in(SaslRelay(ACCEPTORS), alice(method)) == NAMES[method]


@pytest.mark.parametrize("method", NAMES)
def test_a_wrong_password_is_refused_with_what_to_change(method: AuthMethod) -> None:
    with pytest.raises(RouteFailed, match=rf"^AUTH: 535 5\.7\.8 .* \({NAMES[method]}; check username and password in"):
        log_in(SaslRelay(ACCEPTORS), alice(method, "wrong"))


@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.STARTTLS])
def test_auto_takes_the_strongest(tls: TlsMode, authority: tuple[ssl.SSLContext, Path]) -> None:
    context, ca_file = authority

    async def talk() -> str | None:
        async with SaslRelay(ACCEPTORS).listening(tls=context) as server:
            return await opened(endpoint(server.port, alice(), tls=tls, ca_file=ca_file))

    assert asyncio.run(talk()) == "SCRAM-SHA-256"


@pytest.mark.parametrize("method", [AuthMethod.AUTO, AuthMethod.PLAIN])
def test_a_relay_that_wants_tls_for_a_login_is_not_told_the_password_without(
    method: AuthMethod, authority: tuple[ssl.SSLContext, Path]
) -> None:
    """RFC 4954 section 4: it lists no AUTH then."""
    context, ca_file = authority
    relay = SaslRelay()

    async def talk() -> str | None:
        async with relay.listening(tls=context, requires_tls=True) as server:
            with pytest.raises(RouteFailed, match='no login without TLS: set tls = "starttls" in'):
                await opened(endpoint(server.port, alice(method)))
            assert relay.asked == []
            return await opened(endpoint(server.port, alice(method), tls=TlsMode.STARTTLS, ca_file=ca_file))

    assert asyncio.run(talk()) == "PLAIN"


def test_a_relay_with_a_wrong_signature_is_not_believed() -> None:
    """Its 235 is never reached: the exchange is cancelled."""

    def forge(challenge: bytes) -> bytes:
        return b"v=" + b"A" * 43 + b"=" if challenge.startswith(b"v=") else challenge

    accept = {"SCRAM-SHA-256": partial(Changed, ScramAcceptor("SCRAM-SHA-256", "secret"), change=forge)}
    with pytest.raises(RouteFailed, match="SCRAM-SHA-256: the server does not prove that it knows the password"):
        log_in(SaslRelay(accept), alice())


def test_what_the_mechanism_cannot_carry_is_told_before_anything_is_sent() -> None:
    """RFC 4013 forbids this character to SCRAM."""
    relay = SaslRelay(ACCEPTORS)
    with pytest.raises(RouteFailed, match="SCRAM-SHA-256: it cannot carry this user name or password"):
        log_in(relay, alice(password="a\u0007b"))
    assert relay.asked == []


def test_what_is_told_has_no_response_and_no_challenge() -> None:
    """Nor an echo of them, and that an exchange is cancelled."""
    said: list[str] = []
    script = (
        "S: 220 relay\nC: EHLO gw.corp.example\nS: 250-relay\nS: 250 AUTH LOGIN\n"
        "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YWxpY2U=\nS: 334 aHVudGVyMg==\nC: aHVudGVyMg==\nS: 334 hunter2\n"
        "C: *\nS: 501 aHVudGVyMg== hunter2\n"
    )

    async def talk() -> None:
        async with ScriptedServer(parse(script)).listening() as server:
            with pytest.raises(RouteFailed):
                await SmtpClient.open(
                    endpoint(server.port, alice(password="hunter2")),
                    timeout=PATIENCE,
                    final_dot_timeout=PATIENCE,
                    dialogue=Dialogue(lambda _, side, line: said.append(f"{side} {line}")),
                )

    asyncio.run(talk())
    assert said[6:] == [
        "> AUTH LOGIN",
        "< 334 <... 12 octets>",
        "> ***",
        "< 334 <... 12 octets>",
        "> ***",
        "< 334 <... 7 octets>",
        "> *",
        "< 501 (not shown: it repeats a secret)",
        "* closed",
        "* AUTH: a challenge that is not base64",
    ]


def test_other_sessions_go_on_while_a_login_computes() -> None:
    """A relay may ask for a million rounds: a second in which no other connection must wait."""
    accept = {"SCRAM-SHA-256": partial(ScramAcceptor, "SCRAM-SHA-256", "secret", iterations=1_000_000)}

    async def talk() -> int:
        turns = 0
        async with SaslRelay(accept).listening() as server:
            session = asyncio.ensure_future(opened(endpoint(server.port, alice())))
            while not session.done():
                turns += 1
                await asyncio.sleep(0)
            await session
        return turns

    # The session itself takes some dozens of turns; the rest are those of others.
    assert asyncio.run(talk()) > 1_000
