"""Where a password that was typed goes: into `<account>.password`, a file of its own beside the configuration.

So the configuration holds no secret: it may be shown, compared and kept with others. Who keeps a password in the
configuration already finds the new one there.

**Invariants:** a file that is there is replaced only where it is the account's own; nothing is written here.
**Failures:** `CommandFailed`.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from pipeline.cli.account_draft import Draft
from pipeline.cli.account_fields import Typed
from pipeline.cli.account_keys import PASSWORDS
from pipeline.config.changing import PasswordAside
from pipeline.config.models import PASSWORD_KEYS
from pipeline.config.problems import Raw
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool.layout import encoded_name
from stages.secret import Secret


def password_of_stdin(draft: Draft, typed: Typed) -> Secret:
    """The first line of standard input; from a terminal it is read without echo."""
    if any(typed.get(key) for key in PASSWORDS):
        raise CommandFailed(ExitCode.USAGE, "--password-stdin stands beside another source of the password")
    if sys.stdin.isatty():
        text = getpass.getpass("password: ")
    else:
        octets = sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError:
            raise CommandFailed(ExitCode.USAGE, "the password on standard input is not UTF-8") from None
    if wrong := draft.objections_to_password(text):
        raise CommandFailed(ExitCode.USAGE, f"the password on standard input {wrong[0]}")
    return Secret(text)


def require_place(draft: Draft) -> None:
    """Make sure that a new file could be made for the account's password."""
    path = _own_file(draft.base, str(draft.values["name"]))
    if os.path.lexists(path):
        raise CommandFailed(
            ExitCode.USAGE, f"{path} is there already: give --password-file {path} to use it, or remove it"
        )


def place(draft: Draft, password: Secret) -> PasswordAside | None:
    """Note in the draft where the password is to be found; answers the file that is to be written for it."""
    own = _own_file(draft.base, str(draft.values["name"]))
    if "password" in draft.present:
        _only(draft, "password", value=password.reveal())
        return None
    if not _is_same(draft.base / str(draft.present.get("password_file", "")), own):
        require_place(draft)
        _only(draft, "password_file", value=own.name)
    return PasswordAside(path=own, password=password)


def file_without_use(raw: Raw, base: Path, *, name: str) -> Path | None:
    """The file that was made for the password of this account, which alone used it in `raw`."""
    own = _own_file(base, name)
    logins = [login for table in ("accounts", "smtp") for login in _tables(raw.get(table))]
    users = [login for login in logins if _is_same(base / str(login.get("password_file", "")), own)]
    return own if own.is_file() and len(users) == 1 and users[0].get("name") == name else None


def _own_file(base: Path, name: str) -> Path:
    return base / f"{encoded_name(name)}.password"


def _only(draft: Draft, key: str, *, value: str) -> None:
    draft.values = {known: old for known, old in draft.values.items() if known not in PASSWORD_KEYS or known == key}
    draft.values[key] = value


def _is_same(path: Path, other: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _tables(value: object) -> list[dict[str, object]]:
    return [table for table in (value if isinstance(value, list) else [value]) if isinstance(table, dict)]
