"""Make accounts of ours of another fetcher's mailboxes: what is there already stays, what lacks something is asked for.

**Invariants:** a mailbox becomes an account that our configuration takes, or a note says why it is none. A relay is
taken where ours has none and theirs is one for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.cli.asking import Questions
from pipeline.cli.import_sources import Named, Source
from pipeline.config import ConfigurationError, parse
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.migration import ours
from pipeline.migration.ours import Table, Wishes
from pipeline.migration.theirs import Mailbox, Note, one_relay


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The configuration as it is: no text where there is no file yet."""

    file: Path
    text: str
    raw: dict[str, object]


@dataclass(slots=True, kw_only=True)
class Draft:
    """What is to be written, while it is made. `lacking` accounts were left out for what the operator can say."""

    tables: list[Table] = field(default_factory=list)
    mailboxes: list[Mailbox] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    relay: Table | None = None
    notes: list[tuple[Path, Note]] = field(default_factory=list)
    lacking: int = 0


class Drafting:
    """Makes accounts of mailboxes, one after the other."""

    def __init__(self, before: Before, wishes: Wishes, *, questions: Questions) -> None:
        self._before = before
        self._wishes = wishes
        self._questions = questions
        known = ours.known_accounts(before.raw)
        self._known = {one.mailbox: one.name for one in known}
        self._names = {one.name for one in known}
        self._drafted: dict[tuple[str, str], str] = {}
        self._made = Draft()

    def draft(self, sources: Sequence[Source]) -> Draft:
        """What the sources come to."""
        found = [(source.file, mailbox) for source in sources for mailbox in source.theirs.mailboxes]
        if self._wishes.name and len(found) != 1:
            raise CommandFailed(ExitCode.USAGE, f"--name is for one account; there are {len(found)}")
        for source in sources:
            self._made.notes += [(source.file, note) for note in source.theirs.notes]
        for file, mailbox in found:
            if (why := self._add(mailbox)) is not None:
                self._note(file, mailbox, text=f"{mailbox.name}: {why}")
            elif mailbox.is_multidrop:
                self._note(
                    file, mailbox, text=f"{mailbox.name}: all of its mail goes to one destination, whomever it is for"
                )
        self._set_relay([source.file for source in sources][:1])
        return self._made

    def _add(self, mailbox: Mailbox) -> str | None:
        """Add an account; answers why it is none."""
        if not mailbox.username:
            return "left out, it names no user"
        key = ours.mailbox_of(mailbox.host, mailbox.username)
        if key in self._known:
            self._made.named.append(Named(name=self._known[key], mailbox=mailbox))
            return f"is there already: account {self._known[key]}"
        if key in self._drafted:
            return f"is the mailbox of {self._drafted[key]} too"
        name = ours.name_for(mailbox, self._wishes, taken=self._drafted.values())
        if name in self._names:
            return "left out, an account of that name is there already; give another one with --name"
        table = self._table(mailbox, name)
        if isinstance(table, str):
            return table
        try:
            parse(ours.text_of([table], None).encode(), self._before.file)
        except ConfigurationError as error:
            return "left out, " + "; ".join(problem.removeprefix("accounts[0].") for problem in error.problems)
        self._drafted[key] = name
        self._made.tables.append(table)
        self._made.mailboxes.append(mailbox)
        self._made.named.append(Named(name=name, mailbox=mailbox))
        return None

    def _table(self, mailbox: Mailbox, name: str) -> Table | str:
        """The account's table, or why there is none."""
        if mailbox.auth.takes_token and mailbox.command is None:
            return "left out, it logs in with an access token: [accounts.oauth2] must say where that comes from"
        what = f"{mailbox.username} at {mailbox.host}"
        deliver_to = ours.destination(mailbox, self._wishes) or self._questions.text(f"deliver mail of {what} to: ")
        if not deliver_to:
            self._made.lacking += 1
            is_local = mailbox.local is not None and not mailbox.is_multidrop
            other = f" or --domain DOMAIN for {mailbox.local}" if is_local else ""
            return f"left out, nobody said where its mail goes: --deliver-to ADDRESS{other}"
        password = self._questions.secret(f"password of {what}: ") if ours.needs_password(mailbox) else None
        if ours.needs_password(mailbox) and password is None:
            self._made.lacking += 1
            return "left out, it has no password there: write it into that file, or run this on a terminal, which asks"
        return ours.table_of(mailbox, name=name, deliver_to=deliver_to, password=password)

    def _set_relay(self, files: Sequence[Path]) -> None:
        """Take their relay where ours has none and it is one for all."""
        given = [mailbox for mailbox in self._made.mailboxes if mailbox.relay is not None]
        if not given:
            return
        relay = one_relay(self._made.mailboxes)
        if "smtp" in self._before.raw:
            text = "where they submit to: [smtp] is there already, and stays"
        elif relay is None:
            text = "where they submit to: it is not one relay for all; set [smtp] yourself"
        else:
            self._made.relay = ours.relay_table(relay)
            return
        for file in files:
            self._note(file, given[0], text=text)

    def _note(self, file: Path, mailbox: Mailbox, *, text: str) -> None:
        self._made.notes.append((file, Note(line=mailbox.line, text=text)))
