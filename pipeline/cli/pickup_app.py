"""Declarations of `pickup ...`."""

# ruff: noqa: PLC0415 - as in `main`

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.help import examples
from pipeline.cli.invocation import invocation_of
from pipeline.cli.options import AsJson

pickup_app = typer.Typer(
    name="pickup", help="Send message files through Pickup.", no_args_is_help=True, rich_markup_mode=None
)


@pickup_app.command(
    epilog=examples(
        "pickup add report.eml",
        "pickup add bounce-1.eml bounce-2.eml --null-sender --to sales@corp.example",
    )
)
def add(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Message files; - is standard input.")],
    *,
    sender: Annotated[str | None, typer.Option("--sender", help="Another reverse-path; <> for the null one.")] = None,
    null_sender: Annotated[bool, typer.Option("--null-sender", help="The null reverse-path.")] = False,
    to: Annotated[list[str] | None, typer.Option("--to", help="Other recipients; may be given again.")] = None,
) -> None:
    """Put message files into Pickup, once each is found good."""
    from pipeline.cli import adding

    asked = adding.Envelope.given(sender=sender, has_null_sender=null_sender, recipients=to or [])
    raise typer.Exit(adding.add(invocation_of(context), files, envelope=asked))


@pickup_app.command(name="ls", epilog=examples("pickup ls", "pickup ls --json"))
def list_files(context: typer.Context, *, json: AsJson = False) -> None:
    """List what lies in Pickup, and why it is not taken."""
    from pipeline.cli import pickup_listing

    invocation = invocation_of(context)
    with invocation.reading() as spool:
        pickup_listing.list_pickup(spool, invocation.settings().pickup, json=json)
