"""`accounts list` and `accounts show`: what the configuration says of accounts, and what came of it.

**Invariants:** a password is never printed, only where it comes from. What is configured is shown also where the spool
cannot be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from pipeline.cli.account_fields import secret_of
from pipeline.cli.naming import account_named
from pipeline.cli.output import Cell, print_facts, print_json, print_table, rfc3339, shown
from pipeline.cli.status import left_json, why_left
from pipeline.lookout import reading_if_any
from pipeline.privileges import as_owner_of
from spool.accounts import Accounts, AccountState, Left
from spool.by_account import AccountRecord, record_of
from spool.errors import SpoolError
from spool.states import FINAL, State
from stages.settings import AccountSettings, Settings

_QUEUE = tuple(state for state in State if state not in FINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """What the spool knows of all accounts; `trouble` says why it could not be looked at."""

    states: Mapping[str, AccountState] = field(default_factory=dict)
    left: Mapping[str, Sequence[Left]] = field(default_factory=dict)
    record: AccountRecord | None = None
    trouble: str | None = None


def list_accounts(settings: Settings, *, json: bool) -> None:
    """List the accounts of the configuration, in its order."""
    memory = _remember(settings)
    if json:
        print_json([_as_json(account, _state(memory, account)) for account in settings.accounts])
        return
    _print_trouble(memory)
    print_table(
        ("account", "enabled", "server", "TLS", "auth", "user", "deliver to", "interval", "last success", "error"),
        (_row(account, _state(memory, account)) for account in settings.accounts),
        elastic="error",
        spare=("auth", "TLS", "interval"),
    )


def show_account(settings: Settings, name: str, *, json: bool) -> None:
    """Show all of one account."""
    account = account_named(settings, name)
    memory = _remember(settings, name)
    state = _state(memory, account)
    if json:
        print_json({**_as_json(account, state), **_details_json(account, state, memory=memory)})
        return
    _print_trouble(memory)
    print_facts(_settings_facts(account))
    print()
    print_facts(_state_facts(account, state, memory=memory))
    if left := memory.left.get(name):
        print()
        rows = ((one.octets, one.uidl.encoded or None, why_left(one)) for one in left)
        print_table(("octets", "UIDL", "left at the provider"), rows, elastic="UIDL")


def _remember(settings: Settings, name: str | None = None) -> _Memory:
    try:
        with as_owner_of(settings.spool.directory), reading_if_any(settings.spool.directory) as spool:
            if spool is None:
                return _Memory()
            accounts = Accounts(spool)
            return _Memory(
                states=accounts.states(),
                left=accounts.left_by_account(),
                record=None if name is None else record_of(spool, name),
            )
    except SpoolError as error:
        return _Memory(trouble=str(error))


def _state(memory: _Memory, account: AccountSettings) -> AccountState:
    return memory.states.get(account.name) or AccountState(name=account.name)


def _print_trouble(memory: _Memory) -> None:
    if memory.trouble is not None:
        print(f"warning  {shown(f'what was fetched is not known: {memory.trouble}')}")


def _row(account: AccountSettings, state: AccountState) -> Sequence[Cell]:
    return (
        account.name,
        "yes" if account.enabled else "no",
        f"{account.host}:{account.port}",
        account.tls,
        account.auth,
        account.username,
        ", ".join(account.deliver_to),
        _duration(account.interval),
        rfc3339(state.last_success_at),
        _error(state),
    )


def _settings_facts(account: AccountSettings) -> Iterator[tuple[str, Cell]]:
    yield "account", account.name
    yield "enabled", "yes" if account.enabled else "no"
    yield "server", f"{account.host} port {account.port}"
    yield "TLS", f"{account.tls}, at least {account.trust.min_version}"
    yield "CA", None if account.trust.ca_file is None else str(account.trust.ca_file)
    for fingerprint in account.trust.fingerprints:
        yield "pinned", fingerprint
    yield "our certificate", None if account.trust.certificate is None else str(account.trust.certificate)
    yield "authentication", account.auth
    yield "user", account.username
    yield "secret", secret_of(account)
    yield "deliver to", ", ".join(account.deliver_to)
    yield "interval", _duration(account.interval)
    yield "leave on server", _kept(account.leave_on_server)


def _state_facts(account: AccountSettings, state: AccountState, *, memory: _Memory) -> Iterator[tuple[str, Cell]]:
    yield "last success", rfc3339(state.last_success_at) or "never"
    yield "last attempt", rfc3339(state.last_attempt_at)
    yield "last error", _error(state)
    yield "next poll", rfc3339(state.next_poll_at) if account.enabled else "none: it is disabled"
    yield "mechanism", state.login.mechanism if state.login else None
    yield "at the provider", state.remote_messages
    if memory.record is not None:
        yield "remembered as had", memory.record.ledger
        for queue_state in _QUEUE:
            yield queue_state, memory.record.states.get(queue_state)


def _error(state: AccountState) -> str | None:
    return (
        f"{state.last_error} ({state.failures} times)" if state.last_error and state.failures > 1 else state.last_error
    )


def _kept(keep: timedelta | None) -> str:
    if keep is None:
        return "for ever"
    return _duration(keep) if keep else "no"


def _duration(duration: timedelta) -> str:
    """As the configuration would have it, in the largest unit that is exact."""
    seconds = int(duration.total_seconds())
    for unit_seconds, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % unit_seconds == 0 and (unit != "d" or seconds > 86400):
            return f"{seconds // unit_seconds}{unit}"
    return f"{seconds}s"


def _as_json(account: AccountSettings, state: AccountState) -> dict[str, object]:
    return {
        "name": account.name,
        "enabled": account.enabled,
        "host": account.host,
        "port": account.port,
        "tls": account.tls,
        "auth": account.auth,
        "username": account.username,
        "deliver_to": list(account.deliver_to),
        "interval_seconds": int(account.interval.total_seconds()),
        "last_success_at": rfc3339(state.last_success_at),
        "last_error": state.last_error,
        "failures": state.failures,
        "next_poll_at": rfc3339(state.next_poll_at),
        "remote_messages": state.remote_messages,
    }


def _details_json(account: AccountSettings, state: AccountState, *, memory: _Memory) -> dict[str, object]:
    keep, trust, record = account.leave_on_server, account.trust, memory.record
    return {
        "secret": secret_of(account),
        "leave_on_server": keep is None or bool(keep),
        "leave_on_server_seconds": int(keep.total_seconds()) if keep else None,
        "ca_file": None if trust.ca_file is None else str(trust.ca_file),
        "tls_fingerprints": list(trust.fingerprints),
        "tls_min_version": trust.min_version,
        "tls_certificate": None if trust.certificate is None else str(trust.certificate),
        "last_attempt_at": rfc3339(state.last_attempt_at),
        "mechanism": state.login.mechanism if state.login else None,
        "ledger": None if record is None else record.ledger,
        "queue": None if record is None else {one.value: record.states.get(one, 0) for one in _QUEUE},
        "left": [left_json(one) for one in memory.left.get(account.name, ())],
    }
