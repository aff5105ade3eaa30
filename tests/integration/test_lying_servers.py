"""Servers that lie: whatever they do, each message is delivered once, still at the provider, or in Badmail.

Each row of the tables is one behaviour: an odd server, and the events that say what it did. `tests.support.lying` asks
of each the whole sentence: conservation, no DELE without a receipt, nothing forged in custody, the next account polled
on time, these events and no others; and in the end, with the server come to its senses, each message delivered once.
What bounds memory is in tests/unit/stages/pop3/test_bounds.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.demo.pop3_server import Deletion, Manners, Pop3Session, StoredMessage
from spool.route import Route
from stages.runner import Mode
from stages.settings import TlsMode
from tests.support.fetching import Fetching, Provider, mail
from tests.support.lying import MAILS, Lie, Trial
from tests.support.odd_listings import (
    ArrivesBehindList,
    ArrivesBehindRetr,
    CaseUidls,
    ContradictingListing,
    ControlUidls,
    DoubledListings,
    EmptyUidls,
    ListLineMissing,
    ListsWhatIsNot,
    LongUidls,
    PathUidls,
    ShuffledListings,
    SizesBeyond64Bits,
    SizesNegative,
    SizesText,
    SizesTooLarge,
    SizesTooSmall,
    SizesWithLf,
    SizesZero,
    SpacedUidls,
    StatTellsMore,
    StatTellsNone,
    StatTellsNonsense,
    UidlLineMissing,
    Vanishes,
    VanishesAndRenumbers,
)
from tests.support.odd_pop3 import (
    CutsRetrievals,
    EmptyRetrievals,
    EndlessCapabilities,
    EndlessLine,
    EndlessList,
    ForgetsDeletions,
    FreshUidls,
    InjectsBehindStls,
    NeverStuffs,
    NoTlsBehindStls,
    NumbersAsUidls,
    OneUidlForAll,
    RefusesQuit,
    RefusesStls,
    RenumbersAfterDele,
    RepliesTooLong,
    SilentAfterLogin,
    UnaskedReplies,
    says_at_first,
)
from tests.support.odd_retrievals import (
    CutsFirstShort,
    CutsQuit,
    CutsShort,
    Drips,
    EndlessFlood,
    EndlessRetr,
    ForgesMessage,
    GivesFirstAlways,
    GivesFirstAsSecond,
    GivesNextOne,
    GivesSecondAsFirst,
    HalfDeleted,
    RefusesDele,
    Scans,
    StrayLines,
    ThrowsAwayInput,
    cut_at,
)

STARTTLS = TlsMode.STARTTLS
PLAIN = Manners(pipelining=False)
INEXACT = Manners(added_octets=3)
SOON = timedelta(seconds=0.4)
ALIKE = (mail(1), mail(2), mail(3))  # of one size


def reuses(provider: Provider) -> None:
    """Another message comes under the UIDL of one that was deleted."""
    if provider.drop.messages == []:
        provider.put(b"00000001", mail(7, "Under an old UIDL."))


UIDLS = {
    "no UIDL": Lie(manners=Manners(uidl=False), events={"UidlsOdd": 1}),
    "no UIDL and no pipelining": Lie(manners=Manners(uidl=False, pipelining=False), events={"UidlsOdd": 1}),
    "they repeat": Lie(session=OneUidlForAll, lasts=True, events={"UidlsOdd": 1}),
    "they differ only in case": Lie(session=CaseUidls),
    "some are empty": Lie(session=EmptyUidls, events={"UidlsOdd": 1}),
    "over 70 octets": Lie(session=LongUidls, events={"UidlsOdd": 1}),
    "with spaces": Lie(session=SpacedUidls, events={"UidlsOdd": 1}),
    "with spaces, as sentinels": Lie(session=SpacedUidls, manners=INEXACT, events={"UidlsOdd": 1, "SizesInexact": 1}),
    "with control octets": Lie(session=ControlUidls, events={"UidlsOdd": 1}),
    "with control octets, as sentinels": Lie(
        session=ControlUidls, manners=INEXACT, events={"UidlsOdd": 1, "SizesInexact": 1}
    ),
    "with path characters": Lie(session=PathUidls),
    "new ones each session": Lie(
        session=FreshUidls, leave=None, polls=3, lasts=True, events={"UidlsDoubted": 1, "FoundAgain": 2}
    ),
    "the number of the message": Lie(
        session=NumbersAsUidls, leave=None, polls=2, lasts=True, events={"UidlsDoubted": 1, "FoundAgain": 1}
    ),
    "reused after deletion": Lie(polls=2, between=reuses, events={"UidlReused": 1}),
}

SIZES = {
    "too large": Lie(session=SizesTooLarge, events={"SizesInexact": 1}),
    "too small": Lie(session=SizesTooSmall, events={"SizesInexact": 1}),
    "zero": Lie(session=SizesZero, events={"SizesInexact": 1}),
    "negative": Lie(session=SizesNegative, events={"SizesInexact": 1}),
    "text": Lie(session=SizesText, events={"SizesInexact": 1}),
    "2^64": Lie(session=SizesBeyond64Bits, events={"SizesInexact": 1}),
    "line ends counted as one octet": Lie(session=SizesWithLf),
}

LISTINGS = {
    "a line of LIST missing": Lie(session=ListLineMissing, events={"ListingsDisagree": 1, "SizesInexact": 1}),
    "a line of UIDL missing": Lie(session=UidlLineMissing, events={"ListingsDisagree": 1, "UidlsOdd": 1}),
    "shuffled": Lie(session=ShuffledListings),
    "doubled": Lie(session=DoubledListings),
    "doubled and contradicting": Lie(session=ContradictingListing, events={"PollFailed": 1}),
    "a message that does not exist": Lie(session=ListsWhatIsNot, events={"RetrievalRefused": 1}),
    "STAT tells more": Lie(session=StatTellsMore, events={"ListingsDisagree": 1}),
    "STAT tells none": Lie(session=StatTellsNone, events={"ListingsDisagree": 1}),
    "STAT tells no figure": Lie(session=StatTellsNonsense, events={"PollFailed": 1}),
    "a message arrives between LIST and UIDL": Lie(
        session=ArrivesBehindList, events={"ListingsDisagree": 1, "SizesInexact": 1}
    ),
    "a message arrives between two RETRs": Lie(session=ArrivesBehindRetr),
    "a message vanishes behind the listings": Lie(session=Vanishes, events={"RetrievalRefused": 1}),
    "a message vanishes between LIST and UIDL, and others move up": Lie(
        session=VanishesAndRenumbers,
        events={
            "ListingsDisagree": 1,
            "UidlsOdd": 1,
            "FellOutOfStep": 1,
            "SizesInexact": 1,
            "RetrievalRefused": 1,
            "FoundAgain": 1,
        },
    ),
}

CUT = {"WindowBroke": 1, "MessageBroke": 2, "PollFailed": 1}
STRAY = {"MessageBroke": 1, "SessionBroke": 1, "PollFailed": 1}
RETRIEVALS = {
    # In the status line, the header, the body, the terminator.
    **{f"cut at {at}": Lie(session=cut_at(at), events=CUT) for at in (0, 1, 3, 10, 30, 90, -5, -4, -3, -2, -1)},
    "cut in half, one by one": Lie(session=CutsRetrievals, manners=PLAIN, events={"MessageBroke": 3, "PollFailed": 1}),
    "half of it, properly ended": Lie(
        session=CutsShort, events={"FellOutOfStep": 1, "MessageDoubted": 1, "FoundAgain": 1}
    ),
    "half of the first one, properly ended": Lie(session=CutsFirstShort, events={"MessageDoubted": 1}),
    "half of the first one, properly ended, one by one": Lie(
        session=CutsFirstShort, manners=PLAIN, events={"MessageDoubted": 1}
    ),
    "half of it, properly ended, one by one": Lie(session=CutsShort, manners=PLAIN, events={"MessageDoubted": 1}),
    "without end": Lie(session=EndlessRetr, session_timeout=timedelta(seconds=1.5), events=CUT),
    "without end, and fast": Lie(
        session=EndlessFlood,
        limit_octets=2_000_000,
        events={"FellOutOfStep": 1, "MessageBroke": 3, "PollFailed": 1},
    ),
    "empty": Lie(session=EmptyRetrievals, events={"RetrievalRefused": 1}),
    "a reply that nobody asked for behind it": Lie(session=UnaskedReplies, events={"FellOutOfStep": 1, **STRAY}),
    "a reply that nobody asked for, one by one": Lie(session=UnaskedReplies, manners=PLAIN, events=STRAY),
    "a line that nobody asked for behind it": Lie(session=StrayLines, events={"FellOutOfStep": 1, **STRAY}),
    "a forged message behind it": Lie(
        session=ForgesMessage, events={"FellOutOfStep": 1, "SessionBroke": 1, "PollFailed": 1}
    ),
    "a forged message behind it, one by one": Lie(session=ForgesMessage, manners=PLAIN, events=STRAY),
    "without dot-stuffing": Lie(
        session=NeverStuffs, events={"FellOutOfStep": 1, "MessageBroke": 1, "FoundAgain": 1, "PollFailed": 1}
    ),
    "bare LF, bare CR, NUL, dots": Lie(mails=(mail(1, "a\n.\nb\r.\rc\r\n..\r\n.x\0\n.\r\n"), b"\r\nx", b"no end")),
    "a line of 50 MB": Lie(mails=(mail(1), mail(2, "x" * 50_000_000), mail(3))),
    "-ERR to one RETR": Lie(manners=Manners(refused_retrievals=frozenset({2})), events={"RetrievalRefused": 1}),
}

# Another message is given than was asked for: of its own size, or of the size of the one that was asked for.
UNLIKE_GIVEN = {
    GivesFirstAsSecond: {"FellOutOfStep": 1, "MessageDoubted": 1, "FoundAgain": 1},
    GivesSecondAsFirst: {"MessageDoubted": 1},
    GivesFirstAlways: {"FellOutOfStep": 1, "MessageDoubted": 2, "FoundAgain": 1},
    GivesNextOne: {"MessageDoubted": 3},
}
DOUBTED = {GivesFirstAsSecond: 1, GivesSecondAsFirst: 1, GivesFirstAlways: 2}
WRONG = {
    **{f"{kind.__name__}, unlike": Lie(session=kind, events=events) for kind, events in UNLIKE_GIVEN.items()},
    **{
        f"{kind.__name__}, unlike, no TOP": Lie(session=kind, manners=Manners(top=False), events=events)
        for kind, events in UNLIKE_GIVEN.items()
    },
    **{
        f"{kind.__name__}, alike": Lie(session=kind, mails=ALIKE, manners=manners, events={"MessageDoubted": count})
        for kind, count in DOUBTED.items()
        for manners in (Manners(), PLAIN)
    },
    **{
        f"{kind.__name__}, alike, no UIDL": Lie(
            session=kind, mails=ALIKE, manners=Manners(uidl=False), events={"UidlsOdd": 1, "MessageDoubted": count}
        )
        for kind, count in DOUBTED.items()
    },
    **{
        f"{kind.__name__}, inexact": Lie(
            session=kind, manners=INEXACT, events={"SizesInexact": 1, "MessageDoubted": count}
        )
        for kind, count in DOUBTED.items()
    },
    # Nobody can tell; but nobody loses anything.
    "GivesNextOne, alike": Lie(session=GivesNextOne, mails=ALIKE),
}

DELETIONS = {
    "-ERR to one DELE": Lie(session=RefusesDele, polls=2, events={"DeletionRefused": 1, "FoundAgain": 1}),
    "act at once": Lie(manners=Manners(deletion=Deletion.AT_DELE)),
    "act on a drop": Lie(manners=Manners(deletion=Deletion.ON_DROP)),
    "never act": Lie(session=ForgetsDeletions, polls=2, events={"FoundAgain": 1}),
    "act by half": Lie(session=HalfDeleted, polls=2, events={"FoundAgain": 1}),
    "QUIT refused": Lie(session=RefusesQuit, events={"SessionBroke": 1, "FoundAgain": 2, "PollFailed": 1}),
    "QUIT cut": Lie(session=CutsQuit, events={"SessionBroke": 1}),
    "numbers shift after each DELE": Lie(session=RenumbersAfterDele),
}

GAVE_UP = {"PollFailed": 1}
HANG_UPS = {
    **dict.fromkeys(range(1, 6), GAVE_UP),
    2: {"CapabilitiesSkipped": 1, "PollFailed": 1},  # behind the login, where CAPA is asked again
    6: CUT,
    7: {"WindowBroke": 1, "SessionBroke": 1, "PollFailed": 1},
    8: {"WindowBroke": 1, "SessionBroke": 1, "FoundAgain": 1, "PollFailed": 1},
    9: {"SessionBroke": 1, "FoundAgain": 3},
    10: {"SessionBroke": 1, "FoundAgain": 4},
    11: {"SessionBroke": 1, "FoundAgain": 2},
    12: {"SessionBroke": 1, "FoundAgain": 2},
    13: {},
}
CONDUCT = {
    "input thrown away": Lie(
        session=ThrowsAwayInput, timeout=SOON, polls=2, events={"WindowBroke": 1, "FoundAgain": 1}
    ),
    "input thrown away, sizes alike": Lie(
        session=ThrowsAwayInput, mails=ALIKE, timeout=SOON, polls=2, events={"WindowBroke": 1, "FoundAgain": 1}
    ),
    **{
        f"hangs up after {count} commands": Lie(manners=Manners(hang_up_after=count), events=events)
        for count, events in HANG_UPS.items()
    },
    "one octet at a time": Lie(session=Drips),
    "silent": Lie(session=SilentAfterLogin, timeout=SOON, events=GAVE_UP),
    "endless greeting": Lie(session=says_at_first(b"+OK " + b"x" * 100_000), events=GAVE_UP),
    "endless line": Lie(session=EndlessLine, events=GAVE_UP),
    "endless line, all at once": Lie(session=RepliesTooLong, events=GAVE_UP),
    "endless list": Lie(session=EndlessList, events=GAVE_UP),
    "endless capabilities": Lie(session=EndlessCapabilities, events=GAVE_UP),
    "SMTP": Lie(session=says_at_first(b"220 mail.isp.example ESMTP\r\n"), events=GAVE_UP),
    "IMAP": Lie(session=says_at_first(b"* OK IMAP4rev1 ready\r\n"), events=GAVE_UP),
    "SSH": Lie(session=says_at_first(b"SSH-2.0-OpenSSH_9.2\r\n"), events=GAVE_UP),
    "HTTP": Lie(session=says_at_first(b"HTTP/1.1 400 Bad Request\r\n\r\n"), events=GAVE_UP),
    "TLS": Lie(session=says_at_first(b"\x15\x03\x01\0\x02\x02\x46"), timeout=SOON, events=GAVE_UP),
    "nothing": Lie(session=says_at_first(b""), timeout=SOON, events=GAVE_UP),
    "STLS refused": Lie(session=RefusesStls, tls_mode=STARTTLS, offers_tls=True, events=GAVE_UP),
    "STLS missing": Lie(tls_mode=STARTTLS, events=GAVE_UP),
    "garbage behind STLS": Lie(session=NoTlsBehindStls, tls_mode=STARTTLS, offers_tls=True, events=GAVE_UP),
    "plain text injected behind STLS": Lie(
        session=InjectsBehindStls, tls_mode=STARTTLS, offers_tls=True, events=GAVE_UP
    ),
}


@pytest.mark.parametrize("lie", UIDLS.values(), ids=UIDLS)
def test_whatever_uidls_are_the_whole_sentence_holds(lie: Lie, tmp_path: Path) -> None:
    Trial(tmp_path, lie).run()


@pytest.mark.parametrize("lie", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("pipelining", [True, False])
def test_whatever_sizes_are_told_the_whole_sentence_holds(lie: Lie, pipelining: bool, tmp_path: Path) -> None:
    Trial(tmp_path, replace(lie, manners=Manners(pipelining=pipelining))).run()


@pytest.mark.parametrize("lie", LISTINGS.values(), ids=LISTINGS)
def test_whatever_is_listed_the_whole_sentence_holds(lie: Lie, tmp_path: Path) -> None:
    Trial(tmp_path, lie).run()


@pytest.mark.parametrize("lie", RETRIEVALS.values(), ids=RETRIEVALS)
def test_whatever_answers_a_retr_the_whole_sentence_holds(lie: Lie, tmp_path: Path) -> None:
    Trial(tmp_path, lie).run()


@pytest.mark.parametrize("lie", WRONG.values(), ids=WRONG)
def test_another_message_than_was_asked_for_costs_none(lie: Lie, tmp_path: Path) -> None:
    """docs/decisions/0009: what LIST, TOP and the other messages tell of one."""
    Trial(tmp_path, lie).run()


@pytest.mark.parametrize("lie", DELETIONS.values(), ids=DELETIONS)
def test_whatever_becomes_of_deletions_the_whole_sentence_holds(lie: Lie, tmp_path: Path) -> None:
    Trial(tmp_path, lie).run()


@pytest.mark.parametrize("lie", CONDUCT.values(), ids=CONDUCT)
def test_however_a_server_behaves_the_whole_sentence_holds(lie: Lie, tmp_path: Path) -> None:
    Trial(tmp_path, lie).run()


def test_what_a_scanner_adds_on_the_way_makes_no_other_message(tmp_path: Path) -> None:
    """TOP and LIST do not know the field that RETR has; the Message-ID is the same."""
    fetching = Fetching(tmp_path)
    provider = Provider(MAILS, session=Scans)
    fetching.poll(provider)
    assert [content.removeprefix(b"X-Scanned: yes\r\n") for content in fetching.contents()] == list(MAILS)
    assert provider.drop.messages == []
    assert len(fetching.events("SizesInexact")) == 1


def test_of_100_000_messages_a_session_takes_as_many_as_it_may_and_the_next_account_does_not_wait(
    tmp_path: Path,
) -> None:
    stop: list[Callable[[], None]] = []

    class StopsAtQuit(Pop3Session):
        def quit(self, argument: str) -> bytes:
            stop[0]()
            return super().quit(argument)

    async def run() -> None:
        async with fetching.working(crowded, honest, mode=Mode.ONCE) as (runtime, work):
            stop.append(runtime.stopping.set)
            await work

    fetching = Fetching(tmp_path)
    fetching.fetch(max_messages_per_session=5)
    crowded, honest = Provider(session=StopsAtQuit), Provider(MAILS, user="honest")
    crowded.drop.messages = [StoredMessage(uidl=b"%06d" % number, content=mail(number)) for number in range(100_000)]
    asyncio.run(run())
    assert fetching.contents("sales") == [mail(number) for number in range(5)]
    assert len(crowded.drop.messages) == 100_000 - 5
    assert [line for line in crowded.commands if line.startswith("DELE")] == [f"DELE {n}" for n in (5, 4, 3, 2, 1)]
    assert fetching.contents("honest") == list(MAILS)


def test_a_message_without_end_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit is known; the server and its message are given up, and the others go on."""
    fetching = Fetching(tmp_path)
    fetching.fetch(max_message_octets=None)
    Route(fetching.spool).learn_size(None)
    large = fetching.spool.layout.large
    statvfs = os.statvfs

    def small_disk(path: Path) -> SimpleNamespace:
        used = sum(file.stat().st_size for file in large.iterdir())
        true = statvfs(path)
        return SimpleNamespace(f_bavail=max(0, 8_000_000 - used), f_frsize=1, f_flag=true.f_flag)

    fetching.min_free_octets(4_000_000)
    monkeypatch.setattr(os, "statvfs", small_disk)
    endless, honest = Provider(MAILS, session=EndlessFlood), Provider(MAILS, user="honest")
    for _ in range(2):
        fetching.poll(endless, honest)
    assert list(large.iterdir()) == []
    assert fetching.contents() == list(MAILS)
    assert len(endless.drop.messages) == 3
    assert fetching.events("FellOutOfStep") == [
        "out of step: message 1: the disk is nearly full of what came where LIST said 72; going on one by one"
    ]
    assert fetching.events("MessageBroke")


def test_a_disk_that_fills_up_under_an_honest_message_blames_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching = Fetching(tmp_path)
    large = fetching.spool.layout.large
    room = [8_000_000]
    statvfs = os.statvfs

    def small_disk(path: Path) -> SimpleNamespace:
        used = sum(file.stat().st_size for file in large.iterdir())
        return SimpleNamespace(f_bavail=max(0, room[0] - used), f_frsize=1, f_flag=statvfs(path).f_flag)

    fetching.min_free_octets(4_000_000)
    monkeypatch.setattr(os, "statvfs", small_disk)
    provider = Provider([mail(1, "x" * 6_000_000)])
    assert not fetching.poll(provider).is_complete
    assert fetching.contents() == []
    assert fetching.events("MessageBroke") == []
    assert len(fetching.events("FetchPaused")) == 1
    room[0] = 20_000_000
    fetching.poll(provider)
    assert fetching.contents() == [mail(1, "x" * 6_000_000)]
    assert provider.drop.messages == []


def test_a_window_asks_for_no_more_than_the_disk_has_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for comes, however full the disk is by then."""
    fetching = Fetching(tmp_path)
    segments = fetching.spool.layout.segments
    statvfs = os.statvfs

    def used() -> int:
        return sum(file.stat().st_size for file in segments.iterdir())

    def small_disk(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=8_000_000 - used(), f_frsize=1, f_flag=statvfs(path).f_flag)

    fetching.min_free_octets(4_000_000)
    monkeypatch.setattr(os, "statvfs", small_disk)
    provider = Provider([mail(number, "x" * 100_000) for number in range(70)])
    assert not fetching.poll(provider).is_complete
    assert 3_500_000 < used() < 4_200_000
    assert len(fetching.events("FetchPaused")) == 1
