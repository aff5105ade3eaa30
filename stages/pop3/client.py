"""A POP3 session in mail terms, for the fetch stage.

The order of calls is that of RFC 1939: `open` (connection, greeting, STLS, CAPA), `login`, any of the transactions,
`quit`, and always `close`.

**Invariants:** with STARTTLS nothing but STLS is said before TLS, and nothing learned before TLS is used after it but
the greeting. No command is pipelined to a server that does not list PIPELINING.

**Failures:** `NetworkError` (try later; `LoginCut` and `CapabilitiesCut` tell in answer to what the server hung up),
`PeerBroke` (drop the connection), `PeerSaidNo` (`GreetingRefused`, `StlsRefused`, `LoginRefused`, `CommandRefused`; the
connection still stands), `LoginImpossible` and `SecretUnusable` (operator). `close` is due after each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from stages.dialogue import Dialogue
from stages.errors import NetworkError, OurBug, PeerBroke, PeerSaidNo
from stages.pop3 import auth, commands, replies, retrieval
from stages.pop3.auth import Offer, Way
from stages.pop3.commands import Command
from stages.pop3.conversation import Conversation
from stages.pop3.login import Attempt
from stages.pop3.protocol import MessageOctets, Reply
from stages.pop3.replies import Capabilities, MaildropSize
from stages.pop3.retrieval import ONE_BY_ONE, Retrieval, RetrievalEvent, Window
from stages.sasl.credentials import Credentials
from stages.settings import TlsMode
from stages.stream import ConnectionLost, Stream, TlsSettings
from stages.tls import TlsFacts
from stages.trust import TRUST_OF_THE_SYSTEM, Trust

_Value = TypeVar("_Value")

MAX_HEADER_OCTETS = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop3Endpoint:
    """Where a maildrop is, and how to trust the server there."""

    host: str
    port: int
    tls: TlsMode
    trust: Trust = TRUST_OF_THE_SYSTEM

    @property
    def handshake(self) -> TlsSettings:
        """What a TLS handshake with this server checks."""
        return TlsSettings(server_name=self.host, trust=self.trust)


class GreetingRefused(PeerSaidNo):
    """The server's greeting was -ERR."""


class StlsRefused(PeerSaidNo):
    """The server does not go over to TLS; nothing secret was said to it."""


class LoginRefused(PeerSaidNo):
    """The server did not let us in; `code` tells `AUTH` (wrong credentials) from `IN-USE` or `SYS/TEMP`."""


class LoginCut(NetworkError):
    """The server hung up in answer to the credentials: some do so instead of saying that they are wrong."""


class CapabilitiesCut(NetworkError):
    """The server hung up in answer to CAPA: it may do without (`open` with `ask_capabilities=False`)."""


class CommandRefused(PeerSaidNo):
    """-ERR to a command that every server must know."""


class Pop3Client:
    """One session. Made by `open`. `mechanism` is the one that logged us in: `SCRAM-SHA-256`, `APOP`, `USER`."""

    def __init__(self, conversation: Conversation, endpoint: Pop3Endpoint, *, asks_capabilities: bool) -> None:
        self._conversation = conversation
        self._endpoint = endpoint
        self.asks_capabilities = asks_capabilities
        self.greeting = b""
        self.capabilities = Capabilities()
        self.mechanism = ""

    @classmethod
    async def open(
        cls, endpoint: Pop3Endpoint, *, timeout: float, dialogue: Dialogue | None = None, ask_capabilities: bool = True
    ) -> Pop3Client:
        """Connect, read the greeting, go over to TLS where asked, ask for the capabilities.

        `timeout` is the longest silence in seconds, here and in all later calls. `ask_capabilities` is False for a
        server that hangs up on the question; it is taken to have none. What is said is told to `dialogue`.
        """
        tls = endpoint.handshake if endpoint.tls is TlsMode.IMPLICIT else None
        stream = await Stream.connect(endpoint.host, endpoint.port, tls=tls, timeout=timeout, dialogue=dialogue)
        client = cls(Conversation(stream, timeout=timeout), endpoint, asks_capabilities=ask_capabilities)
        try:
            await client._greet()
            if endpoint.tls is TlsMode.STARTTLS:
                await client._start_tls(endpoint.handshake)
            if ask_capabilities:
                client.capabilities = await client._ask_capabilities()
                await client._go_over_to_utf8()
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def peer_address(self) -> str:
        """The server's numeric address."""
        return self._conversation.stream.peer_address

    @property
    def is_tls(self) -> bool:
        """Whether the connection is protected."""
        return self._conversation.stream.is_tls

    @property
    def tls(self) -> TlsFacts | None:
        """What the TLS handshake came to; None without one."""
        return self._conversation.stream.tls

    async def login(self, credentials: Credentials, *, prefer: str | None = None) -> None:
        """Log in, and ask for the capabilities again: RFC 2449 section 3 lets them differ once the mailbox is known.

        `prefer` is the `mechanism` that worked last time, for `auto` to begin with.
        """
        offer = Offer(greeting=self.greeting, is_tls=self.is_tls, capabilities=self.capabilities)
        self.mechanism = (await self._let_in(credentials, offer, prefer=prefer)).value
        if self.capabilities.was_told:
            self.capabilities = await self._ask_capabilities()

    async def stat(self) -> MaildropSize:
        """Return the number of messages and their octets."""
        return replies.maildrop_size((await self._must(commands.STAT)).text)

    async def list(self) -> dict[int, int | None]:
        """Return the octets of each message by its number, in the server's order; None for a size that is no figure."""
        await self._must(commands.LIST)
        return await self._by_number(replies.list_item)

    async def uidl(self) -> dict[int, bytes] | None:
        """Return the unique-id of each message by its number; None where the server has none."""
        # Asked even where CAPA does not list it: servers that have it and do not say so are common.
        if not (await self._conversation.ask(commands.UIDL)).ok:
            return None
        return await self._by_number(replies.uidl_item)

    async def top(self, number: int) -> bytes | None:
        """Return the header of a message, with the empty line that ends it; None where the server refuses."""
        await self._conversation.be_idle()
        await self._conversation.send(commands.top(number))
        return await self._header(number)

    async def tops(
        self, numbers: Sequence[int], *, window: Window = ONE_BY_ONE
    ) -> AsyncGenerator[tuple[int, bytes | None], None]:
        """Give the headers of many messages, in the given order; see `top`."""
        batch = self._allowed(window).messages
        for start in range(0, len(numbers), batch):
            sent = numbers[start : start + batch]
            await self._conversation.be_idle()
            await self._conversation.send(*[commands.top(number) for number in sent])
            for number in sent:
                yield number, await self._header(number)

    async def _header(self, number: int) -> bytes | None:
        if not (await self._conversation.reply()).ok:
            return None
        header = bytearray()
        while isinstance(event := await self._conversation.next(), MessageOctets):
            header += event.data
            if len(header) > MAX_HEADER_OCTETS:
                raise PeerBroke(f"TOP {number} 0 gave more than {MAX_HEADER_OCTETS} octets")
        return bytes(header)

    def retrieve(
        self, requests: Iterable[Retrieval], *, window: Window = ONE_BY_ONE
    ) -> AsyncGenerator[RetrievalEvent, None]:
        """Retrieve messages in the given order; see `stages.pop3.retrieval`.

        Whoever stops before the end can only `close`: answers are still on their way.
        """
        return retrieval.retrieve(self._conversation, requests, window=self._allowed(window))

    async def delete(self, numbers: Sequence[int], *, window: Window = ONE_BY_ONE) -> dict[int, Reply]:
        """Mark messages as deleted, in the given order; return the reply to each."""
        batch = self._allowed(window).messages
        answered: dict[int, Reply] = {}
        for start in range(0, len(numbers), batch):
            sent = numbers[start : start + batch]
            await self._conversation.be_idle()
            await self._conversation.send(*[commands.dele(number) for number in sent])
            for number in sent:
                answered[number] = await self._conversation.reply()
        return answered

    async def noop(self) -> None:
        """Keep the session alive."""
        await self._must(commands.NOOP)

    async def quit(self) -> bool:
        """End the session; True when the server answered +OK, and so promised the deletions.

        False: it refused, or the connection ended first; what was deleted is unknown until the next UIDL.
        """
        try:
            return (await self._conversation.ask(commands.QUIT)).ok
        except NetworkError:
            return False

    async def close(self) -> None:
        """Drop the connection, in whatever state it is; never raises."""
        await self._conversation.close()

    async def _greet(self) -> None:
        reply = await self._conversation.reply()
        if not reply.ok:
            raise GreetingRefused(
                "the server refuses the connection", reply.text, code=replies.response_code(reply.text)
            )
        self.greeting = reply.text

    async def _start_tls(self, trust: TlsSettings) -> None:
        # CAPA is not asked first: what is said before TLS may be forged, and the answer to STLS decides anyway.
        reply = await self._conversation.ask(commands.STLS)
        if not reply.ok:
            raise StlsRefused("the server refuses STLS", reply.text)
        await self._conversation.start_tls(trust)

    async def _ask_capabilities(self) -> Capabilities:
        try:
            if not (await self._conversation.ask(commands.CAPA)).ok:
                return Capabilities()
            return replies.capabilities([line async for line in self._conversation.listing()])
        except ConnectionLost as error:
            raise CapabilitiesCut("the server hung up in answer to CAPA") from error

    async def _go_over_to_utf8(self) -> None:
        # RFC 6856 section 2: before the login. Without it some servers replace mail that has UTF-8 in its header. A
        # server that refuses goes on as before.
        if self.capabilities.has("UTF8"):
            await self._conversation.ask(commands.UTF8)

    async def _let_in(self, credentials: Credentials, offer: Offer, *, prefer: str | None) -> Way:
        """Try the ways to log in, one or two; return the one that let us in."""
        refused: LoginRefused | None = None
        after = ""
        for way in auth.ways(credentials, offer, prefer=prefer):
            attempt = Attempt(self._conversation, credentials)
            reply = await self._make(attempt, way, before=refused)
            if reply.ok:
                return way
            code = replies.response_code(reply.text)
            is_final = not auth.may_be_the_credentials(code)
            advice = "" if is_final else auth.advice(credentials, offer, refused=way)
            remarks = [remark for remark in (way.value + after, attempt.refusal, advice) if remark]
            refused = LoginRefused(f"login refused ({'; '.join(remarks)})", reply.text, code=code)
            if is_final:
                break
            after = f", after {way.value} was refused"
        raise refused or OurBug("no way to log in")

    async def _make(self, attempt: Attempt, way: Way, *, before: LoginRefused | None) -> Reply:
        """Go one way to log in; `before` is the refusal of another."""
        try:
            return await attempt.make(way, greeting=self.greeting, host=self._endpoint.host, port=self._endpoint.port)
        except ConnectionLost as error:
            if attempt.has_answered:
                raise LoginCut(f"the server hung up in answer to the login ({way.value})") from error
            if before is not None:  # the server hung up behind its refusal
                raise before from error
            raise

    async def _by_number(self, item: Callable[[bytes], tuple[int, _Value]]) -> dict[int, _Value]:
        """Read a listing line by line, with `list_item` or `uidl_item`."""
        found: dict[int, _Value] = {}
        async for line in self._conversation.listing():
            replies.enter(line, item, into=found)
        return found

    async def _must(self, command: Command) -> Reply:
        reply = await self._conversation.ask(command)
        if not reply.ok:
            raise CommandRefused(f"{command.shown} refused", reply.text, code=replies.response_code(reply.text))
        return reply

    def _allowed(self, window: Window) -> Window:
        return window if self.capabilities.pipelining else ONE_BY_ONE
