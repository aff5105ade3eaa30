"""Declarations of `accounts ...`."""

# ruff: noqa: PLC0415 - as in `commands`

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.account_keys import KEYS
from pipeline.cli.completing import account_names
from pipeline.cli.help import examples
from pipeline.cli.invocation import invocation_of
from pipeline.cli.options import AsJson, FetcherFile

accounts_app = typer.Typer(
    name="accounts", help="See to the accounts of the configuration.", no_args_is_help=True, rich_markup_mode=None
)

AccountName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="An account, by its name in the configuration.", autocompletion=account_names),
]
_Text = str | None
Host = Annotated[_Text, typer.Option("--host", help="The provider's POP3 server, by name or address.")]
Port = Annotated[_Text, typer.Option("--port", help="995 with implicit TLS, else 110, unless given.")]
Tls = Annotated[_Text, typer.Option("--tls", metavar="implicit|starttls|none", help="How the connection is secured.")]
CaFile = Annotated[_Text, typer.Option("--ca-file", metavar="FILE", help="CA certificates, instead of the system's.")]
Fingerprint = Annotated[
    list[str] | None,
    typer.Option("--tls-fingerprint", metavar="sha256:...", help="Pin the server's certificate; may be given again."),
]
Auth = Annotated[_Text, typer.Option("--auth", help="How to log in: auto, basic, apop, spa, plain, scram-sha-256 ...")]
Username = Annotated[_Text, typer.Option("--username", help="The user name of the mailbox.")]
DeliverTo = Annotated[
    list[str] | None,
    typer.Option("--deliver-to", metavar="ADDRESS", help="Where its mail goes; may be given again."),
]
Interval = Annotated[_Text, typer.Option("--interval", metavar="DURATION", help="Between two polls: 5m to 24h.")]
Leave = Annotated[
    _Text, typer.Option("--leave-on-server", metavar="true|false|DURATION", help="What stays at the provider.")
]
PasswordFile = Annotated[
    _Text, typer.Option("--password-file", metavar="FILE", help="The file that has the password in its first line.")
]
PasswordEnv = Annotated[
    _Text, typer.Option("--password-env", metavar="VARIABLE", help="The environment variable that has it.")
]
PasswordCommand = Annotated[
    _Text, typer.Option("--password-command", metavar="COMMAND", help="The command that prints it.")
]
PasswordCredential = Annotated[
    _Text, typer.Option("--password-credential", metavar="CREDENTIAL", help="The systemd credential that has it.")
]
PasswordStdin = Annotated[
    bool,
    typer.Option("--password-stdin", help="Take it from standard input, into a file beside the configuration."),
]


@accounts_app.callback()
def accounts() -> None:
    """See to the accounts of the configuration."""


@accounts_app.command(name="list", epilog=examples("accounts list", "accounts list --json"))
def list_(context: typer.Context, *, json: AsJson = False) -> None:
    """List the accounts, and when each was polled last."""
    from pipeline.cli import account_listing

    account_listing.list_accounts(invocation_of(context).settings(), json=json)


@accounts_app.command(epilog=examples("accounts show sales-isp"))
def show(context: typer.Context, name: AccountName, *, json: AsJson = False) -> None:
    """Show all settings of an account, and what came of it."""
    from pipeline.cli import account_listing

    account_listing.show_account(invocation_of(context).settings(), name, json=json)


@accounts_app.command(
    epilog=examples(
        "accounts add info --host pop.isp.example --username info --password-env INFO --deliver-to info@corp.example",
    )
)
def add(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Its name, yours to choose.")] = None,
    *,
    host: Host = None,
    port: Port = None,
    tls: Tls = None,
    ca_file: CaFile = None,
    tls_fingerprint: Fingerprint = None,
    auth: Auth = None,
    username: Username = None,
    password_file: PasswordFile = None,
    password_env: PasswordEnv = None,
    password_command: PasswordCommand = None,
    password_credential: PasswordCredential = None,
    password_stdin: PasswordStdin = False,
    deliver_to: DeliverTo = None,
    interval: Interval = None,
    leave_on_server: Leave = None,
) -> None:
    """Add an account; at a terminal, what is needed and not given is asked for."""
    from pipeline.cli import account_changing

    raise typer.Exit(
        account_changing.add(invocation_of(context), name, typed=_typed(context), from_stdin=password_stdin)
    )


@accounts_app.command(epilog=examples("accounts edit sales-isp --interval 30m --leave-on-server 14d"))
def edit(
    context: typer.Context,
    name: AccountName,
    *,
    host: Host = None,
    port: Port = None,
    tls: Tls = None,
    ca_file: CaFile = None,
    tls_fingerprint: Fingerprint = None,
    auth: Auth = None,
    username: Username = None,
    password_file: PasswordFile = None,
    password_env: PasswordEnv = None,
    password_command: PasswordCommand = None,
    password_credential: PasswordCredential = None,
    password_stdin: PasswordStdin = False,
    deliver_to: DeliverTo = None,
    interval: Interval = None,
    leave_on_server: Leave = None,
) -> None:
    """Change an account; at a terminal, where nothing is given, everything is asked for."""
    from pipeline.cli import account_changing

    raise typer.Exit(
        account_changing.edit(invocation_of(context), name, typed=_typed(context), from_stdin=password_stdin)
    )


@accounts_app.command(epilog=examples("accounts remove sales-isp --yes"))
def remove(
    context: typer.Context,
    name: AccountName,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove an account from the configuration; what was fetched stays in the spool."""
    from pipeline.cli import account_changing

    raise typer.Exit(account_changing.remove(invocation_of(context), name, yes=yes))


@accounts_app.command(name="test", epilog=examples("accounts test sales-isp", "accounts test --all"))
def try_accounts(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Accounts, by their names.", autocompletion=account_names)
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every enabled account.")] = False,
    json: AsJson = False,
) -> None:
    """Log in, look and log out again; nothing is fetched."""
    from pipeline.cli import account_testing

    settings = invocation_of(context).settings()
    raise typer.Exit(account_testing.try_accounts(settings, names or [], everything=everything, json=json))


@accounts_app.command(epilog=examples("accounts enable sales-isp"))
def enable(context: typer.Context, name: AccountName) -> None:
    """Let an account be polled again."""
    from pipeline.cli import account_changing

    raise typer.Exit(account_changing.set_enabled(invocation_of(context), name, enabled=True))


@accounts_app.command(epilog=examples("accounts disable sales-isp"))
def disable(context: typer.Context, name: AccountName) -> None:
    """Poll an account no more, and keep it in the configuration."""
    from pipeline.cli import account_changing

    raise typer.Exit(account_changing.set_enabled(invocation_of(context), name, enabled=False))


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


@accounts_app.command(epilog=examples("accounts retire sales-isp", "accounts retire sales-isp --wait 1h --json"))
def retire(
    context: typer.Context,
    name: AccountName,
    *,
    wait: Annotated[
        str, typer.Option("--wait", metavar="DURATION", help="How long to wait for what is on its way.")
    ] = "5m",
    json: AsJson = False,
) -> None:
    """Empty the maildrop, see that everything from it has arrived, and disable the account."""
    from pipeline.cli import retiring

    raise typer.Exit(retiring.retire(invocation_of(context), name, wait=wait, json=json))


def _typed(context: typer.Context) -> Mapping[str, str | list[str] | None]:
    """The options that stand for keys of an account, by the names of these."""
    return {key: value for key, value in context.params.items() if key in KEYS and value not in ([], ())}
