"""Declarations of `badmail ...`."""

# ruff: noqa: PLC0415 - as in `main`

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.choices import BadmailIds, Choice, Everything, Yes
from pipeline.cli.help import examples
from pipeline.cli.invocation import invocation_of
from pipeline.cli.options import (
    AccountName,
    AsJson,
    BadmailIdText,
    Limit,
    NewerThan,
    OlderThan,
    Raw,
    ReasonPart,
    RecipientPart,
    SenderPart,
    SortWord,
    SubjectPart,
)

badmail_app = typer.Typer(
    name="badmail", help="Look at refused messages and send them again.", no_args_is_help=True, rich_markup_mode=None
)


@badmail_app.command(
    name="ls",
    epilog=examples("badmail ls", "badmail ls --reason 550 --newer-than 1d", "badmail ls --json"),
)
def list_messages(
    context: typer.Context,
    *,
    account: AccountName = None,
    sender: SenderPart = None,
    recipient: RecipientPart = None,
    subject: SubjectPart = None,
    reason: ReasonPart = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    sort: Annotated[SortWord, typer.Option("--sort", help="What comes first.")] = SortWord.NEWEST,
    limit: Limit = None,
    json: AsJson = False,
) -> None:
    """List refused messages, those that were refused last on top."""
    from pipeline.cli import listings

    wanted = listings.Asked(
        account=account,
        sender=sender,
        recipient=recipient,
        subject=subject,
        reason=reason,
        older_than=older_than,
        newer_than=newer_than,
        sort=sort,
        limit=limit,
    )
    listings.list_badmail(invocation_of(context), wanted, json=json)


@badmail_app.command(epilog=examples("badmail show 01j0e5v4c8h6t3b0wn"))
def show(context: typer.Context, queue_id: BadmailIdText, *, json: AsJson = False) -> None:
    """Show one refused message and the whole reason."""
    from pipeline.cli import messages

    with invocation_of(context).reading() as spool:
        messages.show(spool, messages.in_badmail(spool, queue_id), json=json)


@badmail_app.command(epilog=examples("badmail cat 01j0e5v4c8h6t3b0wn --raw"))
def cat(context: typer.Context, queue_id: BadmailIdText, *, raw: Raw = False) -> None:
    """Print a refused message as the provider sent it."""
    from pipeline.cli import messages

    with invocation_of(context).reading() as spool:
        messages.cat(spool, messages.in_badmail(spool, queue_id), raw=raw)


@badmail_app.command(
    epilog=examples(
        "badmail replay 01j0e5v4c8h6t3b0wn --sender alice@example.org --to sales@corp.example",
        "badmail replay --reason 5.7.1",
    )
)
def replay(
    context: typer.Context,
    queue_ids: BadmailIds = None,
    *,
    everything: Everything = False,
    reason: ReasonPart = None,
    older_than: OlderThan = None,
    sender: Annotated[str | None, typer.Option("--sender", help="Another reverse-path; <> for the null one.")] = None,
    null_sender: Annotated[bool, typer.Option("--null-sender", help="The null reverse-path.")] = False,
    to: Annotated[list[str] | None, typer.Option("--to", help="Other recipients; may be given again.")] = None,
) -> None:
    """Send refused messages again, through Pickup."""
    from pipeline.cli import replaying
    from pipeline.cli.adding import Envelope

    choice = Choice(texts=queue_ids or [], everything=everything, reason=reason, older_than=older_than)
    envelope = Envelope.given(sender=sender, has_null_sender=null_sender, recipients=to or [])
    raise typer.Exit(replaying.replay(invocation_of(context), choice, envelope=envelope))


@badmail_app.command(epilog=examples("badmail export badmail-2026", "badmail export badmail-2026 --reason 5.7.1"))
def export(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made where it is not there.")],
    *,
    queue_ids: BadmailIds = None,
    everything: Everything = False,
    reason: ReasonPart = None,
    older_than: OlderThan = None,
) -> None:
    """Copy files of Badmail as they are; all, where none are named."""
    from pipeline.cli import exporting

    choice = Choice(texts=queue_ids or [], everything=everything, reason=reason, older_than=older_than)
    raise typer.Exit(exporting.export(invocation_of(context), directory, choice=choice))


@badmail_app.command(
    name="rm", epilog=examples("badmail rm 01j0e5v4c8h6t3b0wn --yes", "badmail rm --older-than 90d --yes")
)
def discard(
    context: typer.Context,
    queue_ids: BadmailIds = None,
    *,
    everything: Everything = False,
    reason: ReasonPart = None,
    older_than: OlderThan = None,
    yes: Yes = False,
) -> None:
    """Throw refused messages away, for good."""
    from pipeline.cli import by_hand

    choice = Choice(texts=queue_ids or [], everything=everything, reason=reason, older_than=older_than)
    raise typer.Exit(by_hand.discard_badmail(invocation_of(context), choice, yes=yes))
