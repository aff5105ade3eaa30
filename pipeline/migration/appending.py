"""Append accounts to the text of a configuration, and change no octet of what is there.

**Invariants:** the new text means what the old one meant, and the accounts behind those that it had: both are read by
tomllib and compared.
**Failures:** `CannotAppend` where the accounts are written in a way to which no `[[accounts]]` can be added.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

from pipeline.migration.ours import Table, text_of


class CannotAppend(Exception):
    """The accounts are written as an array, or the file is no TOML."""

    def __init__(self) -> None:
        super().__init__("its accounts are not written as [[accounts]] tables: to these nothing can be added")


def with_accounts(text: str, tables: Sequence[Table], *, relay: Table | None) -> str:
    """The text with these accounts behind its own, and with the relay, which it must not have."""
    if not tables:
        return text
    gap = "" if not text.strip() else "\n" if text.endswith("\n") else "\n\n"
    appended = text + gap + text_of(tables, relay)
    if "\r\n" in text and text.count("\r\n") == text.count("\n"):
        appended = appended.replace("\r\n", "\n").replace("\n", "\r\n")
    try:
        wanted = tomllib.loads(text)
        wanted["accounts"] = [*wanted.get("accounts", []), *tables]
        if relay:
            wanted["smtp"] = relay
        meant = tomllib.loads(appended)
    except (ValueError, TypeError) as error:
        raise CannotAppend from error
    if meant != wanted:
        raise CannotAppend
    return appended
