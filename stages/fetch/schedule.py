"""Say whose turn it is: accounts wait in one line, a turn is one session, at most so many at once and at one host.

**Invariants:** who has had a turn goes to the end of the line; an account has one turn at a time; a host that is full
holds up nobody else.
"""

from __future__ import annotations

from collections import Counter


class Rota:
    """The line of accounts that want a session."""

    def __init__(self, *, concurrency: int, per_host: int) -> None:
        self._concurrency = concurrency
        self._per_host = per_host
        self._line: dict[str, str] = {}
        self._having: dict[str, str] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits and nobody has a turn."""
        return not self._line and not self._having

    def allow(self, *, concurrency: int, per_host: int) -> None:
        """Change how many turns are given at once; those that are had go on."""
        self._concurrency = concurrency
        self._per_host = per_host

    def leave(self, account: str) -> bool:
        """Leave the line; False for who does not wait in it."""
        return self._line.pop(account, None) is not None

    def join(self, account: str, *, host: str) -> None:
        """Queue at the end of the line; whoever waits already keeps the place."""
        self._line.setdefault(account, host)

    def next(self) -> str | None:
        """Give the next turn, if there is one to give."""
        if len(self._having) >= self._concurrency:
            return None
        hosts = Counter(self._having.values())
        for account, host in self._line.items():
            if account not in self._having and hosts[host] < self._per_host:
                del self._line[account]
                self._having[account] = host
                return account
        return None

    def done(self, account: str) -> None:
        """Take the turn back."""
        del self._having[account]
