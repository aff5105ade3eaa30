"""Declarations of `spool ...` and `db ...`."""

# ruff: noqa: PLC0415 - as in `main`

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.choices import Ids, Yes
from pipeline.cli.help import examples
from pipeline.cli.invocation import invocation_of
from pipeline.cli.options import (
    AccountName,
    AsJson,
    Limit,
    NewerThan,
    OlderThan,
    QueueIdText,
    QueueIdTexts,
    Raw,
    ReasonPart,
    RecipientPart,
    SenderPart,
    SortWord,
    StateWord,
    SubjectPart,
)

spool_app = typer.Typer(name="spool", help="Inspect and repair the spool.", no_args_is_help=True, rich_markup_mode=None)
db_app = typer.Typer(name="db", help="The schema of the index.", no_args_is_help=True, rich_markup_mode=None)


@spool_app.command(
    name="ls",
    epilog=examples(
        "spool ls",
        "spool ls --state deferred --recipient sales@corp.example --older-than 2h",
        "spool ls --subject invoice --sort newest --limit 20",
        "spool ls --all --json",
    ),
)
def list_messages(
    context: typer.Context,
    *,
    states: Annotated[list[StateWord] | None, typer.Option("--state", help="Only in this state.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Finished messages too.")] = False,
    account: AccountName = None,
    sender: SenderPart = None,
    recipient: RecipientPart = None,
    subject: SubjectPart = None,
    reason: ReasonPart = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    sort: Annotated[SortWord, typer.Option("--sort", help="What comes first.")] = SortWord.OLDEST,
    limit: Limit = None,
    json: AsJson = False,
) -> None:
    """List the messages that are not finished."""
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
    listings.list_spool(invocation_of(context), wanted, states=states or (), everything=everything, json=json)


@spool_app.command(epilog=examples("spool show 01j0e5v3xk7m2q9r4s"))
def show(context: typer.Context, queue_id: QueueIdText, *, json: AsJson = False) -> None:
    """Show one message and what happened to it."""
    from pipeline.cli import messages

    with invocation_of(context).reading() as spool:
        messages.show(spool, messages.message_of(spool, queue_id), json=json)


@spool_app.command(epilog=examples("spool cat 01j0e5v3xk7m2q9r4s"))
def cat(context: typer.Context, queue_id: QueueIdText, *, raw: Raw = False) -> None:
    """Print a message as the provider sent it."""
    from pipeline.cli import messages

    with invocation_of(context).reading() as spool:
        messages.cat(spool, messages.message_of(spool, queue_id), raw=raw)


@spool_app.command(epilog=examples("spool trace 01j0e5v4c8h6t3b0wn", "spool trace hello", "spool trace 7 --json"))
def trace(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(metavar="WHAT...", help="A queue id or its beginning, a UIDL, a Message-ID, or subject words."),
    ],
    *,
    json: AsJson = False,
) -> None:
    """Tell the life of a message: what became of it, when, by which process and in whose words."""
    from pipeline.cli import tracing

    with invocation_of(context).reading() as spool:
        tracing.trace(spool, what, json=json)


@spool_app.command(epilog=examples("spool hold 01j0e5v3xk7m2q9r4s"))
def hold(context: typer.Context, queue_ids: QueueIdTexts) -> None:
    """Set messages aside: they are not sent until they are released."""
    from pipeline.cli import by_hand

    raise typer.Exit(by_hand.hold_messages(invocation_of(context), queue_ids))


@spool_app.command(epilog=examples("spool release 01j0e5v5qmd4x8k1ca"))
def release(context: typer.Context, queue_ids: QueueIdTexts) -> None:
    """Let held messages go on; one that the relay may have is sent again."""
    from pipeline.cli import by_hand

    raise typer.Exit(by_hand.release_messages(invocation_of(context), queue_ids))


@spool_app.command(epilog=examples("spool requeue --all-deferred", "spool requeue 01j0e5v5qmd4x8k1ca"))
def requeue(
    context: typer.Context,
    queue_ids: Ids = None,
    *,
    all_deferred: Annotated[bool, typer.Option("--all-deferred", help="Every message that is deferred.")] = False,
) -> None:
    """Have deferred, held or damaged messages looked at anew and tried now."""
    from pipeline.cli import by_hand

    raise typer.Exit(by_hand.requeue_messages(invocation_of(context), queue_ids or [], all_deferred=all_deferred))


@spool_app.command(name="rm", epilog=examples("spool rm 01j0e5v5qmd4x8k1ca --yes"))
def discard(context: typer.Context, queue_ids: QueueIdTexts, *, yes: Yes = False) -> None:
    """Throw messages of the queue away, for good."""
    from pipeline.cli import by_hand

    raise typer.Exit(by_hand.discard_messages(invocation_of(context), queue_ids, yes=yes))


@spool_app.command(epilog=examples("spool stats"))
def stats(context: typer.Context, *, json: AsJson = False) -> None:
    """Count what is in the spool, by state, account and age, and what it takes on disk."""
    from pipeline.cli import stats as counting

    with invocation_of(context).reading() as spool:
        counting.show_stats(spool, json=json)


@spool_app.command(epilog=examples("spool watch"))
def watch(context: typer.Context) -> None:
    """Show queue and accounts as they change, until Ctrl-C; needs a terminal."""
    from pipeline.cli import watching

    invocation = invocation_of(context)
    with invocation.reading() as spool:
        watching.watch(spool, invocation.settings())


@spool_app.command(epilog=examples("spool verify"))
def verify(context: typer.Context, *, json: AsJson = False) -> None:
    """Check that every message is whole; changes nothing, and may run beside the stages."""
    from pipeline.cli import repairs

    with invocation_of(context).reading() as spool:
        raise typer.Exit(repairs.verify_spool(spool, json=json))


@spool_app.command(epilog=examples("spool rebuild"))
def rebuild(context: typer.Context) -> None:
    """Make the index anew from the files alone; the stages must be stopped."""
    from pipeline.cli import repairs

    repairs.rebuild_index(invocation_of(context).settings())


@db_app.command(epilog=examples("db upgrade"))
def upgrade(context: typer.Context) -> None:
    """Bring the index to this version's schema, after a backup; the stages must be stopped."""
    from pipeline.cli import repairs

    repairs.upgrade_index(invocation_of(context).settings())


@db_app.command(epilog=examples("db current"))
def current(context: typer.Context) -> None:
    """Print the schema of the index."""
    from pipeline.cli import repairs

    repairs.show_revision(invocation_of(context).settings())
