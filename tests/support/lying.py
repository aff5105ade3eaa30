"""What must hold, whatever a server does: one strict check for all of them.

A `Lie` is an odd server and what is to be told of it; `Trial` lets a fetch process poll it beside an honest one and
checks, poll by poll:

- conservation: each message is in custody as often as it was sent, or once at most and still in the maildrop; nothing
  else is in custody;
- no DELE without a receipt: when the server hears it, the message that it is about to delete is in custody;
- the honest account was polled in the same round, and did not wait for the odd one;
- the events about the odd account are those that are expected, each as often as expected, and no others.

Then the server comes to its senses, and after some days each message was delivered exactly once.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pipeline.demo.pop3_server import Manners, Pop3Session, StoredMessage, wire_form
from stages.runner import Mode
from stages.settings import TlsMode
from tests.support.fetching import HONEST, Fetching, Provider, mail
from tests.support.spools import logged

# Of unlike sizes, all below what a header check costs less than a comparison.
MAILS = (mail(1), mail(2, "A longer one.\r\nOf two lines."), mail(3, "x" * 300 + "\r\n..\r\n.x\r\nend"))
HONEST_MAILS = (mail(901), mail(902, "y" * 50))
ON_TIME_SECONDS = 5.0
_EVERY_POLL_HAS = frozenset({"Admitted", "PollSucceeded", "PlainTextLogin", "AccountRecovered", "MailWasThere"})


@dataclass(frozen=True, kw_only=True)
class Lie:
    """An odd server: its sessions, its manners, its mail; how often it is polled, and the `events` that follow.

    `between` is done to the maildrop before each poll but the first. `lasts`: the server never comes to its senses,
    and does no harm all the same.
    """

    session: type[Pop3Session] = Pop3Session
    manners: Manners = HONEST
    mails: Sequence[bytes] = MAILS
    events: Mapping[str, int] = field(default_factory=dict)
    polls: int = 1
    leave: timedelta | None = timedelta(0)
    between: Callable[[Provider], None] | None = None
    tls_mode: TlsMode = TlsMode.NONE
    offers_tls: bool = False
    lasts: bool = False
    limit_octets: int = 100_000_000
    timeout: timedelta = timedelta(seconds=20)
    session_timeout: timedelta = timedelta(seconds=60)


class Trial:
    """One lie, tried."""

    def __init__(self, directory: Path, lie: Lie) -> None:
        self.lie = lie
        self.fetching = Fetching(directory)
        self.fetching.fetch(
            timeout=lie.timeout, session_timeout=lie.session_timeout, max_message_octets=lie.limit_octets
        )
        self.fetching.leave = lie.leave
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if lie.offers_tls else None
        self.provider = Provider(
            lie.mails, session=self._watched(lie.session), manners=lie.manners, tls_mode=lie.tls_mode, tls=tls
        )
        self.honest = Provider(HONEST_MAILS, user="honest")
        self.ever: dict[int, StoredMessage] = {}
        self.deletions: list[str] = []

    def run(self) -> None:
        """Poll as often as the lie says, and check the whole sentence."""
        for number in range(self.lie.polls):
            if number and self.lie.between is not None:
                self.lie.between(self.provider)
            self.fetching.poll(self.provider, self.honest)
            self.see()
            self.assert_conserved()
            assert self.deletions == []
            self._assert_honest_was_polled()
        if self.lie.tls_mode is not TlsMode.NONE:
            assert [self.provider.said(verb) for verb in ("USER", "PASS", "APOP")] == [[], [], []]
        assert self.told() == dict(self.lie.events), [event.text for event in logged(self.fetching.spool)]
        self.end_well()

    def end_well(self) -> None:
        """The server comes to its senses; what failed is tried again in time; each message was delivered once."""
        if not self.lie.lasts:
            self.provider.kind, self.provider.manners = self._watched(Pop3Session), Manners()
            self.provider.tls_mode = TlsMode.NONE
        for _ in range(2):
            self.fetching.clock.advance(timedelta(days=2))
            self.fetching.poll(self.provider, mode=Mode.DRAIN)
            self.see()
            assert self.deletions == []
        assert Counter(self.custody()) == self._sent()
        if self.lie.leave == timedelta(0):
            assert self.provider.drop.messages == []

    def told(self) -> dict[str, int]:
        """How often each event was written about the odd account, but for those that every poll has."""
        names = Counter(event.name for event in logged(self.fetching.spool) if event.account == self.provider.user)
        return {name: count for name, count in names.items() if name not in _EVERY_POLL_HAS}

    def custody(self) -> list[bytes]:
        """The messages of the odd account that are in custody."""
        return self.fetching.contents(self.provider.user)

    def assert_conserved(self) -> None:
        """Nothing is lost, nothing doubled, nothing forged."""
        custody, sent = Counter(self.custody()), self._sent()
        held = Counter(wire_form(message.content) for message in self.provider.drop.messages)
        assert custody.keys() <= sent.keys(), "in custody is what was never sent"
        for content, count in sent.items():
            assert custody[content] <= count, "a message was taken twice"
            assert custody[content] + held[content] >= count, "a message is lost"

    def _assert_honest_was_polled(self) -> None:
        taken = [message for message in self.fetching.messages() if message.account == "honest"]
        assert len(taken) == len(HONEST_MAILS)
        if self.lie.leave == timedelta(0):
            assert self.honest.drop.messages == []
        (polled,) = [
            event
            for event in logged(self.fetching.spool)
            if event.account == "honest" and event.name == "PollSucceeded"
        ]
        assert float(str(polled.fields["seconds"])) < ON_TIME_SECONDS

    def see(self) -> None:
        """Note what the maildrop holds now, so that it counts as sent."""
        for message in self.provider.drop.messages:
            self.ever[id(message)] = message

    def _sent(self) -> Counter[bytes]:
        return Counter(wire_form(message.content) for message in self.ever.values())

    def _watched(self, kind: type[Pop3Session]) -> type[Pop3Session]:
        """Sessions that look, before a DELE, whether what goes is in custody."""
        trial = self

        class Watched(kind):  # type: ignore[misc, valid-type]  # mypy knows no base that is a value
            def answer(self, line: bytes) -> bytes:
                verb, _, argument = line.decode("latin-1").partition(" ")
                trial.see()
                if verb == "DELE" and argument.isdecimal() and int(argument) in self.listing:
                    trial.heard_dele(self.listing[int(argument)].content)
                reply: bytes = super().answer(line)
                return reply

        return Watched

    def heard_dele(self, content: bytes) -> None:
        """Note a deletion of what is not in custody."""
        if wire_form(content) not in self.custody():
            self.deletions.append(f"DELE of what is not in custody: {content[:60]!r}")
