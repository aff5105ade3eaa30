"""Say in words what differs between two configurations: which accounts, which keys of which tables.

**Invariants:** pure; names of accounts and of keys, and never a value, so no secret. However much was changed, the text
stays short.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence

from spool.safe_text import safe_text
from stages.settings import AccountSettings, Settings

SHOWN_NAMES = 5
LONGEST_TEXT = 1000
# Fields that the file calls by another name.
_KEYS = {
    "min_free_octets": "min_free_space",
    "max_message_octets": "max_message_size",
    "owner_uids": "owners",
    "invalid_reverse_path": "invalid_return_path",
    "trust.fingerprints": "tls_fingerprint",
    "trust.min_version": "tls_min_version",
    "trust.certificate": "tls_certificate",
    "trust.key": "tls_key",
    "trust.ca_file": "ca_file",
}
# Where events go is settled before a process writes its first one.
_READ_AT_START = frozenset({"log"})
_AT_THE_NEXT_START = " (from the next start on)"
# Keys that the file has in another table.
_ELSEWHERE = {("validate", "bare_newlines"): "submit", ("validate", "default_domain"): "smtp"}


def changes(before: Settings, after: Settings) -> str:
    """What was changed, on one line; empty where nothing was."""
    told = [*_accounts(before, after), *_tables(before, after)]
    return safe_text("; ".join(told).encode(), limit=LONGEST_TEXT)


def _accounts(before: Settings, after: Settings) -> Iterator[str]:
    were = {account.name: account for account in before.accounts}
    are = {account.name: account for account in after.accounts}
    groups: dict[str, list[str]] = defaultdict(list)
    for name, account in are.items():
        if name not in were:
            groups["added"].append(name)
        elif account != were[name]:
            groups[_how(were[name], account)].append(name)
    groups["removed"] = [name for name in were if name not in are]
    for how in sorted(groups, key=_rank):
        if groups[how]:
            yield f"accounts {how}: {_names(groups[how])}"


def _rank(how: str) -> tuple[bool, bool, str]:
    return how != "added", how != "removed", how


def _how(was: AccountSettings, account: AccountSettings) -> str:
    keys = list(_changed_keys(was, account))
    if keys == ["enabled"]:
        return "enabled" if account.enabled else "disabled"
    return f"changed ({', '.join(keys)})"


def _names(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _tables(before: Settings, after: Settings) -> Iterator[str]:
    tables: dict[str, list[str]] = defaultdict(list)
    for field in dataclasses.fields(Settings):
        if field.name != "accounts":
            for key in _changed_keys(getattr(before, field.name), getattr(after, field.name)):
                tables[_ELSEWHERE.get((field.name, key), field.name)].append(key)
    for table, keys in tables.items():
        yield f"[{table}] {', '.join(keys)}{_AT_THE_NEXT_START if table in _READ_AT_START else ''}"


def _changed_keys(was: object, now: object) -> Iterator[str]:
    """The keys of a table whose values differ; those of its trust by themselves."""
    if was == now or not dataclasses.is_dataclass(was) or not dataclasses.is_dataclass(now):
        return
    for field in dataclasses.fields(was):
        one, other = getattr(was, field.name), getattr(now, field.name)
        if field.name == "trust":
            yield from (_KEYS[f"trust.{key}"] for key in _changed_keys(one, other))
        elif one != other:
            yield _KEYS.get(field.name, field.name)
