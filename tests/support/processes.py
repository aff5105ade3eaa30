"""Run programs as processes of their own, wait for what they do, and end them by their pid."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_WAIT = 30.0
_BELOW_THE_EPHEMERAL_PORTS = range(20000, 32000)


class WaitedTooLong(AssertionError):
    """The condition did not come true in time."""


def wait_until(fact: Callable[[], object], what: str, *, timeout: float = LONGEST_WAIT) -> None:
    """Look until `fact` is true, every 20 ms; for what another process does without telling us."""
    deadline = time.monotonic() + timeout
    while not fact():
        if time.monotonic() > deadline:
            raise WaitedTooLong(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)


def free_port() -> int:
    """A port on 127.0.0.1 for a server that cannot choose its own. No outgoing connection can take it meanwhile."""
    while True:
        port = random.choice(_BELOW_THE_EPHEMERAL_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def answers(port: int) -> bool:
    """Whether a server on 127.0.0.1 accepts a connection there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def command(*arguments: str | Path) -> list[str]:
    """Our own command, as this interpreter runs it."""
    return [sys.executable, "-m", "pipeline.cli.main", *map(str, arguments)]


def run(
    arguments: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 2 * LONGEST_WAIT
) -> subprocess.CompletedProcess[str]:
    """Run to the end; the caller judges `returncode`, `stdout` and `stderr`."""
    return subprocess.run(
        arguments, cwd=ROOT, env=_environment(env), capture_output=True, text=True, timeout=timeout, check=False
    )


class Running:
    """A process that runs, with what it has printed so far (standard error included) in `output`."""

    def __init__(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.output = ""
        self._is_closed = False
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, text: str, *, timeout: float = LONGEST_WAIT) -> None:
        """Wait until `text` was printed; fail at once when the process has ended without it."""
        with self._changed:
            self._changed.wait_for(lambda: text in self.output or self._is_closed, timeout)
            if text not in self.output:
                raise WaitedTooLong(f"{text!r} was not printed; this was:\n{self.output}")

    def ended(self, *, timeout: float = LONGEST_WAIT) -> int:
        """Wait for the end and give the exit code, negative for a signal."""
        code = self._process.wait(timeout)
        self._reader.join(1.0)  # not for ever: a child that outlives the process holds the pipe open
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self._process.send_signal(number)

    def stop(self, *, timeout: float = LONGEST_WAIT) -> int:
        """SIGTERM, and SIGKILL when that is not heeded in time; give the exit code."""
        if self.is_alive():
            self.send(signal.SIGTERM)
        try:
            return self.ended(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self._process.kill()
        self.ended()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                with self._changed:
                    self.output += line
                    self._changed.notify_all()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


@contextmanager
def running(arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A process that is gone when the block is left, by SIGKILL if it still runs then."""
    process = Running(arguments, env=env)
    try:
        yield process
    finally:
        process.kill()


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **(added or {})}
