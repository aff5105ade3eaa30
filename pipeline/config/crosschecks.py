"""Rules that look at more than one key of the file as it is written, or beyond the file.

They read the file as it was written, not the validated models, so that their problems are reported beside those of
single keys and not after them. Where a key has a wrong type they say nothing: the models do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.config import grammar
from pipeline.config.models import PASSWORD_KEYS
from pipeline.config.problems import Path as Place
from pipeline.config.problems import Problem, Raw
from stages.passwords import READABLE_BY_OTHERS


def crosscheck(raw: Raw, base: Path) -> list[Problem]:
    """All problems of this kind; relative paths in the file start at `base`."""
    return [
        *_smtp_login(raw),
        *_account_passwords(raw),
        *_certificates(raw),
        *_repeated_names(raw),
        *_repeated_mailboxes(raw),
        *_files(raw, base),
    ]


def holds_password(raw: Raw) -> bool:
    """Whether the file itself is a secret."""
    return any("password" in table for _, table in _tables_with_login(raw))


def _smtp_login(raw: Raw) -> Iterator[Problem]:
    smtp = _table(raw, "smtp")
    given = [key for key in PASSWORD_KEYS if key in smtp]
    if "username" in smtp or len(given) > 1:
        yield from _one_password(("smtp",), given)
    elif given:
        yield Problem(path=("smtp", given[0]), text="is given without username")


def _account_passwords(raw: Raw) -> Iterator[Problem]:
    for number, account in _accounts(raw):
        yield from _one_password(("accounts", number), [key for key in PASSWORD_KEYS if key in account])


def _one_password(place: Place, given: list[str]) -> Iterator[Problem]:
    if len(given) != 1:
        found = f"these are given: {', '.join(given)}" if given else "none is given"
        yield Problem(
            path=(*place, "password"), text=f"exactly one of {grammar.one_of(PASSWORD_KEYS)} is needed; {found}"
        )


def _certificates(raw: Raw) -> Iterator[Problem]:
    for place, table in _tables_with_login(raw):
        if "tls_key" in table and "tls_certificate" not in table:
            yield Problem(path=(*place, "tls_key"), text="is given without tls_certificate")


def _repeated_names(raw: Raw) -> Iterator[Problem]:
    for number, first in _repeated(raw, lambda account: account.get("name")):
        yield Problem(path=("accounts", number, "name"), text=f"is the name of accounts[{first}] too")


def _repeated_mailboxes(raw: Raw) -> Iterator[Problem]:
    # Two logins at one maildrop take each other's mail and each other's lock, whatever the port.
    for number, first in _repeated(raw, _mailbox):
        yield Problem(
            path=("accounts", number, "username"), text=f"is the mailbox of accounts[{first}] too: same host and user"
        )


def _mailbox(account: Raw) -> object:
    host, username = account.get("host"), account.get("username")
    return (host.lower().removesuffix("."), username) if isinstance(host, str) and isinstance(username, str) else None


def _repeated(raw: Raw, key: Callable[[Raw], object]) -> Iterator[tuple[int, int]]:
    """The number of each account whose key was there before, and of the first that has it."""
    seen: dict[object, int] = {}
    for number, account in _accounts(raw):
        value = key(account)
        if isinstance(value, str | tuple):
            first = seen.setdefault(value, number)
            if first != number:
                yield number, first


def _files(raw: Raw, base: Path) -> Iterator[Problem]:
    for place, table in _tables_with_login(raw):
        holds_key = "tls_key" if "tls_key" in table else "tls_certificate"
        for key in ("ca_file", "tls_certificate", "tls_key", "password_file"):
            name = table.get(key)
            if isinstance(name, str) and name and name.isprintable():
                yield from _file((*place, key), base / name, is_secret=key in (holds_key, "password_file"))


def _file(place: Place, path: Path, *, is_secret: bool) -> Iterator[Problem]:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        yield Problem(path=place, text=f"there is no file {path}")
    except OSError:
        # Whoever asks may not see it; the stage that logs in will say so where it may not either.
        return
    else:
        if is_secret and mode & READABLE_BY_OTHERS:
            yield Problem(path=place, text=f"{path} is readable by group or others: chmod 600 {path}")


def _tables_with_login(raw: Raw) -> Iterator[tuple[Place, Raw]]:
    yield ("smtp",), _table(raw, "smtp")
    for number, account in _accounts(raw):
        yield ("accounts", number), account


def _table(raw: Raw, name: str) -> Raw:
    table = raw.get(name)
    return table if isinstance(table, dict) else {}


def _accounts(raw: Raw) -> Iterator[tuple[int, Raw]]:
    accounts = raw.get("accounts")
    for number, account in enumerate(accounts if isinstance(accounts, list) else []):
        if isinstance(account, dict):
            yield number, account
