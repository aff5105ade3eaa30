"""`check`: the configuration, and with `--connect` every server that it names.

**Invariants:** nothing is fetched, deleted or submitted; no password is printed.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from pipeline.cli.output import shown
from pipeline.exit_codes import ExitCode
from stages.errors import StageError
from stages.fetch.entrance import logged_in
from stages.settings import AccountSettings, Settings, SmtpSettings
from stages.submit.relay import Relay, name_for_helo


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one connection, on one line."""

    is_good: bool
    text: str


def check(settings: Settings, *, connect: bool) -> int:
    """Say that the configuration is valid, which it is once it was read, and try the servers if asked."""
    enabled = [account for account in settings.accounts if account.enabled]
    print(f"the configuration is valid: {len(settings.accounts)} accounts, {len(enabled)} enabled")
    if not connect:
        return ExitCode.OK
    return asyncio.run(_check_all(settings, enabled))


async def _check_all(settings: Settings, accounts: list[AccountSettings]) -> int:
    limit = asyncio.Semaphore(settings.fetch.concurrency)

    async def ask(account: AccountSettings) -> Finding:
        async with limit:
            return await _account(account, timeout=settings.fetch.timeout.total_seconds())

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_relay(settings.smtp))]
        tasks += [group.create_task(ask(account)) for account in accounts]
    findings = [task.result() for task in tasks]
    for finding in findings:
        print(f"{'ok    ' if finding.is_good else 'FAILED'}  {shown(finding.text)}")
    return ExitCode.OK if all(finding.is_good for finding in findings) else ExitCode.TEMPORARY


async def _account(account: AccountSettings, *, timeout: float) -> Finding:
    where = f"account {account.name} ({account.host} port {account.port})"
    try:
        async with logged_in(account, timeout=timeout) as client:
            size = await client.stat()
            await client.quit()
    except StageError as error:
        return Finding(is_good=False, text=f"{where}: {error}")
    octets = "" if size.octets is None else f", {size.octets} octets"
    return Finding(
        is_good=True, text=f"{where}: {size.count} messages{octets}{'' if client.is_tls else ', without TLS'}"
    )


async def _relay(smtp: SmtpSettings) -> Finding:
    where = f"relay ({smtp.host} port {smtp.port})"
    try:
        # It may ask the resolver.
        host_name = await asyncio.to_thread(socket.getfqdn)
        client = await Relay(smtp, helo=name_for_helo(host_name)).open()
        await client.quit()
    except StageError as error:
        return Finding(is_good=False, text=f"{where}: {error}")
    offered = client.extensions
    limit = f"takes up to {offered.size} octets" if offered.size else "tells no limit of size"
    missing = [
        name
        for name, is_offered in (
            ("PIPELINING", offered.pipelining),
            ("8BITMIME", offered.eightbitmime),
            ("SMTPUTF8", offered.smtputf8),
        )
        if not is_offered
    ]
    lacks = f", lacks {', '.join(missing)}" if missing else ""
    return Finding(is_good=True, text=f"{where}: {limit}{lacks}{'' if client.is_tls else ', without TLS'}")
