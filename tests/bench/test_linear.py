"""How the time of what reads strangers' octets grows: for twice as much, twice as long, whatever it is.

Each figure is the worst ratio over several hostile inputs, of the best of some runs each. Below 2.3 is expected; time
on a busy machine proves nothing, so `make bench` prints it and asserts nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import process_time

import pytest

from pipeline.migration import fetchmailrc, getmailrc, mpoprc
from pipeline.migration.seen import Owner, of_fetchmail, of_getmail, of_mpop
from pipeline.migration.theirs import Place, Unreadable
from stages.mail.addresses import first_mailbox, leading_path, mailboxes
from stages.mail.headers import MAX_HEADER_OCTETS, scan, subject
from stages.smtp.commands import RSET, Envelope
from stages.smtp.protocol import SmtpProtocol
from stages.smtp.replies import Extensions, parse_reply
from stages.smtp.transaction import TransactionResult
from stages.submit.verdict import judge
from stages.validate.reverse_path import derive

pytestmark = pytest.mark.bench

RUNS = 7


def replies(wire: bytes) -> None:
    """Read as many replies as there are, in pieces such as come from a network, and such as do not."""
    for size in (1, 1460, len(wire)):
        protocol = SmtpProtocol()
        protocol.receive(b"220 relay\r\n")
        for _ in range(wire.count(b"250 ") + 1):
            protocol.send(RSET)
        for start in range(0, len(wire), size):
            protocol.receive(wire[start : start + size])


def header(message: bytes) -> None:
    found = scan(message)
    subject(found)
    derive(found, "corp.example")


def addresses(value: bytes) -> None:
    for _ in mailboxes(value, "corp.example"):
        pass
    first_mailbox(value, "corp.example")
    leading_path(value, "corp.example")


def verdict(texts: bytes) -> None:
    """Judge a message with a recipient for each octet, every third of them refused, all in as many words."""
    said = [parse_reply(code, (texts[:1000],)) for code in (250, 250, 550)]
    replies_to_rcpt = tuple(said[number % 3] for number in range(len(texts)))
    facts = TransactionResult(
        envelope=Envelope(reverse_path="", recipients=("r@corp.example",) * len(texts), octets=1),
        offered=Extensions(),
        mail=parse_reply(250, (texts,)),
        recipients=replies_to_rcpt,
        data=parse_reply(354, (b"go",)),
        finals=replies_to_rcpt,
        dot_sent=True,
    )
    judge(facts)


def files_of_others(text: bytes) -> None:
    place = Place(directory=Path("/etc"), home=Path("/root"))
    for parse in (fetchmailrc.mailboxes, getmailrc.mailboxes, mpoprc.mailboxes):
        with suppress(Unreadable):
            parse(text.decode("latin-1"), place)
    lines = text.splitlines(keepends=True)
    for found in (of_fetchmail(lines, [Owner.of("a", "b")]), of_getmail(lines), of_mpop(lines)):
        for _ in found:
            pass


LONG = b"250-" + b"x" * 8000 + b"\r\n"
WORDS = b"Subject: =?utf-8?q?a?=\n =?utf-8?b?YQ==?=\n "
UNITS: Mapping[Callable[[bytes], None], tuple[int, tuple[bytes, ...]]] = {
    replies: (60_000, (b"250 ok\r\n", b"250-x\r\n250-x\r\n250 x\r\n", LONG, b"x", b"\r", b"250")),
    header: (
        MAX_HEADER_OCTETS // 2,
        (b"X: y\r\n", b"From:\r", b"\r", b"\n ", b"a", WORDS, b"\r\r\n ", b"From: a,\n"),
    ),
    addresses: (
        100_000,
        (b"(", b"()", b"a ", b"a,", b"<@a:", b'"', b'\\"', b"a@", b"<>", b"[", "ü".encode(), b"a;", b"a:"),
    ),
    files_of_others: (
        60_000,
        (
            *(
                b"# c\n",
                b"#",
                b"\\\n",
                b"'a",
                b'"',
                b"poll a user b is c ",
                b"is a ",
                b"user a ",
                b"defaults keep ",
                b"= ",
            ),
            *(
                b"[retriever]\n",
                b"x = 1\n  2\n",
                b" \n",
                b"account a\n",
                b"account a : ",
                b"defaults\nhost a\n",
                b"a@b c\n",
            ),
            *(b"-", b" 1 a b\n", b"a\0001\n", b"poll a proto pop3 user b antispam 1 1 1 aka x y "),
        ),
    ),
    verdict: (3_000, (b"\0", b"\x1b[2J", b"\xff", b"5.7.1 ")),
}


def seconds(work: Callable[[bytes], None], octets: bytes) -> float:
    started = process_time()
    work(octets)
    return process_time() - started


@pytest.mark.parametrize("work", UNITS, ids=lambda work: work.__name__)
def test_twice_as_much_takes_twice_as_long(work: Callable[[bytes], None]) -> None:
    count, units = UNITS[work]
    ratios: dict[float, tuple[bytes, float]] = {}
    for unit in units:
        once, twice = (unit * (times * count // len(unit)) for times in (1, 2))
        took = min(seconds(work, once) for _ in range(RUNS))
        ratios[min(seconds(work, twice) for _ in range(RUNS)) / took] = (unit, took)
    worst = max(ratios)
    unit, took = ratios[worst]
    cost = f"{count:>7} octets {took * 1000:8.2f} ms"
    print(f"\n{work.__name__:<10} {cost}, twice as many {worst:.2f} times that ({unit[:20]!r})")
