"""Declarations of `accounts ...`."""

# ruff: noqa: PLC0415 - as in `commands`

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.help import examples
from pipeline.cli.invocation import invocation_of

accounts_app = typer.Typer(
    name="accounts", help="See to the accounts of the configuration.", no_args_is_help=True, rich_markup_mode=None
)

AccountName = Annotated[str, typer.Argument(metavar="NAME", help="An account, by its name in the configuration.")]


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
