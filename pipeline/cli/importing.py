"""`accounts import`: accounts of ours from another fetcher's configuration, and what that fetcher had seen.

What is there already stays as it is. What was seen is in the ledger before the accounts are in the configuration: a
running fetch process that notices them must not find their old mail new.

**Invariants:** nothing is written before the whole result was found valid, and before `--yes` or an answer; whatever
was not carried over is told. Passwords are shown only where the result goes to standard output.
**Failures:** `CommandFailed`, `ConfigurationError`; then the configuration is what it was.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.asking import Questions
from pipeline.cli.drafting import Before, Draft, Drafting
from pipeline.cli.handing_over import hand_over
from pipeline.cli.import_sources import SeenList, read_source, seen_lists
from pipeline.cli.options import FetcherFile
from pipeline.cli.output import shown
from pipeline.config import load, parse
from pipeline.config.changing import ConfigurationFile
from pipeline.config.loading import place_for
from pipeline.endings import CommandFailed, say
from pipeline.exit_codes import ExitCode
from pipeline.migration import ours
from pipeline.migration.appending import CannotAppend, with_accounts
from pipeline.migration.ours import Table, Wishes
from spool.disk import Disk
from stages.settings import Settings

STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    kind: FetcherFile
    files: Sequence[Path]
    wishes: Wishes
    seen: Sequence[Path] = ()
    output: str | None = None
    is_sure: bool = False


def import_accounts(config: Path | None, wanted: Wanted) -> int:
    """Import, and answer the exit code."""
    before = _before(config)
    sources = [read_source(wanted.kind, file) for file in wanted.files]
    draft = Drafting(before, wanted.wishes, questions=Questions.at_terminal()).draft(sources)
    try:
        text = with_accounts(before.text, draft.tables, relay=draft.relay)
    except CannotAppend as error:
        raise CommandFailed(ExitCode.CONFIGURATION, f"{before.file}: {error}; use --output") from error
    settings = parse(text.encode(), before.file)
    if wanted.output is not None:
        return _put_out(draft, wanted.output)
    lists = [one for one in seen_lists(wanted.kind, draft.named, given=wanted.seen) if one.uidls or one.unread]
    _show(draft, lists, before=before)
    if not draft.tables and not any(one.uidls for one in lists):
        return _nothing(draft)
    if not wanted.is_sure and not Questions.at_terminal().confirms("import this?"):
        raise CommandFailed(ExitCode.USAGE, "nothing was written; --yes imports it")
    return _carry_out(draft, lists, before=before, settings=settings)


def _before(config: Path | None) -> Before:
    file = place_for(config, os.environ)
    if not file.exists():
        return Before(file=file, text="", raw={})
    load(file, os.environ)
    text = file.read_bytes().decode("utf-8")
    return Before(file=file, text=text, raw=tomllib.loads(text))


def _put_out(draft: Draft, output: str) -> int:
    """Print the accounts, or write them into a file of their own."""
    for line in _notes(draft):
        say(line)
    if draft.named:
        say("--output imports no list of what was seen: run this again without it, once the accounts are configured")
    if not draft.tables:
        return _nothing(draft)
    text = ours.text_of(draft.tables, draft.relay)
    if output == STANDARD_OUTPUT:
        print(text, end="")
    elif Path(output).exists():
        raise CommandFailed(ExitCode.USAGE, f"{output} is there already")
    else:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Disk().write_file(Path(output), [text.encode()])
    return ExitCode.OK


def _show(draft: Draft, lists: Sequence[SeenList], *, before: Before) -> None:
    """Say what could not be carried over, and what is to be written."""
    for line in _notes(draft):
        print(line)
    if draft.tables:
        print(shown(f"to be appended to {before.file}:"))
        print()
        for line in ours.text_of([ours.masked(table) for table in draft.tables], draft.relay).splitlines():
            print(shown(line) if line else "")
        print()
    for one in lists:
        lost = f"; {one.unread} lines say nothing" if one.unread else ""
        print(shown(f"{one.account}: {len(one.uidls)} UIDLs that were seen, in {one.file}{lost}"))
    for line in _what_becomes(draft, lists, there=ours.accounts_in(before.raw)):
        print(line)


def _what_becomes(draft: Draft, lists: Sequence[SeenList], *, there: Sequence[Table]) -> Iterator[str]:
    """What will become of mail that was seen, for each new account and those that are there and were named."""
    seen = {one.account for one in lists if one.uidls}
    for table in [*draft.tables, *(table for table in there if table.get("name") in seen)]:
        name, leave = str(table["name"]), table.get("leave_on_server", False)
        if name not in seen:
            if leave is not False:
                text = "no list of what was seen was found: all that is in the maildrop will be fetched, unless"
                yield shown(f"{name}: {text} `accounts adopt` marks it as had before the first poll")
        elif leave is False:
            text = "what was seen and is still there is read once, deleted at a later poll, and not delivered"
            yield shown(f"{name}: {text}; with leave_on_server = true it stays")
        elif leave is not True:
            yield shown(f"{name}: what was seen and is still there is deleted {leave} from now, after it was read once")


def _notes(draft: Draft) -> list[str]:
    files = list(dict.fromkeys(file for file, _ in draft.notes))
    ordered = sorted(dict.fromkeys(draft.notes), key=lambda one: (files.index(one[0]), one[1].line))
    return [shown(f"{file}:{note.line}: {note.text}") for file, note in ordered]


def _nothing(draft: Draft) -> int:
    if draft.lacking:
        raise CommandFailed(ExitCode.USAGE, f"nothing was written: {draft.lacking} accounts were left out, see above")
    say("there is nothing to import")
    return ExitCode.OK


def _carry_out(draft: Draft, lists: Sequence[SeenList], *, before: Before, settings: Settings) -> int:
    """First the ledger, then the configuration; answers the exit code."""
    had = {one.account: one.uidls for one in lists if one.uidls}
    if had:
        code = hand_over(settings, had)
        if code != ExitCode.OK:
            return code
        for name, uidls in had.items():
            print(shown(f"{name}: {len(uidls)} UIDLs are known as had"))
    if draft.tables:
        ConfigurationFile(before.file).change(lambda now: with_accounts(now, draft.tables, relay=draft.relay))
        print(shown(f"{len(draft.tables)} accounts were appended to {before.file}"))
    return ExitCode.OK
