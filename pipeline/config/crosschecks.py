"""Rules that look at more than one key of the file as it is written, or beyond the file.

They read the file as it was written, not the validated models, so that their problems are reported beside those of
single keys and not after them. Where a key has a wrong type they say nothing: the models do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.config import grammar
from pipeline.config.models import PASSWORD_KEYS, SECRETS, keys_of_secret
from pipeline.config.problems import Path as Place
from pipeline.config.problems import Problem, Raw
from stages.passwords import READABLE_BY_OTHERS
from stages.settings import AuthMethod, Grant

LOGIN_KEYS = (*PASSWORD_KEYS, "oauth2")
_TOKEN_METHODS = [method.value for method in AuthMethod if method.takes_token]


def crosscheck(raw: Raw, base: Path) -> list[Problem]:
    """All problems of this kind; relative paths in the file start at `base`."""
    return [
        *_smtp_login(raw),
        *_relay_place(raw),
        *_account_logins(raw),
        *_oauth2(raw),
        *_certificates(raw),
        *_repeated_names(raw),
        *_repeated_mailboxes(raw),
        *_mirror(raw, base),
        *_files(raw, base),
    ]


def holds_password(raw: Raw) -> bool:
    """Whether the file itself is a secret."""
    return any(key in table for _, table in _tables_with_secrets(raw) for key in ("password", *SECRETS))


def _smtp_login(raw: Raw) -> Iterator[Problem]:
    smtp = _table(raw, "smtp")
    given = [key for key in LOGIN_KEYS if key in smtp]
    if "username" in smtp or len(given) > 1:
        yield from _login(("smtp",), smtp)
    else:
        # A login that is meant and not made would show only when the relay refuses.
        for key in [*given, *(["auth"] if "auth" in smtp else [])]:
            yield Problem(path=("smtp", key), text="is given without username")


def _relay_place(raw: Raw) -> Iterator[Problem]:
    smtp = _table(raw, "smtp")
    host = smtp.get("host")
    if isinstance(host, str) and host.startswith("/"):
        if smtp.get("tls", "none") != "none":
            yield Problem(path=("smtp", "tls"), text="a UNIX socket has no TLS: leave it out")
        if "port" in smtp:
            yield Problem(path=("smtp", "port"), text="a UNIX socket has no port: leave it out")
    elif smtp.get("protocol") == "lmtp" and smtp.get("port", 25) == 25:
        # RFC 2033 section 5.
        yield Problem(path=("smtp", "port"), text="is not 25 with lmtp: give the server's own, often 24")


def _account_logins(raw: Raw) -> Iterator[Problem]:
    for number, account in _accounts(raw):
        yield from _login(("accounts", number), account)


def _login(place: Place, table: Raw) -> Iterator[Problem]:
    given = [key for key in LOGIN_KEYS if key in table]
    if len(given) != 1:
        found = f"these are given: {', '.join(given)}" if given else "none is given"
        yield Problem(path=(*place, "password"), text=f"exactly one of {grammar.one_of(LOGIN_KEYS)} is needed; {found}")
    auth = table.get("auth", "auto")
    if given == ["oauth2"] and auth in set(AuthMethod) - {"auto", *_TOKEN_METHODS}:
        yield Problem(
            path=(*place, "auth"),
            text=f"{grammar.shown(auth)} sends a password; use {grammar.one_of(['auto', *_TOKEN_METHODS])}",
        )
    if "oauth2" not in given and auth in _TOKEN_METHODS:
        yield Problem(path=(*place, "auth"), text=f"{grammar.shown(auth)} needs [{place[0]}.oauth2]")


def _oauth2(raw: Raw) -> Iterator[Problem]:
    for place, table in _oauth2_tables(raw):
        for key, text in _oauth2_problems(table, is_relay=place[0] == "smtp"):
            yield Problem(path=(*place, key), text=text)


def _oauth2_problems(table: Raw, *, is_relay: bool) -> Iterator[tuple[str, str]]:
    """Each key that is wrong in its company, and how."""
    if "token_command" in table:
        yield from ((key, "is not used beside token_command") for key in table if key != "token_command")
        return
    yield from (
        (key, "is required without token_command") for key in ("token_endpoint", "client_id") if key not in table
    )
    given = {name: [key for key in keys_of_secret(name) if key in table] for name in SECRETS}
    for name, keys in given.items():
        if len(keys) > 1:
            yield name, f"at most one source can be given; these are: {', '.join(keys)}"
    if table.get("grant") == Grant.CLIENT_CREDENTIALS:
        if not given["client_secret"]:
            yield "client_secret", f"{grammar.shown(table['grant'])} needs it, from one of its sources"
        personal = [key for key in ("device_endpoint", *given["refresh_token"]) if key in table]
        yield from ((key, f"is not used with {grammar.shown(table['grant'])}") for key in personal)
    elif is_relay and "device_endpoint" in table:
        yield "device_endpoint", "is for accounts; give a refresh_token"
    elif "device_endpoint" not in table and not given["refresh_token"]:
        yield "refresh_token", "is needed" if is_relay else "is needed, or device_endpoint for `accounts login`"


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


def _mirror(raw: Raw, base: Path) -> Iterator[Problem]:
    log = _table(raw, "log")
    name = log.get("file")
    if name is None:
        return
    if log.get("mirror", "none") in {"none", "journald", "syslog"}:
        yield Problem(path=("log", "file"), text='is given without mirror = "file"')
    elif isinstance(name, str) and name and name.isprintable() and (directory := (base / name).parent) != base:
        # Whoever asks may not see it; then a stage that cannot write there says so.
        with suppress(PermissionError):
            if not directory.is_dir():
                yield Problem(path=("log", "file"), text=f"there is no directory {directory}")


def _files(raw: Raw, base: Path) -> Iterator[Problem]:
    for place, table in _tables_with_secrets(raw):
        holds_key = "tls_key" if "tls_key" in table else "tls_certificate"
        secrets = {holds_key, *(f"{name}_file" for name in ("password", *SECRETS))}
        for key in ("ca_file", "tls_certificate", "tls_key", "password_file", *(f"{name}_file" for name in SECRETS)):
            name = table.get(key)
            if isinstance(name, str) and name and name.isprintable():
                yield from _file((*place, key), base / name, is_secret=key in secrets)


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


def _tables_with_secrets(raw: Raw) -> Iterator[tuple[Place, Raw]]:
    yield from _tables_with_login(raw)
    yield from _oauth2_tables(raw)


def _oauth2_tables(raw: Raw) -> Iterator[tuple[Place, Raw]]:
    for place, login in _tables_with_login(raw):
        table = login.get("oauth2")
        if isinstance(table, dict):
            yield (*place, "oauth2"), table


def _table(raw: Raw, name: str) -> Raw:
    table = raw.get(name)
    return table if isinstance(table, dict) else {}


def _accounts(raw: Raw) -> Iterator[tuple[int, Raw]]:
    accounts = raw.get("accounts")
    for number, account in enumerate(accounts if isinstance(accounts, list) else []):
        if isinstance(account, dict):
            yield number, account
