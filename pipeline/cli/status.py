"""`status`: the whole on one screen, what needs somebody on top.

**Invariants:** the names of JSON fields are a contract: none changes or goes. With three accounts and with two thousand
the first lines say what is wrong and what to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from pipeline.attention import Gravity, Matter, attention, oldest_queued
from pipeline.cli import terminal
from pipeline.cli.listings import state_style
from pipeline.cli.output import Cell, moment, print_facts, print_json, print_table, rfc3339, shown
from pipeline.cli.paging import paged
from pipeline.cli.terminal import Style, painted
from pipeline.health import AccountHealth, Health, health
from pipeline.spans import in_units
from spool.accounts import Left, Why
from spool.opening import Spool
from spool.states import FINAL
from stages.settings import Settings

_MOST_LEFT = 20
# With more accounts those that are well are counted, not listed.
_MOST_ACCOUNTS = 20
_MOST_MATTERS = 12
_STYLES = {Gravity.NOTICE: Style.DIM, Gravity.WARNING: Style.YELLOW, Gravity.CRITICAL: Style.RED}


def show_status(spool: Spool, settings: Settings, *, everything: bool, json: bool) -> None:
    """Show what needs somebody, then stages, accounts, queue, route and limits."""
    found = health(spool, settings)
    matters = attention(found, now=spool.now())
    with paged():
        if json:
            print_json(_as_json(found, matters))
        else:
            _print(found, matters, now=spool.now(), everything=everything)


def print_matters(matters: Sequence[Matter], *, at_most: int = _MOST_MATTERS) -> None:
    """Print what needs somebody, two lines each, the worst first."""
    for matter in matters[:at_most]:
        word = matter.gravity.name.lower()
        print(f"{painted(word.ljust(8), _STYLES[matter.gravity])}  {_fitted(shown(matter.what))}")
        print(f"{'':8}  {_fitted(shown(matter.mend))}")
    if len(matters) > at_most:
        more = Counter(matter.gravity for matter in matters[at_most:])
        print(f"{'':8}  and {', '.join(f'{count} {gravity.name.lower()}' for gravity, count in more.items())} more")
    if not any(matter.gravity > Gravity.NOTICE for matter in matters):
        print(painted("all is well", Style.GREEN))


def _fitted(text: str) -> str:
    room = terminal.width()
    return text if room is None else terminal.cut(text, max(room - 10, 10))


def _print(found: Health, matters: Sequence[Matter], *, now: datetime, everything: bool) -> None:
    read_at = now if terminal.is_terminal() else None
    print_matters(matters)
    print()
    _print_stages(found, read_at)
    print()
    _print_accounts(found, matters, now=read_at, everything=everything)
    print()
    if left := [row for account in found.accounts for row in _left_rows(account, read_at)]:
        titles = ("left at provider", "octets", "UIDL", "why")
        print_table(titles, left, elastic="why", right=("octets",))
        print()
    rows = [
        (total.state, total.messages, moment(total.oldest_at, read_at))
        for state, total in found.queue.items()
        if state not in FINAL
    ]
    print_table(
        ("queue", "messages", "oldest"), rows, elastic="oldest", right=("messages",), tints={"queue": state_style}
    )
    print()
    print_facts(_facts(found, read_at))


def _print_stages(found: Health, now: datetime | None) -> None:
    rows = (
        (
            stage.stage,
            stage.pid if stage.is_running else "stopped",
            moment(stage.started_at if stage.is_running else stage.stopped_at, now),
        )
        for stage in found.stages
    )
    print_table(("stage", "process", "since"), rows, elastic="since", tints={"process": _process_style})


def _print_accounts(found: Health, matters: Sequence[Matter], *, now: datetime | None, everything: bool) -> None:
    gravities: dict[str, Gravity] = {}
    for matter in matters:
        if matter.account is not None:
            gravities.setdefault(matter.account, matter.gravity)
    listed = sorted(found.accounts, key=lambda account: gravities.get(account.name, 0), reverse=True)
    if not everything and len(listed) > _MOST_ACCOUNTS:
        listed = [account for account in listed if account.name in gravities]
    if listed or not found.accounts:
        print_table(
            ("account", "last success", "next poll", "at provider", "oversize", "last error"),
            (_account_row(account, now) for account in listed),
            elastic="last error",
            spare=("oversize", "at provider"),
            right=("at provider", "oversize"),
        )
    if len(listed) < len(found.accounts):
        print(f"{len(found.accounts) - len(listed)} accounts are well; --all lists them too")


def _account_row(account: AccountHealth, now: datetime | None) -> Sequence[Cell]:
    return (
        account.name if account.is_enabled else f"{account.name} (disabled)",
        moment(account.last_success_at, now),
        moment(account.next_poll_at, now),
        account.remote_messages,
        account.oversize,
        account.last_error,
    )


def _left_rows(account: AccountHealth, now: datetime | None) -> Iterator[Sequence[Cell]]:
    for left in account.left[:_MOST_LEFT]:
        yield account.name, _size(left.octets, now), left.uidl.encoded or None, why_left(left)
    if (more := len(account.left) - _MOST_LEFT) > 0:
        yield account.name, None, None, f"and {more} more"


def why_left(left: Left) -> str:
    """Why a message stays at the provider, for people."""
    match left.why:
        case Why.OVERSIZE:
            return f"oversize: over {left.limit_octets} octets ({left.limit_source})"
        case Why.BROKEN:
            return f"broken: {left.breaks} sessions broke in it, last at {rfc3339(left.tried_at)}"


def _facts(found: Health, now: datetime | None) -> Iterator[tuple[str, Cell]]:
    limits, route = found.limits, found.route
    largest = limits.max_message_octets
    yield "route", "open" if route.is_open else f"down since {rfc3339(route.closed_at)}: {route.trouble}"
    yield "largest message", f"{'no limit' if largest is None else _octets(largest, now)} ({limits.says_who})"
    yield "warning", limits.warning
    yield "disk", f"{_octets(limits.free_octets, now)} free, fetch stops below {_octets(limits.min_free_octets, now)}"
    yield "Pickup", f"{found.ignored_in_pickup} left alone for their names" if found.ignored_in_pickup else None


def _size(octets: int, now: datetime | None) -> Cell:
    return octets if now is None else in_units(octets)


def _octets(octets: int, now: datetime | None) -> str:
    return f"{octets} octets" if now is None else in_units(octets)


def _process_style(text: str) -> Style:
    return Style.RED if text == "stopped" else Style.GREEN


def _as_json(found: Health, matters: Sequence[Matter]) -> dict[str, object]:
    return {
        "stages": [
            {
                "stage": stage.stage,
                "is_running": stage.is_running,
                "pid": stage.pid,
                "started_at": rfc3339(stage.started_at),
                "stopped_at": rfc3339(stage.stopped_at),
            }
            for stage in found.stages
        ],
        "accounts": [
            {
                "name": account.name,
                "enabled": account.is_enabled,
                "last_success_at": rfc3339(account.last_success_at),
                "last_error": account.last_error,
                "failures": account.failures,
                "next_poll_at": rfc3339(account.next_poll_at),
                "remote_messages": account.remote_messages,
                "oversize": account.oversize,
                "left": [left_json(left) for left in account.left],
            }
            for account in found.accounts
        ],
        "queue": {
            **{state.value: total.messages for state, total in found.queue.items() if state not in FINAL},
            "oldest_at": rfc3339(oldest_queued(found)),
        },
        "route": {
            "is_open": found.route.is_open,
            "closed_at": rfc3339(found.route.closed_at),
            "trouble": found.route.trouble,
        },
        "limits": {
            "max_message_octets": found.limits.max_message_octets,
            "source": found.limits.says_who,
            "warning": found.limits.warning,
            "min_free_octets": found.limits.min_free_octets,
            "free_octets": found.limits.free_octets,
        },
        "pickup": {"ignored": found.ignored_in_pickup},
        "attention": [
            {
                "level": matter.gravity.name.lower(),
                "account": matter.account,
                "what": matter.what,
                "mend": matter.mend,
            }
            for matter in matters
        ],
    }


def left_json(left: Left) -> dict[str, object]:
    """A message that stays at the provider, for programs."""
    return {
        "uidl": left.uidl.encoded,
        "octets": left.octets,
        "why": left.why,
        "limit_octets": left.limit_octets,
        "limit_source": left.limit_source,
        "reported_at": rfc3339(left.reported_at),
        "breaks": left.breaks,
    }
