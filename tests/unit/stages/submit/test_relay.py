"""How the relay of the configuration is logged in to, and what is remembered of it."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trustme

from pipeline.config import grammar
from stages.passwords import PasswordCommand, PasswordFile
from stages.secret import Secret
from stages.settings import AuthMethod, SmtpSettings, TlsMode, TokenCommand, TokenSource
from stages.smtp.replies import Phase, RouteFailed
from stages.submit.relay import NAME_FOR_TOKENS, Relay, connected
from stages.trust import Trust
from tests.support.provider import Provider, provider, refusal
from tests.support.sasl import ScramAcceptor
from tests.support.sasl_smtp import SaslRelay
from tests.support.scripted_server import ScriptedServer, parse
from tests.support.settings import default_settings

Act = Callable[[Relay], Awaitable[None]]

# A server that lists SCRAM for everybody and cannot do it for this user.
WITHOUT_THIS_USER = {"SCRAM-SHA-256": partial(ScramAcceptor, "SCRAM-SHA-256", "another")}


@pytest.fixture
def smtp(tmp_path: Path) -> SmtpSettings:
    return replace(
        default_settings(tmp_path).smtp,
        tls=TlsMode.STARTTLS,
        trust=Trust(ca_file=tmp_path / "ca.pem"),
        username="alice",
        password=Secret("secret"),
    )


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def session(relay: Relay) -> None:
    await (await relay.open()).quit()


def with_relay(
    server: SaslRelay, smtp: SmtpSettings, tls: ssl.SSLContext, act: Callable[[Relay], Awaitable[None]]
) -> None:
    async def run() -> None:
        async with server.listening(tls=tls, requires_tls=True):
            await act(Relay(replace(smtp, host="127.0.0.1", port=server.port), helo="gw.corp.example"))

    asyncio.run(run())


def test_a_try_that_was_refused_is_not_repeated_in_each_session(smtp: SmtpSettings, tls: ssl.SSLContext) -> None:
    """Each would count as a failed login."""
    server = SaslRelay(WITHOUT_THIS_USER)

    async def act(relay: Relay) -> None:
        await session(relay)
        await session(relay)

    with_relay(server, smtp, tls, act)
    assert server.asked == ["SCRAM-SHA-256", "PLAIN", "PLAIN"]


def test_sessions_that_open_at_once_all_know_what_worked(smtp: SmtpSettings, tls: ssl.SSLContext) -> None:
    server = SaslRelay(WITHOUT_THIS_USER)

    async def act(relay: Relay) -> None:
        await session(relay)
        await asyncio.gather(session(relay), session(relay))

    with_relay(server, smtp, tls, act)
    assert server.asked == ["SCRAM-SHA-256", "PLAIN", "PLAIN", "PLAIN"]


def test_what_works_no_more_is_forgotten(smtp: SmtpSettings, tls: ssl.SSLContext) -> None:
    """The password may be stored in another form now."""
    server = SaslRelay(WITHOUT_THIS_USER)

    async def act(relay: Relay) -> None:
        await session(relay)
        server.password = "changed"
        with pytest.raises(RouteFailed):
            await session(relay)
        server.password = "secret"
        await session(relay)

    with_relay(server, smtp, tls, act)
    assert server.asked == ["SCRAM-SHA-256", "PLAIN", "PLAIN", "SCRAM-SHA-256", "PLAIN"]


def test_the_mechanism_of_the_configuration_is_the_one(smtp: SmtpSettings, tls: ssl.SSLContext) -> None:
    server = SaslRelay(WITHOUT_THIS_USER)
    with_relay(server, replace(smtp, auth=AuthMethod.LOGIN), tls, session)
    assert server.asked == ["LOGIN"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"password": Secret("a\0b")}, "AUTH: password: a line end or NUL in it cannot be sent"),
        ({"username": "a\r\nb"}, "AUTH: username: a line end or NUL in it cannot be sent"),
        ({"password": PasswordFile(Path("/nowhere/password"))}, "AUTH: /nowhere/password: No such file or directory"),
    ],
)
def test_a_login_that_cannot_be_made_is_the_trouble_of_the_route(
    smtp: SmtpSettings, change: dict[str, object], why: str
) -> None:
    """No connection is made for it."""
    relay = Relay(replace(smtp, **change), helo="gw.corp.example")  # type: ignore[arg-type]
    with pytest.raises(RouteFailed) as caught:
        asyncio.run(session(relay))
    assert str(caught.value) == why


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Provider]:
    with provider(tmp_path) as found:
        yield found


def with_tokens(source: TokenSource, script: str, smtp: SmtpSettings, *, sessions: int = 1) -> list[str]:
    """Open sessions at a relay of this script, and return how they failed."""
    failures: list[str] = []

    async def run() -> None:
        async with ScriptedServer(*[parse(GREETING + part) for part in script.split("---\n")]).listening() as server:
            settings = replace(smtp, tls=TlsMode.NONE, port=server.port, password=None, oauth2=source)
            relay = Relay(settings, helo="gw.corp.example")
            for _ in range(sessions):
                try:
                    await session(relay)
                except RouteFailed as error:
                    failures.append(str(error))

    asyncio.run(run())
    return failures


def xoauth2(token: str) -> str:
    response = b64encode(f"user=alice\x01auth=Bearer {token}\x01\x01".encode()).decode()
    return f"C: AUTH XOAUTH2 {response}\n"


GREETING = "S: 220 relay\nC: EHLO gw.corp.example\nS: 250-relay\nS: 250 AUTH PLAIN XOAUTH2\n"
WELCOME = "S: 235 yes\nC: QUIT\nS: 221 bye\n"


def test_a_token_of_the_provider_logs_us_in_and_is_used_again(
    served: Provider, tmp_path: Path, smtp: SmtpSettings
) -> None:
    script = f"{xoauth2('access-1')}{WELCOME}---\n{xoauth2('access-1')}{WELCOME}"
    assert with_tokens(served.client(tmp_path / "spool"), script, smtp, sessions=2) == []
    assert len(served.forms) == 1


def test_a_token_that_was_refused_is_renewed_for_the_next_session(
    served: Provider, tmp_path: Path, smtp: SmtpSettings
) -> None:
    script = f"{xoauth2('access-1')}S: 535 5.7.8 no\n---\n{xoauth2('access-2')}{WELCOME}"
    (failure,) = with_tokens(served.client(tmp_path / "spool"), script, smtp, sessions=2)
    assert failure == "AUTH: 535 5.7.8 no (XOAUTH2; check username and token in [smtp])"


def test_a_token_that_is_not_why_is_used_again(served: Provider, tmp_path: Path, smtp: SmtpSettings) -> None:
    """RFC 4954 section 6: 454 is about the relay."""
    script = f"{xoauth2('access-1')}S: 454 4.7.0 later\n---\n{xoauth2('access-1')}{WELCOME}"
    (failure,) = with_tokens(served.client(tmp_path / "spool"), script, smtp, sessions=2)
    assert failure == "AUTH: 454 4.7.0 later (XOAUTH2)"
    assert len(served.forms) == 1


def test_a_command_gives_the_token(smtp: SmtpSettings) -> None:
    source = TokenCommand(command=PasswordCommand("echo ya29"))
    assert with_tokens(source, xoauth2("ya29") + WELCOME, smtp) == []


def test_a_token_that_cannot_be_had_is_the_trouble_of_the_route(
    served: Provider, tmp_path: Path, smtp: SmtpSettings
) -> None:
    served.replies.append(refusal("invalid_grant", "revoked"))
    client = served.client(tmp_path / "spool", device_endpoint=None)
    settings = replace(smtp, password=None, oauth2=client)
    with pytest.raises(RouteFailed, match=r"^AUTH: .*get a new one and put it where oauth2\.refresh_token says"):
        asyncio.run(session(Relay(settings, helo="gw.corp.example")))


def test_no_account_can_have_the_name_of_the_relays_tokens() -> None:
    with pytest.raises(ValueError, match="no space at its ends"):
        grammar.name(NAME_FOR_TOKENS)


@pytest.mark.parametrize(
    ("failures", "tries"),
    [
        ([Phase.CONNECT], 2),
        ([Phase.CONNECT, Phase.CONNECT, Phase.CONNECT], 2),
        ([Phase.GREETING], 1),
        ([Phase.AUTH], 1),
        ([], 1),
    ],
)
def test_a_connection_that_did_not_come_about_is_tried_once_more(failures: list[Phase], tries: int) -> None:
    """As while the relay starts anew. What a relay says is its answer, and a login is not repeated."""
    made = 0

    async def open_session() -> str:
        nonlocal made
        made += 1
        if len(failures) >= made:
            raise RouteFailed(failures[made - 1], "no")
        return "open"

    async def attempt() -> str:
        try:
            return await connected(open_session)
        except RouteFailed as error:
            return str(error.phase)

    assert asyncio.run(attempt()) == ("open" if len(failures) < tries else str(failures[tries - 1]))
    assert made == tries
