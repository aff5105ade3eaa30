"""Go into an account's maildrop: read its secret, connect, log in.

**Invariants:** the secret is read afresh for each login and kept nowhere; the connection is closed when the block is
left.
**Failures:** all of `StageError`: the source of the secret, the network, the server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stages import passwords
from stages.pop3.auth import Credentials
from stages.pop3.client import Pop3Client, Pop3Endpoint
from stages.settings import AccountSettings


@asynccontextmanager
async def logged_in(account: AccountSettings, *, timeout: float) -> AsyncIterator[Pop3Client]:
    """A session of this account, logged in; `timeout` is its longest silence in seconds."""
    credentials = await credentials_of(account)
    client = await Pop3Client.open(endpoint_of(account), timeout=timeout)
    try:
        await client.login(credentials)
        yield client
    finally:
        await client.close()


async def credentials_of(account: AccountSettings) -> Credentials:
    """Who logs in, with the secret as it is now."""
    password = await asyncio.to_thread(passwords.read, account.password, os.environ)
    return Credentials(username=account.username, password=password, method=account.auth)


def endpoint_of(account: AccountSettings) -> Pop3Endpoint:
    """Where the account's maildrop is."""
    return Pop3Endpoint(
        host=account.host,
        port=account.port,
        tls=account.tls,
        ca_file=account.ca_file,
        fingerprints=account.fingerprints,
    )
