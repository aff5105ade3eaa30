"""Where the secret of a login comes from, and that nothing is connected for one that cannot be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.demo.pop3_server import Pop3Server
from spool.token_file import TokenFile
from stages.errors import StageError
from stages.fetch.entrance import credentials_of, logged_in
from stages.pop3.client import LoginRefused
from stages.sasl.credentials import LoginImpossible
from stages.secret import Secret
from stages.settings import AccountSettings, AuthMethod, TlsMode, TokenSource
from tests.support.provider import Provider, provider
from tests.support.settings import account
from tests.support.token_pop3 import TakesTokens


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Provider]:
    with provider(tmp_path) as found:
        yield found


def with_tokens(source: TokenSource) -> AccountSettings:
    return replace(account(), password=None, oauth2=source, auth=AuthMethod.XOAUTH2)


@pytest.mark.parametrize("octet", ["\r", "\n", "\0"])
@pytest.mark.parametrize("field", ["username", "password"])
def test_no_connection_is_made_for_a_credential_that_breaks_its_line(field: str, octet: str) -> None:
    values = {"username": "alice", "password": "secret"} | {field: f"a{octet}DELE 1"}

    async def enter() -> int:
        connections = 0
        was_called = asyncio.Event()

        def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            was_called.set()
            writer.close()

        listener = await asyncio.start_server(count, "127.0.0.1", 0)
        async with listener:
            sales = replace(
                account(),
                host="127.0.0.1",
                port=listener.sockets[0].getsockname()[1],
                tls=TlsMode.NONE,
                username=values["username"],
                password=Secret(values["password"]),
            )
            with pytest.raises(LoginImpossible, match=f"^{field}: "):
                async with logged_in(sales, timeout=5):
                    pass
            # Whatever was connected before this is accepted before it.
            _, writer = await asyncio.open_connection("127.0.0.1", sales.port)
            writer.close()
            await was_called.wait()
        return connections

    assert asyncio.run(enter()) == 1


async def enter(sales: AccountSettings, *, refusal: bytes = b"[AUTH] no", is_cut: bool = False) -> StageError | None:
    """Go into the maildrop of a server that knows only the second token, and refuses others in this way."""

    class Choosy(TakesTokens):
        good_tokens = frozenset({"access-2"})

        def take_token(self, line: bytes) -> bytes:
            reply = super().take_token(line)
            self.ended = is_cut and reply.startswith(b"-ERR")
            return b"" if self.ended else reply

    Choosy.refusal = refusal
    async with Pop3Server({"sales": ("", [])}, session=Choosy) as server:
        try:
            async with logged_in(replace(sales, host="127.0.0.1", port=server.port, tls=TlsMode.NONE), timeout=5):
                return None
        except StageError as error:
            return error


@pytest.mark.parametrize(
    ("refusal", "is_cut"), [(b"no", False), (b"[AUTH] no", False), (b"", True)], ids=["no code", "AUTH", "hung up"]
)
def test_a_token_that_may_be_why_a_login_was_refused_is_renewed_for_the_next(
    served: Provider, tmp_path: Path, refusal: bytes, is_cut: bool
) -> None:
    sales = with_tokens(served.client(tmp_path / "spool"))
    assert asyncio.run(enter(sales, refusal=refusal, is_cut=is_cut)) is not None
    assert asyncio.run(enter(sales)) is None


@pytest.mark.parametrize("code", [b"IN-USE", b"LOGIN-DELAY", b"SYS/TEMP"])
def test_a_token_that_is_not_why_is_used_again(served: Provider, tmp_path: Path, code: bytes) -> None:
    """RFC 2449 section 8.1, RFC 3206."""
    sales = with_tokens(served.client(tmp_path / "spool"))
    for _ in range(2):
        assert asyncio.run(enter(sales, refusal=b"[%s] no" % code)) is not None
    assert len(served.forms) == 1


def test_a_refusal_is_told_even_if_it_cannot_be_noted(served: Provider, tmp_path: Path) -> None:
    sales = with_tokens(served.client(tmp_path / "spool"))
    asyncio.run(credentials_of(sales))
    file = TokenFile(tmp_path / "spool", "sales").path

    async def refuse() -> StageError | None:
        class Spoils(TakesTokens):
            def take_token(self, line: bytes) -> bytes:
                file.chmod(0o644)
                return self.err(b"no")

        async with Pop3Server({"sales": ("", [])}, session=Spoils) as server:
            try:
                async with logged_in(replace(sales, host="127.0.0.1", port=server.port, tls=TlsMode.NONE), timeout=5):
                    return None
            except StageError as error:
                return error

    assert isinstance(asyncio.run(refuse()), LoginRefused)
