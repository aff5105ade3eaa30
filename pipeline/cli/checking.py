"""`check`: the configuration, and with `--connect` every server that it names.

**Invariants:** nothing is fetched, deleted or submitted; no password is printed.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import Task
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pipeline.advice import settings_advice
from pipeline.cli.output import print_json, shown
from pipeline.cli.visits import Visited, Visits, visited_json, visited_lines
from pipeline.exit_codes import ExitCode
from pipeline.lookout import limit_in_force, limit_text, reading_if_any
from spool.errors import SpoolError
from spool.opening import Spool, utc_now
from spool.route import RouteState
from stages.errors import StageError
from stages.fetch.limits import limit_of, size_trap
from stages.fetch.plan import Limit
from stages.settings import Settings, SmtpSettings
from stages.smtp.replies import Extensions
from stages.submit.relay import Relay, name_for_helo


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeted:
    """What came of the relay; without an answer of it there are no `extensions`."""

    extensions: Extensions | None = None
    is_tls: bool = False
    error: str | None = None

    @property
    def lacks(self) -> Sequence[str]:
        """What some mail or a quick passage needs, and the relay does not offer."""
        offered = self.extensions or Extensions()
        named = (
            ("PIPELINING", offered.pipelining),
            ("8BITMIME", offered.eightbitmime),
            ("SMTPUTF8", offered.smtputf8),
        )
        return [name for name, is_offered in named if not is_offered]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Everything that was tried; `trouble` says why the spool could not be looked at."""

    relay: Greeted
    limit: Limit
    accounts: Mapping[str, Visited]
    trouble: str | None

    @property
    def is_good(self) -> bool:
        """Whether every connection came about."""
        return self.relay.error is None and all(visited.error is None for visited in self.accounts.values())


def check(settings: Settings, *, connect: bool, json: bool) -> int:
    """Say that the configuration is valid, which it is once it was read, and try the servers if asked."""
    checked = _connect(settings) if connect else None
    if json:
        print_json(_as_json(settings, checked))
    else:
        enabled = sum(account.enabled for account in settings.accounts)
        print(f"the configuration is valid: {len(settings.accounts)} accounts, {enabled} enabled")
        told = () if checked is None else _lines(settings, checked)
        for word, line in (*(("warning", line) for line in settings_advice(settings)), *told):
            print(f"{word:<7}  {shown(line)}")
    return ExitCode.OK if checked is None or checked.is_good else ExitCode.TEMPORARY


def _connect(settings: Settings) -> Checked:
    with ExitStack() as stack:
        try:
            spool, trouble = stack.enter_context(reading_if_any(settings.spool.directory)), None
        except SpoolError as error:
            # Whoever may not look into the spool may still try the servers.
            spool, trouble = None, str(error)
        return asyncio.run(_Check(settings, spool, trouble=trouble).run())


class _Check:
    """One round of all servers."""

    def __init__(self, settings: Settings, spool: Spool | None, *, trouble: str | None) -> None:
        self._settings = settings
        self._spool = spool
        self._trouble = trouble
        self._visits = Visits(settings.fetch, spool, is_known=trouble is None)

    async def run(self) -> Checked:
        async with asyncio.TaskGroup() as group:
            relay = group.create_task(_greet(self._settings.smtp))
            limit = group.create_task(self._limit(relay))
            accounts = {
                account.name: group.create_task(self._visits.visit(account, limit))
                for account in self._settings.accounts
                if account.enabled
            }
        return Checked(
            relay=relay.result(),
            limit=limit.result(),
            accounts={name: task.result() for name, task in accounts.items()},
            trouble=self._trouble,
        )

    async def _limit(self, relay: Task[Greeted]) -> Limit:
        """The limit by what the relay says now, or else by what it said before."""
        offered = (await relay).extensions
        if offered is None:
            return limit_in_force(self._settings.fetch, self._spool)
        return limit_of(
            self._settings.fetch.max_message_octets, RouteState(size_known_at=utc_now(), size_octets=offered.size)
        )


async def _greet(smtp: SmtpSettings) -> Greeted:
    try:
        # It may ask the resolver.
        host_name = await asyncio.to_thread(socket.getfqdn)
        client = await Relay(smtp, helo=name_for_helo(host_name)).open()
        await client.quit()
    except StageError as error:
        return Greeted(error=str(error))
    return Greeted(extensions=client.extensions, is_tls=client.is_tls)


def _lines(settings: Settings, checked: Checked) -> Iterator[tuple[str, str]]:
    smtp, relay = settings.smtp, checked.relay
    where = f"relay ({smtp.host})" if smtp.host.startswith("/") else f"relay ({smtp.host} port {smtp.port})"
    yield ("ok", f"{where}: {_relay_text(relay)}") if relay.error is None else ("FAILED", f"{where}: {relay.error}")
    yield "ok", f"largest message that is fetched: {limit_text(checked.limit)}"
    yield from (("warning", line) for line in _size_warnings(settings, checked))
    if checked.trouble:
        yield "warning", f"what was fetched before is not known: {checked.trouble}"
    for account in settings.accounts:
        visited = checked.accounts.get(account.name)
        if visited is not None:
            yield from visited_lines(account, visited)


def _size_warnings(settings: Settings, checked: Checked) -> Sequence[str]:
    offered = checked.relay.extensions
    trap = size_trap(settings.fetch.max_message_octets, offered.size if offered else None)
    return [trap] if trap else []


def _relay_text(relay: Greeted) -> str:
    size = relay.extensions.size if relay.extensions else None
    limit = f"takes up to {size} octets" if size else "tells no limit of size"
    lacks = f", lacks {', '.join(relay.lacks)}" if relay.lacks else ""
    return f"{limit}{lacks}{'' if relay.is_tls else ', without TLS'}"


def _as_json(settings: Settings, checked: Checked | None) -> dict[str, object]:
    return {
        "ok": checked is None or checked.is_good,
        "warnings": [*settings_advice(settings), *(_size_warnings(settings, checked) if checked else ())],
        "accounts": [
            {
                "name": account.name,
                "enabled": account.enabled,
                **visited_json(None if checked is None else checked.accounts.get(account.name)),
            }
            for account in settings.accounts
        ],
        "relay": None if checked is None else _relay_json(settings.smtp, checked.relay),
        "limit": None
        if checked is None
        else {"max_message_octets": checked.limit.octets, "source": checked.limit.source},
        "spool_error": None if checked is None else checked.trouble,
    }


def _relay_json(smtp: SmtpSettings, relay: Greeted) -> dict[str, object]:
    return {
        "host": smtp.host,
        "port": smtp.port,
        "error": relay.error,
        "size_octets": relay.extensions.size if relay.extensions else None,
        "is_tls": relay.is_tls,
        "lacks": list(relay.lacks) if relay.extensions else [],
    }
