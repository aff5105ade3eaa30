"""Read the files of other fetchers: their configurations, and the lists of UIDLs that they have seen.

**Invariants:** a list is read line by line; of it only the UIDLs of the mailboxes asked about are held.
**Failures:** `CommandFailed` (65) for a file that is not what it is said to be, `OSError` for one that cannot be read.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.options import FetcherFile
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.migration import fetchmailrc, getmailrc, mpoprc
from pipeline.migration.seen import Owner, of_fetchmail, of_getmail, of_mpop
from pipeline.migration.theirs import Mailbox, Place, Theirs, Unreadable
from spool.envelope import Uidl

LARGEST_OCTETS = 1024 * 1024
_PARSERS: Mapping[FetcherFile, Callable[[str, Place], Theirs]] = {
    FetcherFile.FETCHMAILRC: fetchmailrc.mailboxes,
    FetcherFile.GETMAILRC: getmailrc.mailboxes,
    FetcherFile.MPOPRC: mpoprc.mailboxes,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configuration of theirs, and what it says."""

    file: Path
    theirs: Theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A mailbox of theirs under the name of an account of ours."""

    name: str
    mailbox: Mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenList:
    """What a list says of one account; `unread` lines of the file said nothing."""

    account: str
    file: Path
    uidls: Sequence[Uidl]
    unread: int


def read_source(kind: FetcherFile, file: Path) -> Source:
    """Read a configuration of theirs."""
    with file.open("rb") as stream:
        content = stream.read(LARGEST_OCTETS + 1)
        owner = os.fstat(stream.fileno()).st_uid
    if len(content) > LARGEST_OCTETS:
        raise CommandFailed(ExitCode.DATA, f"{file}: it is too large for a {kind}")
    place = Place(directory=file.absolute().parent, home=_home_of(owner))
    try:
        return Source(file=file, theirs=_PARSERS[kind](_decoded(content), place))
    except Unreadable as error:
        raise CommandFailed(ExitCode.DATA, f"{file}: {error}") from error


def seen_lists(kind: FetcherFile, accounts: Sequence[Named], *, given: Sequence[Path]) -> list[SeenList]:
    """What the lists say of these accounts: those that were given, or else those that lie where they are kept."""
    files = dict.fromkeys(given, accounts) or _found(accounts)
    if kind is FetcherFile.GETMAILRC:
        return [_of_one(file, _whose(file, among)) for file, among in files.items()]
    return [one for file, among in files.items() for one in _of_several(kind, file, accounts=among)]


def _home_of(uid: int) -> Path:
    """The home of a file's owner: `~` stands for it in the file, whoever imports it."""
    if uid != os.geteuid():
        with suppress(KeyError):
            return Path(pwd.getpwuid(uid).pw_dir)
    return Path.home()


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _found(accounts: Iterable[Named]) -> dict[Path, list[Named]]:
    """The lists that are there, each with the accounts whose list it is."""
    files: dict[Path, list[Named]] = {}
    for one in accounts:
        file = next((file for file in one.mailbox.seen if file.is_file()), None)
        if file is not None:
            files.setdefault(file, []).append(one)
    return files


def _whose(file: Path, accounts: Sequence[Named]) -> Named:
    """The account that an oldmail file is of, by its name; it does not say so itself."""
    named = [one for one in accounts if file.name in {place.name for place in one.mailbox.seen}]
    if len(named or accounts) != 1:
        raise CommandFailed(
            ExitCode.DATA, f"{file}: by its name it is of none of the accounts; give one account's rc file"
        )
    return (named or accounts)[0]


def _of_one(file: Path, account: Named) -> SeenList:
    with file.open("rb") as lines:
        found = list(of_getmail(lines))
    uidls = dict.fromkeys(one.uidl for one in found if one)
    _require_list(file, unread=found.count(None), read=len(uidls))
    return SeenList(account=account.name, file=file, uidls=list(uidls), unread=found.count(None))


def _of_several(kind: FetcherFile, file: Path, *, accounts: Sequence[Named]) -> Iterator[SeenList]:
    uidls: dict[Owner, dict[Uidl, None]] = {_owner(one.mailbox): {} for one in accounts}
    unread = read = 0
    with file.open("rb") as lines:
        for one in of_mpop(lines) if kind is FetcherFile.MPOPRC else of_fetchmail(lines, uidls):
            read += one is not None
            unread += one is None
            if one is not None and one.owner in uidls:
                uidls[one.owner][one.uidl] = None
    _require_list(file, unread=unread, read=read)
    for one_of_ours in accounts:
        found = list(uidls[_owner(one_of_ours.mailbox)])
        yield SeenList(account=one_of_ours.name, file=file, uidls=found, unread=unread)


def _owner(mailbox: Mailbox) -> Owner:
    return Owner.of(mailbox.host, mailbox.username or "")


def _require_list(file: Path, *, unread: int, read: int) -> None:
    if unread and not read:
        raise CommandFailed(ExitCode.DATA, f"{file}: line 1: it is no list of seen UIDLs")
