"""How the relay of the configuration is logged in to, and what is remembered of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trustme

from stages.passwords import PasswordFile
from stages.secret import Secret
from stages.settings import AuthMethod, SmtpSettings, TlsMode
from stages.smtp.replies import RouteFailed
from stages.submit.relay import Relay
from stages.trust import Trust
from tests.support.sasl import ScramAcceptor
from tests.support.sasl_smtp import SaslRelay
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
