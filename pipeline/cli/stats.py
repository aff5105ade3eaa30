"""`spool stats`: what is in the spool, by state, by account and by age, and what it takes on disk.

**Invariants:** the names of JSON fields are a contract: none changes or goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from pipeline.cli import terminal
from pipeline.cli.listings import state_style
from pipeline.cli.output import Cell, moment, print_facts, print_json, print_table, rfc3339
from pipeline.cli.paging import paged
from pipeline.spans import in_units, span
from spool import queries
from spool.opening import Spool
from spool.queries import AccountTotal, Age, Files, StateTotal

_LONGEST_BAR = 40


def show_stats(spool: Spool, *, json: bool) -> None:
    """Count the messages of each state and account, and the octets on disk."""
    totals, files = queries.totals(spool), queries.files(spool)
    accounts, ages = queries.totals_by_account(spool), queries.ages(spool)
    with paged():
        if json:
            print_json(
                {
                    "states": {state.value: _total_json(total) for state, total in totals.items()},
                    "accounts": [_account_json(account) for account in accounts],
                    "ages": [_age_json(age) for age in ages],
                    "segments": {"files": files.segments, "octets": files.segment_octets},
                    "large": {"files": files.large, "octets": files.large_octets},
                    "index": {"octets": files.index_octets},
                    "free_octets": files.free_octets,
                }
            )
            return
        now = spool.now() if terminal.is_terminal() else None
        _print_totals(list(totals.values()), accounts, now=now)
        print()
        print_table(("age", "messages", ""), _bars(ages), elastic="", right=("messages",))
        print()
        print_facts(_files(files, now))


def _print_totals(totals: Sequence[StateTotal], accounts: Sequence[AccountTotal], *, now: datetime | None) -> None:
    print_table(
        ("state", "messages", "octets", "oldest"),
        ((total.state, total.messages, _size(total.octets, now), moment(total.oldest_at, now)) for total in totals),
        elastic="state",
        right=("messages", "octets"),
        tints={"state": state_style},
    )
    if accounts:
        print()
        print_table(
            ("account", "waiting", "octets", "oldest", "badmail"),
            (
                (one.account or None, one.waiting, _size(one.octets, now), moment(one.oldest_at, now), one.badmail)
                for one in accounts
            ),
            elastic="account",
            right=("waiting", "octets", "badmail"),
        )


def _bars(ages: Sequence[Age]) -> Iterator[Sequence[Cell]]:
    """The ages of what waits, each with a bar of its share."""
    most = max((age.messages for age in ages), default=0)
    for age in ages:
        name = f"over {span(age.over)}" if age.under is None else f"under {span(age.under)}"
        # What is there at all is seen.
        yield name, age.messages, "#" * -(-_LONGEST_BAR * age.messages // most) if most else ""


def _files(files: Files, now: datetime | None) -> Iterator[tuple[str, Cell]]:
    yield "segments", f"{files.segments} files, {_octets(files.segment_octets, now)}"
    yield "large messages", f"{files.large} files, {_octets(files.large_octets, now)}"
    yield "index", _octets(files.index_octets, now)
    yield "free", _octets(files.free_octets, now)


def _size(octets: int, now: datetime | None) -> Cell:
    return octets if now is None else in_units(octets)


def _octets(octets: int, now: datetime | None) -> str:
    return f"{octets} octets" if now is None else in_units(octets)


def _total_json(total: StateTotal) -> dict[str, object]:
    return {"messages": total.messages, "octets": total.octets, "oldest_at": rfc3339(total.oldest_at)}


def _account_json(total: AccountTotal) -> dict[str, object]:
    return {
        "name": total.account or None,
        "messages": total.waiting,
        "octets": total.octets,
        "oldest_at": rfc3339(total.oldest_at),
        "badmail": total.badmail,
    }


def _age_json(age: Age) -> dict[str, object]:
    return {
        "over_seconds": int(age.over.total_seconds()),
        "under_seconds": None if age.under is None else int(age.under.total_seconds()),
        "messages": age.messages,
    }
