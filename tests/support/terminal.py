"""A command at a pseudo-terminal, as a person sits at one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pexpect

from tests.support.processes import LONGEST_WAIT, ROOT


@contextmanager
def at_terminal(
    arguments: Sequence[str], *, env: Mapping[str, str] | None = None, columns: int = 100
) -> Iterator[pexpect.spawn]:
    """The process, with its three standard streams on a terminal of `columns`; it is gone when the block is left."""
    environment = {**os.environ, "TERM": "xterm", **(env or {})}
    child = pexpect.spawn(
        arguments[0],
        list(arguments[1:]),
        cwd=str(ROOT),
        env=environment,
        dimensions=(24, columns),
        timeout=LONGEST_WAIT,
        encoding="utf-8",
    )
    try:
        yield child
    finally:
        child.close(force=True)
