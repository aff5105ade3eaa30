"""Decide, from a listing and from what we have had, what a session asks for and what stays at the provider.

Pure: a listing, the ledger and the account's state in, a `Plan` out. "Had or new" stands here as far as it can be
decided without a message's content; what needs the content is left to `stages.fetch.had`. A ledger of 100,000 entries
is never held whole: `Facts` takes them UIDL by UIDL, and of messages that simply stay it keeps no entry.

**Invariants:** a message with a UIDL that is unknown and trusted is new. A known one is kept, or compared before it may
be deleted; never is one deleted for its UIDL alone. In doubt, and without UIDLs, every message is compared by content.
What is skipped is left for a reason that is recorded, or is waited for.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from spool.accounts import AccountState, Left, Why
from spool.envelope import Reason, Uidl
from spool.ledger import Entry
from spool.message_file import header_digest
from stages.settings import Oversize

BREAKS_AT_MOST = 3
BROKEN_AGAIN_AFTER = timedelta(days=1)
UNKNOWN_LIMIT_OCTETS = 10 * 1024 * 1024
# Below this a whole message costs about as much as its header alone, and proves more.
PEEK_OVER_OCTETS = 64 * 1024
_NO_HEADER = header_digest(b"")

Key = tuple[Uidl, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A message as LIST and UIDL show it; `octets` is None where LIST gave no figure, `uidl` is empty without one."""

    number: int
    octets: int | None
    uidl: Uidl

    @property
    def key(self) -> Key:
        """What names the message among those that stay at the provider."""
        return self.uidl, self.octets or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The largest message that may be fetched; `octets` None: any, or, where not `is_known`, nobody said yet."""

    octets: int | None
    source: str
    is_known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the spool remembers of an account; `entries` is empty where `Facts` are told of them bit by bit."""

    state: AccountState
    entries: Sequence[Entry] = ()
    left: Sequence[Left] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the configuration, the relay and this poll ask for.

    `leave` is how long a message stays at the provider, None: for ever. `put_off` names messages that broke a session
    of this poll already, `unsure` UIDLs of the poll's last session whose messages are new, or else what vanished.
    `maildrop` names the one that is listed; None where that does not matter.
    """

    leave: timedelta | None
    limit: Limit
    oversize: Oversize = Oversize.LEAVE
    can_peek: bool = True
    put_off: frozenset[Key] = frozenset()
    unsure: frozenset[Uidl] = frozenset()
    maildrop: str | None = None

    @property
    def keeps_any(self) -> bool:
        """Whether messages that we have had stay at the provider at all."""
        return self.leave != timedelta(0)

    def keeps(self, entry: Entry, *, now: datetime) -> bool:
        """Whether a message that we have had still stays at the provider."""
        return self.leave is None or now - entry.had_at < self.leave


class Step(enum.Enum):
    """How a message is asked for."""

    FETCH = "fetch"
    """RETR: it is new by its UIDL."""
    COMPARE = "compare"
    """RETR: its content decides whether it was had."""
    PEEK = "peek"
    """TOP: its header decides whether it may be deleted."""


class Stays(enum.Enum):
    """Why a message that may be new is not asked for."""

    OVERSIZE = "oversize"
    """It is larger than the limit, and is left."""
    BROKEN = "broken"
    """Its RETR broke sessions, and it is not its turn."""
    WAITING = "waiting"
    """It is large, and the limit is not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A message that the session asks for; `objection` sends it to Badmail."""

    message: Listed
    step: Step
    objection: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a session does with a listing.

    `alone` broke a session before. `stays` has, by number, what may be new and is not asked for. `left` stays at the
    provider and is to be noted, `reported` for the first time; `fitting` was left and is not any more. `round` is that
    of the comparison by content under way, 0 while UIDLs are trusted; `doubt` says why it begins now. `known` has the
    entries of messages that may be asked for though something was had under their UIDL. `suspects` are entries that
    vanished just when as many unknown messages appeared, `unnamed` those that came without UIDL and may still be
    there. `count_fell` by what the last QUIT confirmed.
    """

    peeks: tuple[Wanted, ...] = ()
    retrievals: tuple[Wanted, ...] = ()
    alone: tuple[Wanted, ...] = ()
    stays: Mapping[int, Stays] = field(default_factory=dict)
    left: tuple[Left, ...] = ()
    reported: tuple[Left, ...] = ()
    fitting: tuple[Left, ...] = ()
    waiting: int = 0
    put_off: int = 0
    round: int = 0
    doubt: str | None = None
    known: Mapping[Uidl, Sequence[Entry]] = field(default_factory=dict)
    count_fell: bool = False
    suspects: tuple[Entry, ...] = ()
    unnamed: tuple[Entry, ...] = ()
    vanished: tuple[Entry, ...] = ()
    returned: tuple[Entry, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Sorted:
    """The plan while it is made."""

    fetches: list[Wanted] = field(default_factory=list)
    compares: list[Wanted] = field(default_factory=list)
    peeks: list[Wanted] = field(default_factory=list)
    alone: list[Wanted] = field(default_factory=list)
    stays: dict[int, Stays] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    reported: list[Left] = field(default_factory=list)
    fitting: list[Left] = field(default_factory=list)
    waiting: int = 0
    put_off: int = 0


class Facts:
    """A listing beside what is remembered: told of the entries UIDL by UIDL, it knows what the plan rests on.

    `settled` are UIDLs under which as many messages were had as are shown, and stay. `known` has the entries under all
    others that are shown. `compared` are UIDLs all of whose messages were compared in the round under way.
    """

    def __init__(self, listing: Sequence[Listed], *, memory: Memory, rules: Rules, now: datetime) -> None:
        self.listing = listing
        self.state = memory.state
        self.left = {(left.uidl, left.octets): left for left in memory.left}
        self.rules = rules
        self.now = now
        self.shown = Counter(message.uidl for message in listing if message.uidl)
        self.settled: set[Uidl] = set()
        self.known: dict[Uidl, Sequence[Entry]] = {}
        self.compared: set[Uidl] = set()
        self.has_entries = False
        self.still_shown = 0
        self.keeps_shown = False
        self.keeps_vanished = False
        self.vanished: list[Entry] = []
        self.returned: list[Entry] = []
        self._unnamed: Sequence[Entry] = ()

    def note(self, entries: Sequence[Entry]) -> None:
        """Take all that we have had under one UIDL, oldest first; each UIDL once."""
        self.has_entries = True
        uidl = entries[0].uidl
        if not uidl:
            self._unnamed = [entry for entry in entries if entry.is_shown]
            return
        is_kept = [self.rules.keeps(entry, now=self.now) for entry in entries]
        shown = self.shown[uidl]
        if not shown:
            # What the last listing showed, or what was admitted since, and this one does not show.
            gone = [(entry, kept) for entry, kept in zip(entries, is_kept, strict=True) if entry.is_shown]
            self.vanished += [entry for entry, _ in gone]
            # Of what was adopted or imported nobody knows the content: comparing could not find it again.
            self.keeps_vanished |= any(kept and entry.identity is not None for entry, kept in gone)
            return
        self.still_shown += min(shown, len(entries))
        self.keeps_shown |= any(is_kept)
        self.returned += [entry for entry in entries if not entry.is_shown]
        if self.state.doubt_round and sum(entry.round == self.state.doubt_round for entry in entries) >= shown:
            self.compared.add(uidl)
        if len(entries) >= shown and is_kept[-1]:
            self.settled.add(uidl)
        else:
            self.known[uidl] = entries

    @property
    def unnamed(self) -> Sequence[Entry]:
        """Entries without UIDL that may still be in the maildrop."""
        return [one for one in self._unnamed if not one.is_deletion_asked] if self._are_gone else self._unnamed

    @property
    def deleted(self) -> Sequence[Entry]:
        """Entries without UIDL whose DELE became fact."""
        return [one for one in self._unnamed if one.is_deletion_asked] if self._are_gone else ()

    @property
    def has_moved(self) -> bool:
        """Whether the account had another maildrop when it was listed last."""
        return None not in (self.state.maildrop, self.rules.maildrop) and self.state.maildrop != self.rules.maildrop

    @property
    def count_fell(self) -> bool:
        """Whether the last QUIT confirmed deletions, and the count fell by them."""
        expected = self.state.expected_messages
        return expected is not None and len(self.listing) <= expected

    @property
    def _are_gone(self) -> bool:
        """Only a count can show that messages without UIDL went: it fell by all that were asked for."""
        asked = sum(entry.is_deletion_asked for entry in self._unnamed)
        return len(self.listing) + asked <= (self.state.listed_messages or 0)


def plan(listing: Sequence[Listed], *, memory: Memory, rules: Rules, now: datetime) -> Plan:
    """Decide about every message of a listing."""
    facts = Facts(listing, memory=memory, rules=rules, now=now)
    for entries in by_uidl(memory.entries):
        facts.note(entries)
    return decide(facts)


def by_uidl(entries: Iterable[Entry]) -> Iterable[Sequence[Entry]]:
    """Bring entries together that have one UIDL; their order stays."""
    found: dict[Uidl, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.uidl, []).append(entry)
    return found.values()


def decide(facts: Facts) -> Plan:
    """Decide about every message of the listing, all entries having been noted."""
    doubt = None if facts.state.doubt_round else _doubt(facts)
    round_number = facts.state.doubt_round or (facts.state.rounds + 1 if doubt else 0)
    chosen = _Sorted()
    for message in facts.listing:
        _choose(facts, message, chosen=chosen, must_compare=round_number > 0 and message.uidl not in facts.compared)
    gone = dict(facts.left)
    for message in facts.listing:
        gone.pop(message.key, None)
    return Plan(
        peeks=tuple(chosen.peeks),
        retrievals=(*chosen.fetches, *chosen.compares),
        alone=tuple(chosen.alone),
        stays=chosen.stays,
        left=tuple(chosen.left),
        reported=tuple(chosen.reported),
        fitting=(*chosen.fitting, *gone.values()),
        waiting=chosen.waiting,
        put_off=chosen.put_off,
        round=round_number,
        doubt=doubt,
        known=facts.known,
        count_fell=facts.count_fell,
        unnamed=tuple(facts.unnamed),
        suspects=() if round_number else _suspects(facts),
        vanished=(*facts.vanished, *facts.deleted),
        returned=tuple(facts.returned),
    )


def used(entries: Iterable[Entry], *, made: Plan, listing: Iterable[Listed], asked: Set[Uidl]) -> list[Entry]:
    """Those that stand for messages which the session does not ask for, or which are gone.

    No other message may be taken for theirs. `asked` are the UIDLs of all messages that are still to be compared.
    """
    shown = {message.uidl for message in listing}
    may_be_here = {entry.entry for entry in made.unnamed}

    def is_used(entry: Entry) -> bool:
        if not entry.uidl:
            return entry.entry not in may_be_here
        if entry.uidl in shown:
            return entry.uidl not in asked
        # Found in this round and gone since: an equal message that is still here is another one.
        return made.round > 0 and made.count_fell and entry.round == made.round

    return [entry for entry in entries if is_used(entry)]


def _doubt(facts: Facts) -> str | None:
    """Say why UIDLs cannot be trusted any more; None where they can.

    Doubt matters for messages that would be kept unread for their UIDL: known ones that are not kept are compared
    before they are deleted anyway, and unknown ones are downloaded anyway.
    """
    if not facts.has_entries or not facts.listing:
        return None
    if facts.has_moved:
        return "the account has another host or user name"
    if facts.rules.unsure and facts.rules.unsure.isdisjoint(facts.shown):
        return "they change from session to session"
    if facts.shown and facts.unnamed:
        return "messages that came without UIDL may have one now"
    if all(message.uidl == b"%d" % message.number for message in facts.listing):
        return "each is the number of its message"
    if facts.keeps_vanished:
        return "kept messages vanished"
    expected = facts.state.expected_messages
    if expected is not None and facts.still_shown > expected and facts.keeps_shown:
        return "the count did not fall by the confirmed deletions"
    return None


def _suspects(facts: Facts) -> tuple[Entry, ...]:
    """Entries that may be here under new UIDLs: they vanished, and the count did not fall.

    Where the messages that looked like them have kept their UIDLs since, they are other messages.
    """
    if facts.rules.unsure or len(facts.listing) < (facts.state.listed_messages or 0):
        return ()
    return tuple(entry for entry in facts.vanished if entry.identity is not None)


def _choose(facts: Facts, message: Listed, *, chosen: _Sorted, must_compare: bool) -> None:
    if must_compare or not message.uidl:
        _ask_within_limit(facts, Wanted(message=message, step=Step.COMPARE), chosen=chosen)
        return
    if message.uidl in facts.settled:
        return
    known = facts.known.get(message.uidl, ())
    if not known:
        _ask_within_limit(facts, Wanted(message=message, step=Step.FETCH), chosen=chosen)
    elif len(known) < facts.shown[message.uidl]:
        _ask(facts, Wanted(message=message, step=Step.COMPARE), chosen=chosen)
    else:
        step = Step.PEEK if _may_peek(facts, message, known=known) else Step.COMPARE
        _ask(facts, Wanted(message=message, step=step), chosen=chosen)


def _may_peek(facts: Facts, message: Listed, *, known: Sequence[Entry]) -> bool:
    return (
        facts.rules.can_peek
        and facts.shown[message.uidl] == 1
        and len(known) == 1
        and known[0].header not in (None, _NO_HEADER)
        and (message.octets or 0) > PEEK_OVER_OCTETS
    )


def _ask_within_limit(facts: Facts, wanted: Wanted, *, chosen: _Sorted) -> None:
    """Ask for what may be new, unless it is too large."""
    message, limit = wanted.message, facts.rules.limit
    octets = message.octets or 0
    before = facts.left.get(message.key)
    if not limit.is_known and octets > UNKNOWN_LIMIT_OCTETS:
        chosen.waiting += 1
        chosen.stays[message.number] = Stays.WAITING
        return
    if limit.octets is None or octets <= limit.octets:
        if before and before.why is Why.OVERSIZE:
            chosen.fitting.append(before)
        _ask(facts, wanted, chosen=chosen)
        return
    if facts.rules.oversize is Oversize.BADMAIL:
        text = f"{octets} octets are larger than {limit.octets}, {limit.source}"
        _ask(facts, replace(wanted, objection=Reason(stage="fetch", text=text)), chosen=chosen)
        return
    chosen.stays[message.number] = Stays.OVERSIZE
    is_reported = before is not None and before.why is Why.OVERSIZE
    left = Left(
        uidl=message.uidl,
        octets=octets,
        why=Why.OVERSIZE,
        limit_octets=limit.octets,
        limit_source=limit.source,
        reported_at=before.reported_at if before and is_reported else facts.now,
    )
    if left != before:
        chosen.left.append(left)
    if not is_reported:
        chosen.reported.append(left)


def _ask(facts: Facts, wanted: Wanted, *, chosen: _Sorted) -> None:
    """Ask for a message, at its turn."""
    before = facts.left.get(wanted.message.key)
    if before and before.why is Why.BROKEN:
        if wanted.message.key in facts.rules.put_off:
            chosen.put_off += 1
        elif _may_try(before, now=facts.now):
            chosen.alone.append(wanted)
            return
        chosen.stays[wanted.message.number] = Stays.BROKEN
        return
    match wanted.step:
        case Step.FETCH:
            chosen.fetches.append(wanted)
        case Step.COMPARE:
            chosen.compares.append(wanted)
        case Step.PEEK:
            chosen.peeks.append(wanted)


def _may_try(left: Left, *, now: datetime) -> bool:
    return left.breaks < BREAKS_AT_MOST or left.tried_at is None or now - left.tried_at >= BROKEN_AGAIN_AFTER
