"""Go one way to log in: the driver of what `stages.pop3.auth` chose.

**Invariants:** AUTH leaves without an initial response first: that is always legal (RFC 5034 section 4), Microsoft 365
wants it so for XOAUTH2, and its refusal costs no failed login. Where the server refuses it and the mechanism allows,
it is asked once more with one. An exchange that fails on our side is cancelled before its error is raised. A success
is believed only when the mechanism agrees.

**Failures:** `ExchangeFailed` and `ProtocolViolation` (drop the connection), `SecretUnusable` (operator),
`NetworkError`. A refusal is a reply.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress

from stages.errors import NetworkError, OurBug, PeerBroke, StageError
from stages.pop3 import commands
from stages.pop3.auth import Native, Way, may_be_the_credentials
from stages.pop3.commands import CANCEL, Command
from stages.pop3.conversation import Conversation
from stages.pop3.protocol import Challenge, Reply
from stages.pop3.replies import apop_challenge, response_code
from stages.sasl.credentials import Credentials
from stages.sasl.encoding import initial_response, response
from stages.sasl.exchange import Exchange, Identity, Mechanism
from stages.sasl.mechanisms import exchange as begin

SASL_SERVICE = "pop"  # RFC 5034 section 7


class Attempt:
    """One try of one way. After `make`, or its failure, the properties tell of it."""

    def __init__(self, conversation: Conversation, credentials: Credentials) -> None:
        self._conversation = conversation
        self._credentials = credentials
        self.has_answered = False
        self.refusal = ""

    async def make(self, way: Way, *, greeting: bytes, host: str, port: int) -> Reply:
        """Log in this way, and return the reply that decided. `has_answered` tells whether the server had to judge."""
        match way:
            case Native.USER:
                return await self._user()
            case Native.APOP:
                return await self._apop(greeting)
            case _:
                identity = Identity(
                    username=self._credentials.username,
                    secret=self._credentials.secret,
                    service=SASL_SERVICE,
                    host=host,
                    port=port,
                )
                return await self._authenticate(begin(way, identity))

    async def _user(self) -> Reply:
        # Where USER is refused (a server that takes no password in clear), PASS is never sent.
        reply = await self._conversation.ask(commands.user(self._name))
        if not reply.ok:
            return reply
        self.has_answered = True
        return await self._conversation.ask(commands.password(self._secret))

    async def _apop(self, greeting: bytes) -> Reply:
        challenge = apop_challenge(greeting)
        if challenge is None:
            raise OurBug("APOP without a challenge")
        # RFC 1939 section 7 prescribes MD5.
        digest = hashlib.md5(challenge + self._secret, usedforsecurity=False).hexdigest().encode("ascii")
        self.has_answered = True
        return await self._conversation.ask(commands.apop(self._name, digest))

    async def _authenticate(self, exchange: Exchange) -> Reply:
        answer = await self._ask(commands.auth(exchange.mechanism, secrets=(self._secret,)))
        if isinstance(answer, Reply) and not answer.ok and exchange.is_client_first:
            answer = await self._ask_at_once(exchange, refused=answer)
        while True:
            if isinstance(answer, Challenge):
                line = await self._response(exchange, answer)
                self.has_answered = True
                answer = await self._conversation.respond(line)
            elif answer.ok and exchange.mechanism is Mechanism.NTLM and not exchange.has_begun:
                # Exchange 2003 says +OK where it means "go on".
                line = await asyncio.to_thread(initial_response, exchange)
                self.has_answered = True
                answer = await self._ask(commands.response(line, secrets=(self._secret,)))
            else:
                break
        self.refusal = self._conversation.masked(exchange.refusal.encode()).decode()
        if answer.ok:
            exchange.conclude()
        return answer

    async def _ask_at_once(self, exchange: Exchange, *, refused: Reply) -> Reply | Challenge:
        """Ask with an initial response; the refusal stands where that cannot help or would be too long a line."""
        if not may_be_the_credentials(response_code(refused.text)):
            return refused
        initial = await asyncio.to_thread(initial_response, exchange)
        command = commands.auth_at_once(exchange.mechanism, initial, secrets=(self._secret,))
        if command is None:
            return refused
        self.has_answered = True
        return await self._ask(command)

    async def _response(self, exchange: Exchange, challenge: Challenge) -> bytes:
        """Compute the response; in a thread, because SCRAM may compute for long. Cancel where there is none."""
        try:
            return await asyncio.to_thread(response, exchange, challenge.text)
        except StageError:
            await self._cancel()
            raise

    async def _cancel(self) -> None:
        """RFC 5034 section 4: a lone `*`. What comes of it changes nothing."""
        with suppress(NetworkError, PeerBroke):
            await self._conversation.respond(CANCEL)

    async def _ask(self, command: Command) -> Reply | Challenge:
        return await self._conversation.ask_in_turns(command)

    @property
    def _name(self) -> bytes:
        return self._credentials.username.encode(errors="surrogateescape")

    @property
    def _secret(self) -> bytes:
        # A password from the environment may be any octets.
        return self._credentials.secret.reveal().encode(errors="surrogateescape")
