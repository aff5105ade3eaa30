"""The requests of people: to poll accounts now, or to mark what their maildrops hold as had.

**Invariants:** a request is answered once, when each of its accounts was seen to, or at once where none can be.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from spool.accounts import Accounts, Outcome, Request
from stages.runner import Runtime

GONE = "no such account is enabled any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One account that a request wants to be seen to."""

    request: int
    account: str
    adopts: bool
    is_verbose: bool
    is_awaited: bool


class Requests:
    """The requests that are not answered yet, and what came of each of their accounts so far."""

    def __init__(self, runtime: Runtime, accounts: Accounts, *, known: Collection[str]) -> None:
        self._runtime = runtime
        self._accounts = accounts
        self._known = known
        self._open: dict[int, dict[str, str | None]] = {}
        self._failed: set[int] = set()

    async def take(self) -> list[Wish]:
        """What is wanted and was not taken before."""
        wishes: list[Wish] = []
        for request in await self._runtime.call(self._accounts.asked):
            if request.request in self._open:
                continue
            names = [name for name in ([request.account] if request.account else self._known) if name in self._known]
            if names:
                self._open[request.request] = dict.fromkeys(names)
                wishes += [_wish(request, name) for name in names]
            else:
                await self._answer(request.request, Outcome(text=_nobody(request), has_failed=True))
        return wishes

    async def note(self, request: int, account: str, *, outcome: str, has_failed: bool) -> None:
        """Note what came of one account; answer the request when that was the last."""
        outcomes = self._open[request]
        outcomes[account] = outcome
        if has_failed:
            self._failed.add(request)
        if all(outcomes.values()):
            text = "; ".join(f"{name}: {outcome}" for name, outcome in outcomes.items())
            await self._answer(request, Outcome(text=text, has_failed=request in self._failed))
            del self._open[request]
            self._failed.discard(request)

    async def _answer(self, request: int, outcome: Outcome) -> None:
        await self._runtime.call(lambda: self._accounts.answer(request, outcome))


def _wish(request: Request, account: str) -> Wish:
    return Wish(
        request=request.request,
        account=account,
        adopts=request.adopts,
        is_verbose=request.is_verbose,
        is_awaited=request.is_awaited,
    )


def _nobody(request: Request) -> str:
    return f"{request.account}: no such account is enabled" if request.account else "no account is enabled"
