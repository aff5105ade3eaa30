"""The stage processes of a supervisor: forked, signalled, waited for.

Signals are not handled but taken: they are blocked, and `wait` takes them one at a time (sigwaitinfo(2)), so that
none arrives in the middle of anything. Each child holds the read end of a pipe, the lifeline, whose write end only
the supervisor has: however that ends, the children see it. SIGHUP is for the supervisor alone, which sends its
children the settings that come of it.

**Invariants:** at a fork this process has no thread, event loop or open index; a child leaves by `os._exit` and never
returns into the supervisor's code; all children have ended, by SIGKILL if need be, when the block is left.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Protocol, Self

from pipeline.endings import say
from pipeline.exit_codes import ExitCode
from pipeline.renewal import channel, follow_supervisor, send
from spool.layout import Stage
from stages.runner import Follow, Mode
from stages.settings import Settings

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
STOP_PATIENCE_SECONDS = 30.0
_TAKEN = STOP_SIGNALS | {signal.SIGCHLD, signal.SIGHUP}


class StageMain(Protocol):
    """What a child does: be the process of a stage, and answer its exit code."""

    def __call__(self, stage: Stage, settings: Settings, *, mode: Mode, lifeline: int, follow: Follow | None) -> int:
        """Run until the stage ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A child that has ended: its exit code, negative for a signal, and how long it lived."""

    stage: Stage
    code: int
    lived_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    pid: int
    started: float
    channel: socket.socket


class Children:
    """The stage processes; a context manager, for the main thread."""

    def __init__(self, settings: Settings, main: StageMain) -> None:
        self._settings = settings
        self._main = main
        self._children: dict[Stage, _Child] = {}
        self._mask: set[int] = set()
        self._hangup: signal._HANDLER = None
        self._was_hung_up = False
        self._lifeline, self._own_end = os.pipe()

    def __enter__(self) -> Self:
        """Block the signals that `wait` takes."""
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN))
        # Whoever started us may have ignored it, and then the kernel would reap our children.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # What is ignored is not taken either, and blocked it does no harm.
        self._hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        return self

    def __exit__(self, *_: object) -> None:
        """End the children that are left, and let the signals through again."""
        try:
            self.stop()
        finally:
            os.close(self._own_end)
            os.close(self._lifeline)
            # A second Ctrl-C that came while they ended has had its effect.
            while signal.sigtimedwait(_TAKEN, 0) is not None:
                pass
            signal.signal(signal.SIGHUP, self._hangup or signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    @property
    def running(self) -> frozenset[Stage]:
        """The stages that have a process."""
        return frozenset(self._children)

    def start(self, stage: Stage, mode: Mode) -> int:
        """Fork the process of a stage and answer its pid."""
        sys.stdout.flush()
        sys.stderr.flush()
        ours, theirs = channel()
        pid = os.fork()
        if pid == 0:
            self._be(stage, mode, theirs=theirs)
        theirs.close()
        self._children[stage] = _Child(pid=pid, started=time.monotonic(), channel=ours)
        return pid

    def renew(self, settings: Settings) -> None:
        """Send other settings to all children, and start those to come with them."""
        self._settings = settings
        for stage, child in self._children.items():
            try:
                send(child.channel, settings)
            except OSError as error:
                # One that is gone is started again with them; one that takes nothing hangs.
                say(f"{stage} did not take the changed configuration: {error.strerror}")

    def wait(self, seconds: float | None) -> signal.Signals | None:
        """Wait until a child ends or somebody wants us to stop; answer the signal for that."""
        taken = signal.sigwaitinfo(_TAKEN) if seconds is None else signal.sigtimedwait(_TAKEN, max(seconds, 0))
        self._was_hung_up |= taken is not None and taken.si_signo == signal.SIGHUP
        return signal.Signals(taken.si_signo) if taken and taken.si_signo in STOP_SIGNALS else None

    def take_hangup(self) -> bool:
        """Whether SIGHUP came since this was asked last."""
        was_hung_up, self._was_hung_up = self._was_hung_up, False
        return was_hung_up

    def reap(self) -> list[Death]:
        """Take leave of the children that have ended."""
        deaths = []
        for stage, child in list(self._children.items()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                del self._children[stage]
                child.channel.close()
                lived = time.monotonic() - child.started
                deaths.append(Death(stage=stage, code=os.waitstatus_to_exitcode(status), lived_seconds=lived))
        return deaths

    def tell_to_stop(self, stages: Collection[Stage]) -> None:
        """Send SIGTERM to these stages."""
        self._signal(signal.SIGTERM, stages)

    def stop(self) -> None:
        """Stop all children, wait for them, and kill what has not ended in time."""
        self._signal(signal.SIGTERM, self.running)
        deadline = time.monotonic() + STOP_PATIENCE_SECONDS
        while self._children and time.monotonic() < deadline:
            self.wait(deadline - time.monotonic())
            self.reap()
        if self._children:
            say(f"{', '.join(self._children)} did not stop in {STOP_PATIENCE_SECONDS:g} s and was killed")
            self._signal(signal.SIGKILL, self.running)
        while self._children:
            self.wait(None)
            self.reap()

    def _signal(self, number: signal.Signals, stages: Collection[Stage]) -> None:
        for stage in stages:
            # The pid is ours until it is reaped, so it cannot be somebody else's.
            os.kill(self._children[stage].pid, number)

    def _be(self, stage: Stage, mode: Mode, *, theirs: socket.socket) -> NoReturn:
        code: int = ExitCode.SOFTWARE
        try:
            os.close(self._own_end)
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            follow = partial(follow_supervisor, theirs) if mode is Mode.RUN else None
            code = self._main(stage, self._settings, mode=mode, lifeline=self._lifeline, follow=follow)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        finally:
            os._exit(code)
