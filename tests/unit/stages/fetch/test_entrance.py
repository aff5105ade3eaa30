"""Where the secret of a login comes from, and that nothing is connected for one that cannot be sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from pipeline.demo.pop3_server import Pop3Server
from spool.token_file import TokenFile
from stages.errors import StageError
from stages.fetch.entrance import credentials_of, logged_in
from stages.passwords import PasswordCommand, PasswordUnavailable
from stages.pop3.client import LoginRefused
from stages.sasl.credentials import LoginImpossible
from stages.secret import Secret
from stages.settings import AccountSettings, AuthMethod, TlsMode, TokenCommand, TokenSource
from tests.support.processes import ROOT
from tests.support.provider import Provider, Reply, provider
from tests.support.settings import account
from tests.support.token_pop3 import TakesTokens


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Provider]:
    with provider(tmp_path) as found:
        yield found


def with_tokens(source: TokenSource) -> AccountSettings:
    return replace(account(), password=None, oauth2=source, auth=AuthMethod.XOAUTH2)


def token_of(source: TokenSource) -> Secret | None:
    return asyncio.run(credentials_of(with_tokens(source))).token


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


def test_an_account_logs_in_with_its_password() -> None:
    credentials = asyncio.run(credentials_of(account()))
    assert (credentials.username, credentials.password, credentials.token) == ("sales", Secret("secret"), None)


def test_a_command_gives_the_token_at_each_login(tmp_path: Path) -> None:
    count = tmp_path / "count"
    source = TokenCommand(command=PasswordCommand(f"echo x >> {count}; wc -l < {count}"))
    assert [token_of(source), token_of(source)] == [Secret("1"), Secret("2")]


def test_a_command_that_fails_is_called_by_what_it_is_for() -> None:
    with pytest.raises(PasswordUnavailable, match="the token command ended with exit status 3: locked"):
        token_of(TokenCommand(command=PasswordCommand("echo locked >&2; exit 3")))


def test_a_provider_gives_the_token(served: Provider, tmp_path: Path) -> None:
    credentials = asyncio.run(credentials_of(with_tokens(served.client(tmp_path / "spool"))))
    assert (credentials.token, credentials.password, credentials.method) == (
        Secret("access-1"),
        None,
        AuthMethod.XOAUTH2,
    )


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


def test_a_login_that_is_cut_off_stores_what_the_provider_has_replaced(served: Provider, tmp_path: Path) -> None:
    """The session's time may end between the request and its answer; the old refresh token is good no longer."""
    asked, go_on = Event(), Event()
    answer = served.answer

    def slow(path: str, form: dict[str, str]) -> Reply:
        asked.set()
        go_on.wait(5)
        return answer(path, form)

    served.answer = slow  # type: ignore[method-assign]

    async def cut() -> None:
        login = asyncio.ensure_future(credentials_of(with_tokens(served.client(tmp_path / "spool"))))
        await asyncio.to_thread(asked.wait, 5)
        login.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await login

    asyncio.run(cut())
    assert b"refresh-1" in TokenFile(tmp_path / "spool", "sales").read()


def test_slow_secrets_of_many_accounts_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """More than the threads of asyncio's own pool on any machine; each ends when all have begun."""
    count = 40
    command = f"touch {tmp_path}/$$; until [ $(ls {tmp_path} | wc -l) -ge {count} ]; do sleep 0.05; done; echo x"
    source = TokenCommand(command=PasswordCommand(command))

    async def all_at_once() -> int:
        return len(await asyncio.gather(*(credentials_of(with_tokens(source)) for _ in range(count))))

    assert asyncio.run(all_at_once()) == count


def test_a_process_without_tokens_starts_without_what_they_need() -> None:
    """It would be a tenth of a second for nothing, in each start."""
    loaded = "import stages.fetch.stage, sys; print([name for name in ('oauthlib', 'h11') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
