"""What one process writes into the verbose log, and about whom.

A line: time (UTC), process, account or relay, number of the connection, who speaks, what::

    2026-07-21T10:15:02.123Z fetch[4711] sales-isp #17 > USER sales

**Invariants:** a line is printable, and bounded; numbers of connections are not given twice by a process.
**Failures:** none; see `spool.service_log`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import partial

from spool.events import Event, VerboseLogFailed
from spool.layout import Stage
from spool.opening import Spool
from spool.service_log import ServiceLog
from spool.verbosity import RELAY, Verbosity
from stages.dialogue import Dialogue, Side, Switch, bounded


class VerboseLog:
    """The log of one process; nothing is written before `heed` was told so."""

    def __init__(self, spool: Spool, stage: Stage) -> None:
        self._spool = spool
        self._file = ServiceLog(spool.layout, spool.disk)
        self._process = f"{stage}[{os.getpid()}]"
        self._numbers = itertools.count(1)
        self._verbosity = Verbosity()
        self._switches: dict[str, Switch] = {}
        self._has_told = False

    def heed(self, verbosity: Verbosity) -> None:
        """Do as is wished now, in dialogues that are under way too."""
        self._verbosity = verbosity
        for name, switch in self._switches.items():
            switch.is_on = verbosity.of(name)

    def account(self, name: str, *, is_verbose: bool = False) -> Dialogue:
        """The dialogue with an account's server; `is_verbose`: whatever is wished of the account."""
        return self._dialogue(name, shown=bounded(name), switch=Switch(is_on=True) if is_verbose else None)

    def relay(self) -> Dialogue:
        """The dialogue with the relay."""
        return self._dialogue(RELAY, shown="relay")

    def troubles(self) -> Sequence[Event]:
        """What kept lines from being written, told once."""
        if not self._file.trouble or self._has_told:
            return ()
        self._has_told = True
        return (VerboseLogFailed(file=str(self._spool.layout.service_log), error=self._file.trouble),)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _dialogue(self, name: str, *, shown: str, switch: Switch | None = None) -> Dialogue:
        if switch is None:
            switch = self._switches.setdefault(name, Switch(is_on=self._verbosity.of(name)))
        return Dialogue(partial(self._write, shown), switch=switch, numbers=self._numbers)

    def _write(self, whom: str, number: int, side: Side, line: str) -> None:  # noqa: PLR0917 - called as `Hear` is
        now = self._spool.now()
        time = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
        self._file.write(f"{time} {self._process} {whom} #{number} {side} {bounded(line)}".rstrip())
