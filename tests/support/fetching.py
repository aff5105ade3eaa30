"""The fetch stage between embedded POP3 servers and a spool, in one event loop, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast

from sqlalchemy import text

from pipeline.demo.pop3_server import Maildrop, Manners, Pop3Server, Pop3Session, StoredMessage
from spool.accounts import Accounts, AccountState
from spool.disk import Disk
from spool.envelope import Uidl
from spool.layout import Stage
from spool.opening import take_stage
from spool.rows import Message
from spool.segments import read_message
from stages.fetch.stage import FetchStage
from stages.passwords import PasswordSource
from stages.runner import Mode, Outcome, Runtime
from stages.settings import AccountSettings, TlsMode
from tests.support.settings import account, default_settings
from tests.support.spools import Clock, logged, make_spool, message

HONEST = Manners()


def mail(number: int, body: str = "Hello.") -> bytes:
    """A small message that no other number has."""
    head = f"From: a@example.org\r\nMessage-Id: <{number}@example.org>\r\nSubject: {number}\r\n"
    return f"{head}\r\n{body}\r\n".encode()


class Provider(Pop3Server):
    """A server with one maildrop, whose kind of session and manners may change between polls."""

    def __init__(
        self,
        messages: Iterable[bytes] = (),
        *,
        session: type[Pop3Session] = Pop3Session,
        manners: Manners = HONEST,
        user: str = "sales",
        tls_mode: TlsMode = TlsMode.NONE,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.kind = session
        self.user = user
        self.tls_mode = tls_mode
        super().__init__(
            {user: ("secret", messages)}, manners, tls=tls, session=cast(type[Pop3Session], self._new_session)
        )

    @property
    def drop(self) -> Maildrop:
        """The maildrop itself."""
        return self._maildrops[self.user]

    @property
    def commands(self) -> list[str]:
        """What the client said in the last session."""
        return self.sessions[-1].commands

    def said(self, verb: str) -> list[str]:
        """All commands of that name, of all sessions."""
        return [line for session in self.sessions for line in session.commands if line.split(" ")[0] == verb]

    def put(self, uidl: bytes, content: bytes) -> None:
        """Put a message into the maildrop under a UIDL of the test's choice."""
        self.drop.messages.append(StoredMessage(uidl=uidl, content=content))

    def _new_session(
        self,
        maildrops: Mapping[str, Maildrop],
        manners: Manners,
        *,
        challenge: bytes,
        offered_tls: ssl.SSLContext | None,
    ) -> Pop3Session:
        return self.kind(maildrops, manners, challenge=challenge, offered_tls=offered_tls)

    async def _converse(
        self, session: Pop3Session, *, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        outlet = cast(asyncio.StreamWriter, Outlet(session, writer))
        await super()._converse(session, reader=reader, writer=outlet)


class Outlet:
    """How the octets of a session leave: at once, or as the session's kind has it.

    `DRIPS`: octet by octet, with the client's turn in between. `ENDLESS`: what it holds is sent for ever behind an
    answer that `is_endless`.
    """

    def __init__(self, session: Pop3Session, writer: asyncio.StreamWriter) -> None:
        self._session = session
        self._writer = writer
        self._held = b""

    def write(self, octets: bytes) -> None:
        if getattr(self._session, "DRIPS", False) and self._session.commands:
            self._held += octets
        else:
            self._writer.write(octets)

    async def drain(self) -> None:
        held, self._held = self._held, b""
        for start in range(len(held)):
            self._writer.write(held[start : start + 1])
            await self._writer.drain()
            await asyncio.sleep(0)
        await self._writer.drain()
        while getattr(self._session, "is_endless", False):
            self._writer.write(self._session.ENDLESS)  # type: ignore[attr-defined]  # what is endless has it
            await self._writer.drain()
            await asyncio.sleep(0)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self._writer.start_tls(context)


class Fetching:
    """A spool, and polls that fetch into it."""

    def __init__(self, directory: Path, *, disk: Disk | None = None) -> None:
        self.clock = Clock()
        self.spool = make_spool(directory, clock=self.clock, disk=disk)
        self.settings = default_settings(directory)
        self.fetch(max_message_octets=100_000_000)
        self.leave: timedelta | None = timedelta(0)
        self.passwords: dict[str, PasswordSource] = {}
        # Accounts that have another name than their user.
        self.names: dict[str, str] = {}
        self.users = 1

    def fetch(self, **changes: object) -> None:
        """Change settings of the section `fetch`."""
        fetch = dataclasses.replace(self.settings.fetch, **changes)  # type: ignore[arg-type]  # names are the tests'
        self.settings = dataclasses.replace(self.settings, fetch=fetch)

    def min_free_octets(self, octets: int) -> None:
        """Change `spool.min_free_space`."""
        spool = dataclasses.replace(self.settings.spool, min_free_octets=octets)
        self.settings = dataclasses.replace(self.settings, spool=spool)

    def poll(self, *providers: Provider, mode: Mode = Mode.ONCE) -> Outcome:
        """Let a fetch process poll the providers' accounts; time passes first."""
        self.clock.advance(timedelta(hours=1))
        return asyncio.run(self._poll(providers, mode))

    async def _poll(self, providers: Iterable[Provider], mode: Mode) -> Outcome:
        async with self.working(*providers, mode=mode) as (_, work):
            return await work

    @asynccontextmanager
    async def working(self, *providers: Provider, mode: Mode) -> AsyncIterator[tuple[Runtime, asyncio.Task[Outcome]]]:
        """A fetch process at work on the providers' accounts; it is told to stop at the end."""
        async with AsyncExitStack() as stack:
            started = [await stack.enter_async_context(provider) for provider in providers]
            accounts = tuple(account for provider in started for account in self._accounts(provider))
            settings = dataclasses.replace(self.settings, accounts=accounts)
            stage = FetchStage()
            tenure = stack.enter_context(take_stage(self.spool, Stage.FETCH))
            runtime = Runtime(settings, self.spool, tenure=tenure, mode=mode)
            stack.callback(runtime.close)
            await runtime.call(lambda: stage.begin(runtime))
            runtime.listen()
            work = asyncio.ensure_future(stage.work(runtime))
            try:
                yield runtime, work
                runtime.stopping.set()
                await work
            finally:
                await runtime.call(lambda: stage.end(runtime))

    def _accounts(self, provider: Provider) -> Iterator[AccountSettings]:
        """The provider's account, and as many more at the same host as there are users beyond the first."""
        for number in range(self.users):
            name = self.names.get(provider.user, provider.user)
            yield self.account(provider, name=f"{name}{number or ''}")

    def account(self, provider: Provider, *, name: str = "sales") -> AccountSettings:
        """An account of that name for the provider's maildrop; the provider has started."""
        plain = dataclasses.replace(account(name), username=provider.user)
        return dataclasses.replace(
            plain,
            host="127.0.0.1",
            port=provider.port,
            tls=provider.tls_mode,
            leave_on_server=self.leave,
            password=self.passwords.get(provider.user, plain.password),
        )

    def messages(self) -> list[Message]:
        """All messages in custody, in the order of admission."""
        query = text("SELECT queue_id FROM messages ORDER BY rowid")
        with self.spool.index.read() as connection:
            found = list(connection.execute(query).scalars())
        return [message(self.spool, queue_id) for queue_id in found]

    def contents(self, name: str | None = None) -> list[bytes]:
        """The octets of all messages in custody, or of those of one account."""
        return [
            b"".join(read_message(found.stored.path, found.stored.place))
            for found in self.messages()
            if found.stored is not None and name in (None, found.account)
        ]

    def state(self, name: str = "sales") -> AccountState:
        """What is remembered of an account."""
        return Accounts(self.spool).states()[name]

    def left(self, name: str = "sales") -> list[Uidl]:
        """What stays at the provider."""
        return [left.uidl for left in Accounts(self.spool).left(name)]

    def events(self, name: str) -> list[str]:
        """The texts of all events of that name."""
        return [event.text for event in logged(self.spool) if event.name == name]


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - what is waited for is in the spool, which rings nobody in a test
            await asyncio.sleep(0.005)
