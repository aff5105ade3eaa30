"""Visit accounts side by side, and say in a line what was found at each: for `check` and `accounts test`.

**Invariants:** nothing is fetched or deleted; no host sees more sessions at once than fetch would open there.
"""

from __future__ import annotations

import asyncio
from asyncio import Semaphore, Task
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.advice import advice
from pipeline.endings import exit_code_of
from pipeline.exit_codes import ExitCode
from pipeline.lookout import forgotten, remembered, view
from spool.opening import Spool
from stages.fetch.outlook import Fate
from stages.fetch.plan import Limit
from stages.fetch.visit import Sight, visit
from stages.settings import AccountSettings, FetchSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Visited:
    """What came of an account: its maildrop in short, `oversize` by the limit in force; `code` is for the error."""

    error: str | None
    code: ExitCode
    count: int | None
    octets: int | None
    largest_octets: int | None
    oversize: int | None
    mechanism: str | None
    tls_version: str | None
    warnings: Sequence[str]


class Visits:
    """The visits of one command; without a `spool` nothing was had, if `is_known`, else it is not known what was."""

    def __init__(self, fetch: FetchSettings, spool: Spool | None, *, is_known: bool) -> None:
        self._fetch = fetch
        self._spool = spool
        self._is_known = is_known
        self._all = Semaphore(fetch.concurrency)
        self._at_host: dict[str, Semaphore] = defaultdict(lambda: Semaphore(fetch.per_host))

    async def visit(self, account: AccountSettings, limit: Task[Limit]) -> Visited:
        """Visit an account when its turn comes; sizes are judged when the limit is known."""
        async with self._at_host[account.host], self._all:
            sight = await visit(account, self._fetch)
        # Others may log in while this one waits for the relay, and in a thread: a listing may have 100,000 lines.
        return await asyncio.to_thread(self._judge, account, sight, limit=await limit)

    def _judge(self, account: AccountSettings, sight: Sight, *, limit: Limit) -> Visited:
        memory = remembered(self._spool, account.name) if self._is_known else forgotten(account.name)
        seen = view(account, sight, fetch=self._fetch, memory=memory, limit=limit)
        outlook = seen.outlook
        sizes = [] if outlook is None else [one.message.octets or 0 for one in outlook.messages]
        return Visited(
            error=None if sight.error is None else str(sight.error),
            code=ExitCode.OK if sight.error is None else exit_code_of(sight.error),
            count=None if sight.size is None else sight.size.count,
            octets=None if sight.size is None else sight.size.octets,
            largest_octets=max(sizes, default=None),
            oversize=None if outlook is None else outlook.count(Fate.OVERSIZE),
            mechanism=sight.mechanism,
            tls_version=sight.tls.version if sight.tls and sight.is_trusted else None,
            warnings=advice(seen),
        )


def visited_lines(account: AccountSettings, visited: Visited) -> Iterator[tuple[str, str]]:
    """What is told to people: a word, and the line behind it."""
    where = f"account {account.name} ({account.host} port {account.port})"
    if visited.error is None:
        yield "ok", f"{where}: {_maildrop_text(visited)}"
    else:
        yield "FAILED", f"{where}: {visited.error}"
    yield from (("warning", f"account {account.name}: {line}") for line in visited.warnings)


def visited_json(visited: Visited | None) -> dict[str, object]:
    """The same for programs; None for an account that was not visited."""
    names = ["error", "count", "octets", "largest_octets", "oversize", "mechanism", "tls_version"]
    return {
        "ok": None if visited is None else visited.error is None,
        **{name: None if visited is None else getattr(visited, name) for name in names},
        "warnings": [] if visited is None else list(visited.warnings),
    }


def _maildrop_text(visited: Visited) -> str:
    octets = None if visited.octets is None else f"{visited.octets} octets"
    parts = (f"{visited.count} messages", octets, visited.mechanism, visited.tls_version or "without TLS")
    return ", ".join(part for part in parts if part)
