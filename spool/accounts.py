"""What the spool remembers of each account between polls.

Results, schedule, doubts, what was left at the provider, and requests to poll now.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from spool import models
from spool.envelope import Uidl
from spool.events import Event, emit
from spool.models import from_ms, to_ms
from spool.opening import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What the last successful login taught: `delay_seconds` is the server's LOGIN-DELAY (RFC 2449 section 6.5).

    `skips_capabilities`: the server hangs up on CAPA.
    """

    at: datetime
    delay_seconds: int | None = None
    mechanism: str = ""
    skips_capabilities: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """An account as the last poll left it; `failures` polls in a row failed, `refusals` of them for their login.

    `listed_messages` is how many the last listing showed, `expected_messages` how many the last confirmed QUIT left,
    None where it confirmed no deletion; `doubt_round` is the round of comparing by content that is under way, 0 while
    UIDLs are trusted; `sizes_exact` says whether this server's LIST sizes were right so far, None before the first.
    `maildrop` names the one whose messages were listed last, None where that was not noted.
    """

    name: str
    last_success_at: datetime | None = None
    last_attempt_at: datetime | None = None
    last_error: str | None = None
    failures: int = 0
    refusals: int = 0
    login: Login | None = None
    next_poll_at: datetime | None = None
    remote_messages: int | None = None
    listed_messages: int | None = None
    expected_messages: int | None = None
    doubt_round: int = 0
    rounds: int = 0
    sizes_exact: bool | None = None
    maildrop: str | None = None


class Why(enum.StrEnum):
    """Why a message stays at the provider."""

    OVERSIZE = "oversize"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A message that stays at the provider: larger than the limit, or three sessions broke in its RETR."""

    uidl: Uidl
    octets: int
    why: Why
    limit_octets: int | None = None
    limit_source: str | None = None
    breaks: int = 0
    tried_at: datetime | None = None
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Somebody asked for a poll now; an empty account means all.

    `adopts`: what is there is to be marked as had. `is_verbose`: the dialogue is to be logged. `is_awaited`: somebody
    looks how far it has come.
    """

    request: int
    account: str
    adopts: bool = False
    is_verbose: bool = False
    is_awaited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request: a line for people, and whether any of its accounts failed."""

    text: str
    has_failed: bool = False


class Accounts:
    """The memory of the fetch stage; `status` reads it."""

    def __init__(self, spool: Spool) -> None:
        """Read and write through `spool`."""
        self._spool = spool

    def states(self) -> Mapping[str, AccountState]:
        """All accounts that were ever polled, by name."""
        with self._spool.index.read() as connection:
            rows = connection.execute(select(models.accounts)).all()
        return {row.name: _state(row) for row in rows}

    def state(self, name: str) -> AccountState:
        """One account; a blank state where it was never polled."""
        with self._spool.index.read() as connection:
            row = connection.execute(select(models.accounts).where(models.accounts.c.name == name)).first()
        return AccountState(name=name) if row is None else _state(row)

    def save(self, state: AccountState, events: Iterable[Event] = ()) -> None:
        """Write the state of an account, with the events that tell how it came about."""
        row = {
            "name": state.name,
            "last_success_at": _column(state.last_success_at),
            "last_attempt_at": _column(state.last_attempt_at),
            "last_error": state.last_error,
            "failures": state.failures,
            "refusals": state.refusals,
            **_login_columns(state.login),
            "next_poll_at": _column(state.next_poll_at),
            "remote_messages": state.remote_messages,
            "listed_messages": state.listed_messages,
            "expected_messages": state.expected_messages,
            "doubt_round": state.doubt_round,
            "rounds": state.rounds,
            "sizes_exact": state.sizes_exact,
            "maildrop": state.maildrop,
        }
        statement = insert(models.accounts).values(row)
        with self._spool.index.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))
            emit(connection, events, now=self._spool.now())

    def left(self, account: str) -> Sequence[Left]:
        """What stays at the provider for this account."""
        with self._spool.index.read() as connection:
            return [
                to_left(row) for row in connection.execute(select(models.left).where(models.left.c.account == account))
            ]

    def left_by_account(self) -> Mapping[str, Sequence[Left]]:
        """What stays at the provider, of all accounts, the largest first."""
        found: dict[str, list[Left]] = defaultdict(list)
        with self._spool.index.read() as connection:
            for row in connection.execute(select(models.left).order_by(models.left.c.octets.desc())):
                found[row.account].append(to_left(row))
        return found

    def leave(self, account: str, messages: Iterable[Left], *, events: Iterable[Event] = ()) -> None:
        """Note messages that stay, replacing what was known of each, with their events."""
        table = models.left
        with self._spool.index.write() as connection:
            for message in messages:
                row = {
                    "account": account,
                    "uidl": message.uidl.encoded,
                    "octets": message.octets,
                    "why": message.why,
                    "limit_octets": message.limit_octets,
                    "limit_source": message.limit_source,
                    "breaks": message.breaks,
                    "tried_at": _column(message.tried_at),
                    "reported_at": _column(message.reported_at),
                }
                keys = ["account", "uidl", "octets"]
                connection.execute(insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=row))
            emit(connection, events, now=self._spool.now())

    def forget_left(self, account: str, messages: Iterable[Left]) -> None:
        """Drop what stays no longer: fetched after all, or gone from the maildrop."""
        table = models.left
        with self._spool.index.write() as connection:
            for message in messages:
                connection.execute(
                    delete(table).where(
                        table.c.account == account,
                        table.c.uidl == message.uidl.encoded,
                        table.c.octets == message.octets,
                    )
                )

    def ask(
        self, accounts: Sequence[str], *, adopts: bool = False, is_verbose: bool = False, is_awaited: bool = False
    ) -> Sequence[int]:
        """Ask for a poll now, of these accounts or, where none is named, of all; returns the request numbers.

        Whoever asks rings fetch's doorbell after it.
        """
        table = models.requests
        wish = {"adopts": adopts, "is_verbose": is_verbose, "is_awaited": is_awaited}
        with self._spool.index.write() as connection:
            return [
                int(
                    connection.execute(
                        insert(table)
                        .values(account=account, asked_at=self._spool.now_ms(), **wish)
                        .returning(table.c.request)
                    ).scalar_one()
                )
                for account in (accounts or [""])
            ]

    def asked(self) -> Sequence[Request]:
        """The requests for a poll that nobody has answered yet; those of `Handover` are none."""
        table = models.requests
        query = select(table).where(table.c.done_at.is_(None), table.c.uidls.is_(None))
        with self._spool.index.read() as connection:
            rows = connection.execute(query.order_by(table.c.request)).all()
        return [
            Request(
                request=row.request,
                account=row.account,
                adopts=row.adopts,
                is_verbose=row.is_verbose,
                is_awaited=row.is_awaited,
            )
            for row in rows
        ]

    def answer(self, request: int, outcome: Outcome) -> None:
        """Note what came of a request, and drop those answered more than a day ago."""
        table = models.requests
        now = self._spool.now_ms()
        done = {"done_at": now, "outcome": outcome.text, "has_failed": outcome.has_failed, "uidls": None}
        with self._spool.index.write() as connection:
            connection.execute(update(table).where(table.c.request == request).values(done))
            connection.execute(delete(table).where(table.c.done_at < now - 86_400_000))

    def outcome(self, request: int) -> Outcome | None:
        """What came of a request; None while it is not done."""
        return self.outcomes([request]).get(request)

    def outcomes(self, requests: Collection[int]) -> Mapping[int, Outcome]:
        """What came of those of the requests that are done, in the order in which they were."""
        table = models.requests
        wanted = set(requests)
        query = select(table).where(table.c.done_at.is_not(None), table.c.request >= min(wanted, default=0))
        with self._spool.index.read() as connection:
            rows = connection.execute(query.order_by(table.c.done_at, table.c.request)).all()
        return {
            row.request: Outcome(text=row.outcome, has_failed=row.has_failed) for row in rows if row.request in wanted
        }


def _state(row: Row[tuple[object, ...]]) -> AccountState:
    return AccountState(
        name=row.name,
        last_success_at=_time(row.last_success_at),
        last_attempt_at=_time(row.last_attempt_at),
        last_error=row.last_error,
        failures=row.failures,
        refusals=row.refusals,
        login=_login(row),
        next_poll_at=_time(row.next_poll_at),
        remote_messages=row.remote_messages,
        listed_messages=row.listed_messages,
        expected_messages=row.expected_messages,
        doubt_round=row.doubt_round,
        rounds=row.rounds,
        sizes_exact=row.sizes_exact,
        maildrop=row.maildrop,
    )


def _login(row: Row[tuple[object, ...]]) -> Login | None:
    if row.login_at is None:
        return None
    return Login(
        at=from_ms(row.login_at),
        delay_seconds=row.login_delay,
        mechanism=row.login_mechanism,
        skips_capabilities=row.skips_capabilities,
    )


def _login_columns(login: Login | None) -> dict[str, object]:
    return {
        "login_at": to_ms(login.at) if login else None,
        "login_delay": login.delay_seconds if login else None,
        "login_mechanism": login.mechanism if login else None,
        "skips_capabilities": login.skips_capabilities if login else None,
    }


def to_left(row: Row[tuple[object, ...]]) -> Left:
    """A row of what stays at the provider as a value."""
    return Left(
        uidl=Uidl.parse(row.uidl),
        octets=row.octets,
        why=Why(row.why),
        limit_octets=row.limit_octets,
        limit_source=row.limit_source,
        breaks=row.breaks,
        tried_at=_time(row.tried_at),
        reported_at=_time(row.reported_at),
    )


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)


def _column(at: datetime | None) -> int | None:
    return None if at is None else to_ms(at)
