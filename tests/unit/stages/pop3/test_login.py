"""The driver of a login, where a dialogue file cannot show it: acceptors of other hands, and what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from stages.dialogue import Dialogue
from stages.errors import PeerBroke
from stages.pop3.client import LoginRefused, Pop3Client, Pop3Endpoint
from stages.sasl.credentials import Credentials
from stages.sasl.exchange import ExchangeFailed
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode
from tests.support.sasl import Acceptor, Changed, NtlmAcceptor, ScramAcceptor, ntlm_users
from tests.support.sasl_pop3 import Manner, SaslPop3Server
from tests.support.scripted_server import ScriptedServer, parse

PATIENCE = 5.0


@pytest.fixture(autouse=True)
def ntlm_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTLM_USER_FILE", str(ntlm_users(tmp_path / "users", alice="secret")))


ACCEPTORS: dict[AuthMethod, Callable[[], Acceptor]] = {
    AuthMethod.SCRAM_SHA_1: partial(ScramAcceptor, "SCRAM-SHA-1", "secret"),
    AuthMethod.SCRAM_SHA_256: partial(ScramAcceptor, "SCRAM-SHA-256", "secret"),
    AuthMethod.NTLM: NtlmAcceptor,
    AuthMethod.SPA: NtlmAcceptor,
}


def log_in(
    method: AuthMethod, accept: Callable[[], Acceptor], *, password: str = "secret", manner: Manner = Manner.CHALLENGE
) -> str:
    """Log in, make sure that we are in, and return the mechanism."""

    async def talk() -> str:
        async with SaslPop3Server(accept, manner=manner).listening() as server:
            endpoint = Pop3Endpoint(host="127.0.0.1", port=server.port, tls=TlsMode.NONE)
            client = await Pop3Client.open(endpoint, timeout=PATIENCE)
            try:
                await client.login(Credentials(username="alice", password=Secret(password), method=method))
                assert (await client.stat()).count == 0
                return client.mechanism
            finally:
                await client.close()

    return asyncio.run(talk())


NAMES = {
    AuthMethod.SCRAM_SHA_1: "SCRAM-SHA-1",
    AuthMethod.SCRAM_SHA_256: "SCRAM-SHA-256",
    AuthMethod.NTLM: "NTLM",
    AuthMethod.SPA: "NTLM",
}


@pytest.mark.parametrize("manner", [Manner.CHALLENGE, Manner.INITIAL])
@pytest.mark.parametrize("method", ACCEPTORS)
def test_the_right_password_lets_us_in(method: AuthMethod, manner: Manner) -> None:
    """With the initial response behind a challenge, and in the line of AUTH."""
    assert log_in(method, ACCEPTORS[method], manner=manner) == NAMES[method]


@pytest.mark.parametrize("manner", [Manner.CHALLENGE, Manner.INITIAL])
@pytest.mark.parametrize("method", ACCEPTORS)
def test_a_wrong_password_is_refused_with_its_code(method: AuthMethod, manner: Manner) -> None:
    with pytest.raises(LoginRefused, match=rf"^login refused \({NAMES[method]}.*\): \[AUTH\] no$") as refused:
        log_in(method, ACCEPTORS[method], password="wrong", manner=manner)
    assert refused.value.code == "AUTH"


def test_an_ok_that_means_go_on_is_understood_for_ntlm() -> None:
    """Exchange 2003 answers AUTH NTLM by +OK."""
    assert log_in(AuthMethod.NTLM, NtlmAcceptor, manner=Manner.OK) == "NTLM"


def test_a_wrong_password_is_refused_behind_an_ok_that_means_go_on() -> None:
    with pytest.raises(LoginRefused, match=r"\[AUTH\] no"):
        log_in(AuthMethod.NTLM, NtlmAcceptor, password="wrong", manner=Manner.OK)


def test_a_server_with_a_wrong_signature_is_not_believed() -> None:
    def forge(challenge: bytes) -> bytes:
        return b"v=" + b"A" * 43 + b"=" if challenge.startswith(b"v=") else challenge

    accept = partial(Changed, ScramAcceptor("SCRAM-SHA-256", "secret"), change=forge)
    with pytest.raises(ExchangeFailed, match="does not prove that it knows the password"):
        log_in(AuthMethod.SCRAM_SHA_256, accept)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told[:40],
        lambda told: told + bytes(4096),
        lambda told: told[:44] + b"\xff\xff\xff\x7f" + told[48:],
        lambda _told: b"NTLMSSP\0",
        lambda _told: b"",
    ],
    ids=["cut", "huge", "offset", "head alone", "empty"],
)
def test_a_malformed_challenge_of_ntlm_ends_the_login_cleanly(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PeerBroke, match=r"^NTLM: "):
        log_in(AuthMethod.NTLM, partial(Changed, NtlmAcceptor(), change=change))


def test_what_is_told_has_no_response_and_no_challenge() -> None:
    """Nor an echo of them, in this reply or in a later one."""
    said: list[str] = []
    script = (
        "S: +OK ready\nC: AUTH PLAIN\nS: -ERR\nC: AUTH PLAIN AGFsaWNlAGh1bnRlcjI=\nS: -ERR hunter2?\n"
        "C: AUTH PLAIN\nS: + aHVudGVyMg==\nC: AGFsaWNlAGh1bnRlcjI=\nS: +OK AGFsaWNlAGh1bnRlcjI=\n"
        "C: NOOP\nS: +OK hunter2\n"
    )

    async def talk() -> None:
        async with ScriptedServer(parse(script)).listening() as server:
            client = await Pop3Client.open(
                Pop3Endpoint(host="127.0.0.1", port=server.port, tls=TlsMode.NONE),
                timeout=PATIENCE,
                dialogue=Dialogue(lambda _, side, line: said.append(f"{side} {line}")),
                ask_capabilities=False,
            )
            credentials = Credentials(username="alice", password=Secret("hunter2"), method=AuthMethod.PLAIN)
            with pytest.raises(LoginRefused):
                await client.login(credentials)
            await client.login(credentials)
            await client.noop()
            await client.close()

    asyncio.run(talk())
    assert said[2:] == [
        "< +OK ready",
        "> AUTH PLAIN",
        "< -ERR",
        "> AUTH PLAIN ***",
        "< -ERR ***?",
        "> AUTH PLAIN",
        "< + <... 12 octets>",
        "> ***",
        "< +OK ***",
        "> NOOP",
        "< +OK ***",
        "* closed",
    ]


def test_it_is_told_that_an_exchange_was_cancelled() -> None:
    said: list[str] = []
    script = "S: +OK ready\nC: AUTH CRAM-MD5\nS: +\nC: *\nS: -ERR cancelled\n"

    async def talk() -> None:
        async with ScriptedServer(parse(script)).listening() as server:
            client = await Pop3Client.open(
                Pop3Endpoint(host="127.0.0.1", port=server.port, tls=TlsMode.NONE),
                timeout=PATIENCE,
                dialogue=Dialogue(lambda _, side, line: said.append(f"{side} {line}")),
                ask_capabilities=False,
            )
            credentials = Credentials(username="alice", password=Secret("x"), method=AuthMethod.CRAM_MD5)
            with pytest.raises(ExchangeFailed):
                await client.login(credentials)
            await client.close()

    asyncio.run(talk())
    assert said[2:-1] == ["< +OK ready", "> AUTH CRAM-MD5", "< + <... 0 octets>", "> *", "< -ERR cancelled"]


def test_other_sessions_go_on_while_a_login_computes() -> None:
    """A server may ask for a million rounds: a second in which nobody else must wait."""
    accept = partial(ScramAcceptor, "SCRAM-SHA-256", "secret", iterations=1_000_000)

    async def talk() -> int:
        turns = 0
        async with SaslPop3Server(accept).listening() as server:
            endpoint = Pop3Endpoint(host="127.0.0.1", port=server.port, tls=TlsMode.NONE)
            client = await Pop3Client.open(endpoint, timeout=PATIENCE)
            login = asyncio.ensure_future(
                client.login(Credentials(username="alice", password=Secret("secret"), method=AuthMethod.SCRAM_SHA_256))
            )
            while not login.done():
                turns += 1
                await asyncio.sleep(0)
            await login
            await client.close()
        return turns

    # The exchange itself takes some dozens of turns; the rest are those of others.
    assert asyncio.run(talk()) > 1_000
