"""Visit an account's maildrop and leave it as it was: say what the server tells, up to where the visit ended.

**Invariants:** nothing is retrieved or deleted: beyond the login only STAT, LIST, UIDL and QUIT are said. The password
is said to no server that the configuration does not trust. Texts of the server are safe to show.
**Failures:** `Sight.error`; what was learned before it stands beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from stages.dialogue import Dialogue, Side, bounded
from stages.errors import OperatorMustAct, PeerSaidNo, StageError, TryLater
from stages.fetch.entrance import connected, credentials_of, endpoint_of, noting_refusal
from stages.fetch.listing import listed
from stages.fetch.plan import Listed
from stages.pop3.client import Pop3Client
from stages.pop3.replies import Capabilities, MaildropSize
from stages.sasl.credentials import Credentials
from stages.settings import AccountSettings, FetchSettings
from stages.tls import TlsFacts, TlsFailed
from stages.trust import Trust

# No certificate has this SHA-256, so that a handshake that asks for it shows the certificate and ends.
_NO_CERTIFICATES = f"sha256:{0:064x}"


@dataclass(slots=True, kw_only=True)
class Sight:
    """What was seen, in the order in which it is seen; what the visit did not get to is None.

    `greeting` is the line with its +OK or -ERR. `is_trusted`: the certificate in `tls` is what the configuration wants.
    `offered` are the capabilities before the login, under TLS where TLS is asked for, `capabilities` those after it.
    `mechanism` is the one that logged us in. A server without UIDL (`has_uidl`) lists every message without one.
    """

    greeting: str | None = None
    address: str | None = None
    tls: TlsFacts | None = None
    is_trusted: bool = False
    offered: Capabilities | None = None
    capabilities: Capabilities | None = None
    mechanism: str | None = None
    size: MaildropSize | None = None
    listing: Sequence[Listed] | None = None
    has_uidl: bool | None = None
    error: StageError | None = None


async def visit(account: AccountSettings, fetch: FetchSettings) -> Sight:
    """Log in, list and leave, within the limits of a session."""
    sight = Sight()
    timeout = fetch.timeout.total_seconds()
    try:
        async with asyncio.timeout(fetch.session_timeout.total_seconds()):
            await _look(account, sight, timeout=timeout)
    except TlsFailed as error:
        sight.error = error
        sight.tls = error.presented or await _presented(account, timeout=timeout)
    except StageError as error:
        sight.error = error
    except TimeoutError:
        sight.error = TryLater(f"the visit took longer than {fetch.session_timeout}")
    return sight


async def _look(account: AccountSettings, sight: Sight, *, timeout: float) -> None:
    # Read first: a server would wait for it. But what the server tells is worth as much without it.
    secret = await _secret(account)

    def hear(_connection: int, side: Side, line: str) -> None:
        if side is Side.PEER and sight.greeting is None and line.startswith(("+OK", "-ERR")):
            sight.greeting = bounded(line)

    client = await connected(account, timeout=timeout, dialogue=Dialogue(hear))
    try:
        sight.address = client.peer_address
        sight.tls, sight.is_trusted = client.tls, client.is_tls
        sight.offered = client.capabilities
        if isinstance(secret, StageError):
            raise secret
        async with noting_refusal(account, secret):
            await client.login(secret)
        sight.mechanism, sight.capabilities = client.mechanism, client.capabilities
        await _list(client, sight)
        await client.quit()
    except (PeerSaidNo, OperatorMustAct):  # the connection still stands
        with suppress(StageError):
            await client.quit()
        raise
    finally:
        await client.close()


async def _secret(account: AccountSettings) -> Credentials | StageError:
    try:
        return await credentials_of(account)
    except StageError as error:
        return error


async def _list(client: Pop3Client, sight: Sight) -> None:
    sight.size = await client.stat()
    sizes = await client.list()
    uidls = await client.uidl()
    sight.has_uidl = uidls is not None
    sight.listing = await listed(sizes, uidls or {})


async def _presented(account: AccountSettings, *, timeout: float) -> TlsFacts | None:
    """What the server shows whom the configuration does not trust; nothing is said to it that is not said in clear."""
    stranger = replace(endpoint_of(account), trust=Trust(fingerprints=(_NO_CERTIFICATES,)))
    try:
        async with asyncio.timeout(timeout):
            client = await Pop3Client.open(stranger, timeout=timeout)
            await client.close()
    except TlsFailed as error:
        return error.presented
    except (StageError, TimeoutError):
        pass
    return None
