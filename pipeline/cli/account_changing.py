"""`accounts add`, `edit`, `remove`, `enable`, `disable`: change the configuration file.

What is missing is asked for where there is a terminal.

**Invariants:** a password is never an argument, and never printed; where a dialogue is given up nothing was written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli.account_dialogue import ask_for_account, ask_for_changes
from pipeline.cli.account_draft import Draft
from pipeline.cli.account_fields import Typed, in_order, values_of
from pipeline.cli.account_keys import PASSWORDS
from pipeline.cli.account_passwords import file_without_use, password_of_stdin, place
from pipeline.cli.dialogue import can_ask, confirm, dialogue
from pipeline.cli.invocation import Invocation
from pipeline.cli.naming import account_named
from pipeline.cli.output import shown
from pipeline.config import find, load
from pipeline.config.changing import ConfigurationFile, Owner, PasswordAside
from pipeline.config.editing import with_account, with_changes, without_account
from pipeline.config.loading import decode, place_for
from pipeline.config.models import PASSWORD_KEYS, SpoolTable
from pipeline.config.problems import Raw
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.lookout import reading_if_any
from pipeline.privileges import as_owner_of
from spool.accounts import Accounts
from spool.by_account import record_of
from spool.errors import SpoolError
from spool.states import LIVE
from stages.settings import Settings

_HEAD = """\
# The configuration of the POP3 Connector. `pop3connector check` validates it; `pop3connector accounts` changes the
# accounts and leaves all else as it is. Mail goes to the SMTP server at 127.0.0.1, port 25, unless you say otherwise:
#
# [smtp]
# host = "mail.corp.example"
"""
_PASSWORD = "a password (--password-file, --password-env, --password-command or --password-stdin)"  # noqa: S105 - a sentence
_NEXT = "next: `pop3connector run` moves its mail; where that runs already it notices the change"


def add(invocation: Invocation, name: str | None, *, typed: Typed, from_stdin: bool) -> int:
    """Add an account; what is needed and was not typed is asked for."""
    file, settings, raw = _begin(invocation)
    draft = Draft.new(raw, file.parent)
    draft.take({**({} if name is None else {"name": name}), **values_of(typed)})
    password = password_of_stdin(draft, typed) if from_stdin else None
    missing = [*draft.missing(), *([] if password or draft.has_password_source() else [_PASSWORD])]
    asks = bool(missing) and can_ask()
    if asks:
        with dialogue():
            password = ask_for_account(draft, password)
    elif missing:
        raise CommandFailed(ExitCode.USAGE, f"missing: {', '.join(missing)}")
    aside = None if password is None else place(draft, password)
    owner = _owner_of_new(settings, file)
    settings = ConfigurationFile(file, owner=owner).change(
        lambda text: with_account(text or _HEAD, in_order(draft.values)), aside=aside
    )
    added = str(draft.values["name"])
    _tell(f"account {added} added to {file}", aside)
    if asks:
        _offer_test(settings, added)
    print(_NEXT)
    return ExitCode.OK


def edit(invocation: Invocation, name: str, *, typed: Typed, from_stdin: bool) -> int:
    """Change an account: what was typed, or what is answered in a dialogue where nothing was."""
    file, settings, raw = _find(invocation, name)
    draft = Draft.of(raw, file.parent, name=name)
    changes = values_of(typed)
    if any(key in changes for key in PASSWORDS):
        changes = {**dict.fromkeys(key for key in PASSWORD_KEYS if key in draft.present), **changes}
    draft.take(changes)
    password = password_of_stdin(draft, typed) if from_stdin else None
    if not changes and not from_stdin:
        if not can_ask():
            raise CommandFailed(ExitCode.USAGE, "nothing to change was given: --host, --username or another option")
        with dialogue():
            password = ask_for_changes(draft)
    aside = None if password is None else place(draft, password)
    changed = draft.changes()
    if not changed and aside is None:
        print(shown(f"account {name}: nothing changed"))
        return ExitCode.OK
    configuration = ConfigurationFile(file, owner=_owner_of_new(settings, file))
    configuration.change(lambda text: with_changes(text, name, changes=changed), aside=aside)
    _tell(f"account {name} changed in {file}", aside)
    if "password_file" in changed:
        _discard(configuration, file_without_use(raw, file.parent, name=name))
    if changed.keys() & {"host", "username"}:
        for warning in _what_is_remembered(settings, name):
            print(shown(f"warning  {warning}"))
    return ExitCode.OK


def remove(invocation: Invocation, name: str, *, yes: bool) -> int:
    """Remove an account from the configuration; what was fetched stays in the spool."""
    file, settings, raw = _find(invocation, name)
    password_file = file_without_use(raw, file.parent, name=name)
    for warning in _what_is_left(settings, name):
        print(shown(f"warning  {warning}"))
    if not yes:
        if not can_ask():
            raise CommandFailed(ExitCode.USAGE, "nobody is there to ask: give --yes")
        also = "" if password_file is None else f" and its password file {password_file}"
        with dialogue():
            is_meant = confirm(shown(f"Remove account {name}{also}?"), usual=False)
        if not is_meant:
            print("nothing was changed")
            return ExitCode.OK
    configuration = ConfigurationFile(file)
    configuration.change(lambda text: without_account(text, name))
    print(shown(f"account {name} removed from {file}"))
    _discard(configuration, password_file)
    return ExitCode.OK


def set_enabled(invocation: Invocation, name: str, *, enabled: bool) -> int:
    """Let an account be polled, or not."""
    word = "enabled" if enabled else "disabled"
    file, settings, _ = _find(invocation, name)
    if account_named(settings, name).enabled == enabled:
        print(shown(f"account {name} is {word} already"))
        return ExitCode.OK
    write_enabled(file, name, enabled=enabled)
    print(shown(f"account {name} {word} in {file}"))
    return ExitCode.OK


def write_enabled(file: Path, name: str, *, enabled: bool) -> None:
    """Set an account's key `enabled`; raises ConfigurationError, OSError."""
    ConfigurationFile(file).change(lambda text: with_changes(text, name, changes={"enabled": enabled}))


def _begin(invocation: Invocation) -> tuple[Path, Settings | None, Raw]:
    """The file, and what is in it now; one that is not there yet is empty. One with problems is refused."""
    file = place_for(invocation.config, os.environ)
    if not os.path.exists(file):
        return file, None, {}
    return file, load(file, os.environ), decode(file.read_bytes(), file)


def _find(invocation: Invocation, name: str) -> tuple[Path, Settings, Raw]:
    """The file that has this account, and what is in it now; raises ConfigurationError, CommandFailed."""
    settings = invocation.settings()
    account_named(settings, name)
    file = find(invocation.config, os.environ)
    return file, settings, decode(file.read_bytes(), file)


def _owner_of_new(settings: Settings | None, file: Path) -> Owner | None:
    """Whose files root makes: those of the user that runs the connector, by what is there of it."""
    if os.geteuid() != 0:
        return None
    spool = Path(SpoolTable().directory) if settings is None else settings.spool.directory
    for known in (spool, file):
        try:
            status = known.stat()
        except OSError:
            continue
        return status.st_uid, status.st_gid
    return None


def _tell(done: str, aside: PasswordAside | None) -> None:
    print(shown(done))
    if aside is not None:
        print(shown(f"its password is in {aside.path}"))


def _discard(configuration: ConfigurationFile, password_file: Path | None) -> None:
    if password_file is not None:
        configuration.discard(password_file)
        print(shown(f"its password file {password_file} is gone too"))


def _offer_test(settings: Settings, name: str) -> None:
    from pipeline.cli.account_testing import try_accounts  # noqa: PLC0415 - `--help` and the other commands need no network

    with dialogue(given_up="the login was not tested"):
        if confirm("Test the login now?", usual=True):
            try_accounts(settings, [name], everything=False, json=False)


def _what_is_remembered(settings: Settings, name: str) -> Sequence[str]:
    """What to know of an account that is to be another mailbox."""
    try:
        with as_owner_of(settings.spool.directory), reading_if_any(settings.spool.directory) as spool:
            had = 0 if spool is None else record_of(spool, name).ledger
    except SpoolError as error:
        return [f"what was fetched of it is not known: {error}"]
    if not had:
        return []
    return [
        f"{had} messages are remembered as had of {name}: what its maildrop holds now is compared with them by "
        f"content; another mailbox is better added under a name of its own"
    ]


def _what_is_left(settings: Settings, name: str) -> Sequence[str]:
    """What to know before an account is removed."""
    try:
        with as_owner_of(settings.spool.directory), reading_if_any(settings.spool.directory) as spool:
            if spool is None:
                return []
            moving = len(record_of(spool, name).waiting(*LIVE))
            state = Accounts(spool).states().get(name)
    except SpoolError as error:
        return [f"what is left of it is not known: {error}"]
    warnings = []
    if moving:
        warnings.append(
            f"{moving} messages of it are not delivered yet, and those that are still staged may end in Badmail: "
            f"`pop3connector accounts retire {name}` waits for them"
        )
    if state is not None and state.remote_messages:
        warnings.append(f"{state.remote_messages} messages were left at the provider by the last poll")
    return warnings
