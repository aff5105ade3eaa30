"""What a command was called with, and the spool it may look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from spool.opening import Spool
    from stages.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The options that stand before the command."""

    config: Path | None

    def settings(self) -> Settings:
        """Read the configuration; raises ConfigurationError."""
        from pipeline.config import load  # noqa: PLC0415 - `--help` needs none

        return load(self.config, os.environ)

    def file(self) -> Path:
        """The configuration file; raises ConfigurationError."""
        from pipeline.config import find  # noqa: PLC0415 - as above

        return find(self.config, os.environ)

    @contextmanager
    def reading(self) -> Iterator[Spool]:
        """Open the spool to look at it; raises SpoolError."""
        from pipeline.mirroring import mirror  # noqa: PLC0415 - as above
        from spool.queries import open_for_reading  # noqa: PLC0415 - as above

        settings = self.settings()
        with mirror(settings.log) as listener:
            spool = open_for_reading(settings.spool.directory, on_events=listener)
            try:
                yield spool
            finally:
                spool.close()


def invocation_of(context: typer.Context) -> Invocation:
    """The invocation that the main callback left in the context."""
    found = context.find_object(Invocation)
    if found is None:
        raise AssertionError("a command ran without the main callback")
    return found
