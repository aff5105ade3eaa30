"""Go into an account's maildrop: get its password or access token, connect, log in.

**Invariants:** a secret is read afresh for each login and kept nowhere but where a provider's tokens are; the
connection is closed when the block is left. Getting one secret holds up no other: each has a thread of its own. One
that is under way is waited for whatever happens, because a refresh token that a provider has replaced must be stored.
A server that hangs up on CAPA is asked once more without it.
**Failures:** all of `StageError`: the source of the secret, the provider, the network, the server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar, assert_never

from spool.accounts import Login
from spool.opening import utc_now
from stages import passwords
from stages.errors import OurBug, StageError
from stages.pop3.auth import may_be_the_credentials
from stages.pop3.client import CapabilitiesCut, LoginCut, LoginRefused, Pop3Client, Pop3Endpoint
from stages.pop3.conversation import Trace
from stages.sasl.credentials import Credentials
from stages.secret import Secret
from stages.settings import AccountSettings, OAuth2Client, TokenCommand, TokenSource

if TYPE_CHECKING:
    from stages.oauth.keeper import Keeper

T = TypeVar("T")


@asynccontextmanager
async def logged_in(
    account: AccountSettings, *, timeout: float, before: Login | None = None
) -> AsyncIterator[Pop3Client]:
    """A session of this account, logged in; `timeout` is its longest silence in seconds.

    `before` is the last successful login: what it taught is not tried out again.
    """
    credentials = await credentials_of(account)
    client = await connected(account, timeout=timeout, before=before)
    try:
        async with noting_refusal(account, credentials):
            try:
                await client.login(credentials, prefer=before.mechanism if before else None)
            except CapabilitiesCut:
                # It bears the question before the login, and not after it.
                await client.close()
                client = await Pop3Client.open(endpoint_of(account), timeout=timeout, ask_capabilities=False)
                await client.login(credentials)
        yield client
    finally:
        await client.close()


async def connected(
    account: AccountSettings, *, timeout: float, before: Login | None = None, trace: Trace | None = None
) -> Pop3Client:
    """A connection to the account's server, before the login; whoever has it closes it."""
    endpoint = endpoint_of(account)
    is_asked = before is None or not before.skips_capabilities
    try:
        return await Pop3Client.open(endpoint, timeout=timeout, trace=trace, ask_capabilities=is_asked)
    except CapabilitiesCut:
        return await Pop3Client.open(endpoint, timeout=timeout, trace=trace, ask_capabilities=False)


async def credentials_of(account: AccountSettings) -> Credentials:
    """Who logs in, with the password as it is now, or an access token that is good now."""
    return await _in_a_thread(lambda: _credentials(account))


@asynccontextmanager
async def noting_refusal(account: AccountSettings, credentials: Credentials) -> AsyncIterator[None]:
    """Log in within the block: a token that is refused there is not used again."""
    try:
        yield
    except LoginRefused as refusal:
        if may_be_the_credentials(refusal.code):
            await _forget_token(account, credentials)
        raise
    except LoginCut:
        await _forget_token(account, credentials)
        raise


def endpoint_of(account: AccountSettings) -> Pop3Endpoint:
    """Where the account's maildrop is."""
    return Pop3Endpoint(host=account.host, port=account.port, tls=account.tls, trust=account.trust)


async def _forget_token(account: AccountSettings, credentials: Credentials) -> None:
    token, client = credentials.token, account.oauth2
    if token is not None and isinstance(client, OAuth2Client):
        with suppress(StageError):  # it is the refusal that is told; the token ends by itself, later
            await _in_a_thread(lambda: _keeper(account.name, client).forget(token))


def _credentials(account: AccountSettings) -> Credentials:
    username, method = account.username, account.auth
    if account.password is not None:
        return Credentials(username=username, method=method, password=passwords.read(account.password, os.environ))
    if account.oauth2 is None:
        raise OurBug("an account with neither password nor oauth2")
    return Credentials(username=username, method=method, token=_token(account.name, account.oauth2))


def _token(name: str, source: TokenSource) -> Secret:
    match source:
        case OAuth2Client():
            return _keeper(name, source).access_token()
        case TokenCommand(command=command):
            return passwords.read(command, os.environ, what="token")
        case _:
            assert_never(source)


def _keeper(name: str, client: OAuth2Client) -> Keeper:
    from stages.oauth.keeper import Keeper  # noqa: PLC0415 - a process without such an account starts without it

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
