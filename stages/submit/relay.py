"""Open sessions with the relay as it is configured.

**Failures:** `RouteFailed`, also for a password that cannot be had: no message is to blame for it.
"""

from __future__ import annotations

import asyncio
import os

from stages import passwords
from stages.secret import Secret
from stages.settings import RelayProtocol, SmtpSettings, TlsMode
from stages.smtp.client import SmtpClient
from stages.smtp.commands import helo_name
from stages.smtp.opening import Credentials, SmtpEndpoint
from stages.smtp.replies import Phase, RouteFailed
from stages.stream import TlsSettings


class Relay:
    """The relay of the configuration; `helo` is the name by which we introduce ourselves."""

    def __init__(self, settings: SmtpSettings, *, helo: str) -> None:
        self._settings = settings
        self._helo = helo

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
            # The configuration has "none" only for a loopback address, or because the operator wrote it.
            may_log_in_without_tls=settings.tls is TlsMode.NONE,
            is_lmtp=settings.protocol is RelayProtocol.LMTP,
        )
        return await SmtpClient.open(
            relay,
            timeout=settings.timeout.total_seconds(),
            final_dot_timeout=settings.final_dot_timeout.total_seconds(),
        )

    async def _credentials(self) -> Credentials | None:
        username, source = self._settings.username, self._settings.password
        if username is None or source is None:
            return None
        try:
            password: Secret = await asyncio.to_thread(passwords.read, source, os.environ)
        except passwords.PasswordUnavailable as error:
            raise RouteFailed(Phase.AUTH, str(error)) from error
        if "\0" in username or "\0" in password.reveal():
            raise RouteFailed(Phase.AUTH, "the user name or password for the relay contains NUL")
        return Credentials(username=username, password=password)


def name_for_helo(host_name: str) -> str:
    """The name by which we introduce ourselves: that of this host where RFC 5321 section 4.1.3 allows it."""
    try:
        return helo_name(host_name)
    except ValueError:
        return "localhost"
