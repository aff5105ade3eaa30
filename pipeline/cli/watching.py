"""`spool watch`: queue and accounts as they are now, drawn again every second until Ctrl-C.

**Invariants:** the terminal is as it was when the view ends, however it ends. A look costs the index little: what is
counted is counted from an index, no message is read, and no transaction stays open.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.attention import Gravity, Matter, attention
from pipeline.cli import terminal
from pipeline.cli.output import Cell, moment, shown
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.health import AccountHealth, Health, health
from pipeline.spans import span
from spool import queries
from spool.opening import Spool
from spool.queries import StateTotal
from spool.states import FINAL, State
from stages.settings import Settings

_LOOK_SECONDS = 1.0
_ENDS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_MOST_MATTERS = 5
_STYLES = {Gravity.NOTICE: "dim", Gravity.WARNING: "yellow", Gravity.CRITICAL: "red"}


def watch(spool: Spool, settings: Settings) -> None:
    """Draw until a signal ends it; raises CommandFailed where there is no terminal to draw on."""
    if not terminal.is_able():
        raise CommandFailed(ExitCode.USAGE, "watch needs a terminal; `pop3connector status` prints what there is now")
    first = queries.quick_totals(spool)
    started_at = spool.now()
    with _signals_held() as held, Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            found = health(spool, settings, totals=queries.quick_totals)
            height = live.console.size.height
            live.update(view(found, first, started_at=started_at, now=spool.now(), height=height), refresh=True)
            caught = signal.sigtimedwait(held, _LOOK_SECONDS)
            if caught is not None and caught.si_signo in _ENDS:
                return


def view(
    found: Health, first: Mapping[State, StateTotal], *, started_at: datetime, now: datetime, height: int
) -> Group:
    """What is drawn, in at most so many lines: what needs somebody, the queue, and the accounts that have a place."""
    matters = attention(found, now=now)
    top = [_headline(found, now), *_matters(matters), Text()]
    queue = _queue(found, first, now=now, since=now - started_at)
    taken = len(top) + 1 + queue.row_count + 1
    # Titles, and the line that counts the others.
    return Group(*top, queue, Text(), *_accounts(found, matters, now=now, at_most=max(height - taken - 2, 1)))


def _headline(found: Health, now: datetime) -> Text:
    running = [stage.stage.value for stage in found.stages if stage.is_running]
    line = Text(f"{now:%H:%M:%S} UTC  running: {' '.join(running) or 'nothing'}  route: ", no_wrap=True)
    return line.append("open", "green") if found.route.is_open else line.append("down", "red")


def _matters(matters: Sequence[Matter]) -> Iterator[Text]:
    for matter in matters[:_MOST_MATTERS]:
        line = Text(matter.gravity.name.lower().ljust(10), style=_STYLES[matter.gravity])
        yield _line(line.append(shown(matter.what), "default"))
    if not any(matter.gravity > Gravity.NOTICE for matter in matters):
        yield Text("all is well", style="green")
    elif (more := len(matters) - _MOST_MATTERS) > 0:
        yield Text(f"{'':10}and {more} more")


def _queue(found: Health, first: Mapping[State, StateTotal], *, now: datetime, since: timedelta) -> Table:
    table = _table("queue", "messages", "oldest", f"in {span(since)}", right=("messages", f"in {span(since)}"))
    for state, total in found.queue.items():
        if state in FINAL and state is not State.SUBMITTED:
            continue
        changed = total.messages - first[state].messages
        oldest = None if state in FINAL else moment(total.oldest_at, now)
        _row(table, state.value, total.messages, oldest, f"{changed:+}" if changed else None)
    return table


def _accounts(found: Health, matters: Sequence[Matter], *, now: datetime, at_most: int) -> Iterator[Table | Text]:
    """Those that need somebody first, then those that are due next."""
    troubled = {matter.account: -matter.gravity for matter in reversed(matters)}
    polled = [account for account in found.accounts if account.is_enabled]

    def place(account: AccountHealth) -> tuple[int, datetime]:
        return troubled.get(account.name, 0), account.next_poll_at or now

    table = _table("account", "last success", "next poll", "at provider", "last error", right=("at provider",))
    for account in sorted(polled, key=place)[:at_most]:
        last, due = moment(account.last_success_at, now), moment(account.next_poll_at, now)
        _row(table, account.name, last, due, account.remote_messages, account.last_error)
    yield table
    if (more := len(polled) - at_most) > 0:
        yield Text(f"and {more} accounts more")


def _table(*titles: str, right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", expand=False)
    for title in titles:
        justify: Literal["left", "right"] = "right" if title in right else "left"
        table.add_column(Text(title), no_wrap=True, overflow="ellipsis", justify=justify)
    return table


def _row(table: Table, *cells: Cell) -> None:
    """Add a row; a cell is text and never markup, whatever brackets are in it."""
    table.add_row(*(Text(shown(cell)) for cell in cells))


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


@contextmanager
def _signals_held() -> Iterator[frozenset[signal.Signals]]:
    """Let the signals that end the view, and that of a new size, come where they are waited for and nowhere else."""
    held = _ENDS | {signal.SIGWINCH}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield held
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
