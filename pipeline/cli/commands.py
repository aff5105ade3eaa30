"""What can be typed: the commands of `pop3connector`, their arguments and options."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs: `--help` does not wait for SQLAlchemy, nor `spool ls` for the stages

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__
from pipeline.cli.accounts_app import accounts_app
from pipeline.cli.badmail_app import badmail_app
from pipeline.cli.completing import account_names
from pipeline.cli.help import examples
from pipeline.cli.invocation import Invocation, invocation_of
from pipeline.cli.options import AccountName, AsJson, LevelWord, LogWord, ShellName, StageName
from pipeline.cli.pickup_app import pickup_app
from pipeline.cli.spool_app import db_app, spool_app

_PAIR = "WARNING,CRITICAL"

app = typer.Typer(
    name="pop3connector",
    help="Moves mail from POP3 mailboxes to your own mail server, and loses none of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(spool_app)
app.add_typer(badmail_app)
app.add_typer(pickup_app)
app.add_typer(accounts_app)
app.add_typer(db_app)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's signature
    if value:
        print(f"pop3connector {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The configuration file.")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Moves mail from POP3 mailboxes to your own mail server, and loses none of it."""
    context.obj = Invocation(config=config)


@app.command(epilog=examples("run", "run --drain"))
def run(
    context: typer.Context,
    *,
    drain: Annotated[bool, typer.Option("--drain", help="Move everything through once, then exit.")] = False,
) -> None:
    """Run all stages; with --drain, until nothing is left that could move now."""
    from pipeline.cli import running

    invocation = invocation_of(context)
    raise typer.Exit(running.run(invocation.settings(), file=invocation.file(), drain=drain))


@app.command(epilog=examples("stage fetch --once"))
def stage(
    context: typer.Context,
    name: Annotated[StageName, typer.Argument(help="Which stage.")],
    *,
    once: Annotated[bool, typer.Option("--once", help="One round, then exit.")] = False,
) -> None:
    """Run one stage process, as a unit file does."""
    from pipeline.cli import running
    from spool.layout import Stage

    invocation = invocation_of(context)
    raise typer.Exit(running.stage(invocation.settings(), Stage(name.value), file=invocation.file(), once=once))


@app.command(name="retrieve-now", epilog=examples("retrieve-now", "retrieve-now sales-isp --wait"))
def retrieve_now(
    context: typer.Context,
    accounts: Annotated[
        list[str] | None, typer.Argument(metavar="ACCOUNT", help="All, if none is named.", autocompletion=account_names)
    ] = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome, and print it.")] = False,
) -> None:
    """Make the running fetch process poll at once, and log what is said to the servers."""
    from pipeline.cli import running

    raise typer.Exit(running.retrieve_now(invocation_of(context).settings(), accounts or [], wait=wait))


@app.command(epilog=examples("check", "check --connect", "check --json"))
def check(
    context: typer.Context,
    *,
    connect: Annotated[bool, typer.Option("--connect", help="Log in everywhere, and ask the relay.")] = False,
    json: AsJson = False,
) -> None:
    """Validate the configuration; with --connect, try every server too."""
    from pipeline.cli import checking

    raise typer.Exit(checking.check(invocation_of(context).settings(), connect=connect, json=json))


@app.command(epilog=examples("probe sales-isp", "probe sales-isp --json"))
def probe(
    context: typer.Context,
    account: Annotated[
        str, typer.Argument(help="An account, as the configuration names it.", autocompletion=account_names)
    ],
    *,
    json: AsJson = False,
) -> None:
    """Show what an account's server says, and what fetch would do with each message there."""
    from pipeline.cli import probing

    probing.probe(invocation_of(context).settings(), account, json=json)


@app.command(epilog=examples("status", "status --json", "status --check --queued 2h,12h --badmail 10,100"))
def status(
    context: typer.Context,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All accounts, where there are many.")] = False,
    check: Annotated[bool, typer.Option("--check", help="One line and 0, 1 or 2, as monitoring plug-ins do.")] = False,
    last_success: Annotated[
        str | None,
        typer.Option("--last-success", metavar=_PAIR, help="With --check: time since a poll succeeded, as 1h,6h."),
    ] = None,
    queued: Annotated[
        str | None, typer.Option("--queued", metavar=_PAIR, help="With --check: age of the oldest queued, as 1h,1d.")
    ] = None,
    badmail: Annotated[
        str | None, typer.Option("--badmail", metavar=_PAIR, help="With --check: messages in Badmail, as 100,1000.")
    ] = None,
    free: Annotated[
        str | None, typer.Option("--free", metavar=_PAIR, help="With --check: free space below, as 2GB,500MB.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what needs somebody, then stages, accounts, queue, route and limits."""
    invocation = invocation_of(context)
    if check:
        from pipeline.cli.status_check import Asked, check_status

        asked = Asked(last_success=last_success, queued=queued, badmail=badmail, free=free)
        raise typer.Exit(check_status(invocation, asked))
    from pipeline.cli.status import show_status

    with invocation.reading() as spool:
        show_status(spool, invocation.settings(), everything=everything, json=json)


@app.command(
    epilog=examples(
        "events --level warning",
        "events --account sales-isp --since 2h --json",
        "events --type PollFailed --type RouteClosed --limit 10",
    )
)
def events(
    context: typer.Context,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what happens from now on.")] = False,
    account: AccountName = None,
    level: Annotated[LevelWord, typer.Option("--level", help="Only this level and worse.")] = LevelWord.INFO,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="EVENT", help="Only events of this name; may be given again.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only since then: 2h for two hours ago, or RFC 3339."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the newest so many.")] = None,
    json: AsJson = False,
) -> None:
    """Print the operational log; trouble that was said again stands where it was said last."""
    from pipeline.cli import event_log

    invocation = invocation_of(context)
    wanted = event_log.Wanted(account=account, level=level, types=types or (), since=since, limit=limit)
    with invocation.reading() as spool:
        event_log.show_events(spool, wanted, settings=invocation.settings(), follow=follow, json=json)


@app.command(epilog=examples("log verbose", "log verbose --account sales-isp", "log normal", "log"))
def log(
    context: typer.Context,
    wish: Annotated[
        LogWord | None, typer.Argument(metavar="verbose|normal", help="Without it: say how it stands.")
    ] = None,
    *,
    account: Annotated[
        str | None,
        typer.Option("--account", help="Only the dialogue with this one's server.", autocompletion=account_names),
    ] = None,
    relay: Annotated[bool, typer.Option("--relay", help="Only the dialogue with the relay.")] = False,
) -> None:
    """Switch the verbose log of running stages on or off: what is said to the servers, line by line."""
    from pipeline.cli import verbosity

    verbosity.log(invocation_of(context), wish, account=account, relay=relay)


@app.command(epilog=examples("completion bash", "completion zsh", "completion fish"))
def completion(shell: Annotated[ShellName, typer.Argument(help="Which shell.")]) -> None:
    """Print the script by which a shell completes commands, options, accounts and queue ids."""
    from pipeline.cli.completing import script

    print(script(shell.value))


@app.command(epilog=examples("demo"))
def demo(
    *,
    serve: Annotated[bool, typer.Option("--serve", help="Only run servers to practise on, until Ctrl-C.")] = False,
    pop3_port: Annotated[int, typer.Option("--pop3-port", metavar="PORT", help="Where its mailbox is.")] = 11110,
    smtp_port: Annotated[int, typer.Option("--smtp-port", metavar="PORT", help="Where its mail server is.")] = 11025,
) -> None:
    """Run the real pipeline between servers of its own, on sample mail, and tell what happened."""
    if serve:
        from pipeline.demo import practice

        raise typer.Exit(practice.serve(pop3_port=pop3_port, smtp_port=smtp_port))
    from pipeline.demo.story import tell

    raise typer.Exit(tell())
