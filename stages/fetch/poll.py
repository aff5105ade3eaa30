"""One poll of an account: session after session until nothing is left to ask for, or nothing moves any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from spool.accounts import Login
from spool.envelope import Uidl
from stages.errors import StageError
from stages.fetch.plan import Key
from stages.fetch.progress import Count
from stages.fetch.session import Report
from stages.settings import AccountSettings

BROKEN_IN_A_ROW = 3


@dataclass(slots=True, kw_only=True)
class Poll:
    """What the sessions of a poll came to so far; `requests` are those of people who wait for its end.

    `adopts`: what the maildrop holds is to be marked as had. `is_verbose`: the dialogue is logged. `login` is the
    account's last successful one. `ask_limit` is for a line that breaks: shorter sessions get further. `error` is what
    the poll has failed for, unless a later session made good for it. `is_past`: the account was changed or removed, and
    no session follows; `is_cut_short`: nor does the one under way ask for more.
    """

    account: AccountSettings
    began_at: float
    requests: set[int] = field(default_factory=set)
    adopts: bool = False
    is_verbose: bool = False
    login: Login | None = None
    admitted: int = 0
    adopted: int = 0
    octets: int = 0
    deleted: int = 0
    count: Count = field(default_factory=Count)
    remaining: int | None = None
    one_by_one: bool = False
    ask_limit: int | None = None
    put_off: set[Key] = field(default_factory=set)
    unsure: frozenset[Uidl] = frozenset()
    error: StageError | None = None
    is_past: bool = False
    is_cut_short: bool = False
    _broken_in_a_row: int = 0
    _listed: int | None = None

    def start_over(self, account: AccountSettings, *, login: Login | None) -> None:
        """Forget what sessions have taught, because the account was changed; what they brought counts."""
        self.account = account
        self.login = login
        self.remaining = None
        self.one_by_one = False
        self.ask_limit = None
        self.put_off.clear()
        self.unsure = frozenset()
        self.error = None
        self._broken_in_a_row = 0
        self._listed = None

    def add(self, report: Report) -> bool:
        """Count a session in; answers whether another one should follow."""
        self.admitted += report.admitted
        self.adopted += report.adopted
        self.octets += report.octets
        self.deleted += report.deleted
        self.login = report.login or self.login
        self.remaining = report.listed if report.remaining is None else report.remaining
        self.one_by_one = self.one_by_one or report.needs_one_by_one
        # The next listing has decided about those of before.
        self.unsure = self.unsure if report.listed is None else report.unsure
        if report.error is not None:
            return self._add_broken(report, report.error)
        if not self.put_off:
            self.error = None
        self._broken_in_a_row = 0
        if self.ask_limit is not None:
            self.ask_limit *= 2
        moved = report.admitted > 0 or report.compared > 0 or report.needs_one_by_one or bool(report.unsure)
        fell = self._listed is None or (report.listed or 0) < self._listed
        self._listed = report.listed
        return report.is_more and (moved or fell)

    def _add_broken(self, report: Report, error: StageError) -> bool:
        """Go on where that can lead further: without the message that broke it, one by one, or in shorter sessions."""
        self.error = error
        self._broken_in_a_row += 1
        if report.broke is not None:
            self.put_off.add(report.broke)
        if report.resolved:
            self.ask_limit = max(1, report.resolved // 2)
        can_help = report.broke is not None or report.needs_one_by_one or report.resolved > 0
        return can_help and report.is_more and self._broken_in_a_row < BROKEN_IN_A_ROW

    @property
    def outcome(self) -> str:
        """The poll in one line, for whoever asked for it."""
        if self.error is not None:
            before = f" (before that {self._came_of_it})" if self.admitted or self.deleted else ""
            return f"failed: {self.error}{before}"
        return f"{self.adopted} messages marked as had" if self.adopts else self._came_of_it

    @property
    def _came_of_it(self) -> str:
        fetched = f"fetched {_count(self.admitted, 'message')}, {_count(self.octets, 'octet')}"
        left = "" if self.remaining is None else f", left {self.remaining} at the server"
        return f"{fetched if self.admitted else 'nothing new'}, deleted {self.deleted}{left}"

    @property
    def may_log_in_at(self) -> datetime | None:
        """The earliest time of the next login, where the server wants time between two (RFC 2449 section 6.5)."""
        login = self.login
        return login.at + timedelta(seconds=login.delay_seconds) if login and login.delay_seconds else None


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"
