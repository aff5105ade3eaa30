"""A mailbox of theirs as an account of ours, in the words of our configuration.

Pure: what is asked of a person, and what a file already holds, comes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import tomlkit

from pipeline.migration.theirs import Mailbox, Relay, duration_text
from stages.secret import Secret
from stages.settings import AuthMethod, RelayProtocol, TlsMode

Table = dict[str, object]
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An account that a configuration has: its name, and its mailbox as two accounts must not share it."""

    name: str
    mailbox: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator said of the accounts to come: all None where nothing was said."""

    name: str | None = None
    deliver_to: str | None = None
    domain: str | None = None


def known_accounts(raw: Mapping[str, object]) -> list[Known]:
    """The accounts of a file as it was decoded, by name and mailbox."""
    return [
        Known(name=str(account.get("name")), mailbox=mailbox_of(str(account.get("host")), str(account.get("username"))))
        for account in accounts_in(raw)
    ]


def accounts_in(raw: Mapping[str, object]) -> list[Table]:
    """The accounts of a file as it was decoded."""
    accounts = raw.get("accounts")
    return [account for account in accounts if isinstance(account, dict)] if isinstance(accounts, list) else []


def mailbox_of(host: str, username: str) -> tuple[str, str]:
    """What makes two accounts one mailbox, whatever the port."""
    return host.lower().removesuffix("."), username


def name_for(mailbox: Mailbox, wishes: Wishes, *, taken: Iterable[str]) -> str:
    """A name for the account, which no other of this import has."""
    wanted = "".join(letter if letter.isprintable() else "-" for letter in wishes.name or mailbox.name)
    wanted = wanted[:_LONGEST_NAME].strip() or "imported"
    name, number, others = wanted, 1, set(taken)
    while name in others:
        number += 1
        name = f"{wanted[: _LONGEST_NAME - 8].strip()}-{number}"
    return name


def destination(mailbox: Mailbox, wishes: Wishes) -> str | None:
    """Where the mailbox's mail goes; None where nobody said."""
    if wishes.deliver_to:
        return wishes.deliver_to
    if mailbox.is_multidrop or mailbox.local is None:
        return None
    if "@" in mailbox.local:
        return mailbox.local
    domain = mailbox.domain or wishes.domain
    return f"{mailbox.local}@{domain}" if domain else None


def needs_password(mailbox: Mailbox) -> bool:
    """Whether nobody said where the password is."""
    return mailbox.password is None and mailbox.command is None


def table_of(mailbox: Mailbox, *, name: str, deliver_to: str, password: Secret | None) -> Table:
    """The account as `[[accounts]]` has it; `password` is what was asked for."""
    table: Table = {"name": name, "host": mailbox.host}
    if mailbox.port not in (None, 995 if mailbox.tls is TlsMode.IMPLICIT else 110):
        table["port"] = mailbox.port
    if mailbox.tls is not TlsMode.IMPLICIT:
        table["tls"] = mailbox.tls.value
    if mailbox.auth is not AuthMethod.AUTO:
        table["auth"] = mailbox.auth.value
    table["username"] = mailbox.username or ""
    table |= _login(mailbox, password)
    table["deliver_to"] = deliver_to
    if mailbox.interval is not None:
        table["interval"] = duration_text(mailbox.interval)
    table["leave_on_server"] = _leave(mailbox.leave)
    if not mailbox.is_enabled:
        table["enabled"] = False
    table |= _trust(mailbox)
    if mailbox.auth.takes_token:
        table["oauth2"] = {"token_command": mailbox.command}
    return table


def relay_table(relay: Relay) -> Table:
    """The relay as `[smtp]` has it."""
    table: Table = {"host": relay.host}
    if relay.port is not None:
        table["port"] = relay.port
    if relay.protocol is not RelayProtocol.SMTP:
        table["protocol"] = relay.protocol.value
    return table


def text_of(tables: Iterable[Table], relay: Table | None) -> str:
    """The tables as TOML."""
    document: dict[str, object] = {"smtp": relay} if relay else {}
    document["accounts"] = list(tables)
    return tomlkit.dumps(document)


def masked(table: Table) -> Table:
    """The table for a terminal, without its password."""
    return {key: "***" if key == "password" else value for key, value in table.items()}


def _login(mailbox: Mailbox, password: Secret | None) -> Table:
    if mailbox.auth.takes_token:
        return {}
    if mailbox.command is not None and mailbox.password is None:
        return {"password_command": mailbox.command}
    known = mailbox.password or password
    return {"password": known.reveal()} if known else {}


def _leave(leave: timedelta | None) -> bool | str:
    if leave is None:
        return True
    return duration_text(leave) if leave else False


def _trust(mailbox: Mailbox) -> Table:
    table: Table = {}
    if mailbox.ca_file is not None:
        table["ca_file"] = str(mailbox.ca_file)
    if mailbox.fingerprints:
        table["tls_fingerprint"] = list(mailbox.fingerprints)
    if mailbox.min_version is not None:
        table["tls_min_version"] = mailbox.min_version
    if mailbox.certificate is not None:
        table["tls_certificate"] = str(mailbox.certificate)
        if mailbox.key is not None:
            table["tls_key"] = str(mailbox.key)
    return table
