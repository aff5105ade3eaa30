"""`accounts test`: log in, look and log out again, and say what was found.

**Invariants:** as `pipeline.cli.visits`; a spool is not needed, and none is made. Root finds what the user of the spool
would find, who may read other files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from pipeline.cli.naming import account_named
from pipeline.cli.output import print_json, shown
from pipeline.cli.visits import Visited, Visits, visited_json, visited_lines
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.lookout import limit_in_force, reading_if_any
from pipeline.privileges import as_owner_of
from spool.errors import SpoolError
from spool.opening import Spool
from stages.fetch.plan import Limit
from stages.settings import AccountSettings, Settings


def try_accounts(settings: Settings, names: Sequence[str], *, everything: bool, json: bool) -> int:
    """Test accounts, disabled ones too where they are named; answers the exit code of the worst that was found."""
    if bool(names) == everything:
        raise CommandFailed(ExitCode.USAGE, "name the accounts, or give --all")
    named = [account_named(settings, name) for name in names]
    accounts = [account for account in settings.accounts if account.enabled] if everything else named
    with as_owner_of(settings.spool.directory), ExitStack() as stack:
        try:
            spool, trouble = stack.enter_context(reading_if_any(settings.spool.directory)), None
        except SpoolError as error:
            spool, trouble = None, str(error)
        found = asyncio.run(_visit(settings, accounts, spool=spool, is_known=trouble is None))
    if json:
        print_json([{"name": name, **visited_json(visited)} for name, visited in found.items()])
    else:
        _print(accounts, found, trouble=trouble)
    # What the operator must mend will not pass by itself: that is worse.
    return max((visited.code for visited in found.values()), default=ExitCode.OK)


async def _visit(
    settings: Settings, accounts: Sequence[AccountSettings], *, spool: Spool | None, is_known: bool
) -> Mapping[str, Visited]:
    visits = Visits(settings.fetch, spool, is_known=is_known)

    async def limit() -> Limit:
        return limit_in_force(settings.fetch, spool)

    async with asyncio.TaskGroup() as group:
        known = group.create_task(limit())
        tasks = {account.name: group.create_task(visits.visit(account, known)) for account in accounts}
    return {name: task.result() for name, task in tasks.items()}


def _print(accounts: Sequence[AccountSettings], found: Mapping[str, Visited], *, trouble: str | None) -> None:
    if trouble is not None:
        print(f"warning  {shown(f'what was fetched before is not known: {trouble}')}")
    for account in accounts:
        for word, line in visited_lines(account, found[account.name]):
            print(f"{word:<7}  {shown(line)}")
