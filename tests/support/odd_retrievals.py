"""POP3 servers that lie in RETR, each in the one way that its class names. `CutsRetrievals` and others: `odd_pop3`."""

from __future__ import annotations

from pipeline.demo.pop3_server import Pop3Session, StoredMessage, stuffed


class CutsAt(Pop3Session):
    """The connection ends behind the first `AT` octets of the answer to RETR; counted from its end where negative."""

    AT = 0

    def retr(self, argument: str) -> bytes:
        self.ended = True
        return super().retr(argument)[: self.AT]


def cut_at(at: int) -> type[Pop3Session]:
    """A server that cuts there."""
    return type(f"CutsAt{at}", (CutsAt,), {"AT": at})


class CutsShort(Pop3Session):
    """The second half of message `CUT` is missing, and the message is properly ended."""

    CUT = 2

    def retr(self, argument: str) -> bytes:
        if argument != f"{self.CUT}" or self.CUT not in self.listing:
            return super().retr(argument)
        content = self.listing[self.CUT].content
        return self.ok(b"message follows") + stuffed(content[: len(content) // 2])


class CutsFirstShort(CutsShort):
    """The second half of message 1 is missing: the first message that was ever asked for."""

    CUT = 1


class EndlessRetr(Pop3Session):
    """The answer to RETR never ends."""

    ENDLESS = b"x" * 70 + b"\r\n"
    is_endless = False

    def retr(self, argument: str) -> bytes:
        self.is_endless = True
        return self.ok(b"message follows") + b"Subject: endless\r\n\r\n"


class EndlessFlood(EndlessRetr):
    """The answer to RETR never ends, and comes fast."""

    ENDLESS = (b"x" * 70 + b"\r\n") * 3640


class _OtherMessage(Pop3Session):
    """RETR of one message gives another one."""

    GIVES: dict[str, str]

    def retr(self, argument: str) -> bytes:
        return super().retr(self.GIVES.get(argument, argument))


class GivesFirstAsSecond(_OtherMessage):
    """RETR 2 gives message 1."""

    GIVES = {"2": "1"}  # noqa: RUF012 - nobody changes it


class GivesSecondAsFirst(_OtherMessage):
    """RETR 1 gives message 2."""

    GIVES = {"1": "2"}  # noqa: RUF012 - nobody changes it


class GivesNextOne(_OtherMessage):
    """RETR gives the next message, the last one the first."""

    GIVES = {"1": "2", "2": "3", "3": "1"}  # noqa: RUF012 - nobody changes it


class GivesFirstAlways(_OtherMessage):
    """RETR gives message 1 whatever is asked for."""

    GIVES = {"2": "1", "3": "1"}  # noqa: RUF012 - nobody changes it


class Scans(Pop3Session):
    """A scanner on the line adds a field to what RETR gives; TOP and LIST do not know it."""

    def retr(self, argument: str) -> bytes:
        reply = super().retr(argument)
        first, _, rest = reply.partition(b"\r\n")
        return first + b"\r\nX-Scanned: yes\r\n" + rest if reply.startswith(b"+OK") else reply


class StrayLines(Pop3Session):
    """Behind each message comes a line that is no reply."""

    def retr(self, argument: str) -> bytes:
        return super().retr(argument) + b"* your mailbox is nearly full\r\n"


class ForgesMessage(Pop3Session):
    """Behind message 1 comes a whole answer to a RETR that was not sent, with a message of the size of message 2."""

    def retr(self, argument: str) -> bytes:
        reply = super().retr(argument)
        if argument != "1" or 2 not in self.listing:
            return reply
        size = len(self.listing[2].content)
        forged = b"Subject: forged\r\n\r\n".ljust(size - 2, b"x") + b"\r\n"
        return reply + self.ok(b"message follows") + stuffed(forged)


class RefusesDele(Pop3Session):
    """DELE 2 is answered -ERR."""

    def dele(self, argument: str) -> bytes:
        return self.err(b"[SYS/TEMP] not now") if argument == "2" else super().dele(argument)


class HalfDeleted(Pop3Session):
    """QUIT is confirmed, and only every other message goes."""

    def quit(self, argument: str) -> bytes:
        kept: dict[int, StoredMessage] = dict(list(self.deleted.items())[::2])
        self.deleted = kept
        return super().quit(argument)


class CutsQuit(Pop3Session):
    """The connection ends without an answer to QUIT, and the deletions are done."""

    def quit(self, argument: str) -> bytes:
        super().quit(argument)
        return b""


class ThrowsAwayInput(Pop3Session):
    """Offers PIPELINING, and loses what is there before its predecessor was answered."""

    loses_next = False

    def answer(self, line: bytes) -> bytes:
        # `pipelined` is set where more is there behind this line.
        is_lost, self.loses_next, self.pipelined = self.loses_next, self.pipelined, False
        return b"" if is_lost else super().answer(line)


class Drips(Pop3Session):
    """Everything comes octet by octet."""

    DRIPS = True
