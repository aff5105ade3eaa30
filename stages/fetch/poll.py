"""One poll of an account: session after session until nothing is left to ask for, or nothing moves any more."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.errors import StageError
from stages.fetch.plan import Key
from stages.fetch.session import Report
from stages.settings import AccountSettings

BROKEN_SESSIONS_AT_MOST = 3


@dataclass(slots=True, kw_only=True)
class Poll:
    """What the sessions of a poll came to so far; `requests` are those of people who wait for its end."""

    account: AccountSettings
    began_at: float
    requests: set[int] = field(default_factory=set)
    admitted: int = 0
    octets: int = 0
    remaining: int | None = None
    one_by_one: bool = False
    ask_limit: int | None = None
    put_off: set[Key] = field(default_factory=set)
    breaks: int = 0
    error: StageError | None = None
    _listed: int | None = None

    def add(self, report: Report) -> bool:
        """Count a session in; answers whether another one should follow."""
        self.admitted += report.admitted
        self.octets += report.octets
        self.remaining = report.listed if report.remaining is None else report.remaining
        if report.error is not None:
            self.error = report.error
        if report.needs_one_by_one:
            self.one_by_one = True
        if report.broke is not None:
            return self._add_break(report, report.broke)
        if report.error is not None:
            return False
        if self.ask_limit is not None:
            self.ask_limit *= 2
        moved = report.admitted > 0 or report.compared > 0 or report.needs_one_by_one
        fell = self._listed is None or (report.listed or 0) < self._listed
        self._listed = report.listed
        return report.is_more and (moved or fell)

    def _add_break(self, report: Report, broke: Key) -> bool:
        """The message comes last from now on; on a line that breaks, shorter sessions get further."""
        self.put_off.add(broke)
        self.breaks += 1
        if report.resolved:
            self.ask_limit = max(1, report.resolved // 2)
        return self.breaks < BROKEN_SESSIONS_AT_MOST
