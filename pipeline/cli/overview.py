"""Show the whole: `status`, `spool stats`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pipeline.cli.output import Cell, print_facts, print_json, print_table, rfc3339
from pipeline.health import AccountHealth, Health, health
from spool import queries
from spool.accounts import Left, Why
from spool.opening import Spool
from spool.queries import StateTotal
from spool.states import FINAL, State
from stages.settings import Settings

_MOST_LEFT = 20


def show_status(spool: Spool, settings: Settings, *, json: bool) -> None:
    """Show stages, accounts, queue, route and limits."""
    found = health(spool, settings)
    if json:
        print_json(_status_json(found))
    else:
        _print_status(found)


def show_stats(spool: Spool, *, json: bool) -> None:
    """Count the messages of each state and the octets on disk."""
    totals, files = queries.totals(spool), queries.files(spool)
    if json:
        print_json(
            {
                "states": {state.value: _total_json(total) for state, total in totals.items()},
                "segments": {"files": files.segments, "octets": files.segment_octets},
                "large": {"files": files.large, "octets": files.large_octets},
                "index": {"octets": files.index_octets},
                "free_octets": files.free_octets,
            }
        )
        return
    rows = [(total.state, total.messages, total.octets, rfc3339(total.oldest_at)) for total in totals.values()]
    print_table(("state", "messages", "octets", "oldest"), rows, elastic="state")
    print()
    print_facts(
        [
            ("segments", f"{files.segments} files, {files.segment_octets} octets"),
            ("large messages", f"{files.large} files, {files.large_octets} octets"),
            ("index", f"{files.index_octets} octets"),
            ("free", f"{files.free_octets} octets"),
        ]
    )


def _status_json(found: Health) -> dict[str, object]:
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
                "left": [_left_json(left) for left in account.left],
            }
            for account in found.accounts
        ],
        "queue": {
            **{state.value: total.messages for state, total in found.queue.items() if state not in FINAL},
            "oldest_at": rfc3339(_oldest(found.queue)),
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
    }


def _print_status(found: Health) -> None:
    print_table(
        ("stage", "process", "since"),
        (
            (
                stage.stage,
                stage.pid if stage.is_running else "stopped",
                rfc3339(stage.started_at if stage.is_running else stage.stopped_at),
            )
            for stage in found.stages
        ),
        elastic="since",
    )
    print()
    print_table(
        ("account", "last success", "next poll", "at provider", "oversize", "last error"),
        (
            (
                account.name if account.is_enabled else f"{account.name} (disabled)",
                rfc3339(account.last_success_at),
                rfc3339(account.next_poll_at),
                account.remote_messages,
                account.oversize,
                account.last_error,
            )
            for account in found.accounts
        ),
        elastic="last error",
    )
    print()
    if left := [row for account in found.accounts for row in _left_rows(account)]:
        print_table(("left at provider", "octets", "UIDL", "why"), left, elastic="UIDL")
        print()
    rows = [
        (total.state, total.messages, rfc3339(total.oldest_at))
        for state, total in found.queue.items()
        if state not in FINAL
    ]
    print_table(("queue", "messages", "oldest"), rows, elastic="oldest")
    print()
    limit = found.limits.max_message_octets
    route = "open" if found.route.is_open else f"down since {rfc3339(found.route.closed_at)}: {found.route.trouble}"
    print_facts(
        [
            ("route", route),
            ("largest message", f"{'no limit' if limit is None else f'{limit} octets'} ({found.limits.says_who})"),
            ("warning", found.limits.warning),
            ("disk", f"{found.limits.free_octets} octets free, fetch stops below {found.limits.min_free_octets}"),
        ]
    )


def _left_rows(account: AccountHealth) -> Iterator[Sequence[Cell]]:
    for left in account.left[:_MOST_LEFT]:
        yield account.name, left.octets, left.uidl.encoded or None, _why(left)
    if (more := len(account.left) - _MOST_LEFT) > 0:
        yield account.name, None, None, f"and {more} more"


def _why(left: Left) -> str:
    match left.why:
        case Why.OVERSIZE:
            return f"oversize: over {left.limit_octets} octets ({left.limit_source})"
        case Why.BROKEN:
            return f"broken: {left.breaks} sessions broke in it, last at {rfc3339(left.tried_at)}"


def _left_json(left: Left) -> dict[str, object]:
    return {
        "uidl": left.uidl.encoded,
        "octets": left.octets,
        "why": left.why,
        "limit_octets": left.limit_octets,
        "limit_source": left.limit_source,
        "reported_at": rfc3339(left.reported_at),
        "breaks": left.breaks,
    }


def _total_json(total: StateTotal) -> dict[str, object]:
    return {"messages": total.messages, "octets": total.octets, "oldest_at": rfc3339(total.oldest_at)}


def _oldest(queue: Mapping[State, StateTotal]) -> datetime | None:
    """When the oldest message was fetched that should be moving."""
    moving = (queue[state].oldest_at for state in (State.STAGED, State.READY, State.DEFERRED))
    return min((at for at in moving if at is not None), default=None)
