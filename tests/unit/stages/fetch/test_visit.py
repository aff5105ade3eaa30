"""A visit says no more than it must, and keeps what it learned before it ended."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from pipeline.demo.pop3_server import Pop3Server
from spool.envelope import Uidl
from stages.errors import PeerBroke
from stages.fetch.plan import Listed
from stages.fetch.visit import Sight, visit
from stages.passwords import PasswordUnavailable, PasswordVariable
from stages.pop3.client import GreetingRefused, LoginRefused
from stages.pop3.replies import Capabilities, MaildropSize
from stages.settings import AccountSettings, FetchSettings, TlsMode
from stages.stream import ConnectFailed, ConnectionLost
from stages.tls import TlsFailed
from stages.trust import Trust
from tests.support.processes import free_port
from tests.support.scripted_server import ScriptedServer, parse
from tests.support.settings import account, default_settings

OPENING = "S: +OK ready\nC: CAPA\nS: -ERR\n"
LOGIN = OPENING + "C: USER sales\nS: +OK\nC: PASS secret\nS: +OK\n"


def at(port: int, *, tls: TlsMode = TlsMode.NONE) -> AccountSettings:
    return replace(account(), host="127.0.0.1", port=port, tls=tls)


def fetch(*, session_timeout: timedelta = timedelta(seconds=20)) -> FetchSettings:
    defaults = default_settings(Path("/")).fetch
    return replace(defaults, timeout=timedelta(seconds=5), session_timeout=session_timeout)


def seen(script: str, **changes: object) -> Sight:
    """What a visit sees of a server that follows the script and is told nothing else."""

    async def look() -> Sight:
        async with ScriptedServer(parse(script)).listening() as server:
            return await visit(replace(at(server.port), **changes), fetch())  # type: ignore[arg-type]  # names are ours

    return asyncio.run(look())


def test_a_visit_lists_and_leaves() -> None:
    """RFC 1939: no RETR, no TOP, no DELE; the script has every command."""
    script = LOGIN + (
        "C: STAT\nS: +OK 2 300\nC: LIST\nS: +OK\nS: 1 100\nS: 2 ?\nS: .\n"
        "C: UIDL\nS: +OK\nS: 1 abc\nS: 2\nS: .\nC: QUIT\nS: +OK\n"
    )
    sight = seen(script)
    assert sight == Sight(
        greeting="+OK ready",
        address="127.0.0.1",
        offered=Capabilities(),
        capabilities=Capabilities(),
        mechanism="USER",
        size=MaildropSize(count=2, octets=300),
        listing=[Listed(number=1, octets=100, uidl=Uidl(b"abc")), Listed(number=2, octets=None, uidl=Uidl(b""))],
        has_uidl=True,
    )


def test_capabilities_are_kept_from_before_and_after_the_login() -> None:
    """RFC 2449 section 3: they may differ."""
    script = (
        "S: +OK ready\nC: CAPA\nS: +OK\nS: USER\nS: .\nC: USER sales\nS: +OK\nC: PASS secret\nS: +OK\n"
        "C: CAPA\nS: +OK\nS: UIDL\nS: EXPIRE 7\nS: .\n"
        "C: STAT\nS: +OK 0 0\nC: LIST\nS: +OK\nS: .\nC: UIDL\nS: -ERR\nC: QUIT\nS: +OK\n"
    )
    sight = seen(script)
    assert sight.offered == Capabilities(listed=(("USER",),), was_told=True)
    assert sight.capabilities == Capabilities(listed=(("UIDL",), ("EXPIRE", "7")), was_told=True)
    assert (sight.has_uidl, sight.listing, sight.error) == (False, [], None)


def test_a_refused_login_leaves_what_was_learned_and_says_quit() -> None:
    sight = seen(OPENING + "C: USER sales\nS: +OK\nC: PASS secret\nS: -ERR [AUTH] no\nC: QUIT\nS: +OK\n")
    assert isinstance(sight.error, LoginRefused)
    assert (sight.greeting, sight.offered, sight.mechanism) == ("+OK ready", Capabilities(), None)
    assert (sight.capabilities, sight.size, sight.listing) == (None, None, None)


def test_without_its_password_a_server_is_looked_at_all_the_same() -> None:
    sight = seen(OPENING + "C: QUIT\nS: +OK\n", password=PasswordVariable("POP3CONNECTOR_THAT_IS_NOT_SET"))
    assert isinstance(sight.error, PasswordUnavailable)
    assert (sight.greeting, sight.offered, sight.mechanism) == ("+OK ready", Capabilities(), None)


def test_a_greeting_that_refuses_is_shown() -> None:
    sight = seen("S: -ERR [SYS/TEMP] \\x1b[2J\n")
    assert isinstance(sight.error, GreetingRefused)
    assert sight.greeting == "-ERR [SYS/TEMP] \\x1b[2J"


def test_the_greeting_of_another_protocol_is_none() -> None:
    sight = seen("S: 220 mail.isp.example ESMTP\n")
    assert isinstance(sight.error, PeerBroke)
    assert sight.greeting is None


def test_what_stat_said_stays_where_list_is_cut() -> None:
    sight = seen(LOGIN + "C: STAT\nS: +OK 2 300\nC: LIST\nS: +OK\nS: 1 100\nCUT\n")
    assert isinstance(sight.error, ConnectionLost)
    assert (sight.size, sight.listing) == (MaildropSize(count=2, octets=300), None)


def test_a_quit_that_is_not_answered_costs_nothing() -> None:
    listing = "C: STAT\nS: +OK 0 0\nC: LIST\nS: +OK\nS: .\nC: UIDL\nS: +OK\nS: .\nC: QUIT\nCUT\n"
    assert seen(LOGIN + listing).error is None


def test_nobody_listens() -> None:
    assert isinstance(asyncio.run(visit(at(free_port()), fetch())).error, ConnectFailed)


def test_a_visit_is_no_longer_than_a_session_may_be() -> None:
    async def look() -> Sight:
        async with ScriptedServer(parse(LOGIN + "C: STAT\nSILENT\n")).listening() as server:
            return await visit(at(server.port), fetch(session_timeout=timedelta(seconds=0.2)))

    sight = asyncio.run(look())
    assert "took longer than" in str(sight.error)
    assert sight.mechanism == "USER"


class Pop3sServer(Pop3Server):
    """A server whose certificate no CA of this machine vouches for; STLS, or TLS from the first octet."""

    def __init__(self, *, implicit: bool) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        super().__init__({"sales": ("secret", [])}, tls=tls, implicit_tls=implicit)

    @property
    def commands(self) -> list[str]:
        """All that was said, in all sessions."""
        return [command for session in self.sessions for command in session.commands]


@pytest.mark.parametrize(("tls", "said"), [(TlsMode.IMPLICIT, []), (TlsMode.STARTTLS, ["STLS", "STLS"])])
def test_a_server_that_is_not_trusted_shows_its_certificate_and_hears_no_password(
    tls: TlsMode, said: list[str]
) -> None:
    """The library tells nothing of a certificate that it refuses: a second look, at the certificate alone."""

    async def look(*pins: str) -> tuple[Sight, list[str]]:
        async with Pop3sServer(implicit=tls is TlsMode.IMPLICIT) as server:
            return await visit(
                replace(at(server.port, tls=tls), trust=Trust(fingerprints=pins)), fetch()
            ), server.commands

    sight, commands = asyncio.run(look())
    assert isinstance(sight.error, TlsFailed)
    assert (sight.is_trusted, commands) == (False, said)
    assert sight.tls is not None
    assert len(sight.tls.certificate) > 100
    assert sight.greeting is None if tls is TlsMode.IMPLICIT else sight.greeting is not None


def test_the_certificate_that_is_shown_is_the_one_to_pin() -> None:
    async def look() -> Sight:
        async with Pop3sServer(implicit=True) as server:
            untrusted = at(server.port, tls=TlsMode.IMPLICIT)
            first = await visit(untrusted, fetch())
            assert first.tls is not None
            return await visit(replace(untrusted, trust=Trust(fingerprints=(first.tls.fingerprint,))), fetch())

    pinned = asyncio.run(look())
    assert (pinned.error, pinned.is_trusted, pinned.listing) == (None, True, [])


def test_another_certificate_than_the_pinned_one_needs_no_second_look() -> None:
    async def look() -> tuple[Sight, int]:
        async with Pop3sServer(implicit=False) as server:
            pinned = replace(at(server.port, tls=TlsMode.STARTTLS), trust=Trust(fingerprints=("sha256:" + "1" * 64,)))
            return await visit(pinned, fetch()), len(server.sessions)

    sight, sessions = asyncio.run(look())
    assert (sight.is_trusted, sight.tls is not None, sessions) == (False, True, 1)
    assert isinstance(sight.error, TlsFailed)
