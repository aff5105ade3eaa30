"""The words that several commands take, as types of options and arguments."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from pipeline.cli.completing import account_names, queue_ids, queue_ids_in_badmail

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with field names that stay.")]
_ONE_ID = "A queue id, or its first 6 characters or more."
_IDS = "Queue ids, or their first 6 characters or more."
QueueIdText = Annotated[str, typer.Argument(metavar="ID", help=_ONE_ID, autocompletion=queue_ids)]
QueueIdTexts = Annotated[list[str], typer.Argument(metavar="ID...", help=_IDS, autocompletion=queue_ids)]
BadmailIdText = Annotated[str, typer.Argument(metavar="ID", help=_ONE_ID, autocompletion=queue_ids_in_badmail)]
Raw = Annotated[bool, typer.Option("--raw", help="With the injected block before the message.")]


AccountName = Annotated[str | None, typer.Option("--account", help="Only this account.", autocompletion=account_names)]
SenderPart = Annotated[str | None, typer.Option("--sender", help="Only where the sender has this in it; <> for none.")]
RecipientPart = Annotated[str | None, typer.Option("--recipient", help="Only where a recipient has this in it.")]
SubjectPart = Annotated[str | None, typer.Option("--subject", help="Only where the subject has this in it.")]
ReasonPart = Annotated[
    str | None, typer.Option("--reason", help="Only where the reason has this in it: words, or a code as 550 or 5.7.1.")
]
OlderThan = Annotated[str | None, typer.Option("--older-than", metavar="AGE", help="Only older ones: 90s, 2h, 3d.")]
NewerThan = Annotated[str | None, typer.Option("--newer-than", metavar="AGE", help="Only newer ones: 90s, 2h, 3d.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=0, help="At most so many.")]


class StateWord(enum.StrEnum):
    """The states of messages, likewise."""

    STAGED = "staged"
    READY = "ready"
    DEFERRED = "deferred"
    HELD = "held"
    DAMAGED = "damaged"
    BADMAIL = "badmail"
    SUBMITTED = "submitted"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class SortWord(enum.StrEnum):
    """What a listing may be sorted by, likewise."""

    OLDEST = "oldest"
    NEWEST = "newest"
    LARGEST = "largest"
    SENDER = "sender"
    ACCOUNT = "account"
    ATTEMPTS = "attempts"


class StageName(enum.StrEnum):
    """The stages, without the spool's modules behind them."""

    FETCH = "fetch"
    VALIDATE = "validate"
    SUBMIT = "submit"
    PICKUP = "pickup"


class LogWord(enum.StrEnum):
    """How much of a dialogue is logged."""

    VERBOSE = "verbose"
    NORMAL = "normal"


class ShellName(enum.StrEnum):
    """The shells that are taught to complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class LevelWord(enum.StrEnum):
    """The levels of events."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class FetcherFile(enum.StrEnum):
    """The files of other fetchers that can be imported."""

    FETCHMAILRC = "fetchmailrc"
    GETMAILRC = "getmailrc"
    MPOPRC = "mpoprc"
