"""Declarations of `accounts ...`."""

# ruff: noqa: PLC0415 - as in `commands`

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.completing import account_names
from pipeline.cli.help import examples
from pipeline.cli.invocation import invocation_of
from pipeline.cli.options import FetcherFile

accounts_app = typer.Typer(
    name="accounts", help="See to the accounts of the configuration.", no_args_is_help=True, rich_markup_mode=None
)

AccountName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="An account, by its name in the configuration.", autocompletion=account_names),
]


@accounts_app.callback()
def accounts() -> None:
    """See to the accounts of the configuration."""


@accounts_app.command(epilog=examples("accounts adopt sales-isp"))
def adopt(context: typer.Context, name: AccountName) -> None:
    """Mark what the maildrop holds as had: it is not fetched, and stays where it is."""
    from pipeline.cli import adopting

    raise typer.Exit(adopting.adopt(invocation_of(context).settings(), name))


@accounts_app.command(epilog=examples("accounts login sales-m365"))
def login(context: typer.Context, name: AccountName) -> None:
    """Log in to an OAuth 2.0 provider, in a browser on any device; the refresh token is kept in the spool."""
    from pipeline.cli import logging_in

    raise typer.Exit(logging_in.login(invocation_of(context).settings(), name))


@accounts_app.command(
    name="import",
    epilog=examples(
        "accounts import fetchmailrc /etc/fetchmailrc --domain corp.example --yes",
        "accounts import getmailrc /etc/getmail/sales --deliver-to sales@corp.example --yes",
        "accounts import mpoprc /etc/mpoprc --deliver-to sales@corp.example --output -",
    ),
)
def import_(
    context: typer.Context,
    kind: Annotated[FetcherFile, typer.Argument(help="Whose files they are: fetchmail's, getmail's or mpop's.")],
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Their configuration.")],
    deliver_to: Annotated[
        str | None,
        typer.Option("--deliver-to", metavar="ADDRESS", help="Where the mail of all of them goes."),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="DOMAIN", help="Completes the local users that a fetchmailrc names."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What to call the account, where it is one.")
    ] = None,
    seen: Annotated[
        list[str] | None,
        typer.Option("--seen", metavar="FILE", help="Their list of seen UIDLs, where it is not found by itself."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="FILE", help="Write the accounts there, - for standard output, and no more."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Import without asking.")] = False,
) -> None:
    """Take over the accounts of fetchmail, getmail or mpop, and what these have seen: it is not fetched again."""
    from pipeline.cli import importing
    from pipeline.migration.ours import Wishes

    wanted = importing.Wanted(
        kind=kind,
        files=files,
        wishes=Wishes(name=name, deliver_to=deliver_to, domain=domain),
        seen=[Path(file) for file in seen or []],
        output=output,
        is_sure=yes,
    )
    raise typer.Exit(importing.import_accounts(invocation_of(context).config, wanted))
