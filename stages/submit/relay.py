"""Open sessions with the relay as it is configured.

**Failures:** `RouteFailed`, also for a password that cannot be had: no message is to blame for it.
"""

from __future__ import annotations

import asyncio
import os

from stages import passwords
from stages.sasl.credentials import Credentials, LoginImpossible
from stages.sasl.exchange import Mechanism
from stages.settings import RelayProtocol, SmtpSettings, TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import helo_name
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.replies import Phase, RouteFailed
from stages.stream import TlsSettings


class Relay:
    """The relay of the configuration; `helo` is the name by which we introduce ourselves.

    It remembers by what it logged in, so that a refused try is not repeated in each session.
    """

    def __init__(self, settings: SmtpSettings, *, helo: str) -> None:
        self._settings = settings
        self._helo = helo
        self._mechanism: Mechanism | None = None

    async def open(self) -> SmtpClient:
        """Open a session that is ready for MAIL; raises RouteFailed."""
        settings = self._settings
        relay = SmtpEndpoint(
            host=settings.host,
            port=settings.port,
            tls=settings.tls,
            trust=TlsSettings(server_name=settings.host, trust=settings.trust),
            helo_name=self._helo,
            credentials=await self._credentials(),
            prefer=self._mechanism,
            # The configuration has "none" only for a loopback address, or because the operator wrote it.
            may_log_in_without_tls=settings.tls is TlsMode.NONE,
            is_lmtp=settings.protocol is RelayProtocol.LMTP,
        )
        try:
            client = await SmtpClient.open(
                relay,
                timeout=settings.timeout.total_seconds(),
                final_dot_timeout=settings.final_dot_timeout.total_seconds(),
            )
        except RouteFailed as error:
            if error.phase is Phase.AUTH:
                self._mechanism = None  # what worked once works no more: the next login chooses afresh
            raise
        self._mechanism = client.mechanism
        return client

    async def _credentials(self) -> Credentials | None:
        username, source = self._settings.username, self._settings.password
        if username is None or source is None:
            return None
        try:
            password = await asyncio.to_thread(passwords.read, source, os.environ)
            return Credentials(username=username, method=self._settings.auth, password=password)
        except (passwords.PasswordUnavailable, LoginImpossible) as error:
            raise RouteFailed(Phase.AUTH, str(error)) from error


def name_for_helo(host_name: str) -> str:
    """The name by which we introduce ourselves: that of this host where RFC 5321 section 4.1.3 allows it."""
    try:
        return helo_name(host_name)
    except ValueError:
        return "localhost"
