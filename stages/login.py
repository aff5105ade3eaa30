"""Get who logs in, with the password as it is now or an access token that is good now: for accounts and for the relay.

**Invariants:** a secret is read afresh for each login and kept nowhere but where a provider's tokens are. Getting one
holds up no other: each has a thread of its own. One that is under way is waited for whatever happens, because a refresh
token that a provider has replaced must be stored.
**Failures:** of `StageError` those of the source of the secret and of the provider, and `LoginImpossible`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, assert_never

from spool.opening import utc_now
from stages import passwords
from stages.errors import OurBug, StageError
from stages.passwords import PasswordSource
from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import AuthMethod, OAuth2Client, TokenCommand, TokenSource

if TYPE_CHECKING:
    from stages.oauth.keeper import Keeper

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredLogin:
    """A login of the configuration; either `password` or `oauth2` is None. Its tokens are kept under `name`."""

    name: str
    username: str
    method: AuthMethod
    password: PasswordSource | None
    oauth2: TokenSource | None


async def credentials_of(login: ConfiguredLogin) -> Credentials:
    """Who logs in, with the secret as it is now."""
    return await _in_a_thread(lambda: _credentials(login))


async def forget_token(login: ConfiguredLogin, credentials: Credentials) -> None:
    """Note that a server has refused the token of these credentials: it is not used again."""
    token, client = credentials.token, login.oauth2
    if token is not None and isinstance(client, OAuth2Client):
        with suppress(StageError):  # it is the refusal that is told; the token ends by itself, later
            await _in_a_thread(lambda: _keeper(login.name, client).forget(token))


def _credentials(login: ConfiguredLogin) -> Credentials:
    username, method = login.username, login.method
    if login.password is not None:
        return Credentials(username=username, method=method, password=passwords.read(login.password, os.environ))
    if login.oauth2 is None:
        raise OurBug("a login with neither password nor oauth2")
    return Credentials(username=username, method=method, token=_token(login.name, login.oauth2))


def _token(name: str, source: TokenSource) -> Secret:
    match source:
        case OAuth2Client():
            return _keeper(name, source).access_token()
        case TokenCommand(command=command):
            return passwords.read(command, os.environ, what="token")
        case _:
            assert_never(source)


def _keeper(name: str, client: OAuth2Client) -> Keeper:
    from stages.oauth.keeper import Keeper  # noqa: PLC0415 - a process without such a login starts without it

    return Keeper(name, client, env=os.environ, now=utc_now)


async def _in_a_thread(function: Callable[[], T]) -> T:
    pool = ThreadPoolExecutor(1, thread_name_prefix="secret")
    future = asyncio.get_running_loop().run_in_executor(pool, function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        with suppress(Exception):
            await future
        raise
    finally:
        pool.shutdown(wait=False)
