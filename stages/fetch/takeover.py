"""Enter as had what another fetcher had, as a command handed it over.

**Invariants:** nobody logs in for it, and the account need not be one of this process: a list is entered before the
first poll of its account. It is entered in pieces, between which sessions have their turn.
**Failures:** `SpoolFailed`; what was not answered is entered by the next process.
"""

from __future__ import annotations

from functools import partial

from spool.accounts import Outcome
from spool.handover import Handover, Part
from stages.fetch.desk import Desk
from stages.fetch.events import TakenOver

# Some 20 ms of the spool thread.
_ENTERED_AT_ONCE = 1000


async def take_over(desk: Desk) -> None:
    """Enter all that was handed over, and answer."""
    parts = Handover(desk.runtime.spool).parts()
    while (part := await desk.runtime.call(lambda: next(parts, None))) is not None:
        await _enter(part, desk)


async def _enter(part: Part, desk: Desk) -> None:
    entered = 0
    for start in range(0, len(part.uidls), _ENTERED_AT_ONCE):
        some = part.uidls[start : start + _ENTERED_AT_ONCE]
        entered += await desk.runtime.call(partial(desk.ledger.take_over, part.account, some))
    await desk.runtime.emit([TakenOver(account=part.account, uidls=entered, known=len(part.uidls) - entered)])
    outcome = Outcome(text=f"{part.account}: {entered} UIDLs were entered as had")
    await desk.runtime.call(lambda: desk.accounts.answer(part.request, outcome))
