"""The words by which commands that act on many messages name them, as types of options; and the choice as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from pipeline.cli.completing import queue_ids, queue_ids_in_badmail

_IDS = "Queue ids, or their first 6 characters or more."
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help=_IDS, autocompletion=queue_ids)]
BadmailIds = Annotated[list[str] | None, typer.Argument(metavar="ID", help=_IDS, autocompletion=queue_ids_in_badmail)]
Everything = Annotated[bool, typer.Option("--all", help="Every message in Badmail.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which messages of Badmail are meant: those named, or all, or those that fit."""

    texts: list[str]
    everything: bool = False
    reason: str | None = None
    older_than: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return not (self.texts or self.everything or self.is_narrow)

    @property
    def is_narrow(self) -> bool:
        """Whether it is by what is known of messages."""
        return self.reason is not None or self.older_than is not None
