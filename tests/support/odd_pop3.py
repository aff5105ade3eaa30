"""POP3 servers that break the rules, each in the one way that its class names.

They are sessions for `pipeline.demo.pop3_server.Pop3Server(..., session=...)`: everything else about them is right.
"""

from __future__ import annotations

from pipeline.demo.pop3_server import Pop3Session, StoredMessage, stuffed, wire_form


class RenumbersAfterDele(Pop3Session):
    """After a DELE the messages above it move down by one, against RFC 1939 section 5."""

    def dele(self, argument: str) -> bytes:
        reply = super().dele(argument)
        self.listing = dict(enumerate(self.listing.values(), start=1))
        return reply


class ForgetsDeletions(Pop3Session):
    """QUIT is answered +OK, and nothing was removed."""

    def quit(self, argument: str) -> bytes:
        self.deleted.clear()
        return super().quit(argument)


class RefusesQuit(Pop3Session):
    """QUIT removes nothing, and says so (RFC 1939 section 6)."""

    def quit(self, argument: str) -> bytes:
        self.deleted.clear()
        super().quit(argument)
        return self.err(b"some deleted messages not removed")


class NumbersAsUidls(Pop3Session):
    """Each UIDL is the message number, so that it names another message after a deletion."""

    def unique_id(self, number: int) -> bytes:
        return b"%d" % number


class FreshUidls(Pop3Session):
    """Each session gives every message a new UIDL."""

    def unique_id(self, number: int) -> bytes:
        return self.challenge[1:9] + b"-%d" % number


class OneUidlForAll(Pop3Session):
    """All messages have the same UIDL."""

    def unique_id(self, number: int) -> bytes:
        return b"same"


class AddsReadMark(Pop3Session):
    """A message that was retrieved carries `Status: RO` from then on, under the same UIDL."""

    def retr(self, argument: str) -> bytes:
        reply = super().retr(argument)
        if reply.startswith(b"+OK"):
            seen = self.listing[int(argument)]
            marked = StoredMessage(uidl=seen.uidl, content=b"Status: RO\r\n" + seen.content)
            self.maildrop.messages = [marked if kept is seen else kept for kept in self.maildrop.messages]
        return reply


class EmptyRetrievals(Pop3Session):
    """RETR is answered +OK and no content at all."""

    def retr(self, argument: str) -> bytes:
        return self.ok(b"message follows") + stuffed(b"")


class CutsRetrievals(Pop3Session):
    """The connection ends in the middle of each message."""

    def retr(self, argument: str) -> bytes:
        self.ended = True
        reply = super().retr(argument)
        return reply[: len(reply) // 2]


class NeverStuffs(Pop3Session):
    """Lines that begin with a dot are sent as they are, against RFC 1939 section 3."""

    def retr(self, argument: str) -> bytes:
        number = int(argument)
        return self.ok(b"message follows") + wire_form(self.listing[number].content) + b".\r\n"


class UnaskedReplies(Pop3Session):
    """Behind each message comes a reply that nobody asked for."""

    def retr(self, argument: str) -> bytes:
        return super().retr(argument) + self.ok(b"and a good day to you")


class InjectsBehindStls(Pop3Session):
    """The answer to STLS carries further octets in clear, as an attacker on the line would add them (CVE-2011-0411)."""

    def stls(self, argument: str) -> bytes:
        return super().stls(argument) + self.ok(b"injected")


class NotPop3(Pop3Session):
    """Something else listens at the port."""

    def greeting(self) -> bytes:
        return b"220 mail.isp.example ESMTP\r\n"


class RepliesTooLong(Pop3Session):
    """The status line to STAT has no end within any bound."""

    def stat(self, argument: str) -> bytes:
        return b"+OK " + b"9" * 100_000 + b"\r\n"


class SilentAfterLogin(Pop3Session):
    """After the login nothing is answered any more, and the connection stays."""

    def answer(self, line: bytes) -> bytes:
        reply = super().answer(line)
        return b"" if self.user is not None and not line.upper().startswith((b"PASS", b"APOP")) else reply


class RefusesConnections(Pop3Session):
    """The greeting is -ERR, as of a server that has enough of us."""

    def greeting(self) -> bytes:
        self.ended = True
        return self.err(b"too many connections")


class SilentGreeting(Pop3Session):
    """The connection stands, and not even a greeting comes."""

    def greeting(self) -> bytes:
        return b""


def silent_at(verb: str) -> type[Pop3Session]:
    """A server that neither heeds nor answers this command, and keeps the connection."""

    class SilentAt(Pop3Session):
        def answer(self, line: bytes) -> bytes:
            return b"" if line.upper().startswith(verb.encode()) else super().answer(line)

    return SilentAt


class StallsInRetrievals(Pop3Session):
    """Half of a message comes, and then nothing more."""

    def retr(self, argument: str) -> bytes:
        reply = super().retr(argument)
        return reply[: len(reply) // 2]


class SaysAtFirst(Pop3Session):
    """Something else listens at the port, and says `FIRST`."""

    FIRST = b""

    def greeting(self) -> bytes:
        return self.FIRST


def says_at_first(octets: bytes) -> type[Pop3Session]:
    """A server that greets with these octets."""
    return type("Says", (SaysAtFirst,), {"FIRST": octets})


class EndlessLine(Pop3Session):
    """The status line to STAT never ends."""

    ENDLESS = b"9" * 4096
    is_endless = False

    def stat(self, argument: str) -> bytes:
        self.is_endless = True
        return b"+OK 3 "


class EndlessList(Pop3Session):
    """The answer to LIST never ends."""

    ENDLESS = (b"1 120 " + b"x" * 8000 + b"\r\n") * 16
    is_endless = False

    def list_(self, argument: str) -> bytes:
        self.is_endless = True
        return self.ok(b"listing")


class EndlessCapabilities(Pop3Session):
    """The answer to CAPA never ends."""

    ENDLESS = b"SASL PLAIN\r\n" * 100
    is_endless = False

    def capa(self, argument: str) -> bytes:
        self.is_endless = True
        return self.ok(b"capabilities")


class RefusesStls(Pop3Session):
    """STLS is offered and refused."""

    def stls(self, argument: str) -> bytes:
        return self.err(b"TLS is not available")


class NoTlsBehindStls(Pop3Session):
    """The +OK to STLS is followed by no handshake: the next thing the server says is text."""

    ENDLESS = b"220 what did you say?\r\n"
    is_endless = False

    def stls(self, argument: str) -> bytes:
        return self.ok(b"begin TLS")

    def answer(self, line: bytes) -> bytes:
        self.is_endless = not line.isascii()  # a ClientHello
        return super().answer(line)
