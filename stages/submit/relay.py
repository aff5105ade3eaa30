"""Open sessions with the relay as it is configured.

**Failures:** `RouteFailed`, also for a password or token that cannot be had: no message is to blame for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from stages.dialogue import Dialogue, silence
from stages.errors import StageError
from stages.login import ConfiguredLogin, credentials_of, forget_token
from stages.sasl.credentials import Credentials
from stages.sasl.exchange import Mechanism
from stages.settings import RelayProtocol, SmtpSettings, TlsMode
from stages.smtp.auth import may_be_the_credentials
from stages.smtp.client import SmtpClient
from stages.smtp.commands import helo_name
from stages.smtp.opening import SmtpEndpoint
from stages.smtp.replies import Phase, RouteFailed
from stages.stream import TlsSettings

T = TypeVar("T")

QUICKLY_SECONDS = 3.0
NAME_FOR_TOKENS = " smtp"  # no account's name begins with a space


class Relay:
    """The relay of the configuration; `helo` is the name by which we introduce ourselves.

    `dialogue` makes what a session is told to. It remembers by what it logged in, so that a refused try is not repeated
    in each session. Renewed, it is another relay for the sessions that are opened from then on.
    """

    def __init__(self, settings: SmtpSettings, *, helo: str, dialogue: Callable[[], Dialogue] = silence) -> None:
        self._settings = settings
        self._dialogue = dialogue
        self._helo = helo
        self._mechanism: Mechanism | None = None

    def renew(self, settings: SmtpSettings) -> None:
        """Be the relay of other settings from the next session on."""
        self._settings = settings
        self._mechanism = None

    async def open(self) -> SmtpClient:
        """Open a session that is ready for MAIL; raises RouteFailed."""
        settings, login, dialogue = self._settings, _configured(self._settings), self._dialogue()
        credentials = await _credentials(login)
        relay = SmtpEndpoint(
            host=settings.host,
            port=settings.port,
            tls=settings.tls,
            trust=TlsSettings(server_name=settings.host, trust=settings.trust),
            helo_name=self._helo,
            credentials=credentials,
            prefer=self._mechanism,
            # The configuration has "none" only for a loopback address, or because the operator wrote it.
            may_log_in_without_tls=settings.tls is TlsMode.NONE,
            is_lmtp=settings.protocol is RelayProtocol.LMTP,
        )
        try:
            client = await connected(
                lambda: SmtpClient.open(
                    relay,
                    timeout=settings.timeout.total_seconds(),
                    final_dot_timeout=settings.final_dot_timeout.total_seconds(),
                    dialogue=dialogue,
                )
            )
        except RouteFailed as error:
            if error.phase is Phase.AUTH and settings is self._settings:
                self._mechanism = None  # what worked once works no more: the next login chooses afresh
            is_refused = error.phase is Phase.AUTH and error.reply is not None and may_be_the_credentials(error.reply)
            if is_refused and login is not None and credentials is not None:
                await forget_token(login, credentials)
            raise
        if settings is self._settings:
            self._mechanism = client.mechanism
        return client


async def connected(open_session: Callable[[], Awaitable[T]]) -> T:
    """Open a session, with a second try where no connection came about at once, as while the relay starts anew.

    What takes longer than seconds is the circuit's to schedule.
    """

    async def once() -> T:
        return await open_session()

    again = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_no_connection),
        stop=tenacity.stop_after_attempt(2) | tenacity.stop_after_delay(QUICKLY_SECONDS),
        wait=tenacity.wait_random(0.05, 0.5),
        reraise=True,
    )
    return await again(once)


def _is_no_connection(error: BaseException) -> bool:
    return isinstance(error, RouteFailed) and error.phase is Phase.CONNECT


def _configured(settings: SmtpSettings) -> ConfiguredLogin | None:
    if settings.username is None:
        return None
    return ConfiguredLogin(
        name=NAME_FOR_TOKENS,
        username=settings.username,
        method=settings.auth,
        password=settings.password,
        oauth2=settings.oauth2,
    )


async def _credentials(login: ConfiguredLogin | None) -> Credentials | None:
    try:
        return await credentials_of(login) if login is not None else None
    except StageError as error:
        raise RouteFailed(Phase.AUTH, str(error)) from error


def name_for_helo(host_name: str) -> str:
    """The name by which we introduce ourselves: that of this host where RFC 5321 section 4.1.3 allows it."""
    try:
        return helo_name(host_name)
    except ValueError:
        return "localhost"
