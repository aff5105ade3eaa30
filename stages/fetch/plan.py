"""Decide, from a listing and from what we have had, what a session asks for and what stays at the provider.

Pure: a listing, the ledger and the account's state in, a `Plan` out. "Had or new" stands here as far as it can be
decided without a message's content; what needs the content is left to `stages.fetch.had`.

**Invariants:** a message with a UIDL that is unknown and trusted is new. A known one is kept, or compared before it may
be deleted; never is one deleted for its UIDL alone. In doubt, and without UIDLs, every message is compared by content.
What is skipped is left for a reason that is recorded, or is waited for.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
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
    """What the spool remembers of an account."""

    state: AccountState
    entries: Sequence[Entry]
    left: Sequence[Left]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the configuration, the relay and this poll ask for.

    `leave` is how long a message stays at the provider, None: for ever. `put_off` names messages that broke a session
    of this poll already, `unsure` UIDLs of the poll's last session whose messages are new, or else what vanished.
    """

    leave: timedelta | None
    limit: Limit
    oversize: Oversize = Oversize.LEAVE
    can_peek: bool = True
    put_off: frozenset[Key] = frozenset()
    unsure: frozenset[Uidl] = frozenset()

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
    of the comparison by content under way, 0 while UIDLs are trusted; `doubt` says why it begins now. `used` are
    entries that stand for messages which this session does not ask for, or which are gone: no other message may be
    taken for theirs. `suspects` are entries that vanished just when as many unknown messages appeared, `unnamed` those
    that came without UIDL and may still be there.
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
    used: tuple[Entry, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """A listing beside what is remembered, indexed once.

    `unnamed` are entries without UIDL that may still be in the maildrop, `deleted` those whose DELE became fact.
    """

    listing: Sequence[Listed]
    state: AccountState
    entries: Sequence[Entry]
    shown: Mapping[Uidl, int]
    known: Mapping[Uidl, Sequence[Entry]]
    unnamed: Sequence[Entry]
    deleted: Sequence[Entry]
    left: Mapping[Key, Left]
    rules: Rules
    now: datetime

    @property
    def vanished(self) -> tuple[Entry, ...]:
        """Entries that the last listing showed, or that were admitted since, and that this one does not show."""
        named = (entry for entry in self.entries if entry.uidl.octets and entry.uidl not in self.shown)
        return (*(entry for entry in named if entry.is_shown), *self.deleted)

    @property
    def count_fell(self) -> bool | None:
        """Whether the count fell by what the last QUIT confirmed; None where it confirmed nothing."""
        expected = self.state.expected_messages
        return None if expected is None else len(self.listing) <= expected


def plan(listing: Sequence[Listed], *, memory: Memory, rules: Rules, now: datetime) -> Plan:
    """Decide about every message of a listing."""
    facts = _facts(listing, memory=memory, rules=rules, now=now)
    doubt = None if facts.state.doubt_round else _doubt(facts)
    round_number = facts.state.doubt_round or (facts.state.rounds + 1 if doubt else 0)
    compared = _compared(facts, round_number)
    chosen = _Sorted()
    for message in listing:
        _choose(facts, message, chosen=chosen, must_compare=round_number > 0 and message.uidl not in compared)
    asked = {wanted.message.uidl for wanted in (*chosen.fetches, *chosen.compares, *chosen.alone)}
    listed_keys = {message.key for message in listing}
    gone = [left for key, left in facts.left.items() if key not in listed_keys]
    return Plan(
        peeks=tuple(chosen.peeks),
        retrievals=(*chosen.fetches, *chosen.compares),
        alone=tuple(chosen.alone),
        stays=chosen.stays,
        left=tuple(chosen.left),
        reported=tuple(chosen.reported),
        fitting=(*chosen.fitting, *gone),
        waiting=chosen.waiting,
        put_off=chosen.put_off,
        round=round_number,
        doubt=doubt,
        used=_used(facts, round_number, asked=asked),
        unnamed=tuple(facts.unnamed),
        suspects=() if round_number else _suspects(facts),
        vanished=facts.vanished,
        returned=tuple(entry for entry in memory.entries if not entry.is_shown and entry.uidl in facts.shown),
    )


def _facts(listing: Sequence[Listed], *, memory: Memory, rules: Rules, now: datetime) -> _Facts:
    shown = Counter(message.uidl for message in listing if message.uidl.octets)
    known: dict[Uidl, list[Entry]] = {}
    for entry in memory.entries:
        if entry.uidl in shown:
            known.setdefault(entry.uidl, []).append(entry)
    unnamed = [entry for entry in memory.entries if entry.is_shown and not entry.uidl.octets]
    asked = [entry for entry in unnamed if entry.is_deletion_asked]
    # Only a count can show that they went: it fell by all that were asked for.
    are_gone = len(listing) + len(asked) <= (memory.state.listed_messages or 0)
    return _Facts(
        listing=listing,
        unnamed=[entry for entry in unnamed if not entry.is_deletion_asked] if are_gone else unnamed,
        deleted=asked if are_gone else (),
        state=memory.state,
        entries=memory.entries,
        shown=shown,
        known=known,
        left={(left.uidl, left.octets): left for left in memory.left},
        rules=rules,
        now=now,
    )


def _doubt(facts: _Facts) -> str | None:
    """Say why UIDLs cannot be trusted any more; None where they can.

    Doubt matters for messages that would be kept unread for their UIDL: known ones that are not kept are compared
    before they are deleted anyway, and unknown ones are downloaded anyway.
    """
    if not facts.entries or not facts.listing:
        return None
    if facts.rules.unsure and facts.rules.unsure.isdisjoint(facts.shown):
        return "they change from session to session"
    if facts.shown and facts.unnamed:
        return "messages that came without UIDL may have one now"
    if all(message.uidl.octets == b"%d" % message.number for message in facts.listing):
        return "each is the number of its message"
    kept = [entry for entry in facts.entries if entry.uidl.octets and facts.rules.keeps(entry, now=facts.now)]
    if any(entry.is_shown and entry.uidl not in facts.shown for entry in kept):
        return "kept messages vanished"
    expected = facts.state.expected_messages
    still_shown = sum(min(facts.shown[uidl], len(entries)) for uidl, entries in facts.known.items())
    if expected is not None and still_shown > expected and any(entry.uidl in facts.shown for entry in kept):
        return "the count did not fall by the confirmed deletions"
    return None


def _suspects(facts: _Facts) -> tuple[Entry, ...]:
    """Entries that may be here under new UIDLs: they vanished, and the count did not fall.

    Where the messages that looked like them have kept their UIDLs since, they are other messages.
    """
    if facts.rules.unsure or len(facts.listing) < (facts.state.listed_messages or 0):
        return ()
    return tuple(entry for entry in facts.vanished if entry.identity is not None and entry.uidl.octets)


def _compared(facts: _Facts, round_number: int) -> frozenset[Uidl]:
    """UIDLs all of whose messages were compared already in this round."""
    if not round_number:
        return frozenset()
    return frozenset(
        uidl
        for uidl, entries in facts.known.items()
        if sum(entry.round == round_number for entry in entries) >= facts.shown[uidl]
    )


def _used(facts: _Facts, round_number: int, *, asked: set[Uidl]) -> tuple[Entry, ...]:
    used = [entry for uidl, entries in facts.known.items() if uidl not in asked for entry in entries]
    may_be_here = {entry.entry for entry in facts.unnamed}
    used += [entry for entry in facts.entries if not entry.uidl.octets and entry.entry not in may_be_here]
    if round_number and facts.count_fell:
        # Found in this round and gone since: an equal message that is still here is another one.
        used += [entry for entry in facts.entries if entry.round == round_number and entry.uidl not in facts.shown]
    return tuple(used)


def _choose(facts: _Facts, message: Listed, *, chosen: _Sorted, must_compare: bool) -> None:
    known = facts.known.get(message.uidl, ())
    if must_compare or not message.uidl.octets:
        _ask_within_limit(facts, Wanted(message=message, step=Step.COMPARE), chosen=chosen)
    elif not known:
        _ask_within_limit(facts, Wanted(message=message, step=Step.FETCH), chosen=chosen)
    elif len(known) < facts.shown[message.uidl]:
        _ask(facts, Wanted(message=message, step=Step.COMPARE), chosen=chosen)
    elif not facts.rules.keeps(known[-1], now=facts.now):
        step = Step.PEEK if _may_peek(facts, message, known=known) else Step.COMPARE
        _ask(facts, Wanted(message=message, step=step), chosen=chosen)


def _may_peek(facts: _Facts, message: Listed, *, known: Sequence[Entry]) -> bool:
    return (
        facts.rules.can_peek
        and facts.shown[message.uidl] == 1
        and len(known) == 1
        and known[0].header not in (None, _NO_HEADER)
        and (message.octets or 0) > PEEK_OVER_OCTETS
    )


def _ask_within_limit(facts: _Facts, wanted: Wanted, *, chosen: _Sorted) -> None:
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


def _ask(facts: _Facts, wanted: Wanted, *, chosen: _Sorted) -> None:
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
