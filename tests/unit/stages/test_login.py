"""The secret of a login: read afresh, renewed where it was refused, and stored whatever happens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from spool.token_file import TokenFile
from stages.errors import OurBug
from stages.login import ConfiguredLogin, credentials_of, forget_token
from stages.passwords import PasswordCommand, PasswordUnavailable
from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import AuthMethod, TokenCommand, TokenSource
from tests.support.processes import ROOT
from tests.support.provider import Provider, Reply, provider


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Provider]:
    with provider(tmp_path) as found:
        yield found


def with_tokens(source: TokenSource | None) -> ConfiguredLogin:
    return ConfiguredLogin(name="sales", username="sales", method=AuthMethod.XOAUTH2, password=None, oauth2=source)


def token_of(source: TokenSource) -> Secret | None:
    return asyncio.run(credentials_of(with_tokens(source))).token


def test_a_login_has_its_password_and_its_method() -> None:
    login = replace(with_tokens(None), password=Secret("secret"), method=AuthMethod.LOGIN)
    credentials = asyncio.run(credentials_of(login))
    assert credentials == Credentials(username="sales", method=AuthMethod.LOGIN, password=Secret("secret"))


def test_a_login_has_a_secret() -> None:
    with pytest.raises(OurBug):
        asyncio.run(credentials_of(with_tokens(None)))


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
    stages = "import sys, stages.fetch.stage, stages.submit.stage"
    loaded = f"{stages}; print([name for name in ('oauthlib', 'h11') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_token_that_was_refused_is_used_no_more(served: Provider, tmp_path: Path) -> None:
    async def refused() -> Secret | None:
        login = with_tokens(served.client(tmp_path / "spool"))
        await forget_token(login, await credentials_of(login))
        return (await credentials_of(login)).token

    assert asyncio.run(refused()) == Secret("access-2")
