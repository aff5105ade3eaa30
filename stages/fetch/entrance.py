"""Go into an account's maildrop: get its password or access token, connect, log in.

**Invariants:** those of `stages.login`; the connection is closed when the block is left. A server that hangs up on CAPA
twice in a row is not asked; without TLS never after a login that hid the password, for that would be sent in clear.
**Failures:** all of `StageError`: the source of the secret, the provider, the network, the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from spool.accounts import Login
from stages import login
from stages.dialogue import Dialogue
from stages.login import ConfiguredLogin
from stages.pop3.auth import may_be_the_credentials
from stages.pop3.client import CapabilitiesCut, LoginCut, LoginRefused, Pop3Client, Pop3Endpoint
from stages.sasl.credentials import Credentials
from stages.settings import AccountSettings, TlsMode

# A server that is started anew hangs up once.
_CUTS_ARE_A_HABIT = 2
# Ways in that nobody needs to ask for, or that hide nothing: without CAPA it becomes no worse.
_NOT_HIDDEN_BY_CAPA = frozenset({"USER", "APOP", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"})


@asynccontextmanager
async def logged_in(
    account: AccountSettings, *, timeout: float, before: Login | None = None, dialogue: Dialogue | None = None
) -> AsyncIterator[Pop3Client]:
    """A session of this account, logged in; `timeout` is its longest silence in seconds.

    `before` is the last successful login: what it taught is not tried out again. What is said is told to `dialogue`.
    """
    credentials = await credentials_of(account)
    client = await connected(account, timeout=timeout, before=before, dialogue=dialogue)
    try:
        async with noting_refusal(account, credentials):
            for is_last in (False, True):
                try:
                    await client.login(credentials, prefer=before.mechanism if before else None)
                    break
                except CapabilitiesCut:
                    # It bears the question before the login, and not after it.
                    await client.close()
                    if is_last:
                        client = await _unasked(account, timeout=timeout, before=before, dialogue=dialogue)
                        await client.login(credentials)
                    else:
                        client = await connected(account, timeout=timeout, before=before, dialogue=dialogue)
        yield client
    finally:
        await client.close()


async def connected(
    account: AccountSettings, *, timeout: float, before: Login | None = None, dialogue: Dialogue | None = None
) -> Pop3Client:
    """A connection to the account's server, before the login; whoever has it closes it."""
    endpoint = endpoint_of(account)
    is_asked = before is None or not before.skips_capabilities
    for _ in range(_CUTS_ARE_A_HABIT):
        with suppress(CapabilitiesCut):
            return await Pop3Client.open(endpoint, timeout=timeout, dialogue=dialogue, ask_capabilities=is_asked)
    return await _unasked(account, timeout=timeout, before=before, dialogue=dialogue)


async def _unasked(
    account: AccountSettings, *, timeout: float, before: Login | None, dialogue: Dialogue | None
) -> Pop3Client:
    """A connection on which CAPA is not asked; raises CapabilitiesCut where a password would go in clear for that."""
    if account.tls is TlsMode.NONE and before and before.mechanism and before.mechanism not in _NOT_HIDDEN_BY_CAPA:
        raise CapabilitiesCut("the server hung up in answer to CAPA, which it answered before")
    return await Pop3Client.open(endpoint_of(account), timeout=timeout, dialogue=dialogue, ask_capabilities=False)


async def credentials_of(account: AccountSettings) -> Credentials:
    """Who logs in, with the password as it is now, or an access token that is good now."""
    return await login.credentials_of(_login(account))


@asynccontextmanager
async def noting_refusal(account: AccountSettings, credentials: Credentials) -> AsyncIterator[None]:
    """Log in within the block: a token that is refused there is not used again."""
    try:
        yield
    except LoginRefused as refusal:
        if may_be_the_credentials(refusal.code):
            await login.forget_token(_login(account), credentials)
        raise
    except LoginCut:
        await login.forget_token(_login(account), credentials)
        raise


def endpoint_of(account: AccountSettings) -> Pop3Endpoint:
    """Where the account's maildrop is."""
    return Pop3Endpoint(host=account.host, port=account.port, tls=account.tls, trust=account.trust)


def _login(account: AccountSettings) -> ConfiguredLogin:
    return ConfiguredLogin(
        name=account.name,
        username=account.username,
        method=account.auth,
        password=account.password,
        oauth2=account.oauth2,
    )
