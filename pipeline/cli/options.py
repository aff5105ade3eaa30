"""The words that several commands take, as types of options and arguments."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with field names that stay.")]
QueueIdText = Annotated[
    str,
    typer.Argument(metavar="ID", help="A queue id, or its first 6 characters or more."),
]
QueueIdTexts = Annotated[
    list[str],
    typer.Argument(metavar="ID...", help="Queue ids, or their first 6 characters or more."),
]
Raw = Annotated[bool, typer.Option("--raw", help="With the injected block before the message.")]


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
