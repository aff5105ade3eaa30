"""POP3 servers that lie in STAT, LIST or UIDL, each in the one way that its class names."""

from __future__ import annotations

from pipeline.demo.pop3_server import Pop3Session, StoredMessage

HIDDEN = 2


class CaseUidls(Pop3Session):
    """UIDLs that differ only in case, which RFC 1939 allows."""

    def unique_id(self, number: int) -> bytes:
        letters = b"abcdefgh"
        kept = int(self.listing[number].uidl, 16)
        return bytes(letter - 32 if kept >> place & 1 else letter for place, letter in enumerate(letters))


class EmptyUidls(Pop3Session):
    """Every second message has an empty UIDL."""

    def unique_id(self, number: int) -> bytes:
        return super().unique_id(number) if number % 2 else b""


class LongUidls(Pop3Session):
    """UIDLs of 7,000 octets, of which only the last ones differ."""

    def unique_id(self, number: int) -> bytes:
        return b"x" * 7000 + super().unique_id(number)


class SpacedUidls(Pop3Session):
    """UIDLs with spaces in them and behind them."""

    def unique_id(self, number: int) -> bytes:
        return b"a  b " + super().unique_id(number) + b"  "


class ControlUidls(Pop3Session):
    """UIDLs with NUL, escape sequences, octets that are no UTF-8, and white space that a status line loses."""

    def unique_id(self, number: int) -> bytes:
        return b"\0\x1b[2J\xff" + super().unique_id(number) + b"\x0b\t"


class PathUidls(Pop3Session):
    """UIDLs that name files, which RFC 1939 allows."""

    def unique_id(self, number: int) -> bytes:
        return b"../../../etc/%s/*;rm" % super().unique_id(number)


class _Sizes(Pop3Session):
    """LIST tells of each message what `told` makes of its size."""

    def told(self, octets: int) -> bytes:
        return b"%d" % octets

    def list_(self, argument: str) -> bytes:
        return self._listing(argument, lambda number: b"%d %s" % (number, self.told(self.octets(self.listing[number]))))


class SizesTooLarge(_Sizes):
    """LIST tells ten times the size."""

    def told(self, octets: int) -> bytes:
        return b"%d" % (octets * 10)


class SizesTooSmall(_Sizes):
    """LIST tells half the size."""

    def told(self, octets: int) -> bytes:
        return b"%d" % (octets // 2)


class SizesZero(_Sizes):
    """LIST tells 0 for each message."""

    def told(self, octets: int) -> bytes:
        return b"0"


class SizesNegative(_Sizes):
    """LIST tells a negative size."""

    def told(self, octets: int) -> bytes:
        return b"-%d" % octets


class SizesText(_Sizes):
    """LIST tells a word for a size."""

    def told(self, octets: int) -> bytes:
        return b"large"


class SizesBeyond64Bits(_Sizes):
    """LIST tells 2^64 for each message."""

    def told(self, octets: int) -> bytes:
        return b"%d" % 2**64


class SizesWithLf(_Sizes):
    """LIST counts a line end as one octet, as the server's files have it."""

    def told(self, octets: int) -> bytes:
        content = next(kept.content for kept in self.listing.values() if self.octets(kept) == octets)
        return b"%d" % (octets - content.count(b"\r\n"))


class ListLineMissing(Pop3Session):
    """LIST leaves a message out that STAT and UIDL know."""

    def list_(self, argument: str) -> bytes:
        lines = super().list_(argument).splitlines(keepends=True)
        return b"".join(line for line in lines if argument or not line.startswith(b"%d " % HIDDEN))


class UidlLineMissing(Pop3Session):
    """UIDL leaves a message out that STAT and LIST know."""

    def uidl(self, argument: str) -> bytes:
        lines = super().uidl(argument).splitlines(keepends=True)
        return b"".join(line for line in lines if argument or not line.startswith(b"%d " % HIDDEN))


class ShuffledListings(Pop3Session):
    """LIST and UIDL have their lines in different orders."""

    def list_(self, argument: str) -> bytes:
        first, *lines = super().list_(argument).splitlines(keepends=True)
        return b"".join([first, *lines[:-1][::-1], *lines[-1:]])

    def uidl(self, argument: str) -> bytes:
        first, *lines = super().uidl(argument).splitlines(keepends=True)
        return b"".join([first, *lines[1:-1], *lines[:-1][:1], *lines[-1:]])


class DoubledListings(Pop3Session):
    """LIST and UIDL show each line twice."""

    def list_(self, argument: str) -> bytes:
        return super().list_(argument) if argument else _doubled(super().list_(argument))

    def uidl(self, argument: str) -> bytes:
        return super().uidl(argument) if argument else _doubled(super().uidl(argument))


class ContradictingListing(Pop3Session):
    """LIST shows each number twice, with two sizes."""

    def list_(self, argument: str) -> bytes:
        if argument:
            return super().list_(argument)
        first, *lines, end = super().list_(argument).splitlines(keepends=True)
        return b"".join([first, *lines, *(line.replace(b" ", b" 1") for line in lines), end])


class ListsWhatIsNot(Pop3Session):
    """LIST and UIDL show a message that RETR does not know."""

    def list_(self, argument: str) -> bytes:
        listing = super().list_(argument)
        return listing if argument else listing.removesuffix(b".\r\n") + b"99 120\r\n.\r\n"

    def uidl(self, argument: str) -> bytes:
        listing = super().uidl(argument)
        return listing if argument else listing.removesuffix(b".\r\n") + b"99 ninety-nine\r\n.\r\n"

    def stat(self, argument: str) -> bytes:
        return self.ok(b"%d 120" % (len(self.listing) + 1))


class StatTellsMore(Pop3Session):
    """STAT tells ten messages more than there are."""

    def stat(self, argument: str) -> bytes:
        return self.ok(b"%d 120" % (len(self.listing) + 10))


class StatTellsNone(Pop3Session):
    """STAT tells an empty maildrop."""

    def stat(self, argument: str) -> bytes:
        return self.ok(b"0 0")


class StatTellsNonsense(Pop3Session):
    """STAT has no figure at all."""

    def stat(self, argument: str) -> bytes:
        return self.ok(b"many")


class ArrivesBehindList(Pop3Session):
    """A message arrives between LIST and UIDL, and is shown at once, against RFC 1939 section 3."""

    def list_(self, argument: str) -> bytes:
        reply = super().list_(argument)
        if not argument and self.maildrop.delivered == len(self.listing):
            self.maildrop.deliver(b"Subject: late\r\n\r\nI am late.\r\n")
            self.listing[len(self.listing) + 1] = self.maildrop.messages[-1]
        return reply


class ArrivesBehindRetr(Pop3Session):
    """A message arrives while others are retrieved, and is shown at once."""

    def retr(self, argument: str) -> bytes:
        if self.maildrop.delivered == len(self.listing):
            self.maildrop.deliver(b"Subject: late\r\n\r\nI am late.\r\n")
            self.listing[len(self.listing) + 1] = self.maildrop.messages[-1]
        return super().retr(argument)


class Vanishes(Pop3Session):
    """A message is gone, for this session, once the listings were asked for."""

    def _hide(self, reply: bytes) -> bytes:
        self.listing.pop(HIDDEN, None)
        return reply

    def uidl(self, argument: str) -> bytes:
        return self._hide(super().uidl(argument))


class VanishesAndRenumbers(Pop3Session):
    """A message is gone, for this session, between LIST and UIDL; those behind it move up."""

    def list_(self, argument: str) -> bytes:
        reply = super().list_(argument)
        if not argument:
            kept: list[StoredMessage] = [one for number, one in self.listing.items() if number != HIDDEN]
            self.listing = dict(enumerate(kept, start=1))
        return reply


def _doubled(listing: bytes) -> bytes:
    first, *lines, end = listing.splitlines(keepends=True)
    return b"".join([first, *(line * 2 for line in lines), end])
